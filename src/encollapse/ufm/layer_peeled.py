"""The layer-peeled model: norms of classifier and features are bounded instead of priced."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import of_counts
from encollapse.errors import SolverError
from encollapse.geometry import ClassGeometry
from encollapse.ufm.bias_decay import bias_penalty
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.label_structure import checked_encoding
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.mse.factors import DenseFactors, balanced_factors
from encollapse.ufm.objective import class_losses
from encollapse.ufm.problem import Problem
from encollapse.ufm.solution import Solution, Status
from encollapse.ufm.solve import solve

TOLERANCE = 1e-7
"""Relative duality gap up to which the certificate holds.

The loss can be a small part of the penalized one, of which the multiplier's problem closes a gap of 1e-8.
"""

_AIM = 1e-9  # relative gap at which the search for the multiplier ends
_SOLVES = 60  # of the penalized problem, at most
_CLOSE = 1e-8  # nuclear norm next to the bound at which it ends too: the gap is of second order in it
_STEP = 8.0  # from one multiplier to the next while the bound is not bracketed
_LEAST = 1e-25  # multiplier relative to the first, below which the bound counts as one that does not bind


@dataclass(frozen=True, eq=False)
class LayerPeeledSolution:
    """Classifier and features of least loss within bounds on their norms. See :func:`solve_layer_peeled`.

    Attributes
    ----------
    loss : float
        Mean loss over the samples, and the decay of the bias where it has one.
    multiplier : float
        ``c``: what one more unit of the nuclear norm would take off the loss, 0 where the bounds do not bind. It is
        known to the root of the gap.
    nuclear_bound : float
        B, the largest nuclear norm that the bounds leave.
    bias : (q,)
        The optimal bias, zeros without one.
    counts : (K,)
        Samples of each class.
    certificate : Certificate
        A lower bound by duality. It holds at a relative gap of 1e-7.
    status : Status
        How the solve ended.
    solves : int
        Penalized problems that were solved.
    seconds : float
        Wall time of the solve.
    factors : DenseFactors
        Classifier and class means.
    provenance : dict
        What the geometry says of its source.

    Examples
    --------
    >>> import encollapse as ec
    >>> solution = ec.ufm.solve_layer_peeled(ec.encodings.one_hot(4), 5, weight_bound=3.0, feature_bound=3.0)
    >>> weight, class_means, _ = solution.parameters()
    >>> round(float((weight**2).sum()) / 4, 6), round(float((class_means**2).sum()) / 4, 6)
    (3.0, 3.0)
    """

    loss: float
    multiplier: float
    nuclear_bound: float
    bias: FloatArray
    counts: IntArray
    certificate: Certificate
    status: Status
    solves: int
    seconds: float
    factors: DenseFactors = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"LayerPeeledSolution(loss={self.loss:.10g}, multiplier={self.multiplier:.6g}, {self.certificate}, "
            f"status={self.status.name}, seconds={self.seconds:.2g})"
        )

    @cached_property
    def geometry(self) -> ClassGeometry:
        """The predicted class geometry."""
        return ClassGeometry(
            **self.factors.geometry_fields(), counts=self.counts, bias=self.bias, provenance=self.provenance
        )

    def parameters(self, feature_dim: int | None = None, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One minimizer out of the family: a random rotation of the feature space picks it.

        Parameters
        ----------
        feature_dim : int, optional
            Dimension d of the features, at least the rank. Default ``min(q, K)``.
        seed : int
            Seed of the rotation.

        Returns
        -------
        weight (q, d), class_means (d, K), bias (q,)
            All samples of a class have its mean.

        Raises
        ------
        ArgumentError
            If `feature_dim` is below the rank.
        """
        default = len(self.factors.values)
        weight, means = self.factors.parameters(default if feature_dim is None else feature_dim, seed)
        return weight, means, self.bias.copy()


def solve_layer_peeled(
    encoding: Encoding | str,
    counts: int | ArrayLike,
    *,
    weight_bound: float,
    feature_bound: float,
    bias_decay: float = math.inf,
    loss: str | ConvexLoss = "cross_entropy",
    average: str = "classes",
    throw: bool = True,
) -> LayerPeeledSolution:
    """Minimize the mean loss over classifiers and features whose mean squared norms are bounded.

    The model of :cite:t:`fang2021`: ``min (1/N) Σ ℓ(W h_ki + b; e_k) + λ_b/2 |b|²`` over ``(1/q) Σ_i |w_i|² ≤ E_W`` and
    ``(1/K) Σ_k (1/n_k) Σ_i |h_ki|² ≤ E_H``. In terms of the outputs this bounds their nuclear norm, so the problem is
    convex, and at its multiplier it is a penalized one (docs, theory of cross-entropy). The features must have room for
    the rank of the minimizer.

    Parameters
    ----------
    encoding, counts
        As in :class:`Problem`.
    weight_bound, feature_bound : float
        ``E_W`` and ``E_H``, both above 0: mean squared norms of rows of the classifier and of features.
    bias_decay : float
        ``λ_b`` from 0 to ``math.inf``. Infinity is no bias, as in the paper.
    loss : {"cross_entropy", "mse"} or a convex loss
        As in :class:`Problem`.
    average : {"classes", "samples"}
        Whether `feature_bound` bounds the average over classes of their mean squared norms, as in the paper, or
        that over all samples.
    throw : bool
        Raise if the certificate does not hold. Otherwise hand the object back as it is.

    Returns
    -------
    LayerPeeledSolution
        With its certificate and multiplier.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range or has the wrong type. The text names it.
    SolverError
        If `throw` is set and the result is not proved.

    Examples
    --------
    >>> import encollapse as ec
    >>> bounds = dict(weight_bound=1.0, feature_bound=1.0)
    >>> one_hot = ec.encodings.one_hot(6)
    >>> mild = ec.ufm.solve_layer_peeled(one_hot, [20, 20, 20, 10, 10, 10], **bounds)
    >>> strong = ec.ufm.solve_layer_peeled(one_hot, [40, 40, 40, 10, 10, 10], **bounds)
    >>> round(mild.geometry.cosine(4, 5), 3), round(strong.geometry.cosine(4, 5), 3)
    (0.248, 1.0)
    """
    start = time.perf_counter()
    encoding = checked_encoding(of_counts(encoding, counts))
    counts = checks.read_only(checks.class_counts(counts, encoding.num_classes))
    weights = checks.positive(weight_bound, "weight_bound", why="at 0 there is no classifier")
    features = checks.positive(feature_bound, "feature_bound", why="at 0 there are no features")
    checks.flag(throw, "throw")
    by_class = checks.choice(average, "average", ("classes", "samples")) == "classes"
    rows = encoding.code_dim * weights
    bound = math.sqrt(rows) * math.sqrt(features)
    number = encoding.num_classes if by_class else int(counts.sum())
    # At these decays classifier and features of the penalized problem share its nuclear norm as the bounds ask.
    ratio = math.sqrt(features / rows)
    problem = Problem(
        encoding,
        1 if by_class else counts,
        class_weights=encoding.num_classes * counts / counts.sum() if by_class else None,
        weight_decay=ratio,
        feature_decay=1.0 / ratio / number,
        bias_decay=bias_decay,
        loss=loss,
    )
    search = _Search(problem, bound)
    point, certificate = search.run()
    status = Status.OPTIMAL if certificate.holds else Status.NOT_CERTIFIED
    if throw and not certificate.holds:
        raise SolverError(f"{status.message} (relative gap {certificate.relative_gap:.1e}; throw=False returns it)")
    roots = np.sqrt(problem.priors)
    left, singular, right = np.linalg.svd(point.outputs * roots, full_matrices=False)
    rank = int(np.count_nonzero(singular > 1e-14 * singular[0]))
    balance = math.sqrt(1.0 / ratio)
    return LayerPeeledSolution(
        loss=point.loss,
        multiplier=point.multiplier,
        nuclear_bound=bound,
        bias=checks.read_only(point.bias),
        counts=counts,
        certificate=certificate,
        status=status,
        solves=len(search.lower_bounds),
        seconds=time.perf_counter() - start,
        factors=balanced_factors(left[:, :rank], singular[:rank], right[:rank], roots, balance),
        provenance={
            "source": "predicted",
            "encoding": encoding.name,
            "weight_bound": weights,
            "feature_bound": features,
            "average": average,
            "certificate": certificate.kind,
        },
    )


@dataclass(frozen=True, eq=False)
class _PenalizedPoint:
    """Outputs (q, K) without and with their bias (q,), within the bound, from the minimizer at one multiplier."""

    multiplier: float
    excess: float
    outputs: FloatArray
    bias: FloatArray
    loss: float
    warm_start: Solution | None = None


class _Search:
    """The multiplier at which the penalized minimizer has the nuclear norm B, which never rises in the multiplier.

    Every multiplier c gives a bound, the penalized minimum less ``cB``, and 0 gives the sum of the least losses. Every
    minimizer gives a point within the bound, once its outputs are shrunk or stretched to it.
    """

    def __init__(self, problem: Problem, bound: float) -> None:
        self.problem, self.bound = problem, bound
        self.shares = problem.priors if problem.class_weights is None else problem.priors * problem.class_weights
        self.points: list[_PenalizedPoint] = []
        self.lower_bounds: list[float] = []
        # Half the largest slope of the loss by Z, up to the bias: nothing is learned at a few times it.
        slopes = problem.encoding.codewords * (self.shares / np.sqrt(problem.priors))
        self.first = 0.5 * float(np.linalg.norm(slopes, 2)) or 1.0
        self.scale = self._loss(np.zeros_like(slopes), np.zeros(len(slopes)))

    def run(self) -> tuple[_PenalizedPoint, Certificate]:
        """Return the best point found, and its certificate."""
        floor = self._least()
        if self.points:
            return self.points[0], certify(floor, floor, tolerance=TOLERANCE)
        low = high = None  # logarithms of multipliers whose norms are above and below the bound, with the excess
        before, following = 0.0, self.first
        while True:
            point = self._at(following)
            best = min(self.points, key=lambda p: p.loss)
            bound = min(max(floor, *self.lower_bounds), best.loss)
            certificate = certify(best.loss, bound, 1e-12 * self.scale, tolerance=TOLERANCE)
            if certificate.relative_gap <= _AIM or abs(point.excess) <= _CLOSE * self.bound:
                break
            # Illinois: an end that stays a second time counts half.
            half = 0.5 if point.excess * before > 0 else 1.0
            before, here = point.excess, (math.log(point.multiplier), point.excess)
            if before > 0:
                low, high = here, high and (high[0], half * high[1])
            else:
                low, high = low and (low[0], half * low[1]), here
            if low is None or high is None:
                following = point.multiplier * (_STEP if before > 0 else 1.0 / _STEP)
            else:
                share = low[1] / (low[1] - high[1])
                following = math.exp(low[0] + (high[0] - low[0]) * min(max(share, 0.01), 0.99))
            if following < _LEAST * self.first or len(self.lower_bounds) == _SOLVES:
                break
        # Stretched outputs can be exact far from their multiplier: of rank one, say. The bound is sharpest at it.
        sharpest = self.points[int(np.argmax(self.lower_bounds))].multiplier
        return replace(best, multiplier=sharpest), certificate

    def _least(self) -> float:
        """Sum of the least losses that any outputs have. A point that reaches it within the bound is kept.

        Where a free bias leaves a choice, the nuclear norm is least for weighted means of 0.
        """
        p, floor = self.problem, 0.0
        targets, reached = p.targets, p.loss == "mse"
        if not reached:
            nothing = np.zeros_like(targets)
            floor = -float(p.any_loss.conjugate(nothing, targets, np.ones_like(targets)) @ self.shares)
            if p.loss == "cross_entropy" and (targets > 0).all():
                targets, reached = np.log(targets), True
                targets -= targets.mean(axis=0)
        if reached:
            bias = targets @ p.priors if p.bias_decay == 0.0 else np.zeros(len(targets))
            outputs = targets - bias[:, None]
            nuclear = float(np.linalg.svd(outputs * np.sqrt(p.priors), compute_uv=False).sum())
            if nuclear <= self.bound:
                self.points.append(_PenalizedPoint(0.0, nuclear - self.bound, outputs, bias, floor))
        return floor

    def _at(self, multiplier: float) -> _PenalizedPoint:
        decays = self.problem.weight_decay * multiplier, self.problem.feature_decay * multiplier
        priced = replace(self.problem, weight_decay=decays[0], feature_decay=decays[1])
        warm = self.points[-1].warm_start if self.points else None
        solution = solve(priced, throw=False, warm_start=warm)
        outputs = np.asarray(solution.geometry.class_outputs)
        nuclear = float(solution.singular_values.sum())
        factors = [1.0] if nuclear <= self.bound else []
        if nuclear > 0:
            factors.append(self.bound / nuclear)
        loss, factor = min((self._loss(outputs * f, solution.bias), f) for f in factors)
        self.lower_bounds.append(solution.certificate.lower_bound - multiplier * self.bound)
        warm = solution if solution.warm_start is not None else None
        point = _PenalizedPoint(multiplier, nuclear - self.bound, outputs * factor, solution.bias, loss, warm)
        self.points.append(point)
        return point

    def _loss(self, outputs: FloatArray, bias: FloatArray) -> float:
        fit = float(class_losses(self.problem, outputs + bias[:, None]) @ self.shares)
        return fit + bias_penalty(self.problem.bias_decay, bias)
