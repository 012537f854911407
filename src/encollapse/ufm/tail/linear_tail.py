"""A linear tail over given activations: `TailProblem`, its exact minimizer, and the features of the samples."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import TINY
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import resolved
from encollapse.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from encollapse.ufm.bias_decay import bias_penalty
from encollapse.ufm.certificate import Certificate, certify
from encollapse.ufm.deep.schatten_prox import geometric_mean
from encollapse.ufm.label_structure import (
    LabeledProblem,
    LabelStructure,
    checked_class_weights,
    checked_encoding,
    layer_decays,
    refuse_range,
)
from encollapse.ufm.losses import check_loss
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.factors import DenseFactors
from encollapse.ufm.solution import Solution
from encollapse.ufm.tail.activations import Activations, Moments, largest_entry
from encollapse.ufm.tail.descent import Bend, SampleOutputMap, bending, minimize_loss
from encollapse.ufm.tail.layers import Bends, Chain, Fit, minimize_chain
from encollapse.ufm.tail.squared import Penalized, minimize_penalized

_SQUARED_GAP = 1e-8  # relative gap up to which the minimum counts as proved
_SQUARED_AIM = 1e-13  # of the energy of the labels
_SQUARED_CLOSED = 1e-10  # gap at which corrections end
_CORRECTIONS = 6  # of the second moments by the samples themselves
_LOSS_AIM = 2e-9  # gap that the method of other losses aims at, below the gap that is asked
_DEAD = 1e-9  # of the largest singular value
_LOWER_RANKS = 4  # ranks below that of the convex bound that are tried
_WHY_POSITIVE = "at 0 a layer grows without bound and there is no minimizer"
_FREE_INNER_BIAS = (
    "inner_bias_decay: at 0 the inner bias moves all features for free, so their mean is not determined by the "
    "objective; give a decay above 0, or math.inf for a layer without a bias"
)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class TailProblem(LabeledProblem):
    """A head and inner linear layers over given activations, all with plain weight decay.

    With two layers, minimize over the head ``W`` (q, d), the inner layer ``V`` (d, p) and the bias ``b`` (q,)

        ``(1/N) Σ_i a_{y_i} ℓ(W V φ_i + b; e_{y_i}) + λ_W/2 |W|² + λ_V/2 |V|² + λ_b/2 |b|²``

    where ``φ_i`` are the activations of sample i, read off a trained network, and ``a_k`` weights of the classes, 1
    unless they are given. The features ``h_i = V φ_i`` have
    no decay of their own, and yet they are priced: with room for the rank the problem is the convex one in ``G = W V``
    with the penalty ``√(λ_W λ_V) |G|_*``. So it has one geometry, which :func:`solve` finds together with the
    variability within classes. The documentation has the proofs on its page on tails.

    Parameters
    ----------
    encoding : Encoding or str
        One codeword for each class, or a name of :func:`encollapse.encodings.by_name`: then the largest label is that
        of the last class.
    labels : (N,) ints
        Class of each sample. A class may have no samples. Its row in the geometry is NaN.
    activations : (N, p)
        Input of the first layer of the tail, one row a sample, numpy or torch, of a floating-point type.
    weight_decay : float
        ``λ_W`` of the head, above 0.
    inner_decay : float or sequence of floats
        ``λ_V``, above 0. With more than two layers one number serves every inner layer, or one is given for each in
        the order in which they act.
    inner_bias_decay : float
        ``λ_a`` of a bias in the inner layer, above 0, ``math.inf`` for a layer without one.
    bias_decay : float
        ``λ_b`` of the bias of the head, from 0 to ``math.inf``. Infinity means no bias.
    loss : {"mse", "cross_entropy"} or a convex loss
        As for :class:`Problem`. ``"mse"`` is half the squared distance to the codeword.
    layers : int
        Weight layers of the tail, the head included, at least 2. From 3 on the problem is not convex, and the solution
        is the lowest of several stationary points with a lower bound.
    class_weights : (K,) floats, optional
        ``a_k``, above 0, as for :class:`Problem`: factors of the loss of each class, as they are. With two layers.

    Attributes
    ----------
    counts : (K,) ints
        Samples of each class.
    decays : tuple of float
        One for each layer, in the order in which they act, the head last.
    structure : LabelStructure
        What encoding, counts and loss determine.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range, not finite, or has the wrong shape or type. The text names it.
    UnsupportedError
        If more than two layers are combined with an inner bias, or with weights of classes.

    Examples
    --------
    >>> import numpy as np
    >>> import encollapse as ec
    >>> labels = np.arange(12) % 3
    >>> activations = np.random.default_rng(0).standard_normal((12, 5)) + np.eye(3, 5)[labels]
    >>> problem = ec.ufm.TailProblem(
    ...     ec.encodings.one_hot(3), labels, activations, weight_decay=0.1, inner_decay=0.1
    ... )
    >>> solution = ec.ufm.solve(problem)
    >>> solution.certificate.holds, solution.features().shape, bool(solution.nc1_trace_ratio > 0)
    (True, (12, 2), True)
    """

    encoding: Encoding
    labels: IntArray
    activations: FloatArray
    weight_decay: float
    inner_decay: float
    inner_bias_decay: float
    bias_decay: float
    loss: str
    layers: int
    class_weights: FloatArray | None
    counts: IntArray
    decays: tuple[float, ...]
    structure: LabelStructure = field(repr=False)

    def __init__(
        self,
        encoding: Encoding | str,
        labels: ArrayLike,
        activations: ArrayLike,
        *,
        weight_decay: float,
        inner_decay: float | Sequence[float],
        inner_bias_decay: float = math.inf,
        bias_decay: float = 0.0,
        loss: str | ConvexLoss = "mse",
        layers: int = 2,
        class_weights: ArrayLike | None = None,
    ) -> None:
        held = checks.to_numpy(labels, "labels")
        if held.size == 0:
            raise ArgumentError("labels: expected at least one sample, got none")
        if isinstance(encoding, str):
            encoding = resolved(encoding, int(checks.class_labels(held, 2**62).max()) + 1)
        encoding = checked_encoding(encoding)
        classes = checks.class_labels(labels, encoding.num_classes)
        raw = checks.to_numpy(activations, "activations")
        if raw.dtype.kind in "iu":
            raise ArgumentTypeError(
                f"activations: expected floating-point numbers, got dtype {raw.dtype}; convert with .astype(float) or "
                ".double() if these are activations"
            )
        depth = checks.integer(layers, "layers", minimum=2, maximum=10_000)
        inner = layer_decays(
            inner_decay,
            "inner_decay",
            depth - 1,
            f"one number, or one for each of the {depth - 1} inner layers",
            why=_WHY_POSITIVE,
        )
        free = checks.real(inner_bias_decay, "inner_bias_decay")
        if free <= 0:
            raise ArgumentError(_FREE_INNER_BIAS if free == 0 else f"{_FREE_INNER_BIAS} (got {free})")
        if depth > 2 and not math.isinf(free):
            raise UnsupportedError(f"inner_bias_decay: with layers={depth} only math.inf is solved, got {free:g}")
        if depth > 2 and class_weights is not None:
            raise UnsupportedError(f"class_weights: with layers={depth} only None is solved; two layers take weights")
        counts = checks.read_only(np.bincount(classes, minlength=encoding.num_classes).astype(np.int64))
        structure = LabelStructure(encoding, counts, check_loss(loss))
        head = checks.positive(weight_decay, "weight_decay", why=_WHY_POSITIVE)
        values: dict[str, Any] = {
            "encoding": encoding,
            "labels": checks.read_only(classes),
            "activations": checks.read_only(checks.array(raw, "activations", (len(classes), None), axes="(N, p)")),
            "weight_decay": head,
            "inner_decay": geometric_mean(inner),
            "inner_bias_decay": free,
            "bias_decay": checks.nonnegative(bias_decay, "bias_decay", allow_infinity=True),
            "loss": "mse" if structure.loss is None else structure.loss.name,
            "layers": depth,
            "class_weights": None if class_weights is None else checked_class_weights(class_weights, len(counts)),
            "counts": counts,
            "decays": (*inner, head),
            "structure": structure,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        largest = largest_entry(self.activations)
        each = {f"inner_decay[{i}]": decay for i, decay in enumerate(inner)}
        if len(set(inner)) == 1:
            each = {"inner_decay": inner[0]}
        named = {"weight_decay": head, **each, "inner_bias_decay": free, "activations": largest}
        refuse_range({**named, "bias_decay": self.bias_decay, "encoding": encoding.largest_entry})
        structure.require_minimizer(self.bias_decay)

    def __repr__(self) -> str:
        n, p = self.activations.shape
        return (
            f"TailProblem({self.encoding!r}, num_samples={n}, width={p}, weight_decay={self.weight_decay:g}, "
            f"inner_decay={self.inner_decay:g}, bias_decay={self.bias_decay:g}, loss={self.loss!r}, "
            f"layers={self.layers})"
        )

    @property
    def feature_dim(self) -> None:
        """The tail is taken as wide enough for the rank."""
        return

    @property
    def weight_decays(self) -> tuple[float, ...]:
        """The decay of the one layer that acts on the features: the head."""
        return (self.weight_decay,)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the provenance of a geometry."""
        names = ("weight_decay", "inner_decay", "inner_bias_decay", "bias_decay", "loss", "layers")
        weights = {} if self.class_weights is None else {"class_weights": self.class_weights.tolist()}
        return {"tail": "linear", **{name: getattr(self, name) for name in names}, **weights}

    @cached_property
    def threshold(self) -> float:
        """``c_V = √(λ_W λ_V)``: nothing is learned where the products of labels and activations are below it.

        Raises
        ------
        UnsupportedError
            With more than two layers, whose threshold depends on more than the decays.
        """
        if self.layers > 2:
            raise UnsupportedError(f"threshold: it is that of two layers, and this tail has {self.layers}")
        return math.sqrt(self.decays[0]) * math.sqrt(self.weight_decay)

    @cached_property
    def data(self) -> Activations:
        """The activations with the constant entry that stands for an inner bias: ``√(λ_V/λ_a)``."""
        constant = 0.0 if math.isinf(self.inner_bias_decay) else math.sqrt(self.decays[0] / self.inner_bias_decay)
        return Activations.of(self.activations, self.labels, self.encoding.codewords, constant)

    def objective(self, matrix: FloatArray, bias: FloatArray) -> float:
        """The objective at outputs ``G Φ + b`` for the cheapest layers with product G.

        Parameters
        ----------
        matrix : (q, p)
            G, with an inner bias (q, p + 1), the last column being that of the constant entry.
        bias : (q,)
            b.
        """
        outputs = self.data.outputs(matrix) + bias[:, None]
        each = self.any_loss.value(outputs, self.targets[:, self.labels], np.ones_like(outputs))
        fit = float((each if self.class_weights is None else each * self.class_weights[self.labels]).mean())
        return fit + bias_penalty(self.bias_decay, bias) + Chain(self.decays).price(matrix)


@dataclass(frozen=True, eq=False, repr=False)
class TailSolution(Solution):
    """Solution of a tail problem: its geometry has a variability within classes.

    With two layers it is ``HᵀH = √(λ_W/λ_V) Φᵀ (GᵀG)^{1/2} Φ`` averaged over the classes.

    Attributes
    ----------
    matrix : (q, p)
        ``G``, the product of all layers, with an inner bias (q, p + 1).
    features_map : (r, p)
        What takes activations to features of the smallest dimension.
    """

    problem: Any
    matrix: FloatArray = None  # type: ignore[assignment]
    features_map: FloatArray = None  # type: ignore[assignment]

    def features(self) -> FloatArray:
        """Features of the samples (N, r), up to a rotation: the input of the head in r dimensions."""
        return np.asarray(self.problem.data.rows @ self.features_map.T)

    @cached_property
    def _within(self) -> FloatArray:
        """Trace of the within-class covariance of each class, (K,)."""
        labels = self.problem.labels
        spread = ((self.features() - self._means.T[labels]) ** 2).sum(axis=1)
        counts = self.problem.counts
        total = np.bincount(labels, weights=spread, minlength=len(counts))
        return np.asarray(np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0))

    @property
    def _means(self) -> FloatArray:
        factors: Any = self.factors
        return np.asarray(factors.means)

    @property
    def nc1_trace_ratio(self) -> float:
        """``tr Σ_W / tr Σ_B``, classes weighted by their frequency, or NaN if all class means agree."""
        priors, means = self.problem.priors, self._means
        present = priors > 0
        centered = means[:, present] - (means[:, present] @ priors[present])[:, None]
        between = float((centered**2).sum(axis=0) @ priors[present])
        return float(self._within[present] @ priors[present]) / between if between > 0 else math.nan

    def _geometry_fields(self) -> dict[str, Any]:
        return {**super()._geometry_fields(), "within": self._within}


def solve_linear_tail(problem: TailProblem) -> TailSolution:
    """Minimize a tail problem."""
    begin = time.perf_counter()
    if problem.layers > 2:
        matrix, bias, loss, certificate, steps = _minimize_layers(problem)
    else:
        matrix, bias, loss, certificate, steps = _minimize_convex(problem, problem.threshold)
    chain = Chain(problem.decays)
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    kept = singular > _DEAD * max(float(singular[0]), TINY)
    left, values, right = left[:, kept], singular[kept], right[kept]
    common = chain.common_decay
    # The layers are balanced: each takes its share of every singular value.
    head = math.sqrt(common / problem.weight_decay) * left * values ** (1.0 / chain.depth)
    shares = math.exp(0.5 * math.fsum(math.log(common / decay) for decay in problem.decays[:-1]))
    features_map = shares * values[:, None] ** (1.0 - 1.0 / chain.depth) * right
    singular[~kept] = 0.0
    minimum = Minimum(
        loss=loss,
        bias=bias,
        certificate=certificate,
        iterations=steps,
        factors=DenseFactors(head, features_map @ problem.data.class_means, singular),
    )
    solution = TailSolution.of(problem, minimum, time.perf_counter() - begin)
    return replace(solution, matrix=checks.read_only(matrix), features_map=checks.read_only(features_map))


_Found = tuple[FloatArray, FloatArray, float, Certificate, int]


def _minimize_convex(problem: TailProblem, threshold: float) -> _Found:
    """Return G (q, p), b, loss, certificate and steps for two layers."""
    labels, targets, weights = problem.labels, problem.targets, problem.class_weights
    if weights is not None:
        return _minimize_weighted(problem, weights / (weights @ problem.counts), float(weights @ problem.priors))
    if problem.convex_loss is None:
        return _minimize_squared(problem, threshold)
    table = SampleOutputMap(problem.data, targets[:, labels], np.full(len(labels), 1.0 / len(labels)))
    return minimize_loss(table, problem.convex_loss, threshold, problem.bias_decay, aim=_LOSS_AIM)


def _minimize_weighted(problem: TailProblem, shares: FloatArray, total: float) -> _Found:
    """Minimize with shares of the loss (K,) for a sample of each class, which are weights over their mean `total`."""
    labels, targets = problem.labels, problem.targets
    free = problem.convex_loss is None and problem.bias_decay == 0.0
    # A free bias takes over what squared labels have in common, which would drown their differences.
    center = targets @ (shares * problem.counts) if free else np.zeros(len(targets))
    table = SampleOutputMap(problem.data, (targets - center[:, None])[:, labels], shares[labels])
    matrix, bias, loss, certificate, steps = minimize_loss(
        table, problem.any_loss, problem.threshold / total, problem.bias_decay / total, aim=_LOSS_AIM
    )
    return matrix, bias + center, loss * total, certificate.in_units(total), steps


def _minimize_squared(problem: TailProblem, threshold: float) -> _Found:
    """Minimize in the second moments, and certify from the samples themselves.

    Rounding of the moments can be large beside c where the activations have a large common part or a wide spectrum. The
    slope of the samples shows it, and corrects the problem in the moments until the gap closes.
    """
    data, moments = problem.data, problem.data.moments(problem.bias_decay)
    products, total, best = moments.products, 0, None
    for _ in range(_CORRECTIONS):
        reduced = Penalized(moments.values, products, threshold)
        found, steps = minimize_penalized(reduced, accuracy=_SQUARED_AIM * moments.energy)
        total += steps
        left, singular, right = np.linalg.svd(found, full_matrices=False)
        kept = singular > _DEAD * max(float(singular[0]) if len(singular) else 0.0, TINY)
        found = (left[:, kept] * singular[kept]) @ right[kept]
        matrix, norm = found @ moments.basis.T, float(singular[kept].sum())
        loss, certificate, slope = _certified_squared(matrix, norm, threshold, *data.misfit(matrix, problem.bias_decay))
        if certificate.relative_gap > _SQUARED_CLOSED:
            # In the basis G is small where activations are large, and outputs lose no digits between the two.
            rotated = data.misfit(found, problem.bias_decay, moments.basis)
            loss, certificate, slope = _certified_squared(found, norm, threshold, *rotated)
            slope = slope @ moments.basis.T
        if best is not None and certificate.relative_gap > 0.5 * best[3].relative_gap:
            break
        best = matrix, _squared_bias(problem, matrix), loss, certificate, total
        if certificate.relative_gap <= _SQUARED_CLOSED:
            break
        products = slope @ moments.basis + found * moments.values
    assert best is not None
    return best


def _certified_squared(
    matrix: FloatArray, norm: float, threshold: float, misfit: float, slope: FloatArray
) -> tuple[float, Certificate, FloatArray]:
    """Loss and certificate from the mean squared residual, which is Λ in the dual, and its products with the data."""
    loss, largest = 0.5 * misfit + threshold * norm, float(np.linalg.norm(slope, 2)) if slope.size else 0.0
    shrink = 1.0 if largest <= threshold else threshold / largest
    bound = shrink * (misfit + float(np.sum(matrix * slope))) - 0.5 * shrink**2 * misfit
    return loss, certify(loss, min(bound, loss), tolerance=_SQUARED_GAP), slope


def _squared_bias(problem: TailProblem, matrix: FloatArray) -> FloatArray:
    """``b = (ē - G φ̄)/(1 + λ_b)``, the best bias of a squared error."""
    if math.isinf(problem.bias_decay):
        return np.zeros(problem.code_dim)
    left = problem.data.mean_label - matrix @ problem.data.mean
    return np.asarray(left / (1.0 + problem.bias_decay))


def _minimize_layers(problem: TailProblem) -> _Found:
    """The lowest stationary point of several starts, and the convex lower bound."""
    chain = Chain(problem.decays)
    squared = problem.convex_loss is None
    moments = problem.data.moments(problem.bias_decay if squared else problem.bias_decay * problem.code_dim)
    fit, bends, bias = _squared_fit(moments, problem.code_dim) if squared else _loss_fit(problem, moments)
    zero = np.zeros_like(moments.products)
    nothing = fit(zero, bias)[0]
    starts = [(zero, bias)]
    if moments.values.size:
        # Tangents of the price at two sizes of the singular values; ranks below are minima of their own.
        for share in (1.0, 0.1):
            near, b, _, _, _ = _minimize_convex(problem, chain.convex_threshold(share * nothing))
            left, singular, right = np.linalg.svd(near @ moments.basis, full_matrices=False)
            rank = int(np.count_nonzero(singular > _DEAD * singular[0]))
            for r in range(max(rank, 1), max(rank - _LOWER_RANKS, 0), -1):
                starts.append(((left[:, :r] * singular[:r]) @ right[:r], bias if squared else b))
    has_bias = not squared and not math.isinf(problem.bias_decay)
    found, bias, loss, at_rest, steps = minimize_chain(chain, fit, bends, moments.values, starts, has_bias=has_bias)
    bound = _minimize_convex(problem, chain.convex_threshold(loss))[3].lower_bound
    certificate = certify(loss, min(bound, loss), tolerance=_SQUARED_GAP).or_stationary(at_rest)
    matrix = found @ moments.basis.T
    return matrix, _squared_bias(problem, matrix) if squared else bias, loss, certificate, steps


def _squared_fit(moments: Moments, code_dim: int) -> tuple[Fit, Bends, FloatArray]:
    """The squared error with the bias eliminated."""
    zero = np.zeros(code_dim)

    def fit(matrix: FloatArray, bias: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        del bias
        pull = matrix * moments.values - moments.products
        value = 0.5 * (moments.energy + float(np.sum(matrix * (pull - moments.products))))
        return value, pull, zero

    def bends(matrix: FloatArray, bias: FloatArray) -> Bend:
        del matrix, bias
        return lambda change, shift: (change * moments.values, zero)

    return fit, bends, zero


def _loss_fit(problem: TailProblem, moments: Moments) -> tuple[Fit, Bends, FloatArray]:
    """Another loss, and the bias that is best where nothing is learned."""
    labels = problem.labels
    shares = np.full(len(labels), 1.0 / len(labels))
    table = SampleOutputMap(problem.data, problem.targets[:, labels], shares, moments.basis)
    composite = table.composite(problem.any_loss, 1.0, problem.bias_decay)

    def fit(matrix: FloatArray, bias: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        outputs = table.forward(matrix, np.zeros(0), bias)
        pull, _, to_bias = composite.pull(composite.gradient(outputs))
        if composite.has_bias:
            to_bias = to_bias + problem.bias_decay * bias
        return composite.fit(outputs) + composite.penalty(bias), pull, to_bias

    def bends(matrix: FloatArray, bias: FloatArray) -> Bend:
        bend = bending(composite, moments.basis, table.forward(matrix, np.zeros(0), bias))

        def bent(change: FloatArray, shift: FloatArray) -> tuple[FloatArray, FloatArray]:
            to_matrix, to_bias = bend(change, shift)
            return to_matrix, to_bias + problem.bias_decay * shift if composite.has_bias else to_bias

        return bent

    return fit, bends, composite.start()[1]
