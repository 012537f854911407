"""`Problem`: an unrestricted feature model, as a value that answers questions about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from encollapse import _checks
from encollapse._typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentTypeError, UnsupportedError
from encollapse.ufm.blocks import Kinds, affine_form
from encollapse.ufm.critical import CriticalPoint, critical_point
from encollapse.ufm.labels import WeightedLabels
from encollapse.ufm.reduction import Reduction

_WHY_POSITIVE = "at 0 the features or the classifier grow without bound and there is no minimiser"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem:
    """The unrestricted feature model (UFM): features, classifier and bias are all free variables.

    Minimise over ``W`` (q, d), ``H`` (d, N) and ``b`` (q,)

        ``F = 1/(2N) Σ_k Σ_i |W h_ki + b - e_k|² + λ_W/2 |W|² + λ_H/2 |H|² + λ_b/2 |b|²``

    where class k has `counts[k]` samples and the codeword ``e_k`` :cite:p:`massion2026`.

    Parameters
    ----------
    encoding : Encoding
        One codeword for each class.
    counts : int or (num_classes,) ints
        Samples per class; one number means balanced data.
    weight_decay, feature_decay : float
        ``λ_W`` and ``λ_H``, above 0. `feature_decay` multiplies the sum over all samples.
    bias_decay : float
        ``λ_b`` from 0 to ``math.inf``; infinity means no bias.
    feature_dim : int, optional
        Dimension d of the features; None means wide enough for the rank never to bind.
    loss : {"mse"}
        Loss between outputs and codewords.
    depth : {1}
        Number of weight layers on top of the features.
    features : {"linear"}
        Sign constraint of the features.

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

    def __init__(
        self,
        encoding: Encoding,
        counts: int | ArrayLike,
        *,
        weight_decay: float,
        feature_decay: float,
        bias_decay: float = 0.0,
        feature_dim: int | None = None,
        loss: str = "mse",
        depth: int = 1,
        features: str = "linear",
    ) -> None:
        if not isinstance(encoding, Encoding):
            raise ArgumentTypeError(
                f"encoding: expected an Encoding, got {type(encoding).__name__}; "
                "make one with encollapse.encodings, or Encoding(codewords)"
            )
        self._set("encoding", encoding)
        self._set("counts", _checks.read_only(_checks.class_counts(counts, encoding.num_classes)))
        self._set("weight_decay", _checks.positive(weight_decay, "weight_decay", why=_WHY_POSITIVE))
        self._set("feature_decay", _checks.positive(feature_decay, "feature_decay", why=_WHY_POSITIVE))
        self._set("bias_decay", _checks.nonnegative(bias_decay, "bias_decay", allow_infinity=True))
        wide = feature_dim is None
        self._set("feature_dim", None if wide else _checks.integer(feature_dim, "feature_dim", minimum=1))
        self._set("loss", _checks.choice(loss, "loss", ("mse", "cross_entropy")))
        self._set("depth", _checks.integer(depth, "depth", minimum=1))
        self._set("features", _checks.choice(features, "features", ("linear", "relu")))
        for name, known in (("loss", "mse"), ("features", "linear"), ("depth", 1)):
            if getattr(self, name) != known:
                raise UnsupportedError(
                    f"{name}: this release solves {known!r} only, got {getattr(self, name)!r}"
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
        """``c = √(N λ_W λ_H)``: singular values of the weighted labels below it are not learnt."""
        # Separate roots: the product itself can leave the range of float64.
        return math.sqrt(self.num_samples) * math.sqrt(self.weight_decay) * math.sqrt(self.feature_decay)

    @cached_property
    def kinds(self) -> Kinds | None:
        """The classes grouped by count, where that makes the problem smaller; None otherwise."""
        if affine_form(self.encoding) is None:
            return None
        kinds = Kinds.of(self.counts)
        return kinds if 2 * len(kinds.sizes) <= self.num_classes else None

    @cached_property
    def reduction(self) -> Reduction:
        """The singular value decomposition that every bias decay shares."""
        form = affine_form(self.encoding)
        if self.kinds is not None and form is not None:
            return Reduction.of(self.kinds.labels(*form))
        return Reduction.of(WeightedLabels.of(self.encoding.codewords, self.priors))

    @cached_property
    def _critical(self) -> CriticalPoint:
        return critical_point(self.reduction, self.threshold)

    def critical_bias_decay(self) -> float:
        """Smallest ``λ_b`` above which the mean direction is learnt (``Z u ≠ 0``).

        Returns
        -------
        float
            0.0 if any positive bias decay will do, ``inf`` if none will, a finite number in between.
            Exact, from the optimality conditions; :meth:`explain` gives the reason in words.
        """
        return self._critical.bias_decay

    def explain(self) -> str:
        """Say in words what :meth:`critical_bias_decay` found, and why."""
        return self._critical.reason

    def with_bias_decay(self, bias_decay: float) -> Problem:
        """Return the same problem at another bias decay; it shares the decomposition."""
        other = replace(self, bias_decay=bias_decay)
        for name in ("kinds", "reduction", "_critical"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other
