"""Codewords from how the classes relate: their order, a tree, or a matrix of similarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse._internal.warn import warn
from encollapse.encodings.codes.trees import Tree, read_tree
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError

_SYMMETRY = 1e-8  # relative: rounding of a matrix that was written with eight digits
_CLIPPED = 0.01  # share of the spectrum that may be cut without a warning: one per cent


def ordinal(num_classes: int, *, classes: Sequence[str] | None = None) -> Encoding:
    """Thermometer code for ordered classes: class k has k ones, then zeros, with ``code_dim = K - 1``.

    Entry j answers "is the class above j?". Squared distances count the steps between classes
    :cite:p:`frank2001`.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    classes : sequence of str, optional
        Names of the classes, in their order.

    Returns
    -------
    Encoding
        Shape (K - 1, K) of zeros and ones.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.ordinal(4).codewords
    array([[0., 1., 1., 1.],
           [0., 0., 1., 1.],
           [0., 0., 0., 1.]])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    memory.require_room("codewords", k - 1, k, instead="take fewer classes, or targets of a regression")
    steps = np.arange(k - 1)[:, None] < np.arange(k)[None, :]
    return Encoding(steps.astype(np.float64), name="ordinal", classes=classes)


def hierarchical(tree: Any, *, classes: Sequence[str] | None = None) -> Encoding:
    """Classes at the leaves of a tree: the deeper two classes part, the larger their inner product.

    All codewords have unit length, and two distinct ones have the inner product ``depth(k, l) / height``, where
    ``depth(k, l)`` counts the edges from the root down to the lowest common ancestor of the two leaves and
    `height` those down to the deepest leaf: 0 for classes that part at the root, and never 1. Leaves above the
    deepest level are taken to hang down to it, so a shallow class is no smaller than the others. Taxonomies serve
    so as targets in :cite:t:`barz2019`.

    Coordinate j belongs to node j below the root, in the order in which the tree names the nodes: it is zero for
    the classes that are not below that node, so ``code_dim`` is the number of nodes without the root, and no
    entry is negative. The rank is K.

    Parameters
    ----------
    tree : nested list or tuple, or parent list
        Nested lists whose leaves are the names of the classes, ``(("cat", "dog"), ("car", "truck"))``: class k is
        the k-th name from the left, unless `classes` gives another order. Or nested lists whose leaves are the
        labels 0 to K - 1 themselves, each once, in any order: class k is the leaf k. Or a flat list of whole
        numbers, the parent of each node, with -1 or None for the root: the classes are the nodes that are nobody's
        parent, by increasing number, and are named by it.
    classes : sequence of str, optional
        With named leaves, those names in the order in which the classes shall be numbered. Otherwise names for the
        classes.

    Returns
    -------
    Encoding
        Shape (number of nodes below the root, K).

    Raises
    ------
    ArgumentError
        If a name or label is repeated, a label is left out, a list is empty or contains itself, there are fewer
        than two leaves, or a parent list has a cycle, no root, several roots or a parent that does not exist.
    ArgumentTypeError
        If a leaf is neither a string nor a whole number, or both kinds are mixed.
    MemoryLimitError
        If the codewords would need more than the memory limit.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.hierarchical([["cat", "dog"], ["car", "truck"], "sea"])
    >>> encoding.classes
    ('cat', 'dog', 'car', 'truck', 'sea')
    >>> encoding.gram().round(2)[0]
    array([1. , 0.5, 0. , 0. , 0. ])
    """
    nodes = read_tree(tree)
    leaves, names = _numbered(nodes, classes)
    if len(leaves) < 2:
        raise ArgumentError(f"tree: expected at least two leaves, got {len(leaves)}; a leaf is a class")
    return Encoding(_codewords(nodes, leaves), name="hierarchical", classes=names)


def _numbered(nodes: Tree, classes: Sequence[str] | None) -> tuple[list[int], Sequence[str] | None]:
    """Leaves in the order of the classes, and the names of the classes."""
    if not nodes.named:
        # Labels 0 to K - 1 as names are the default of Encoding; other numbers are kept as names.
        plain = list(nodes.names) == [str(k) for k in range(len(nodes.names))]
        return list(nodes.leaves), classes if classes is not None or plain else nodes.names
    if classes is None:
        return list(nodes.leaves), nodes.names
    order = [] if isinstance(classes, str) else checks.sequence(classes, "classes", "names")
    if sorted(map(str, order)) != sorted(nodes.names):
        raise ArgumentError(
            f"classes: expected the names of the leaves in the order of the classes, each once: "
            f"{', '.join(nodes.names)}; got {classes!r}"
        )
    position = dict(zip(nodes.names, nodes.leaves, strict=True))
    return [position[str(name)] for name in order], order


def _codewords(nodes: Tree, leaves: list[int]) -> FloatArray:
    memory.require_room("codewords", len(nodes.parents) - 1, len(leaves), instead="use a smaller tree")
    row = {node: j for j, node in enumerate(n for n, p in enumerate(nodes.parents) if p != -1)}
    height = max(nodes.depths[leaf] for leaf in leaves)
    codewords = np.zeros((len(row), len(leaves)))
    for column, leaf in enumerate(leaves):
        # A leaf's own edge reaches down to the deepest level, which gives every class the same length.
        codewords[row[leaf], column] = np.sqrt((height - nodes.depths[leaf] + 1) / height)
        node = nodes.parents[leaf]
        while nodes.parents[node] != -1:
            codewords[row[node], column] = np.sqrt(1 / height)
            node = nodes.parents[node]
    return codewords


def from_similarity(S: ArrayLike, code_dim: int | None = None, *, classes: Sequence[str] | None = None) -> Encoding:
    """Codewords whose inner products are the given similarities of the classes, or the nearest possible.

    Inner products form a positive semidefinite matrix, so negative eigenvalues of `S` are set to zero: the result
    is the nearest such matrix in the Frobenius norm :cite:p:`higham1988`. If `code_dim` is below its rank, only
    the `code_dim` largest eigenvalues are kept, which is the nearest matrix of that rank. Rows of the codewords are
    the principal axes, in order of falling weight, as in classical scaling. Only their inner products mean
    anything, for any rotation of them has the same Gram matrix.

    Parameters
    ----------
    S : array_like, shape (num_classes, num_classes)
        Symmetric similarities. For unit codewords put ones on the diagonal. No scale is imposed.
    code_dim : int, optional
        Length of a codeword. Default: the rank of the nearest positive semidefinite matrix. Above the rank,
        codewords are padded with zeros.
    classes : sequence of str, optional
        Names of the classes.

    Returns
    -------
    Encoding
        Shape (code_dim, K).

    Raises
    ------
    ArgumentError
        If `S` is not square or not symmetric (to 1e-8 of its largest entry), or has no positive eigenvalue.

    Warns
    -----
    EncollapseWarning
        If negative eigenvalues carry more than one percent of the norm of `S`, so that the codewords have
        clearly other inner products than asked for. What `code_dim` cuts off is asked for, and not warned about.

    Examples
    --------
    >>> import encollapse as ec
    >>> similar = [[1.0, 0.8, 0.1], [0.8, 1.0, 0.1], [0.1, 0.1, 1.0]]
    >>> ec.encodings.from_similarity(similar).gram().round(6).tolist() == similar
    True
    """
    given = checks.array(S, "S", (None, None), axes="(num_classes, num_classes)")
    matrix = checks.symmetric(given, "S", "S", _SYMMETRY)
    k = len(matrix)
    q = None if code_dim is None else checks.integer(code_dim, "code_dim", minimum=1)
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int(np.sum(values > k * np.finfo(float).eps * np.abs(values).max()))
    if rank == 0:
        raise ArgumentError(
            "S: it has no positive eigenvalue, so all codewords would be zero; similarities of a class with itself "
            "(the diagonal) should be its largest"
        )
    share = float(np.linalg.norm(np.minimum(values, 0)) / np.linalg.norm(values))
    if share > _CLIPPED:
        warn(
            f"S: it is not positive semidefinite (smallest eigenvalue {values[-1]:.3g}); the inner products of the "
            f"codewords differ from it by {share:.1%} of its norm. A larger diagonal makes it so"
        )
    kept = rank if q is None else min(q, rank)
    memory.require_room("codewords", q or kept, k, instead="give a smaller code_dim")
    codewords = np.zeros((kept if q is None else q, k))
    codewords[:kept] = np.sqrt(values[:kept, None]) * _signed(vectors[:, :kept]).T
    return Encoding(codewords, name="from-similarity", classes=classes)


def _signed(vectors: FloatArray) -> FloatArray:
    """Eigenvectors with their largest entry positive, so that their sign is not left to the library."""
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
