"""Gradient flow on the unrestricted feature model: how training moves, and how fast it ends.

In the scaled class means ``M' = M diag(√n)`` gradient flow of the features of all samples is Euclidean gradient flow,
as long as samples of a class start together:

    dW/dt = -∂F/∂W,    dM'/dt = -∂F/∂M',    db/dt = -∂F/∂b.

Full-batch gradient descent with learning rate η on the sum of squares of F follows it with t = η times the steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError, SolverError
from encollapse.geometry import ClassGeometry
from encollapse.ufm.objective import objective
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution

_ACCURACY = 1e-9
"""Relative accuracy of a step of the integrator: its sum over a long flow stays below 1e-6."""
_LARGEST = 3000
"""Parameters up to which all rates are computed: a dense symmetric eigenproblem of some seconds."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A path of gradient flow, one entry along the first axis for each time.

    Attributes
    ----------
    problem : Problem
        What flows.
    times : (T,)
        Times, in units of learning rate times steps.
    losses : (T,)
        The objective F.
    weights : (T, q, d)
        Weight of the last layer.
    class_means : (T, d, K)
        Features of the classes.
    biases : (T, q)
        Bias, zeros where the problem has none.

    Examples
    --------
    >>> import numpy as np
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> flow = ec.ufm.flow(problem, np.linspace(0, 400, 5))
    >>> bool(flow.losses[-1] < flow.losses[0])
    True
    >>> flow.singular_values.shape
    (5, 4)
    """

    problem: Problem
    times: FloatArray
    losses: FloatArray
    weights: FloatArray
    class_means: FloatArray
    biases: FloatArray

    @property
    def singular_values(self) -> FloatArray:
        """Singular values of ``W M diag(√π)`` at each time, descending, shape (T, min(q, K))."""
        outputs = (self.weights @ self.class_means) * np.sqrt(self.problem.priors)
        return np.asarray(np.linalg.svd(outputs, compute_uv=False))

    def geometry(self, index: int) -> ClassGeometry:
        """The class geometry at one of the times.

        Parameters
        ----------
        index : int
            Position in `times`.

        Returns
        -------
        ClassGeometry
            Gram matrices, outputs and bias at that time.

        Examples
        --------
        >>> import encollapse as ec
        >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
        >>> ec.ufm.flow(problem, [0.0, 4000.0]).geometry(-1).distance("simplex_etf") < 1e-3
        True
        """
        weight, means = self.weights[index], self.class_means[index]
        return ClassGeometry(
            means.T @ means,
            self.problem.counts,
            classifier_gram=weight @ weight.T,
            class_outputs=weight @ means,
            bias=None if math.isinf(self.problem.bias_decay) else self.biases[index],
            provenance={"source": "flow", "time": float(self.times[index])},
        )


@dataclass(frozen=True, eq=False)
class _Coordinates:
    """All parameters as one vector, in which the flow is Euclidean."""

    problem: Problem
    width: int

    @property
    def has_bias(self) -> bool:
        return not math.isinf(self.problem.bias_decay)

    def join(self, weight: FloatArray, class_means: FloatArray, bias: FloatArray) -> FloatArray:
        parts = [weight.ravel(), (class_means * np.sqrt(self.problem.counts)).ravel()]
        return np.concatenate([*parts, bias] if self.has_bias else parts)

    def split(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        p, d = self.problem, self.width
        ends = [p.code_dim * d, p.code_dim * d + d * p.num_classes]
        means = x[ends[0] : ends[1]].reshape(d, p.num_classes) / np.sqrt(p.counts)
        bias = x[ends[1] :] if self.has_bias else np.zeros(p.code_dim)
        return x[: ends[0]].reshape(p.code_dim, d), means, bias

    def velocity(self, x: FloatArray) -> FloatArray:
        """Minus the gradient of F."""
        p = self.problem
        weight, means, bias = self.split(x)
        outputs = weight @ means + bias[:, None]
        change = p.any_loss.gradient(outputs, p.targets, np.ones_like(outputs)) * p.priors
        to_means = (weight.T @ change) / np.sqrt(p.counts) + p.feature_decay * means * np.sqrt(p.counts)
        parts = [(change @ means.T + p.weight_decay * weight).ravel(), to_means.ravel()]
        if self.has_bias:
            parts.append(change.sum(axis=1) + p.bias_decay * bias)
        return -np.concatenate(parts)


def flow(
    problem: Problem,
    times: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    class_means: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    feature_dim: int | None = None,
    scale: float = 0.1,
    seed: int = 0,
) -> Flow:
    """Follow gradient flow from a start, by default a small random one.

    Parameters
    ----------
    problem : Problem
        With one weight layer, linear features, one price for all features and no class weights.
    times : (T,)
        Increasing, from 0 or above, in units of learning rate times steps.
    weight, class_means : (q, d) and (d, K), optional
        The start, both or none.
    bias : (q,), optional
        Its bias. Default: zeros.
    feature_dim : int, optional
        Dimension d of a random start. Default: that of the problem, else ``q + K``.
    scale : float
        Standard deviation of a random start, times ``1/√d`` for the weight and for the scaled class means.
    seed : int
        Seed of a random start.

    Returns
    -------
    Flow
        Parameters and objective at each time.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range, a shape does not fit, or the problem is of another kind.
    SolverError
        If the integrator gives up.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> flow = ec.ufm.flow(problem, [0.0, 4000.0])
    >>> bool(abs(flow.losses[-1] / ec.ufm.solve(problem).loss - 1) < 1e-6)
    True
    """
    _require_plain(problem)
    moments = checks.array(times, "times", (None,), axes="(times,)")
    if len(moments) == 0 or moments[0] < 0 or (np.diff(moments) <= 0).any():
        raise ArgumentError(f"times: expected increasing values from 0 or above, got {times!r}")
    q, k = problem.code_dim, problem.num_classes
    if (weight is None) != (class_means is None):
        raise ArgumentError("weight, class_means: give both of them, or none for a random start")
    if weight is None:
        width = feature_dim or problem.feature_dim or q + k
        width = checks.integer(width, "feature_dim", minimum=1)
        size = checks.real(scale, "scale") / math.sqrt(width)
        random = np.random.default_rng(seed)
        w = size * random.standard_normal((q, width))
        m = size * random.standard_normal((width, k)) / np.sqrt(problem.counts)
    else:
        w = checks.array(weight, "weight", (q, None), axes="(code_dim, feature_dim)")
        width = w.shape[1]
        m = checks.array(class_means, "class_means", (width, k), axes="(feature_dim, num_classes)")
    b = np.zeros(q) if bias is None else checks.array(bias, "bias", (q,), axes="(code_dim,)")
    space = _Coordinates(problem, width)

    def velocity(time: float, x: FloatArray) -> FloatArray:
        del time
        return space.velocity(x)

    start = space.join(w, m, b)
    found: Any = solve_ivp(
        velocity,
        (0.0, float(moments[-1]) or 1.0),
        start,
        method="LSODA",
        t_eval=moments,
        rtol=_ACCURACY,
        atol=_ACCURACY * float(np.abs(start).max() or 1.0),
    )
    if not found.success:
        raise SolverError(f"gradient flow stopped at t = {found.t[-1] if len(found.t) else 0:.4g}: {found.message}")
    points = [space.split(x) for x in found.y.T]
    weights, means, biases = (np.array(parts) for parts in zip(*points, strict=True))
    losses = np.array([objective(problem, *point) for point in points])
    return Flow(problem, moments, losses, weights, means, biases)


def rates(solution: Solution) -> FloatArray:
    """Rates at which gradient flow approaches the minimum, ascending: eigenvalues of the Hessian of F.

    Distances shrink as ``exp(-rate · t)`` and the excess of F as ``exp(-2 rate · t)``, the smallest rate last.
    Rotations of the feature space change nothing, and neither does a constant added to every entry of a free bias under
    cross-entropy, so their zeros are left out.

    Parameters
    ----------
    solution : Solution
        Of a problem as :func:`flow` takes it.

    Returns
    -------
    array
        One rate for each direction in which something changes, in ``1/(learning rate · steps)``.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the problem is of another kind, or has more than 3000 parameters.

    Examples
    --------
    >>> import encollapse as ec
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
    >>> slowest = ec.ufm.rates(ec.ufm.solve(problem))[0]
    >>> bool(0 < slowest < 0.01)
    True
    """
    checks.instance(solution, "solution", Solution, why="see solve")
    _require_plain(solution.problem)
    weight, means, bias = solution.parameters()
    space = _Coordinates(solution.problem, weight.shape[1])
    x = space.join(weight, means, bias)
    if len(x) > _LARGEST:
        raise ArgumentError(f"solution: rates are computed up to {_LARGEST} parameters, got {len(x)}")
    step = EPS ** (1 / 3) * float(np.abs(x).max() or 1.0)
    columns = [space.velocity(x + d) - space.velocity(x - d) for d in step * np.eye(len(x))]
    hessian = -np.array(columns) / (2 * step)
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    d, rank = weight.shape[1], int((solution.singular_values > 0).sum())
    still = d * (d - 1) // 2 - (d - rank) * (d - rank - 1) // 2
    still += solution.problem.loss == "cross_entropy" and solution.problem.bias_decay == 0
    return np.sort(values[np.argsort(np.abs(values))[still:]])


def _require_plain(problem: Problem) -> None:
    checks.instance(problem, "problem", Problem)
    other = {
        "depth": problem.depth != 1,
        "features": problem.features != "linear",
        "class_weights": problem.class_weights is not None,
        "feature_mean_decay": problem.mean_root != 1.0,
    }
    named = [name for name, differs in other.items() if differs]
    if named:
        raise ArgumentError(
            f"problem: gradient flow is for one weight layer, linear features and one price for all features; this one "
            f"sets {', '.join(named)}"
        )
