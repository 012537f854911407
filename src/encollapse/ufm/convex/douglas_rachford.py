"""Douglas-Rachford splitting of the convex problem: the fit and the penalties are minimized in turn.

The unknown is the table of outputs :cite:p:`eckstein1992`. Near a table T the fit is minimized column by column, and
the penalties by the soft thresholding that solves the squared error. So no step has to suit all outputs at once, though
the fit may bend a thousand times more along some than along others. Extrapolation :cite:p:`walker2011` takes out the
slowest modes.
"""

from __future__ import annotations

import math

import numpy as np

from encollapse._internal.rounding import TINY
from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite, GroupedSVD, Start
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.minimize import minimize
from encollapse.ufm.mse.weighted_labels import WeightedLabels

ITERATIONS = 250  # they find the face, and Newton's method takes over

_CHECKED = 5  # iterations between two looks at the gap
_STALLED = 6  # looks without a gap better by a tenth
_SETTLING = 3  # looks after the gap has closed
_NEARLY = 10.0  # times the aim: near enough for a large problem
_LARGE = 128  # rows and columns from which a problem is large
_SETTLED = 1e-7  # of the outputs: the residual at which a point is exact enough
_INNER = 6  # Newton steps of a column
_INNER_ACCURACY = 1e-2  # of the last residual
_REACH = 2.0  # change of an output up to which a Newton step is trusted
_MEMORY = 8  # iterates to extrapolate from
_OBSERVED = 5  # steps before the first change of the ridge; twice as many before each further one
_FAR = 2.5  # factor between fit and ridge from which the ridge follows
_REGULAR = 1e-12  # of the diagonal of the normal equations


def split(composite: Composite, aim: float, warm_start: Start | None = None) -> tuple[Start, int]:
    """Return the point of the smallest relative gap, which need not reach `aim`, and the iterations taken.

    Parameters
    ----------
    composite : Composite
        The problem.
    aim : float
        Relative duality gap at which to stop.
    warm_start : Start, optional
        A point to start from.
    """
    t = composite.table
    outputs = _guess(composite) if warm_start is None else _outputs(composite, *warm_start)
    ridge = _ridge(composite, outputs)
    gradient = composite.gradient(outputs)
    table = outputs + gradient / ridge
    memory = _Extrapolation(np.sqrt(t.weights * t.copies))
    secant = _Secant(memory, _OBSERVED)
    best: tuple[float, Start] | None = None
    size, waited, closed, nearly = math.inf, 0, 0, 0
    for iteration in range(1, ITERATIONS + 1):
        outputs = _fit(composite, table, outputs, ridge, _INNER_ACCURACY * size)
        bending = secant.bending(outputs, table - outputs)
        point, bias = _penalized(composite, 2.0 * outputs - table, ridge)
        residual = _outputs(composite, point, bias) - outputs
        size = memory.length(residual)
        if not math.isfinite(size):
            break
        settled = size <= _SETTLED * memory.length(outputs)
        looks = iteration % _CHECKED == 0
        if looks or settled:
            gap = composite.certified(point, bias)[1].relative_gap
            waited = 0 if best is None or gap < 0.9 * best[0] else waited + looks
            if best is None or gap <= max(best[0], aim):
                best = gap, (point, bias)
            closed += gap <= aim
            nearly += gap <= _NEARLY * aim and dear(composite)
            if (gap <= aim and settled) or closed > _SETTLING or nearly > 2 * _SETTLING or waited > _STALLED:
                break
        table = memory.extrapolate(table + residual, residual)
        if not 1.0 / _FAR < bending < _FAR:
            # The gradient, ridge times (table - outputs), stays as it is.
            table = outputs + (table - outputs) / bending
            ridge *= bending
            memory.clear()
            secant = _Secant(memory, 2 * secant.observed)
    return (best[1] if best is not None else composite.start()), iteration


def _outputs(composite: Composite, point: GroupedSVD, bias: FloatArray) -> FloatArray:
    return composite.table.forward(point.matrix, point.contrast, bias)


def dear(composite: Composite) -> bool:
    """Whether a problem is so large that a certificate which holds is enough, however much smaller its gap could be."""
    return min(composite.table.shape) > _LARGE


class _Secant:
    """How much more the fit bends along the steps taken than the ridge does. Where both agree it is fastest."""

    def __init__(self, memory: _Extrapolation, observed: int) -> None:
        self.observed = observed
        self._memory = memory
        self._last: tuple[FloatArray, FloatArray] | None = None
        self._logarithms: list[float] = []

    def bending(self, outputs: FloatArray, slope: FloatArray) -> float:
        """Add a step, and return the geometric mean of the last few, or 1 while there are not enough."""
        if self._last is not None:
            length = self._memory.length(outputs - self._last[0])
            change = self._memory.length(slope - self._last[1])
            if length > 0 and change > 0:
                self._logarithms.append(math.log(change / length))
        self._last = outputs, slope
        if len(self._logarithms) < self.observed:
            return 1.0
        return math.exp(sum(self._logarithms[-self.observed :]) / self.observed)


class _Extrapolation:
    """The last iterates, from which the next one is extrapolated. `scale` makes the steps those of a projection."""

    def __init__(self, scale: FloatArray) -> None:
        self.scale = scale
        self._images: list[FloatArray] = []
        self._residuals: list[FloatArray] = []

    def clear(self) -> None:
        """Forget them."""
        self._images.clear()
        self._residuals.clear()

    def length(self, table: FloatArray) -> float:
        """Weighted length of a table."""
        return float(np.linalg.norm(self.scale * table))

    def extrapolate(self, image: FloatArray, residual: FloatArray) -> FloatArray:
        """Return the combination of images whose residuals cancel best. Start anew where they grow."""
        here = (self.scale * residual).ravel()
        if self._residuals and np.linalg.norm(here) > 2.0 * np.linalg.norm(self._residuals[-1]):
            self.clear()
        changes = np.array([here - other for other in self._residuals]).reshape(-1, here.size)
        result = image
        if len(changes):
            gram = changes @ changes.T
            gram[np.diag_indices_from(gram)] *= 1.0 + _REGULAR
            shares = np.linalg.lstsq(gram, changes @ here, rcond=None)[0]
            result = image * (1.0 - shares.sum())
            for share, other in zip(shares, self._images, strict=True):
                result += share * other
        self._images = [*self._images, image][-_MEMORY:]
        self._residuals = [*self._residuals, here][-_MEMORY:]
        return np.asarray(result)


def _guess(composite: Composite) -> FloatArray:
    """Outputs whose gradients are the dual solution of the squared error about the point where nothing is learned."""
    t, c = composite.table, composite.threshold
    zero, bias = composite.start()
    matrix, contrast, _ = composite.pull(composite.gradient(t.forward(zero.matrix, zero.contrast, bias)))
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    clipped = (left * np.minimum(singular, c)) @ right
    contrast = np.clip(contrast / np.maximum(t.contrasts, 1.0), -c, c)
    return composite.loss.outputs(t.forward(clipped, contrast, np.zeros_like(bias)), t.targets, t.copies)


def _ridge(composite: Composite, outputs: FloatArray) -> float:
    """Median over all single outputs of how much the fit bends along one."""
    t = composite.table
    bending = np.broadcast_to(composite.loss.curvature(outputs, t.targets, t.copies).diagonal, outputs.shape)
    order = np.argsort(bending, axis=None)
    counted = np.cumsum(np.broadcast_to(t.copies, outputs.shape).ravel()[order])
    middle = order[np.searchsorted(counted, 0.5 * float(counted[-1]))]
    return float(max(bending.ravel()[middle], TINY**0.25))


def _fit(composite: Composite, target: FloatArray, outputs: FloatArray, ridge: float, accuracy: float) -> FloatArray:
    """Minimize ``ℓ(o) + ridge/2 |o - target|²`` in each column, by Newton steps of bounded reach."""
    t, loss = composite.table, composite.loss
    scale = np.sqrt(t.weights * t.copies)
    for _ in range(_INNER):
        slope = composite.gradient(outputs) + ridge * (outputs - target)
        if np.linalg.norm(scale * slope) <= ridge * accuracy:
            break
        step = loss.curvature(outputs, t.targets, t.copies).solve(slope, ridge)
        outputs = outputs - step * np.minimum(1.0, _REACH / np.maximum(np.abs(step).max(axis=0), TINY))
    return outputs


def _penalized(composite: Composite, table: FloatArray, ridge: float) -> Start:
    """Minimize ``c |Z|_* + λ_b/2 |b|² + ridge/2 |Z + b uᵀ - T|²``."""
    t, c = composite.table, composite.threshold / ridge
    matrix, contrast, mean = composite.pull(table)
    contrast = contrast / np.maximum(t.contrasts, 1.0)
    contrast = np.where(t.contrasts > 0, np.sign(contrast) * np.maximum(np.abs(contrast) - c, 0.0), 0.0)
    roots = np.sqrt(t.outputs)
    mean = mean / roots
    if composite.has_bias and composite.bias_decay > 0.0:
        scale = max(float(np.abs(matrix).max()), TINY)
        labels = WeightedLabels(scale, (matrix - np.outer(mean, t.direction)) / scale, t.direction.copy(), mean / scale)
        found = minimize(LabelSVD.of(labels), c / scale, composite.bias_decay / ridge)
        z = found.factors.triplets()
        return GroupedSVD(z.left, scale * z.singular, z.right, contrast), scale * found.bias / roots
    bias = np.zeros_like(mean)
    if composite.has_bias:
        matrix = matrix - np.outer(mean, t.direction)
        bias = mean / roots
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    kept = singular > c
    return GroupedSVD(left[:, kept].copy(), singular[kept] - c, right[kept].copy(), contrast), bias
