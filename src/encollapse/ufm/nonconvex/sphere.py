"""Normalized features and classifiers: cross-entropy of cosines at a temperature, all vectors on the unit sphere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import minimize, nnls

from encollapse._internal import checks
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.geometry import simplex_etf_gram
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.solution import Status

STATIONARY_TOLERANCE = 1e-5
"""Gradient on the spheres, in units of 1/temperature, up to which a point counts as stationary."""

_LEAST_TEMPERATURE = 1e-3  # below it only the limit is meant
_RANDOM_STARTS = 24  # each descends from one of the temperatures below
_FIRST = (0.0, 0.3, 0.0, 1.0)
"""Temperatures at which random starts begin, in turn. 0 is the one asked for.

From a high temperature nearly all starts reach one minimum, which is often not the lowest at a lower temperature.
"""

_COOLING = (1.0, 0.3, 0.1, 0.03, 0.01)  # temperatures on the way
_MOST_SPLITS = 16  # starts of orthogonal simplices
_MOVES = 8  # descents from the lowest end with one class put elsewhere
_NUDGE = 0.03  # noise that takes a structured start off a saddle
_ITERATIONS = 500  # of L-BFGS at one temperature


@dataclass(frozen=True, eq=False)
class SphereSolution:
    """Unit features and unit classifier rows of least cross-entropy. See :func:`solve_on_sphere`.

    Attributes
    ----------
    temperature : float
        τ.
    loss : float
        Mean cross-entropy of ``⟨w_l, h_k⟩/τ`` over balanced classes.
    weight : (K, d)
        Rows of the classifier.
    class_means : (d, K)
        Features of the classes, which are the same for all samples of one.
    certificate : Certificate
        The evidence, and its kind.
    status : Status
        How the solve ended.

    Examples
    --------
    >>> import encollapse as ec
    >>> solution = ec.ufm.solve_on_sphere(3, 2, temperature=0.5)
    >>> solution.weight.shape, solution.class_means.shape
    ((3, 2), (2, 3))
    """

    temperature: float
    loss: float
    weight: FloatArray = field(repr=False)
    class_means: FloatArray = field(repr=False)
    certificate: Certificate
    status: Status

    @property
    def one_vs_rest_margin(self) -> float:
        """Least distance of a row of the classifier to the convex hull of the others.

        As the temperature falls the minimizers tend to a softmax code, for which it is largest :cite:p:`jiang2024`.
        """
        k = len(self.weight)
        distances = []
        for i in range(k):
            apart = np.delete(self.weight, i, axis=0) - self.weight[i]
            # The nearest point of the hull is the least squares solution below, once its weights sum to 1.
            weights, _ = nnls(np.vstack([apart.T, np.ones(k - 1)]), np.append(np.zeros(apart.shape[1]), 1.0))
            distances.append(float(np.linalg.norm(apart.T @ (weights / weights.sum()))))
        return min(distances)


def solve_on_sphere(num_classes: int, feature_dim: int, *, temperature: float, seed: int = 0) -> SphereSolution:
    """Minimize the cross-entropy of balanced classes over unit features and unit classifier rows.

    ``min (1/K) Σ_k log Σ_l exp(⟨w_l - w_k, h_k⟩/τ)`` with ``|w_k| = |h_k| = 1`` :cite:p:`yaras2022`. It is never below
    ``log(1 + (K-1) exp(-K/((K-1)τ)))``: by Jensen's inequality the sums cost at least what their mean exponents do, and
    ``Σ_k ⟨w_k - w̄, h_k⟩ ≤ Σ_k |w_k - w̄| ≤ K``. A simplex with ``w_k = h_k`` attains it, so with
    ``feature_dim ≥ num_classes - 1`` that is the minimum. In fewer dimensions the lowest of several descents is
    returned, with this bound.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    feature_dim : int
        d, at least 1.
    temperature : float
        τ, 0.001 or above.
    seed : int
        Of the random starts.

    Returns
    -------
    SphereSolution
        ``certificate.kind`` is ``"theorem"`` for ``feature_dim ≥ num_classes - 1``, else ``"stationary"``.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range or has the wrong type. The text names it.

    Examples
    --------
    >>> import encollapse as ec
    >>> wide = ec.ufm.solve_on_sphere(5, 4, temperature=0.1)
    >>> wide.certificate.kind, round(wide.one_vs_rest_margin, 6)
    ('theorem', 1.25)
    >>> round(ec.ufm.solve_on_sphere(5, 2, temperature=0.02).one_vs_rest_margin, 2)
    0.69
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    d = checks.integer(feature_dim, "feature_dim", minimum=1)
    tau = checks.positive(temperature, "temperature")
    if tau < _LEAST_TEMPERATURE:
        raise ArgumentError(
            f"temperature: expected {_LEAST_TEMPERATURE:g} or above, got {tau:g}; the limit of 0 is a softmax code"
        )
    number = checks.integer(seed, "seed", minimum=0)
    bound = float(np.log1p((k - 1) * np.exp(-k / ((k - 1) * tau))))
    if d >= k - 1:
        rows = np.zeros((k, d))
        rows[:, : k - 1] = _simplex(k)
        certificate = replace(certify(bound, bound), kind="theorem", holds=True)
        return SphereSolution(tau, bound, rows, rows.T.copy(), certificate, Status.OPTIMAL)
    generator = np.random.default_rng(number)
    if d == 1:
        # Nothing moves on a sphere of two points: all that matters is how many rows are on one of them.
        starts = [np.where(np.arange(k) < j, 1.0, -1.0)[None, :, None].repeat(2, axis=0) for j in range(1, k)]
    else:
        starts = list(generator.standard_normal((_RANDOM_STARTS, 2, k, d)))
    firsts = [max(tau, _FIRST[i % len(_FIRST)]) for i in range(len(starts))]
    ends = [_descend(start, tau, first) for start, first in zip(starts, firsts, strict=True)]
    ends += [_descend(rows + _NUDGE * generator.standard_normal((2, k, d)), tau, tau) for rows in _simplices(k, d)]
    lowest = min(ends, key=lambda end: end[0])
    for _ in range(_MOVES if d > 1 else 0):
        moved = lowest[1].copy()
        moved[:, generator.integers(k)] = generator.standard_normal(d)
        lowest = min(lowest, _descend(moved, tau, tau), key=lambda end: end[0])
    loss, point, residual = lowest
    certificate = certify(loss, min(bound, loss))
    certificate = replace(certificate, kind="stationary", holds=residual <= STATIONARY_TOLERANCE)
    status = Status.STATIONARY if certificate.holds else Status.NOT_STATIONARY
    return SphereSolution(tau, loss, point[0], point[1].T.copy(), certificate, status)


def _value(x: FloatArray, shape: tuple[int, ...], tau: float) -> tuple[float, FloatArray, float]:
    """τ times the logarithm of the loss at the directions of free vectors, its gradient, and the logarithm."""
    free = x.reshape(shape)
    lengths = np.linalg.norm(free, axis=2, keepdims=True)
    rows, features = free / lengths
    scores = (features @ rows.T) / tau
    scores -= np.diag(scores)[:, None].copy()
    top = scores.max(axis=1, keepdims=True)
    others = np.exp(scores - top)
    np.fill_diagonal(others, 0.0)
    rest = np.log(others.sum(axis=1)) + top[:, 0]  # log Σ_{l≠k} exp
    losses = np.logaddexp(0.0, rest)
    with np.errstate(divide="ignore"):
        logs = np.where(losses > 1e-12, np.log(np.maximum(losses, 1e-300)), rest)
    total = float(np.logaddexp.reduce(logs)) - np.log(len(logs))
    # Share of each class in the loss, times the derivative of its logarithm by the rest.
    share = np.exp(logs - total) / len(logs) * np.exp(rest - losses - logs)
    change = share[:, None] * others / others.sum(axis=1, keepdims=True)
    change -= np.diag(change.sum(axis=1))
    slopes = np.stack([change.T @ features, change @ rows])
    slopes -= np.stack([rows, features]) * np.sum(slopes * np.stack([rows, features]), axis=2, keepdims=True)
    return tau * total, (slopes / lengths).ravel(), total


def _simplices(k: int, d: int) -> Iterator[FloatArray]:
    """Rows ``(k, d)`` of orthogonal simplices that fill the space: ``k - d`` of them, most alike in size first.

    At low temperatures such an arrangement of ``d + 2`` points is a softmax code, and near others there is one.
    """
    for sizes in itertools.islice(_sizes(k, k - d, k), _MOST_SPLITS):
        rows, first, column = np.zeros((k, d)), 0, 0
        for size in sizes:
            rows[first : first + size, column : column + size - 1] = _simplex(size)
            first, column = first + size, column + size - 1
        yield rows


def _sizes(total: int, parts: int, largest: int) -> Iterator[list[int]]:
    """Falling sizes of two or more that sum to `total`. Those with the smallest largest size come first."""
    if parts == 1:
        if 2 <= total <= largest:
            yield [total]
        return
    for size in range(max(2, -(-total // parts)), min(largest, total - 2 * (parts - 1)) + 1):
        for rest in _sizes(total - size, parts - 1, size):
            yield [size, *rest]


def _simplex(k: int) -> FloatArray:
    """Unit rows ``(k, k - 1)`` of equal cosines."""
    values, vectors = np.linalg.eigh(np.asarray(simplex_etf_gram(k)))
    rows = vectors[:, 1:] * np.sqrt(values[1:])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _descend(start: FloatArray, tau: float, first: float) -> tuple[float, FloatArray, float]:
    """L-BFGS at temperatures from `first` to `tau`: the loss, unit vectors, and the gradient on the spheres."""
    x, shape = start.ravel(), start.shape
    for level in (*(t for t in _COOLING if first >= t > tau), tau):

        def objective(y: FloatArray, level: float = level) -> tuple[float, FloatArray]:
            return _value(y, shape, level)[:2]

        found = minimize(
            objective,
            x,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _ITERATIONS, "maxcor": 20, "ftol": 0.0, "gtol": 1e-9},
        )
        free = found.x.reshape(shape)
        x = (free / np.linalg.norm(free, axis=2, keepdims=True)).ravel()
    _, gradient, logarithm = _value(x, shape, tau)
    return float(np.exp(logarithm)), x.reshape(shape), float(np.linalg.norm(gradient))
