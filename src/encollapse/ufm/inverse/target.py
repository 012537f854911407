"""Target geometries for designed encodings: checked, factored into class means, and scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks, memory
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.encodings import one_hot
from encollapse.errors import ArgumentError
from encollapse.geometry.frames import frame_gram
from encollapse.ufm.problem import Problem

FRAMES = {"simplex": "simplex_etf", "simplex_etf": "simplex_etf", "orthogonal": "orthogonal"}
"""Targets by name."""

SCALES = ("one_hot", "unit_codewords", "unit_outputs")
"""Sizes that :func:`scale_target` knows."""

_CENTERED = 1e-10  # global mean, in units of the root mean square of the class means, that counts as zero


@dataclass(frozen=True, eq=False)
class Target:
    """A Gram matrix ``Γ = BᵀB`` with the problem in which it is wanted.

    Attributes
    ----------
    setting : Problem
        The counts and decays, with one-hot labels in the place of the encoding to be found.
    gram : (K, K)
        Γ, exactly symmetric.
    means : (r, K)
        B: class means in their own span. Its number of rows r is the rank of Γ.
    """

    setting: Problem
    gram: FloatArray
    means: FloatArray

    @classmethod
    def of(cls, target_gram: ArrayLike | str, counts: ArrayLike, **decays: Any) -> Target:
        """Check the arguments and factor the target."""
        named = isinstance(target_gram, str)
        gram, precision = _named(target_gram, counts) if named else _symmetric(target_gram)
        setting = Problem(one_hot(len(gram)), counts, **decays)
        means = _factor(gram, precision)
        center = means @ setting.priors
        if np.linalg.norm(center) <= max(_CENTERED, precision) * _rms(means, setting.priors):
            means = means - center[:, None]
        target = cls(setting, gram, means)
        return target.scaled(scale_factor(target, "one_hot", "target_gram")) if named else target

    def scaled(self, factor: float) -> Target:
        """Return the target with its Gram matrix multiplied by `factor`."""
        return Target(self.setting, self.gram * factor, self.means * math.sqrt(factor))

    @property
    def rank(self) -> int:
        """Dimension that the class means span."""
        return len(self.means)

    @property
    def off_center(self) -> float:
        """Length of the global mean ``Σ π_k m_k`` relative to the root mean square of the ``|m_k|``."""
        priors = self.setting.priors
        return float(np.linalg.norm(self.means @ priors)) / _rms(self.means, priors)

    @property
    def is_centered(self) -> bool:
        """Whether ``Σ π_k m_k = 0``, that is ``|Z| u = 0``."""
        return self.off_center <= _CENTERED

    @cached_property
    def _decomposition(self) -> tuple[FloatArray, FloatArray]:
        # Through the factor: a direction of a rare class keeps its digits beside those of common ones, which
        # the eigenvalues of diag(u) Γ diag(u) would lose.
        _, roots, right = np.linalg.svd(self.means * np.sqrt(self.setting.priors), full_matrices=False)
        return self.setting.balance**2 * roots**2, right

    @property
    def singular(self) -> FloatArray:
        """Singular values S of the wanted Z, shape (r,): ``|Z| = V S Vᵀ = √(N λ_H/λ_W) diag(u) Γ diag(u)``."""
        return self._decomposition[0]

    @property
    def right(self) -> FloatArray:
        """``Vᵀ``, shape (r, K)."""
        return self._decomposition[1]


def scale_target(
    target_gram: ArrayLike | str, counts: ArrayLike, *, weight_decay: float, feature_decay: float, like: str = "one_hot"
) -> FloatArray:
    """Multiply a target Gram matrix by a number, so that its size suits the regularization.

    Any size can be designed for, but not any size is sensible: with S the singular values of the wanted
    ``Z = W M diag(u)`` and ``c = √(N λ_W λ_H)``, the codewords have the singular values ``S + c``. Far above c,
    codewords grow in proportion to the class means. Far below, they are nearly all threshold, and a small
    change of the data or the decays makes what is learned vanish.

    Parameters
    ----------
    target_gram : (K, K) array_like or {"simplex", "orthogonal"}
        The shape that is wanted.
    counts : int or (K,) ints
        Samples per class.
    weight_decay, feature_decay : float
        ``λ_W`` and ``λ_H`` of the training, above 0.
    like : {"one_hot", "unit_codewords", "unit_outputs"}
        ``one_hot``: a direction of the target is learned as strongly, on average over its rank, as balanced
        one-hot labels with the same N and decays learn theirs, ``1/√K - c``. Balanced orthogonal and simplex
        targets then get the (centered) one-hot labels back. ``unit_codewords``: the codewords, without their
        common part b, have a root mean square length of 1 over the samples, as one-hot ones.
        ``unit_outputs``: the outputs ``W m_k`` have.

    Returns
    -------
    (K, K) array
        The scaled Gram matrix, for :func:`design`.

    Raises
    ------
    ArgumentError
        If the target or a setting cannot be used, or the decays are so large that what `like` names would
        learn nothing.

    Examples
    --------
    >>> import encollapse as ec
    >>> decays = dict(weight_decay=5e-3, feature_decay=2e-3)
    >>> ec.ufm.scale_target("simplex", [3, 5, 7], **decays).round(4)
    array([[ 0.4614, -0.2307, -0.2307],
           [-0.2307,  0.4614, -0.2307],
           [-0.2307, -0.2307,  0.4614]])
    """
    target = Target.of(target_gram, counts, weight_decay=weight_decay, feature_decay=feature_decay)
    factor = scale_factor(target, checks.choice(like, "like", SCALES), "like")
    return np.asarray(target.gram * factor)


def scale_factor(target: Target, like: str, argument: str) -> float:
    """Number by which the Gram matrix is to be multiplied."""
    s, c, k = target.singular, target.setting.threshold, target.setting.num_classes
    unit = s / s.max()
    if like == "unit_outputs":
        return float(1.0 / (s.max() * np.linalg.norm(unit)))
    if like == "one_hot":
        learned = 1.0 / math.sqrt(k) - c
        if learned <= 0:
            raise ArgumentError(
                f"{argument}: balanced one-hot labels would learn nothing with these decays (c = √(N λ_W λ_H) = "
                f"{c:.4g} is not below 1/√K = {1 / math.sqrt(k):.4g}), so they give no size; lower weight_decay or "
                "feature_decay, or choose the size yourself, by a Gram matrix or scale_target(like='unit_outputs')"
            )
        return float(target.rank * learned / (s.max() * unit.sum()))
    spare = 1.0 - target.rank * c**2
    if spare <= 0:
        raise ArgumentError(
            f"{argument}: unit codewords cannot reach the threshold in all {target.rank} directions of the target "
            f"(c = √(N λ_W λ_H) = {c:.4g} is not below 1/√rank = {1 / math.sqrt(target.rank):.4g}); lower weight_decay "
            "or feature_decay, or use like='unit_outputs'"
        )
    # The positive root of |f s + c|² = 1, in the form that does not cancel.
    pull, energy = c * float(unit.sum()), float(unit @ unit)
    return float(spare / (s.max() * (pull + math.sqrt(pull**2 + energy * spare))))


def _named(name: str, counts: ArrayLike) -> tuple[FloatArray, float]:
    checks.choice(name, "target_gram", tuple(FRAMES))
    raw = checks.to_numpy(counts, "counts")
    if raw.ndim != 1 or len(raw) < 2:
        raise ArgumentError(
            f"counts: with the target {name!r} the number of classes comes from the counts, so give one count a "
            f"class, at least two; got {counts!r}"
        )
    memory.require_room("target_gram", len(raw), len(raw), instead="designs need it dense; use fewer classes")
    return frame_gram(FRAMES[name], len(raw)), _rounding_level(len(raw))


def _rms(means: FloatArray, priors: FloatArray) -> float:
    """Root mean square length of the class means over the samples."""
    peak = float(np.abs(means).max())
    return peak * math.sqrt(float((means / peak) ** 2 @ priors @ np.ones(len(means))))


def _symmetric(target_gram: ArrayLike) -> tuple[FloatArray, float]:
    """Check that a target is a square, finite, symmetric array, and return it and its relative rounding level."""
    gram = checks.array(target_gram, "target_gram", (None, None), axes="(num_classes, num_classes)")
    if gram.shape[0] != gram.shape[1] or len(gram) < 2:
        raise ArgumentError(
            f"target_gram: expected shape (K, K), one row and column for each of at least 2 classes, got {gram.shape}"
        )
    given = checks.to_numpy(target_gram, "target_gram").dtype
    precision = _rounding_level(len(gram), given if given.kind == "f" else np.float64)
    if not gram.any():
        raise ArgumentError(
            "target_gram: every class mean is zero (total collapse), which is what any encoding gives whose weighted "
            "labels E diag(√π) have no singular value above c = √(N λ_W λ_H); ask for a geometry, or raise "
            "weight_decay or feature_decay"
        )
    return checks.symmetric(gram, "target_gram", "G", precision), precision


def _factor(gram: FloatArray, precision: float) -> FloatArray:
    """Return B (r, K) with ``BᵀB = gram``.

    Rank and sign are judged on the cosines, where the rounding of inner products is of one size: a short
    class mean does not count as zero because others are long.
    """
    silent = np.abs(gram).max(axis=0) <= precision * np.abs(gram).max()
    squares = np.where(silent, 1.0, np.diag(gram))
    if (squares <= 0).any():
        _refuse_indefinite(gram)
    lengths = np.sqrt(squares)
    cosines = np.where(silent | silent[:, None], 0.0, gram / lengths / lengths[:, None])
    values, vectors = np.linalg.eigh(cosines)
    if values[0] < -precision * values[-1]:
        _refuse_indefinite(gram)
    kept = values > precision * values[-1]
    unit = np.sqrt(values[kept])[::-1, None] * vectors[:, kept].T[::-1]
    return np.asarray(unit * np.where(silent, 0.0, lengths))


def _refuse_indefinite(gram: FloatArray) -> None:
    values = np.linalg.eigvalsh(gram)
    raise ArgumentError(
        "target_gram: expected a positive semidefinite matrix, as inner products form, but its smallest eigenvalue is "
        f"{values[0]:.6g} (the largest is {values[-1]:.6g}); use the nearest one, "
        "encollapse.encodings.from_similarity(G).gram()"
    )


def _rounding_level(num_classes: int, dtype: Any = np.float64) -> float:
    """Relative size up to which eigenvalues and asymmetries of a Gram matrix count as rounding."""
    return float(64 * math.sqrt(num_classes) * np.finfo(dtype).eps)
