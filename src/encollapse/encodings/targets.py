"""Classes made from the targets of samples: every distinct target vector, or set of labels, is a class."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings.encoding import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError


def from_targets(targets: ArrayLike, *, name: str = "targets") -> tuple[Encoding, IntArray, IntArray]:
    """Turn the targets of a regression, or of any other task, into an encoding with counts.

    The unrestricted feature model knows samples only by their targets, so samples with equal targets are a class.
    Continuous targets make as many classes as samples, and nothing else changes :cite:p:`andriopoulos2024`.

    Parameters
    ----------
    targets : array_like, shape (N, q) or (N,)
        One target vector, or number, a sample, finite.
    name : str
        Name of the encoding.

    Returns
    -------
    encoding : Encoding
        The K distinct targets as codewords (q, K), in lexicographic order.
    counts : (K,) ints
        Samples with each target.
    labels : (N,) ints
        Class of each sample: ``encoding.encode(labels)`` are the targets again.

    Raises
    ------
    ArgumentError
        If an entry is not finite, or all targets are equal.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding, counts, labels = ec.encodings.from_targets([0.5, 2.0, 0.5, -1.0])
    >>> encoding.codewords
    array([[-1. ,  0.5,  2. ]])
    >>> counts, labels
    (array([1, 2, 1]), array([1, 2, 1, 0]))
    """
    raw = checks.to_numpy(targets, "targets")
    if raw.ndim == 1:
        raw = raw[:, None]
    # Adding 0 turns -0 into 0: they are one target.
    rows: FloatArray = checks.array(raw, "targets", (None, None), axes="(num_samples, code_dim)") + 0.0
    distinct, labels, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        raise ArgumentError(
            f"targets: expected at least two distinct targets, got {len(rows)} times {distinct[0].tolist()}; "
            "there is nothing to tell apart"
        )
    return (Encoding(distinct.T, name=name), counts.astype(np.int64), labels.reshape(-1).astype(np.int64))


class MultiLabel(Encoding, family="multi-label"):
    """Indicator vectors of sets of labels, made by :func:`multi_label`, which says what the parameters are.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding = ec.encodings.multi_label([{0, 2}, {1}, set()], 3)
    >>> encoding.num_labels, encoding.label_sets[0] == {0, 2}, encoding.index([{1}, {2, 0}]).tolist()
    (3, True, [1, 0])
    """

    def __init__(self, label_sets: Any, num_labels: int, *, classes: Sequence[str] | None = None) -> None:
        size = checks.integer(num_labels, "num_labels", minimum=1)
        distinct = list(dict.fromkeys(_read(label_sets, size)))
        if len(distinct) < 2:
            raise ArgumentError(f"label_sets: expected at least two distinct sets of labels, got {len(distinct)}")
        self._label_sets = tuple(distinct)
        self._position = {labels: k for k, labels in enumerate(distinct)}
        memory.require_room("num_labels", size, len(distinct), instead="leave out labels that no class has")
        codewords = np.zeros((size, len(distinct)))
        for k, labels in enumerate(distinct):
            codewords[list(labels), k] = 1.0
        names = [f"{{{','.join(map(str, labels))}}}" for labels in distinct]
        super().__init__(codewords, name="multi-label", classes=names if classes is None else classes)

    @property
    def num_labels(self) -> int:
        """Number of labels that a sample may carry, which is the length of a codeword."""
        return self._code_dim

    @property
    def label_sets(self) -> tuple[frozenset[int], ...]:
        """The set of labels that each class stands for, in the order of the classes."""
        return tuple(frozenset(labels) for labels in self._label_sets)

    def index(self, label_sets: Any) -> IntArray:
        """Class of each set of labels: N sets -> labels (N,), for ``encode``, training and measurement.

        Raises
        ------
        ArgumentError
            If a set is not one of :attr:`label_sets`, or is no set of labels at all.
        """
        labels = np.empty(len(sets := _read(label_sets, self._code_dim)), dtype=np.int64)
        for i, members in enumerate(sets):
            k = self._position.get(members)
            if k is None:
                raise ArgumentError(
                    f"label_sets[{i}]: no class stands for {set(members) or '{}'}; make the encoding from all sets "
                    "that occur"
                )
            labels[i] = k
        return labels

    def _entries(self) -> dict[str, Any]:
        sets = [list(labels) for labels in self._label_sets]
        return {"num_labels": self._code_dim, "label_sets": sets, "classes": list(self.classes)}

    @classmethod
    def _from_entries(cls, record: dict[str, Any], classes: Sequence[str] | None) -> Encoding:
        return cls(record["label_sets"], record["num_labels"], classes=classes)


def multi_label(label_sets: Any, num_labels: int, *, classes: Sequence[str] | None = None) -> MultiLabel:
    """Indicator vectors of sets of labels, each distinct set being a class, with ``code_dim = num_labels``.

    Entry j of a codeword is 1 if the set contains label j, and 0 otherwise. For the unrestricted feature model only
    the distinct targets and how often each occurs matter, so multi-label data are ordinary classes with their
    counts. Neural collapse of such data is described in :cite:t:`li2024`. The inner product of two codewords
    is the number of labels that their sets share.

    Parameters
    ----------
    label_sets : iterable of iterables of int
        Sets of labels from 0 to ``num_labels - 1``, one a sample (repeated sets are the same class) or one a
        class. A set may be empty. Classes are numbered by first appearance.
    num_labels : int
        Number of labels.
    classes : sequence of str, optional
        Names of the classes. Default: the sets as text, ``"{0,2}"``.

    Returns
    -------
    MultiLabel
        An encoding that also has ``label_sets``, the set of each class, and ``index``, which turns sets of labels
        into class labels (N,).

    Raises
    ------
    ArgumentError
        If a label is out of range or repeated within a set, or fewer than two sets are distinct.
    ArgumentTypeError
        If an entry is not a collection of whole numbers.

    Examples
    --------
    >>> import encollapse as ec
    >>> tags = [{0, 2}, {1}, {0, 2}, set()]
    >>> encoding = ec.encodings.multi_label(tags, 3)
    >>> encoding.classes
    ('{0,2}', '{1}', '{}')
    >>> encoding.index(tags)
    array([0, 1, 0, 2])
    """
    return MultiLabel(label_sets, num_labels, classes=classes)


def pick_all_labels(
    label_sets: Any, num_labels: int, *, name: str = "pick-all-labels"
) -> tuple[Encoding, IntArray, FloatArray]:
    """Turn sets of labels into what the pick-all-label loss of multi-label classification trains.

    That loss sums cross-entropy over the labels of a sample. For a set S it is ``|S|`` times the cross-entropy with the
    uniform distribution on S :cite:p:`li2024`, so each distinct set is a class with such a codeword, its count, and a
    weight. How often labels and sets occur enters through the counts.

    Parameters
    ----------
    label_sets : iterable of iterables of int
        One set of labels from 0 to ``num_labels - 1`` for each sample, none of them empty.
    num_labels : int
        Number of labels.
    name : str
        Name of the encoding.

    Returns
    -------
    encoding : Encoding
        Uniform distributions on the K distinct sets, shape (num_labels, K), by first appearance.
    counts : (K,) ints
        Samples with each set.
    class_weights : (K,)
        Labels of each set: what ``Problem(..., class_weights=...)`` takes.

    Raises
    ------
    ArgumentError
        If a set is empty, a label is out of range or repeated, or fewer than two sets are distinct.

    Examples
    --------
    >>> import encollapse as ec
    >>> encoding, counts, class_weights = ec.encodings.pick_all_labels([{0}, {1}, {0, 2}, {1}], 3)
    >>> encoding.codewords
    array([[1. , 0. , 0.5],
           [0. , 1. , 0. ],
           [0. , 0. , 0.5]])
    >>> counts.tolist(), class_weights.tolist()
    ([1, 2, 1], [1.0, 1.0, 2.0])
    """
    sets = _read(label_sets, checks.integer(num_labels, "num_labels", minimum=1))
    for i, labels in enumerate(sets):
        if not labels:
            raise ArgumentError(f"label_sets[{i}]: has no label, so the loss asks nothing of this sample; leave it out")
    found = Counter(sets)
    indicators = MultiLabel(list(found), num_labels)
    sizes = np.array([float(len(labels)) for labels in found])
    encoding = Encoding(indicators.codewords / sizes, name=name, classes=indicators.classes)
    return encoding, np.array(list(found.values()), dtype=np.int64), sizes


def _read(label_sets: Any, num_labels: int) -> list[tuple[int, ...]]:
    """Sets of labels as sorted tuples, which can be counted and written to files."""
    return [_members(s, f"label_sets[{i}]", num_labels) for i, s in enumerate(_each(label_sets, "label_sets"))]


def _members(labels: Any, name: str, num_labels: int) -> tuple[int, ...]:
    members = sorted(
        checks.integer(label, name, minimum=0, maximum=num_labels - 1, why="labels below num_labels")
        for label in _each(labels, name)
    )
    for one, following in itertools.pairwise(members):
        if one == following:
            raise ArgumentError(f"{name}: the label {one} occurs twice; give each label once")
    return tuple(members)


def _each(values: Any, name: str) -> Iterable[Any]:
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise ArgumentTypeError(
            f"{name}: expected a collection such as a list or a set, got {values!r} of type {type(values).__name__}"
        )
    return checks.sequence(values, name, "a collection such as a list or a set")
