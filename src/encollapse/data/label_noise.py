"""Labels changed on purpose, by exact numbers and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.data.dataset import Split
from encollapse.errors import ArgumentError

KINDS = ("symmetric", "pairwise", "confusion")


def check(spec: Any) -> dict[str, Any]:
    """Return the description of the noise with its numbers checked. A number alone is a symmetric fraction.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the kind is unknown, or what it needs is missing or out of range.
    """
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        spec = {"kind": "symmetric", "fraction": spec}
    wanted = "a fraction, or a mapping such as {'kind': 'pairwise', 'fraction': 0.2}"
    given = checks.mapping(spec, "label_noise", what=wanted)
    kind = checks.choice(given.pop("kind", "symmetric"), "label_noise.kind", KINDS)
    needed = "matrix" if kind == "confusion" else "fraction"
    for name in given:
        if name != needed:
            raise ArgumentError(f"label_noise: kind {kind!r} has no option {name!r}; it has {needed}")
    if needed not in given:
        raise ArgumentError(f"label_noise: kind {kind!r} needs {needed!r}")
    if needed == "matrix":
        matrix = checks.array(given["matrix"], "label_noise.matrix", (None, None), axes="(K, K)")
        return {"kind": kind, "matrix": matrix.tolist()}
    return {"kind": kind, "fraction": checks.share(given["fraction"], "label_noise.fraction")}


def with_label_noise(split: Split, num_classes: int, spec: Any, seed: int) -> Split:
    """Change labels of a split. The true ones stay as ``clean_labels``.

    Of every class k, exactly the share asked for is relabeled, rounded. The seed decides which.

    ``symmetric``
        Each other class gets an equal part of them :cite:p:`zhang2017`. What is left over is drawn at random.
    ``pairwise``
        All of them become class ``k + 1``, and those of the last class become class 0.
    ``confusion``
        ``matrix[k][l]`` is the share of class k that is labeled l. Rows sum to 1.

    Parameters
    ----------
    split : Split
        Clean samples.
    num_classes : int
        Number of classes K.
    spec : float or mapping
        The share of every class, or a mapping with a ``"kind"`` of the three above and its ``"fraction"`` or
        ``"matrix"``.
    seed : int
        Decides which samples are relabeled. For one seed, a larger fraction relabels the same samples and more.

    Returns
    -------
    Split
        The same inputs with changed labels.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the description cannot be used for so many classes.

    Examples
    --------
    >>> import numpy as np
    >>> import encollapse as ec
    >>> clean = ec.data.Split(np.eye(6), [0, 0, 1, 1, 2, 2])
    >>> noisy = ec.data.with_label_noise(clean, 3, {"kind": "pairwise", "fraction": 0.5}, seed=0)
    >>> np.bincount(noisy.labels[[0, 1]], minlength=3)  # one of class 0 became class 1
    array([1, 1, 0])
    """
    shares = _shares(check(spec), num_classes)
    labels = split.labels.copy()
    for k in range(num_classes):
        members = np.flatnonzero(split.labels == k)
        generator = np.random.default_rng([seed, 2, k])
        order, lots = generator.permutation(members), generator.permutation(num_classes)
        moved = round(len(members) * (1 - shares[k, k]))
        others = lots[lots != k]
        new = np.repeat(others, apportioned(shares[k, others], moved))
        labels[order[:moved]] = np.random.default_rng([seed, 3, k]).permutation(new)
    return Split(split.inputs, labels, split.labels, split.rows)


def apportioned(shares: FloatArray, total: int) -> IntArray:
    """Whole numbers that sum to `total` and are nearest to shares of it: largest remainders first, then in order."""
    if total == 0:
        return np.zeros(len(shares), np.int64)
    exact = total * shares / shares.sum()
    parts = np.floor(exact + 1e-9).astype(np.int64)
    first = np.argsort(parts - exact, kind="stable")
    parts[first[: total - int(parts.sum())]] += 1
    return np.asarray(parts)


def _shares(noise: Mapping[str, Any], num_classes: int) -> FloatArray:
    """Share (K, K) of class k, row by row, that is labeled l."""
    keep = np.eye(num_classes)
    if noise["kind"] == "symmetric":
        fraction = noise["fraction"]
        return np.asarray((1 - fraction) * keep + fraction * (1 - keep) / (num_classes - 1))
    if noise["kind"] == "pairwise":
        fraction = noise["fraction"]
        return np.asarray((1 - fraction) * keep + fraction * np.roll(keep, 1, axis=1))
    shape = (num_classes, num_classes)
    matrix = checks.array(noise["matrix"], "label_noise.matrix", shape, axes="(num_classes, num_classes)")
    if (matrix < 0).any() or not np.allclose(matrix.sum(1), 1, atol=1e-6):
        row = int(np.argmax((matrix < 0).any(1) | ~np.isclose(matrix.sum(1), 1, atol=1e-6)))
        raise ArgumentError(
            f"label_noise.matrix: row {row} is no distribution (sum {matrix[row].sum():g}, least entry "
            f"{matrix[row].min():g}); give shares of 0 or above that sum to 1"
        )
    return matrix
