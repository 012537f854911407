"""Seeded subsets of labeled samples: stratified hold-outs and exact class counts."""

import numpy as np

from encollapse._internal.typing import IntArray
from encollapse.errors import ArgumentError


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
