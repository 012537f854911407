"""`Problem`: an unrestricted feature model, as a value that answers questions about itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.structured import AffineOneHot
from encollapse.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from encollapse.ufm.convex.output_maps import BlockOutputMap, DenseOutputMap
from encollapse.ufm.critical import CriticalPoint, critical_point, critical_point_of_tail
from encollapse.ufm.critical_cases import deep_critical, limited_critical, relu_critical
from encollapse.ufm.deep.schatten_prox import SchattenProx
from encollapse.ufm.losses.losses import LOSSES, ConvexLoss, check_loss
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.weighted_labels import WeightedLabels
from encollapse.ufm.structured.by_count import CountGroups, affine_form
from encollapse.ufm.structured.long_tail import LongTail

_NO_CRITICAL = (
    "Only MSE has a closed form for the bias decay at which the mean direction starts to be learned: under another "
    "loss what the bias takes up depends on the outputs of every class. At a bias decay of 0 it is not learned; "
    "bias_path shows where it starts."
)
_FEW_KINDS = 0.8
_MANY_KINDS = 128
_WHY_POSITIVE = "at 0 the features or the classifier grow without bound and there is no minimizer"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem:
    """The unrestricted feature model (UFM): features, classifier and bias are all free variables.

    Minimize over ``W`` (q, d), ``H`` (d, N) and ``b`` (q,)

        ``F = 1/(2N) Σ_k Σ_i |W h_ki + b - e_k|² + λ_W/2 |W|² + λ_H/2 |H|² + λ_b/2 |b|²``

    where class k has `counts[k]` samples and the codeword ``e_k`` :cite:p:`massion2026`. With another `loss` its mean
    over the samples takes the place of the first term.

    Parameters
    ----------
    encoding : Encoding
        One codeword for each class.
    counts : int or (num_classes,) ints
        Samples per class; one number means balanced data.
    weight_decay : float or sequence of floats
        ``λ_W``, above 0. With `depth` above 1, one number serves every layer, or one is given for each, in the
        order in which they act on the features (the first layer's first).
    feature_decay : float
        ``λ_H``, above 0; it multiplies the sum over all samples.
    bias_decay : float
        ``λ_b`` from 0 to ``math.inf``; infinity means no bias.
    feature_dim : int, optional
        Dimension d of the features; None means wide enough for the rank never to bind.
    loss : {"mse", "cross_entropy"} or a convex loss
        Loss between outputs and codewords. Cross-entropy, as in ``torch.nn.functional.cross_entropy``, asks for
        codewords that are distributions: entries of 0 or above with sum 1. Any other convex loss is an object; see
        :class:`SeparableLoss`.
    depth : int
        Number M of weight layers on top of the features: outputs ``W_M ··· W_1 h + b``.
    features : {"linear", "relu"}
        Sign constraint of the features: none, or no entry below 0.

    Attributes
    ----------
    weight_decay : float
        What was given, or the geometric mean of the layers' decays: the classifier as a whole and the features
        depend on nothing else.
    weight_decays : tuple of float
        One for each layer.
    loss : str
        Name of the loss.
    convex_loss : ConvexLoss or None
        The loss as an object; None for ``"mse"``.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range, not finite, or has the wrong shape or type; the text names it.
    UnsupportedError
        If the combination of `loss`, `depth` and `features` has no method in this release.
    """

    encoding: Encoding
    counts: IntArray
    weight_decay: float
    feature_decay: float
    bias_decay: float
    feature_dim: int | None
    loss: str
    depth: int
    features: str
    weight_decays: tuple[float, ...] = field(init=False)
    convex_loss: ConvexLoss | None = field(init=False)

    def __init__(
        self,
        encoding: Encoding,
        counts: int | ArrayLike,
        *,
        weight_decay: float | Sequence[float],
        feature_decay: float,
        bias_decay: float = 0.0,
        feature_dim: int | None = None,
        loss: str | ConvexLoss = "mse",
        depth: int = 1,
        features: str = "linear",
    ) -> None:
        if not isinstance(encoding, Encoding):
            raise ArgumentTypeError(
                f"encoding: expected an Encoding, got {type(encoding).__name__}; "
                "make one with encollapse.encodings, or Encoding(codewords)"
            )
        self._set("encoding", encoding)
        self._set("counts", checks.read_only(checks.class_counts(counts, encoding.num_classes)))
        self._set("depth", checks.integer(depth, "depth", minimum=1))
        decays = _layer_decays(weight_decay, self.depth)
        self._set("weight_decays", decays)
        self._set("weight_decay", decays[0] if len(set(decays)) == 1 else _geometric_mean(decays))
        self._set("feature_decay", checks.positive(feature_decay, "feature_decay", why=_WHY_POSITIVE))
        self._set("bias_decay", checks.nonnegative(bias_decay, "bias_decay", allow_infinity=True))
        wide = feature_dim is None
        self._set("feature_dim", None if wide else checks.integer(feature_dim, "feature_dim", minimum=1))
        if isinstance(loss, str):
            self._set("loss", checks.choice(loss, "loss", ("mse", *LOSSES)))
            self._set("convex_loss", LOSSES.get(loss))
        else:
            convex = check_loss(loss)
            self._set("loss", convex.name)
            self._set("convex_loss", convex)
        self._set("features", checks.choice(features, "features", ("linear", "relu")))
        self._refuse_unsolved()

    def _refuse_unsolved(self) -> None:
        if self.convex_loss is not None:
            self._refuse_unsolved_loss(self.convex_loss)
        if self.features == "relu" and self.depth > 1:
            raise UnsupportedError(f"depth: with features='relu' only depth=1 is solved, got {self.depth}")

    def _refuse_unsolved_loss(self, loss: ConvexLoss) -> None:
        for name, known in (("depth", 1), ("features", "linear")):
            value = getattr(self, name)
            if value != known:
                raise UnsupportedError(f"{name}: with loss={self.loss!r} only {known!r} is solved, got {value!r}")
        mean = self.table.mean(self.table.targets)
        if self.bias_decay == 0 and not loss.bounded(mean):
            raise ArgumentError(
                f"bias_decay: at 0 there is no minimizer, as an output that no class asks for lets its bias fall "
                f"without end under loss={self.loss!r}; give a bias_decay above 0, or drop that output"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        low, high = int(self.counts.min()), int(self.counts.max())
        counts = str(low) if low == high else f"{low}..{high}"
        return (
            f"Problem({self.encoding!r}, counts={counts}, weight_decay={self.weight_decay:g}, "
            f"feature_decay={self.feature_decay:g}, bias_decay={self.bias_decay:g})"
        )

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self.encoding.num_classes

    @property
    def code_dim(self) -> int:
        """Length q of a codeword."""
        return self.encoding.code_dim

    @property
    def num_samples(self) -> int:
        """Number of samples N."""
        return int(self.counts.sum())

    @property
    def priors(self) -> FloatArray:
        """Class frequencies ``π``, shape (K,)."""
        return np.asarray(self.counts / self.num_samples)

    @property
    def mean_codeword(self) -> FloatArray:
        """Global mean of the labels ``ē = Σ π_k e_k``, shape (q,)."""
        return self.encoding.mean(self.priors)

    @property
    def balance(self) -> float:
        """``(N λ_H/λ_W)^{1/4}``: how the size of the outputs is shared between classifier and features."""
        return float((self.num_samples * (self.feature_decay / self.weight_decay)) ** 0.25)

    @property
    def is_balanced(self) -> bool:
        """Whether every class has the same number of samples."""
        return bool((self.counts == self.counts[0]).all())

    @property
    def threshold(self) -> float:
        """Singular values of the weighted labels up to it are not learned: ``c = √(N λ_W λ_H)`` at one weight layer.

        The key ``threshold`` of study files is ``t = c √K`` instead.
        """
        if self.depth > 1:
            return self.schatten_prox.threshold
        # Separate roots: the product itself can leave the range of float64.
        return math.sqrt(self.num_samples) * math.sqrt(self.weight_decay) * math.sqrt(self.feature_decay)

    @cached_property
    def schatten_prox(self) -> SchattenProx:
        """What the layers do to one singular value: ``κ = (p/2)(N λ_H Π λ_l)^{1/p}`` with ``p = depth + 1`` factors."""
        if self.depth == 1:
            return SchattenProx(2, self.threshold)
        return SchattenProx(self.depth + 1, 0.5 * (self.depth + 1) * self.common_decay)

    @property
    def common_decay(self) -> float:
        """``(N λ_H Π λ_l)^{1/p}``: the decay that all ``p = depth + 1`` factors could have instead of their own."""
        decays = (self.num_samples, self.feature_decay, *self.weight_decays)
        return math.exp(math.fsum(map(math.log, decays)) / (self.depth + 1))

    @cached_property
    def kinds(self) -> CountGroups | None:
        """The classes grouped by count, where classes with one count are interchangeable; None otherwise."""
        return None if affine_form(self.encoding) is None else CountGroups.of(self.counts)

    @cached_property
    def long_tail(self) -> LongTail | None:
        """The labels without a decomposition, where there are so many distinct counts that it costs more."""
        form = affine_form(self.encoding)
        if form is None or self.kinds is None or len(self.kinds.sizes) <= _MANY_KINDS:
            return None
        return self.kinds.long_tail(*form)

    @cached_property
    def label_svd(self) -> LabelSVD:
        """The singular value decomposition that every bias decay shares."""
        form = affine_form(self.encoding)
        if self.kinds is not None and form is not None:
            return LabelSVD.of(self.kinds.labels(*form))
        return LabelSVD.of(WeightedLabels.of(self.encoding.codewords, self.priors))

    @cached_property
    def dense_label_svd(self) -> LabelSVD:
        """The decomposition of the (q, K) labels, whatever their structure."""
        if self.kinds is None:
            return self.label_svd
        return LabelSVD.of(WeightedLabels.of(self.encoding.codewords, self.priors))

    @cached_property
    def table(self) -> DenseOutputMap | BlockOutputMap:
        """The outputs under a loss other than MSE, kinds of classes together.

        Raises
        ------
        ArgumentError
            If the codewords are no targets of the loss.
        """
        loss = self.convex_loss
        assert loss is not None
        kinds = CountGroups.of(self.counts)
        # Cost grows with the cube of the kinds, so even a few equal counts pay.
        if not isinstance(self.encoding, AffineOneHot) or len(kinds.sizes) > _FEW_KINDS * self.num_classes:
            return DenseOutputMap.of(loss.targets(self.encoding.codewords), self.priors)
        column = np.full((self.num_classes, 1), self.encoding.offset)
        column[0] += self.encoding.scale
        on, off = loss.targets(column)[:2, 0]
        return BlockOutputMap.of(self.encoding, kinds, float(on), float(off))

    @property
    def rank_limit(self) -> int:
        """Largest rank of the outputs: the least of `code_dim`, `num_classes` and `feature_dim`."""
        full = min(self.code_dim, self.num_classes)
        return full if self.feature_dim is None else min(full, self.feature_dim)

    @cached_property
    def _critical(self) -> CriticalPoint:
        if self.loss != "mse":
            return CriticalPoint(None, _NO_CRITICAL)
        if self.features == "relu":
            form = affine_form(self.encoding)
            return relu_critical(self.threshold, self.num_classes, form, self.is_balanced)
        if self.depth > 1:
            labels = self.dense_label_svd.labels
            return deep_critical(self.dense_label_svd, self.schatten_prox.in_units(labels.scale), self.rank_limit)
        if self.long_tail is not None:
            point = critical_point_of_tail(self.long_tail, self.threshold)
        else:
            point = critical_point(self.label_svd, self.threshold)
        if self.feature_dim is None or self.feature_dim >= min(self.code_dim, self.num_classes):
            return point
        return limited_critical(point, self._centered_rank(), self.feature_dim)

    def _centered_rank(self) -> int:
        """How many singular values of the centered labels are learned."""
        if self.long_tail is not None:
            rank = self.long_tail.centered_rank(self.threshold)
        else:
            labels = self.label_svd.labels
            rank = int(np.count_nonzero(self.label_svd.spectrum * labels.scale > self.threshold))
        form = affine_form(self.encoding)
        if self.kinds is not None and form is not None:
            learned = abs(form[0]) * self.kinds.root_priors > self.threshold
            rank += int((self.kinds.sizes[learned] - 1).sum())
        return rank

    def critical_bias_decay(self) -> float | None:
        """Smallest ``λ_b`` above which the mean direction is learned (``Z u ≠ 0``).

        Returns
        -------
        float or None
            0.0 if any positive bias decay will do, ``inf`` if none will, a finite number in between.
            Exact, from the optimality conditions. None where it is not known: another loss than MSE, several
            weight layers, a `feature_dim` that binds, or non-negative features, outside the cases that are proved.
            :meth:`explain` gives the reason in words.
        """
        return self._critical.bias_decay

    def explain(self) -> str:
        """Say in words what :meth:`critical_bias_decay` found, and why."""
        return self._critical.reason

    def with_bias_decay(self, bias_decay: float) -> Problem:
        """Return the same problem at another bias decay; it shares the decomposition."""
        other = object.__new__(type(self))
        for name in (*self.__dataclass_fields__, *_FREE_OF_THE_BIAS):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        decay = checks.nonnegative(bias_decay, "bias_decay", allow_infinity=True)
        other.__dict__["bias_decay"] = decay
        other._refuse_unsolved()
        return other


_FREE_OF_THE_BIAS = (
    "kinds",
    "long_tail",
    "table",
    "label_svd",
    "dense_label_svd",
    "schatten_prox",
    "threshold",
    "priors",
    "balance",
    "_critical",
)


def _layer_decays(weight_decay: Any, depth: int) -> tuple[float, ...]:
    listed = isinstance(weight_decay, list | tuple) or (isinstance(weight_decay, np.ndarray) and weight_decay.ndim > 0)
    if not listed:
        return (checks.positive(weight_decay, "weight_decay", why=_WHY_POSITIVE),) * depth
    if len(weight_decay) != depth:
        each = "" if depth == 1 else f", or one for each of the {depth} layers"
        raise ArgumentError(f"weight_decay: expected one number{each}, as depth={depth}, got {len(weight_decay)}")
    return tuple(
        checks.positive(value, f"weight_decay[{i}]", why=_WHY_POSITIVE) for i, value in enumerate(weight_decay)
    )


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
