"""The cumulative link model of ordinal regression: one output, and thresholds between the classes."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, xlogy

from encollapse._internal import checks
from encollapse._internal.rounding import TINY
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError
from encollapse.ufm.losses.separable import SeparableLoss


class CumulativeLink(SeparableLoss):
    """Negative log-likelihood of ordered classes, whose borders on one latent output are fixed thresholds.

    With thresholds ``θ_1 < … < θ_{K-1}``, ``θ_0 = -∞`` and ``θ_K = ∞``, class k has the probability
    ``σ(θ_{k+1} - o) - σ(θ_k - o)`` at the output o, where σ is the logistic function (proportional odds
    :cite:p:`mccullagh1980`). Its negative logarithm is the sum of two softplus functions and a constant, so it is
    convex, and the unrestricted feature model is solved with a certificate. Neural collapse of it is described in
    :cite:t:`ma2025`: class means lie on a line in the order of the classes, and as the decay vanishes an inner class
    comes to the middle of its interval.

    Parameters
    ----------
    thresholds : (K - 1,)
        Increasing and finite.

    Attributes
    ----------
    thresholds : (K - 1,)
        As given.
    encoding : Encoding
        The targets that this loss takes: codeword k is the number k, of length 1.

    Raises
    ------
    ArgumentError
        If thresholds are not finite and increasing.

    Examples
    --------
    >>> import encollapse as ec
    >>> loss = ec.ufm.CumulativeLink([-2.0, 0.0, 3.0])
    >>> problem = ec.ufm.Problem(
    ...     loss.encoding, [40, 30, 20, 10], weight_decay=1e-4, feature_decay=1e-5, bias_decay=float("inf"), loss=loss
    ... )
    >>> solution = ec.ufm.solve(problem)
    >>> solution.certificate.holds, solution.geometry.class_outputs.round(2).tolist()
    (True, [[-9.74, -1.0, 1.5, 10.65]])
    """

    name = "cumulative_link"
    smoothness = 0.5

    def __init__(self, thresholds: ArrayLike) -> None:
        borders = checks.array(thresholds, "thresholds", (None,), axes="(num_classes - 1,)")
        if len(borders) == 0 or (np.diff(borders) <= 0).any():
            raise ArgumentError(f"thresholds: expected one or more increasing numbers, got {thresholds!r}")
        self.thresholds = checks.read_only(borders)
        self._borders = np.concatenate([[-np.inf], borders, [np.inf]])
        self.encoding = Encoding(np.arange(len(borders) + 1.0)[None, :], name="rank")

    def targets(self, codewords: FloatArray) -> FloatArray:
        """Return the codewords, and refuse what are no numbers of classes."""
        last = len(self.thresholds)
        fits = len(codewords) == 1 and bool(
            ((codewords == np.round(codewords)) & (codewords >= 0) & (codewords <= last)).all()
        )
        if not fits:
            raise ArgumentError(
                f"encoding: with {last} thresholds the cumulative link takes codewords of one entry, the number of the "
                f"class from 0 to {last}; use its .encoding"
            )
        return codewords

    def bounded(self, mean_target: FloatArray) -> bool:
        """A free bias runs away where all samples are in the first class, or all in the last."""
        return bool(0 < mean_target[0] < len(self.thresholds))

    def _interval(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        k = p.astype(np.int64)
        return self._borders[k], self._borders[k + 1]

    def phi(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``log(1 + e^(o-u)) + log(1 + e^(l-o)) - log(1 - e^(l-u))`` with the borders l and u of the class."""
        low, high = self._interval(p)
        return np.asarray(np.logaddexp(0, o - high) + np.logaddexp(0, low - o) - _log_share(high - low))

    def slope(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``σ(o - u) - σ(l - o)``, as a product, which keeps its digits where the two nearly cancel."""
        low, high = self._interval(p)
        above, below = o - high, low - o
        larger, smaller = np.maximum(above, below), np.minimum(above, below)
        size = -expit(larger) * expit(-smaller) * np.expm1(smaller - larger)
        return np.asarray(np.where(above > below, size, -size))

    def second_derivative(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """Sum of those of both softplus functions."""
        low, high = self._interval(p)
        return np.asarray(expit(o - high) * expit(high - o) + expit(low - o) * expit(o - low))

    def slopes(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """From -1 to 1, and of one sign in the first and the last class."""
        low, high = self._interval(p)
        return np.where(np.isinf(low), 0.0, -1.0), np.where(np.isinf(high), 0.0, 1.0)

    def conjugate_phi(self, y: FloatArray, p: FloatArray) -> FloatArray:
        """In closed form: the slope is y where the exponential of the output solves a quadratic equation."""
        low, high = self._interval(p)
        size = np.abs(y)
        at_border = np.where(np.isinf(low), high, low)
        outer = y * at_border + xlogy(size, size) + xlogy(1 - size, 1 - size)
        is_inner = np.isfinite(low) & np.isfinite(high)
        middle = np.where(is_inner, 0.5 * (np.where(is_inner, low, 0.0) + np.where(is_inner, high, 0.0)), 0.0)
        half = np.where(is_inner, 0.5 * (np.where(is_inner, high, 1.0) - np.where(is_inner, low, -1.0)), 1.0)
        # By symmetry about the middle the conjugate at -y is that at y, seen from there. With s = |o - middle| and
        # t = e^(s-half), which never overflows: (1-y) t² - y (1 + e^(-2 half)) t - (1 + y) e^(-2 half) = 0.
        tiny = np.exp(-2 * half)
        linear = size * (1 + tiny)
        root = np.sqrt(linear**2 + 4 * (1 - size**2) * tiny)
        inside = np.maximum(1 - size, TINY)
        shift = np.log((linear + root) / (2 * inside))
        # y (half + shift) - log(1 + t) - log(1 + e^(-2 half) / t), whose first terms cancel as y tends to 1.
        with_slope = size * half - (1 - size) * shift - np.log1p(np.exp(-shift)) - np.log1p(np.exp(-2 * half - shift))
        inner = y * middle + np.where(size < 1, with_slope, half) + _log_share(2 * half)
        return np.asarray(np.where(is_inner, inner, outer))


def _log_share(width: FloatArray) -> FloatArray:
    """``log(1 - e^(-width))``, which is 0 for an infinite width."""
    return np.asarray(np.where(width > 1, np.log1p(-np.exp(-width)), np.log(-np.expm1(-np.minimum(width, 1.0)))))
