"""A base for convex losses that treat every output on its own: few lines make one that the solver takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse._internal.warn import warn
from encollapse.ufm.losses.convex_loss import Curvature

_DOUBLINGS = 10  # of a bracket from 1
_HALVINGS = 56  # to the last digit of a root of size 1
_FAR = 500.0  # an output at which a slope that only tends to 0 is not 0 yet
_MOST_HALVINGS = 200  # to the last digit of a root next to 0


class SeparableLoss:
    """Base of losses ``Σ_i φ(o_i; p_i)`` with φ convex, differentiable and bounded below in the output.

    A loss is a subclass with a `name`, a `smoothness` (the largest second derivative of φ) and four functions that
    act on arrays entry by entry: :meth:`phi`, :meth:`slope`, :meth:`second_derivative` and :meth:`conjugate_phi`. Where
    slopes do not take every value, :meth:`slopes` gives their range. Pass an instance as ``Problem(..., loss=...)``:
    solver and certificate need no more. A loss that does not take any codewords as targets refuses them in
    :meth:`targets`.

    Examples
    --------
    The squared hinge, for labels of ±1:

    >>> import numpy as np
    >>> import encollapse as ec
    >>> class SquaredHinge(ec.ufm.SeparableLoss):
    ...     name = "squared_hinge"
    ...     smoothness = 1.0
    ...     def phi(self, o, p):
    ...         return 0.5 * np.maximum(1 - p * o, 0) ** 2
    ...     def slope(self, o, p):
    ...         return -p * np.maximum(1 - p * o, 0)
    ...     def second_derivative(self, o, p):
    ...         return np.where(p * o < 1, 1.0, 0.0)
    ...     def conjugate_phi(self, y, p):
    ...         return p * y + 0.5 * y**2
    ...     def slopes(self, p):
    ...         return np.where(p > 0, -np.inf, 0.0), np.where(p > 0, 0.0, np.inf)
    >>> decays = dict(weight_decay=5e-3, feature_decay=1e-4, bias_decay=0.1)
    >>> problem = ec.ufm.Problem(ec.encodings.one_vs_rest(5), [90, 60, 30, 20, 7], loss=SquaredHinge(), **decays)
    >>> ec.ufm.solve(problem).certificate.holds
    True
    """

    name: str
    smoothness: float

    def phi(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``φ(o; p)`` of each output and its target."""
        raise NotImplementedError

    def slope(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``φ'(o; p)``, to a small relative error even where it is tiny."""
        raise NotImplementedError

    def second_derivative(self, o: FloatArray, p: FloatArray) -> FloatArray:
        """``φ''(o; p)``. At a kink of φ' it is a value between those on both sides."""
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "bend" in vars(cls) and "second_derivative" not in vars(cls):
            warn(f"{cls.__name__}.bend is called second_derivative now, and is read as such; rename it")
            cls.second_derivative = vars(cls)["bend"]  # type: ignore[method-assign]

    def conjugate_phi(self, y: FloatArray, p: FloatArray) -> FloatArray:
        """``sup_o y o - φ(o; p)`` for y within :meth:`slopes`."""
        raise NotImplementedError

    def slopes(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Least and largest y at which the conjugate is finite, every number by default."""
        return np.full_like(p, -np.inf), np.full_like(p, np.inf)

    def targets(self, codewords: FloatArray) -> FloatArray:
        """Return the codewords (q, K) as targets. Raise ArgumentError if they are none. All are by default."""
        return codewords

    def bounded(self, mean_target: FloatArray) -> bool:
        """Whether a bias without decay has a minimizer when the mean of the targets (q,) is this.

        By default, whether :meth:`slopes` has both signs there, or :meth:`slope` is 0 far out on the side where it has
        not. A logistic loss falls for ever toward an output that no class asks for, and a squared hinge does not.
        """
        mean = np.round(mean_target, 14)  # where every class asks for 1, the mean may miss it by rounding
        low, high = self.slopes(mean)
        if (low < 0).all() and (high > 0).all():
            return True
        far = np.full_like(mean, _FAR)
        falls = (low >= 0) & (self.slope(-far, mean) > 0)
        rises = (high <= 0) & (self.slope(far, mean) < 0)
        return not bool((falls | rises).any())

    def value(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return the sum over the outputs of each column."""
        return np.asarray((copies * self.phi(outputs, targets)).sum(axis=0))

    def gradient(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return the slopes."""
        del copies
        return np.asarray(self.slope(outputs, targets))

    def curvature(self, outputs: FloatArray, targets: FloatArray, copies: FloatArray) -> Curvature:
        """Return the second derivative, which is diagonal."""
        return Curvature(np.asarray(self.second_derivative(outputs, targets)), copies)

    def conjugate(self, dual: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return the sum of the conjugates of each column, infinity where a slope is none."""
        low, high = self.slopes(targets)
        rounding = 8 * EPS * (1.0 + np.abs(targets))
        inside = ((dual >= low - rounding) & (dual <= high + rounding)).all(axis=0)
        total = (copies * self.conjugate_phi(np.clip(dual, low, high), targets)).sum(axis=0)
        return np.asarray(np.where(inside, total, np.inf))

    def recentered(
        self,
        gradient: FloatArray,
        targets: FloatArray,
        copies: FloatArray,
        mean: Callable[[FloatArray], FloatArray],
        spread: Callable[[FloatArray], FloatArray],
        wanted: FloatArray,
    ) -> FloatArray | None:
        """Move slopes by equal numbers where nothing bounds them, else by equal shares of their way to the bound."""
        del copies
        low, high = self.slopes(targets)
        excess = mean(gradient) - wanted
        moved = gradient
        for way, bound in ((-1.0, low), (1.0, high)):
            # Rounding may have left a slope just beyond its bound.
            room = np.maximum(way * (np.where(np.isinf(bound), gradient, bound) - gradient), 0.0)
            free = np.isinf(bound).astype(np.float64)
            unbounded = mean(free) > 0
            room = np.where(spread(unbounded.astype(np.float64)) > 0, free, room)
            need = np.maximum(-way * excess, 0.0)
            available = mean(room)
            share = np.where(need > 0, need / np.where(available > 0, available, np.nan), 0.0)
            if np.isnan(share).any() or (share[~unbounded] > 1.0).any():
                return None
            moved = moved + way * spread(share) * room
        return np.asarray(moved)

    def outputs(self, gradient: FloatArray, targets: FloatArray, copies: FloatArray) -> FloatArray:
        """Return outputs whose slopes are near `gradient`, by bisection."""
        del copies
        return self._bisected(lambda o: self.slope(o, targets) - gradient, np.zeros_like(gradient))

    def intercept(
        self, mean_target: FloatArray, copies: FloatArray, decay: float, slope: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """Return the best bias where nothing is learned, each output on its own."""
        del copies
        return self._bisected(lambda b: slope(b) + decay * b, np.zeros_like(mean_target), _MOST_HALVINGS)

    @staticmethod
    def _bisected(
        rising: Callable[[FloatArray], FloatArray], middle: FloatArray, halvings: int = _HALVINGS
    ) -> FloatArray:
        """Root of each entry of a function that does not fall, or the end of the bracket on its side."""
        reach = 1.0
        for _ in range(_DOUBLINGS):
            if (rising(middle - reach) <= 0).all() and (rising(middle + reach) >= 0).all():
                break
            reach *= 2.0
        low, high = middle - reach, middle + reach
        for _ in range(halvings):
            middle = 0.5 * (low + high)
            above = rising(middle) > 0
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray(0.5 * (low + high))
