"""How many training samples each class keeps, and which: hold-outs, exact counts, and counts by a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import BoolArray, FloatArray, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError

KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "step": (("minority",), ("majority", "fraction", "shuffle")),
    "exponential": (("ratio",), ("first", "shuffle")),
    "geometric": (("first", "last"), ("shuffle",)),
    "explicit": (("counts",), ("shuffle",)),
}
"""For each kind the options that it needs, and those that it may have."""


def check(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule with its numbers checked.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the kind is unknown, or an option is missing, unknown or out of range.
    """
    given = checks.mapping(spec, "imbalance", what="a mapping such as {'kind': 'exponential', 'ratio': 100}")
    kind = checks.choice(given.pop("kind", None), "imbalance.kind", tuple(KINDS))
    needed, allowed = KINDS[kind]
    for name in needed:
        if name not in given:
            raise ArgumentError(f"imbalance: kind {kind!r} needs {name!r}; give {', '.join(needed)}")
    for name in given:
        if name not in needed + allowed:
            known = ", ".join(needed + allowed)
            raise ArgumentError(f"imbalance: kind {kind!r} has no option {name!r}; it has {known}")
    return {"kind": kind} | {name: _CHECKS[name](value, f"imbalance.{name}") for name, value in given.items()}


def class_counts(spec: Mapping[str, Any], available: IntArray, seed: int = 0) -> IntArray:
    """Class counts (K,) of a rule, where `available` (K,) samples are there.

    Every kind puts the large classes first, unless ``shuffle`` is true: then `seed` decides their order. Counts are
    rounded to whole numbers, to 1 at least.

    ``step``
        ``majority`` samples in the first classes and ``minority`` in the last ones, which are the share ``fraction`` of
        all classes (default one half), rounded, but one class at least and not all :cite:p:`buda2018`.
    ``exponential``
        ``first · ratio^(-k/(K-1))``: a long tail with ``ratio`` between the first class and the last
        :cite:p:`cui2019`.
    ``geometric``
        The same progression given by its ends, ``first`` and ``last``.
    ``explicit``
        ``counts``, one number a class.

    ``majority``, and ``first`` beside ``ratio``, may be left out: then it is the largest that the data allow.

    Parameters
    ----------
    spec : mapping
        The rule: its ``kind`` and the options above.
    available : (K,) ints
        Samples that there are of each class.
    seed : int
        Decides the order of shuffled counts.

    Returns
    -------
    (K,) ints

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the rule cannot be used, or the explicit counts are not one for each class.

    Examples
    --------
    >>> import numpy as np
    >>> import encollapse as ec
    >>> ec.data.class_counts({"kind": "exponential", "ratio": 16}, np.full(5, 80))
    array([80, 40, 20, 10,  5])
    """
    rule, seed = check(spec), checks.integer(seed, "seed", minimum=0)
    size = checks.to_numpy(available, "available").size
    if size < 2:
        raise ArgumentError(f"available: expected the samples of at least two classes, got {available!r}")
    available = checks.class_counts(available, size, "available")
    if rule.pop("shuffle", False):
        order = np.random.default_rng([seed, 4]).permutation(len(available))
        counts = np.empty(len(available), dtype=np.int64)
        counts[order] = class_counts(rule, available[order])
        return counts
    num_classes = len(available)
    if rule["kind"] == "explicit":
        return checks.class_counts(rule["counts"], num_classes, "imbalance.counts")
    if rule["kind"] == "geometric":
        return _rounded(np.geomspace(rule["first"], rule["last"], num_classes))
    if rule["kind"] == "exponential":
        shares = rule["ratio"] ** (-np.arange(num_classes) / (num_classes - 1))
        return _rounded(rule.get("first", _largest(shares, available)) * shares)
    rare = min(max(1, round(rule.get("fraction", 0.5) * num_classes)), num_classes - 1)
    major = np.arange(num_classes) < num_classes - rare
    largest = rule.get("majority", _largest(major.astype(float), available))
    if rule["minority"] > largest:
        raise ArgumentError(f"imbalance.minority: expected at most the majority of {largest:g}, got {rule['minority']}")
    return _rounded(np.where(major, largest, rule["minority"]))


def _largest(shares: FloatArray, available: IntArray) -> float:
    """The largest class such that no class, each with its share of it, is asked for more than there is."""
    asked = shares > 0
    return float(np.floor((available[asked] / shares[asked]).min()))


def _rounded(counts: FloatArray) -> IntArray:
    return np.maximum(np.rint(counts).astype(np.int64), 1)


def _samples(value: Any, name: str) -> int:
    return checks.integer(value, name, minimum=1)


def _ratio(value: Any, name: str) -> float:
    ratio = checks.positive(value, name)
    if ratio < 1:
        raise ArgumentError(f"{name}: expected the largest class over the smallest, 1 or above, got {ratio}")
    return ratio


def _fraction(value: Any, name: str) -> float:
    return checks.share(checks.positive(value, name), name)


def rare_classes(counts: IntArray) -> BoolArray:
    """Which classes (K,) have samples, but fewer than half as many as the largest."""
    return np.asarray((counts > 0) & (2 * counts < counts.max()))


def _counts(value: Any, name: str) -> list[int]:
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise ArgumentTypeError(f"{name}: expected one number a class, got {value!r}")
    return [int(count) for count in checks.class_counts(value, len(value), name)]


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "minority": _samples,
    "majority": _samples,
    "first": _samples,
    "last": _samples,
    "ratio": _ratio,
    "fraction": _fraction,
    "counts": _counts,
    "shuffle": checks.flag,
}


def stratified_split(labels: IntArray, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Split sample indices into (train, test) with `fraction` of every class, rounded, in test.

    Both come back in ascending order. Every class keeps at least one training sample.

    Raises
    ------
    ArgumentError
        If the fraction is so small that no sample would be held out.
    """
    generator = np.random.default_rng([seed, 0])
    held: list[IntArray] = []
    for members in _by_class(labels):
        size = min(round(fraction * len(members)), len(members) - 1)
        held.append(generator.permutation(members)[:size])
    test = np.sort(np.concatenate(held))
    if len(test) == 0:
        raise ArgumentError(f"holdout: a fraction of {fraction} holds out no sample of any class; raise it or use 0")
    return np.setdiff1d(np.arange(len(labels)), test), test


def with_counts(labels: IntArray, counts: IntArray, seed: int) -> IntArray:
    """Indices, ascending, of a random subset with exactly `counts` (K,) samples of each class.

    For one seed the subsets are nested: asking for fewer samples of a class keeps some of the same ones.

    Raises
    ------
    ArgumentError
        If a class has fewer samples than asked for.
    """
    generator = np.random.default_rng([seed, 1])
    chosen: list[IntArray] = []
    for k, (members, count) in enumerate(zip(_by_class(labels), counts, strict=True)):
        if count > len(members):
            raise ArgumentError(f"counts: class {k} has {len(members)} training samples, fewer than {int(count)}")
        chosen.append(generator.permutation(members)[:count])
    return np.sort(np.concatenate(chosen))


def _by_class(labels: IntArray) -> list[IntArray]:
    return [np.flatnonzero(labels == k) for k in range(int(labels.max()) + 1)]
