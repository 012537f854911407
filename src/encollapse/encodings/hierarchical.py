"""Classes at the leaves of a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from encollapse._internal import memory
from encollapse._internal.typing import FloatArray
from encollapse.encodings.codes.trees import Tree, read_tree
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError


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
        With named leaves, those names in the order in which the classes shall be numbered; otherwise names for the
        classes.

    Raises
    ------
    ArgumentError
        If a name or label is repeated, a label is left out, a list is empty or contains itself, there are fewer
        than two leaves, or a parent list has a cycle, no root, several roots or a parent that does not exist.
    ArgumentTypeError
        If a leaf is neither a string nor a whole number, or both kinds are mixed.
    MemoryLimitError
        If the codewords would need more than the memory limit.
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
    if isinstance(classes, str) or sorted(map(str, classes)) != sorted(nodes.names):
        raise ArgumentError(
            f"classes: expected the names of the leaves in the order of the classes, each once: "
            f"{', '.join(nodes.names)}; got {classes!r}"
        )
    position = dict(zip(nodes.names, nodes.leaves, strict=True))
    return [position[str(name)] for name in classes], classes


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
