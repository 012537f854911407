"""Cross-entropy, with a gradient and a conjugate that keep their relative precision down to a loss of 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.losses.convex_loss import ROUNDING, Curvature, soft

_SUM_TOLERANCE = 1e-9  # what a distribution read from a file may miss
_SUM_ROUNDING = 1e-12  # what the sum of a gradient may miss
_INTERCEPT_STEPS = 200  # damped Newton steps on a strictly convex function, which stop by themselves
_LIFT = 0.1  # share of its target that a probability is lifted to where it is not positive
_DISTRIBUTIONS = "use one_hot, label_smoothing, or an Encoding whose columns are 0 or above and sum to 1, or loss='mse'"


class CrossEntropy:
    """``ℓ(o; p) = log Σ_i exp(o_i) - <p, o>`` for a distribution p, as ``torch.nn.functional.cross_entropy``.

    With ``s = softmax(o)`` the gradient is ``s - p``, the second derivative ``diag(s) - s sᵀ``, whose largest
    eigenvalue is at most ½, and the conjugate ``Σ (y + p) log (y + p)`` where ``y + p`` is a distribution. The domain
    of the conjugate is convex and holds 0, so it holds ``t (s - p)`` for every t from 0 to 1.
    """

    name = "cross_entropy"
    smoothness = 0.5

    def targets(self, codewords: FloatArray) -> FloatArray:
        """Return the codewords with columns that sum to one exactly, and refuse what is not a distribution."""
        low = float(codewords.min())
        if low < -_SUM_TOLERANCE:
            i, k = (int(v) for v in np.unravel_index(codewords.argmin(), codewords.shape))
            raise ArgumentError(
                f"encoding: cross-entropy compares distributions, but codeword {k} has the entry {low:g} at {i}; "
                f"{_DISTRIBUTIONS}"
            )
        sums = codewords.sum(axis=0)
        worst = int(np.abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > _SUM_TOLERANCE:
            raise ArgumentError(
                f"encoding: cross-entropy compares distributions, but codeword {worst} sums to {sums[worst]:g} and not "
                f"to 1; {_DISTRIBUTIONS}"
            )
        positive = np.maximum(codewords, 0.0)
        return np.asarray(positive / positive.sum(axis=0))

    def bounded(self, mean_target: FloatArray) -> bool:
        """Every output needs some probability, or its bias falls without end."""
        return bool((mean_target > 0).all())

    def value(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return the cross-entropy of each column."""
        top, others, _ = _exponentials(outputs, copies)
        # log1p keeps the relative precision of a loss near zero.
        return np.asarray(np.log1p(others) + (copies * targets * (top - outputs)).sum(axis=0))

    def gradient(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return ``s - p``."""
        _, others, weights = _exponentials(outputs, copies)
        probabilities = weights / (1.0 + others)
        result = probabilities - targets
        row, column = np.nonzero(targets == 1.0)
        # For a hard target, s - 1 is minus what the other outputs have, without cancellation.
        masked = copies * probabilities
        masked[row, column] = 0.0
        result[row, column] = -masked.sum(axis=0)[column]
        return np.asarray(result)

    def curvature(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> Curvature:
        """Return ``diag(s) - s sᵀ``."""
        del targets
        _, others, weights = _exponentials(outputs, copies)
        probabilities = weights / (1.0 + others)
        return Curvature(probabilities, copies, probabilities)

    def conjugate(self, dual: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return the negative entropy of ``y + p``."""
        x = dual + targets
        inside = (x >= -ROUNDING).all(axis=0) & (np.abs((copies * dual).sum(axis=0)) <= _SUM_ROUNDING)
        x = np.maximum(x, 0.0)
        # Close to 1 the logarithm needs x - 1 and not x.
        near = x > 0.5
        log = np.log1p(np.where(near, dual + (targets - 1.0), 0.0))
        log = np.where(near, log, np.log(np.where(x > 0, x, 1.0)))
        return np.asarray(np.where(inside, (copies * x * log).sum(axis=0), np.inf))

    def recentered(
        self,
        gradient: FloatArray,
        targets: FloatArray,
        copies: FloatArray,
        mean: Callable[[FloatArray], FloatArray],
        spread: Callable[[FloatArray], FloatArray],
        wanted: FloatArray,
    ) -> FloatArray | None:
        """Take from outputs with too much, in proportion, and hand that to the others. Columns stay distributions.

        This is the rounding of a transport plan to its marginals :cite:p:`altschuler2017`.
        """
        probabilities = gradient + targets
        present = mean(probabilities)
        excess = mean(gradient) - wanted
        if (present - excess < 0).any():
            return None
        share = np.maximum(excess, 0.0) / np.where(present > 0, present, 1.0)
        taken = probabilities * spread(np.minimum(share, 1.0))
        missing = spread(np.maximum(-excess, 0.0))
        total = (copies * missing).sum(axis=0)
        freed = (copies * taken).sum(axis=0)
        moved = gradient - taken + missing * (freed / np.where(total > 0, total, 1.0))
        # What is wanted may not sum to 0, as it does for any distributions.
        off = np.abs((copies * moved).sum(axis=0))
        size = (copies * (np.abs(moved) + taken)).sum(axis=0) + soft(targets)
        return moved if (off <= 64 * ROUNDING * size).all() else None

    def outputs(self, gradient: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Logarithms of ``y + p`` with mean zero, what is not positive being lifted."""
        probabilities = gradient + targets
        count = copies.sum(axis=0)
        floor = np.maximum(_LIFT * targets, _LIFT * (copies * np.abs(gradient)).sum(axis=0) / count)
        log = np.log(np.maximum(probabilities, np.maximum(floor, 1e-300)))
        return np.asarray(log - (copies * log).sum(axis=0) / count)

    def intercept(
        self, mean_target: FloatArray, copies: FloatArray, decay: float, slope: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """Damped Newton in closed form: the second derivative is diagonal minus rank one."""
        del slope
        if decay == 0.0:
            log = np.log(mean_target)
            return np.asarray(log - copies @ log / copies.sum())
        b = np.zeros_like(mean_target)
        column = np.ones((1, 1))

        def value(b: FloatArray) -> float:
            fit = self.value(b[:, None], mean_target[:, None], copies[:, None] * column)
            return float(fit[0] + 0.5 * decay * (copies @ b**2))

        now = value(b)
        for _ in range(_INTERCEPT_STEPS):
            pull = self.gradient(b[:, None], mean_target[:, None], copies[:, None] * column)[:, 0]
            weights = pull + mean_target
            pull = pull + decay * b
            diagonal = weights + decay
            # The part along the weights is what keeps the mean of the bias at zero.
            along = (copies @ (pull / diagonal)) / (copies @ (weights / diagonal))
            step = (along * weights - pull) / diagonal
            length = 1.0
            while (after := value(b + length * step)) > now and length > 1e-9:
                length *= 0.5
            if length <= 1e-9:
                break
            b = b + length * step
            if after == now:
                break
            now = after
        return np.asarray(b - copies @ b / copies.sum())


def _exponentials(outputs: FloatArray, copies: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Largest output m of each column, ``Σ exp(o - m)`` without that one, and ``exp(o - m)``."""
    leading = np.where(copies > 0, outputs, -np.inf).argmax(axis=0)
    index = np.arange(outputs.shape[1])
    top = outputs[leading, index]
    weights = np.exp(outputs - top)
    counted = copies * weights
    counted[leading, index] -= 1.0
    return top, counted.sum(axis=0), weights
