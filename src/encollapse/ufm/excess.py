"""How far a network's own loss is above the certified minimum, in parts, and what that guarantees.

Let ``F`` be the objective at the features of the samples, ``G = W H`` the outputs without bias, ``Ḡ`` their class
means and ``Φ(G, b)`` the convex problem, in which ``c|·|_*`` takes the place of the penalties. Then

    ``F - Φ* = [penalties - c|G/√N|_*] + [Φ(G, b) - Φ(Ḡ, b)] + [Φ(Ḡ, b) - Φ*]``

where the first bracket is at least 0 by the variational form of the nuclear norm, the second by Jensen's inequality,
and the third because ``Φ*`` is the minimum. For a linear tail over given activations G is the product of
the layers. Variation within classes is then part of the activations, which are given, so it costs nothing by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from encollapse.ufm.problem import Problem
from encollapse.ufm.tail.linear_tail import TailProblem
from encollapse.ufm.tail.sample_norm import SampleNormProblem

if TYPE_CHECKING:
    from encollapse.ufm.solution import Solution

_BLOCK = 2**22
"""Entries of features that are turned to float64 at a time."""
_FITTING = 1e-3
"""Relative distance up to which features count as what an inner layer makes of the activations."""
_ROUNDING = 64 * EPS
"""Share of the loss up to which a difference of two objectives is rounding. Each has a relative error of a few EPS."""


@dataclass(frozen=True)
class Excess:
    """The excess of a network's loss over the certified minimum.

    Attributes
    ----------
    total : float
        ``F`` less the lower bound of the certificate.
    unbalanced : float
        What the penalties on classifier and features cost above the cheapest split of the same outputs.
    within : float
        What the differences between samples of a class cost.
    between : float
        What the class means cost above the minimum. The three parts add up to `total`. None is negative but for
        rounding, which tables write as 0.
    guarantee : float
        No training sample's output is further from the predicted output of its class, on average, than this: for MSE
        it bounds the mean of ``|o - o*|²``, for cross-entropy the mean Kullback-Leibler divergence from the predicted
        to the measured distribution. It follows from `total` alone.
    distance : float
        That mean itself, measured: never above `guarantee`, but for rounding.
    loss : float
        ``F``.
    lower_bound : float
        No parameters have a loss below it.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> p = ec.ufm.Problem(ec.encodings.one_hot(3), 5, weight_decay=5e-3, feature_decay=1e-3)
    >>> weight, means, bias = ec.ufm.solve(p).parameters(feature_dim=7)
    >>> labels = np.repeat(np.arange(3), 5)
    >>> e = ec.ufm.excess(p, 2 * means.T[labels], labels, weight / 2, bias)
    >>> bool(np.isclose(e.unbalanced, e.total)), abs(e.within) < 1e-12, abs(e.between) < 1e-12
    (True, True, True)
    """

    total: float
    unbalanced: float
    within: float
    between: float
    guarantee: float
    distance: float | None
    loss: float
    lower_bound: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain values, for JSON."""
        return dict(vars(self))

    def shown(self) -> Excess:
        """The same with rounding set to 0: total and parts of at most ``64 eps`` of the loss, for tables."""
        parts = ("total", "unbalanced", "within", "between")
        return replace(self, **{part: without_rounding(getattr(self, part), self.loss) for part in parts})

    def logged(self) -> dict[str, float | None]:
        """What logs and tables show, by the names that entries have there."""
        return {name: getattr(self, entry) for name, entry in OF_EXCESS.items()}

    def __str__(self) -> str:
        shown = self.shown()
        rows = {
            "loss": self.loss,
            "certified minimum": self.lower_bound,
            "excess": shown.total,
            "  layers unbalanced": shown.unbalanced,
            "  within classes": shown.within,
            "  between classes": shown.between,
            "guarantee on the outputs": self.guarantee,
            "their distance": self.distance,
        }
        return "\n".join(f"{name:<25}  {'-' if value is None else f'{value:.6g}'}" for name, value in rows.items())


def without_rounding(part: float, loss: float) -> float:
    """Part of an excess, or 0 where it is no more than the rounding of a loss and its minimum."""
    return 0.0 if abs(part) <= _ROUNDING * abs(loss) else part


OF_EXCESS = {
    "excess": "total",
    "excess_unbalanced": "unbalanced",
    "excess_within": "within",
    "excess_between": "between",
    "guarantee": "guarantee",
}
"""What logs and tables call the entries of an excess."""


def excess(
    problem: Problem | TailProblem | SampleNormProblem,
    features: Any,
    labels: Any,
    weight: Any,
    bias: Any = None,
    *,
    inner: Any = None,
    solution: Solution | None = None,
) -> Excess:
    """Split the excess of a network's loss over the certified minimum.

    Parameters
    ----------
    problem : Problem or TailProblem
        What the training minimizes, with one weight layer, or with two over given activations.
    features : (N, d)
        Last-layer features of all training samples, one row a sample, numpy or torch.
    labels : (N,)
        Their classes. The counts must be those of the problem, and for a tail the labels themselves.
    weight : (q, d)
        Last linear layer.
    bias : (q,), optional
        Default zeros.
    inner : (d, p), or a pair of it and (d,), optional
        For a tail, its inner layer, with its bias where it has one. Default the least one that makes these features of
        the activations. Weight decay takes every other one there.
    solution : Solution, optional
        Of the problem, where it is at hand.

    Returns
    -------
    Excess
        The total, its three parts, and the guarantee on the outputs.

    Raises
    ------
    ArgumentError
        If shapes, counts or values do not fit.
    UnsupportedError
        If the problem has several weight layers, a tail more than two, or a last normalization of each sample: none of
        these is convex in the outputs, which the parts and the guarantee need.

    Examples
    --------
    >>> import numpy as np, encollapse as ec
    >>> p = ec.ufm.Problem(ec.encodings.one_hot(3), 5, weight_decay=5e-3, feature_decay=1e-3, bias_decay=0.1)
    >>> weight, means, bias = ec.ufm.solve(p).parameters(feature_dim=7)
    >>> labels = np.repeat(np.arange(3), 5)
    >>> e = ec.ufm.excess(p, means.T[labels], labels, weight, bias)
    >>> abs(e.total) < 1e-12
    True
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal((15, 7))
    >>> e = ec.ufm.excess(p, means.T[labels] + noise, labels, weight, bias)
    >>> e.within > e.between, bool(np.isclose(e.unbalanced + e.within + e.between, e.total))
    (True, True)
    """
    from encollapse.ufm.solve import solve

    sample: _Sample | _TailSample
    if isinstance(problem, TailProblem):
        if problem.layers > 2:
            raise UnsupportedError(
                f"problem: the excess of a tail is split for two layers, got layers={problem.layers}"
            )
        sample = _TailSample.read(problem, features, labels, weight, bias, inner)
    elif isinstance(problem, SampleNormProblem):
        raise UnsupportedError("problem: the price of a normalization of each sample is not convex in the outputs")
    elif not isinstance(problem, Problem):
        raise ArgumentTypeError(f"problem: expected a Problem, got {type(problem).__name__}")
    elif problem.depth > 1:
        raise UnsupportedError(f"problem: the excess is split for one weight layer, got depth={problem.depth}")
    elif inner is not None:
        raise ArgumentError("inner: only a TailProblem has an inner layer, got a Problem")
    else:
        sample = _Sample.of(problem, features, labels, weight, bias)
    found = solve(problem, throw=False) if solution is None else solution
    lower = found.certificate.lower_bound
    value, reduced, at_means = sample.value(), sample.reduced(), sample.at_means()
    return Excess(
        total=value - lower,
        unbalanced=value - reduced,
        within=reduced - at_means,
        between=at_means - lower,
        guarantee=_guarantee(problem, value - lower, sample.bias - found.bias),
        distance=sample.distance(found) if found.unique else None,
        loss=value,
        lower_bound=lower,
    )


def _guarantee(problem: Problem | TailProblem, total: float, shift: FloatArray) -> float:
    """Bound on the mean divergence of the outputs: the excess less what the bias alone accounts for."""
    decay = problem.bias_decay
    left = total - (0.5 * decay * float(shift @ shift) if 0 < decay < math.inf else 0.0)
    return max(0.0, left) * (2.0 if problem.loss == "mse" else 1.0)


@dataclass(frozen=True, eq=False)
class _Sample:
    """A network's features, reduced to what the objective sees."""

    problem: Problem
    labels: IntArray
    outputs: FloatArray  # (N, q), without bias
    weight: FloatArray
    bias: FloatArray
    squares: float  # Σ|h_i|², with the price of the global mean
    mean_squares: float  # the same for the class means
    features_nonnegative: bool

    @classmethod
    def of(cls, problem: Problem, features: Any, labels: Any, weight: Any, bias: Any) -> _Sample:
        rows, classes, w, b = _read(problem, features, labels, weight, bias)
        q, k, counts = problem.code_dim, problem.num_classes, problem.counts
        outputs = np.empty((len(rows), q))
        sums = np.zeros((k, w.shape[1]))
        squares, low = 0.0, 0.0
        for start in range(0, len(rows), max(1, _BLOCK // w.shape[1])):
            part = slice(start, start + max(1, _BLOCK // w.shape[1]))
            block = rows[part].astype(np.float64)
            if not np.isfinite(block).all():
                raise ArgumentError("features: expected finite values, got NaN or infinity")
            outputs[part] = block @ w.T
            squares += float(np.einsum("ij,ij->", block, block))
            low = min(low, float(block.min()))
            np.add.at(sums, classes[part], block)
        center = sums.sum(axis=0) / len(rows)
        extra = _mean_factor(problem) * len(rows) * float(center @ center)
        means = sums / counts[:, None]
        return cls(
            problem=problem,
            labels=classes,
            outputs=outputs,
            weight=w,
            bias=b,
            squares=squares + extra,
            mean_squares=float(counts @ np.einsum("kd,kd->k", means, means)) + extra,
            features_nonnegative=low >= 0,
        )

    def value(self) -> float:
        """The objective itself."""
        if self.problem.features == "relu" and not self.features_nonnegative:
            raise ArgumentError("features: the problem has features='relu', and an entry is below 0")
        return self._fit(self.outputs, self.labels) + self._penalty(self.squares) + self._bias_penalty()

    def reduced(self) -> float:
        """The objective with the penalties at the cheapest split of the outputs, or of their size where it is ReLU."""
        cheapest = self._cheapest(self.outputs, self.squares)
        return self._fit(self.outputs, self.labels) + cheapest + self._bias_penalty()

    def at_means(self) -> float:
        """The same with each output at the mean of its class."""
        counts = self.problem.counts
        sums = np.zeros((len(counts), self.outputs.shape[1]))
        np.add.at(sums, self.labels, self.outputs)
        means = sums / counts[:, None]
        fit = float(self._losses(means, np.arange(len(counts))) @ (counts / counts.sum()))
        cheapest = self._cheapest(means * np.sqrt(counts)[:, None], self.mean_squares, counts)
        return fit + cheapest + self._bias_penalty()

    def _cheapest(self, outputs: FloatArray, squares: float, counts: IntArray | None = None) -> float:
        """``c|G/√N|_*`` for rows of outputs, or with non-negative features the best scaling of the factors at hand."""
        p, n = self.problem, len(self.labels)
        if p.features == "relu":
            return math.sqrt(p.weight_decay * p.feature_decay * float(np.sum(self.weight**2)) * squares)
        rho = 0.0 if math.isinf(p.mean_root) else p.mean_root
        if rho != 1.0:
            if counts is None:
                outputs = outputs + (rho - 1.0) * outputs.mean(axis=0)
            else:
                root = np.sqrt(counts)
                outputs = outputs + (rho - 1.0) * np.outer(root, root @ outputs) / n
        triangle = np.linalg.qr(outputs, mode="r")
        return p.threshold * float(np.linalg.svd(triangle, compute_uv=False).sum()) / math.sqrt(n)

    def _penalty(self, squares: float) -> float:
        p = self.problem
        return 0.5 * (p.weight_decay * float(np.sum(self.weight**2)) + p.feature_decay * squares)

    def _bias_penalty(self) -> float:
        return 0.5 * self.problem.bias_decay * float(self.bias @ self.bias) if self.bias.any() else 0.0

    def _fit(self, outputs: FloatArray, labels: IntArray) -> float:
        return float(self._losses(outputs, labels).mean())

    def _losses(self, outputs: FloatArray, labels: IntArray) -> FloatArray:
        """Loss of each row of outputs, times the weight of its class."""
        p, o = self.problem, outputs + self.bias
        loss = p.convex_loss
        codewords = p.encoding.codewords
        if loss is None:
            found = 0.5 * np.sum((o - codewords.T[labels]) ** 2, axis=1)
        else:
            found = np.asarray(loss.value(o.T, loss.targets(codewords)[:, labels], np.ones_like(o.T)))
        weights = p.class_weights
        return np.asarray(found if weights is None else found * weights[labels])

    def distance(self, found: Solution) -> float | None:
        """Mean divergence of the outputs of the samples from the predicted outputs of their classes."""
        wanted = (np.asarray(found.geometry.class_outputs) + found.bias[:, None]).T[self.labels]
        return _divergence(self.problem, self.labels, self.outputs + self.bias, wanted)


@dataclass(frozen=True, eq=False)
class _TailSample:
    """Head and inner layer over given activations."""

    problem: TailProblem
    inner: FloatArray  # (d, p), with a column for the constant entry where there is an inner bias
    weight: FloatArray
    bias: FloatArray

    @classmethod
    def read(cls, problem: TailProblem, features: Any, labels: Any, weight: Any, bias: Any, inner: Any) -> _TailSample:
        rows, classes, w, b = _read(problem, features, labels, weight, bias)
        if not np.array_equal(classes, problem.labels):
            raise ArgumentError("labels: they are not those of the tail problem, or in another order")
        coarse = rows.dtype != np.float64
        rows = checks.array(rows, "features", rows.shape, axes="(N, d)")
        data = problem.data
        layer = data.least_map(rows, coarse=coarse) if inner is None else _inner(problem, inner, len(w.T))
        off = float(np.linalg.norm(data.rows @ layer.T - rows))
        if off > _FITTING * float(np.linalg.norm(rows)):
            raise ArgumentError(
                f"features: they are {off / float(np.linalg.norm(rows)):.1e} (relative) away from a linear layer over "
                "the activations of the problem; give features and activations of one pass, or the layer as inner"
            )
        return cls(problem, layer, w, b)

    def value(self) -> float:
        """The objective itself: what the layers cost takes the place of the cheapest split."""
        first, head = self.problem.decays
        squares = first * float(np.sum(self.inner**2)) + head * float(np.sum(self.weight**2))
        return self.reduced() + 0.5 * squares - self.problem.threshold * self._nuclear

    @cached_property
    def _nuclear(self) -> float:
        return float(np.linalg.svd(self._product, compute_uv=False).sum())

    @property
    def _product(self) -> FloatArray:
        return np.asarray(self.weight @ self.inner)

    @cached_property
    def _reduced(self) -> float:
        return self.problem.objective(self._product, self.bias)

    def reduced(self) -> float:
        """The objective at the cheapest split of the product of the layers."""
        return self._reduced

    def at_means(self) -> float:
        """The same: the activations are given."""
        return self._reduced

    def distance(self, found: Solution) -> float | None:
        """Mean divergence of the outputs of the samples from their own predicted ones."""
        matrix: FloatArray = found.matrix  # type: ignore[attr-defined]
        data = self.problem.data
        ours, wanted = data.outputs(self._product).T + self.bias, data.outputs(matrix).T + found.bias
        return _divergence(self.problem, self.problem.labels, ours, wanted)


def _read(
    problem: Problem | TailProblem, features: Any, labels: Any, weight: Any, bias: Any
) -> tuple[Any, IntArray, FloatArray, FloatArray]:
    """Features as they came, labels, weight and bias, if they go together and with the problem."""
    q, k = problem.code_dim, problem.num_classes
    w = checks.array(checks.to_numpy(weight, "weight"), "weight", (q, None), axes="(code_dim, feature_dim)")
    b = np.zeros(q)
    if bias is not None:
        b = checks.array(checks.to_numpy(bias, "bias"), "bias", (q,), axes="(code_dim,)")
    if math.isinf(problem.bias_decay) and b.any():
        raise ArgumentError("bias: expected none, as the problem has bias_decay=inf")
    rows = checks.to_numpy(features, "features")
    if rows.ndim != 2 or rows.shape[1] != w.shape[1]:
        raise ArgumentError(f"features: expected shape (N, {w.shape[1]}) to go with the weight, got {rows.shape}")
    classes = checks.class_labels(checks.to_numpy(labels, "labels"), k)
    if len(classes) != len(rows):
        raise ArgumentError(f"labels: expected {len(rows)}, one for each row of the features, got {len(classes)}")
    if not np.array_equal(np.bincount(classes, minlength=k), problem.counts):
        raise ArgumentError(
            "labels: their counts are not those of the problem; build the problem for these samples, with "
            "counts=np.bincount(labels)"
        )
    return rows, classes, w, b


def _inner(problem: TailProblem, inner: Any, width: int) -> FloatArray:
    """The inner layer of a tail, its bias in units of the constant entry of the activations."""
    has_bias = not math.isinf(problem.inner_bias_decay)
    parts: Sequence[Any] = inner if isinstance(inner, tuple | list) else (inner,)
    if len(parts) != 1 + has_bias:
        raise ArgumentError(
            f"inner: the problem has inner_bias_decay={problem.inner_bias_decay:g}, so expected "
            f"{'a matrix and a bias' if has_bias else 'a matrix alone'}, got {len(parts)} arrays"
        )
    shape = (width, problem.activations.shape[1])
    layer = checks.array(checks.to_numpy(parts[0], "inner"), "inner", shape, axes="(feature_dim, p)")
    if not has_bias:
        return layer
    shift = checks.array(checks.to_numpy(parts[1], "inner"), "inner", (width,), axes="(feature_dim,)")
    return np.column_stack([layer, shift * math.sqrt(problem.inner_bias_decay / problem.decays[0])])


def _divergence(
    problem: Problem | TailProblem, labels: IntArray, outputs: FloatArray, wanted: FloatArray
) -> float | None:
    """Mean over the samples of what the guarantee bounds, or None for a loss that names none."""
    loss = problem.loss
    factors = np.ones(len(labels)) if problem.class_weights is None else problem.class_weights[labels]
    if loss == "mse":
        return float((factors * np.sum((outputs - wanted) ** 2, axis=1)).mean())
    if loss != "cross_entropy":
        return None
    ours, theirs = log_softmax(outputs, axis=1), log_softmax(wanted, axis=1)
    return float((factors * np.sum(np.exp(theirs) * (theirs - ours), axis=1)).mean())


def _mean_factor(problem: Problem) -> float:
    """``ρ² - 1``: the price of the global mean above that of other features."""
    decay = problem.feature_mean_decay
    # An infinite price keeps the mean at 0, where it costs nothing.
    return 0.0 if decay is None or math.isinf(decay) else decay / problem.feature_decay - 1.0
