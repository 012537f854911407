"""`Problem`: an unrestricted feature model, as a value that answers questions about itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import of_counts
from encollapse.errors import ArgumentError, UnsupportedError
from encollapse.ufm.critical import CriticalPoint, critical_point, practical_point
from encollapse.ufm.deep.schatten_prox import SchattenProx, geometric_mean
from encollapse.ufm.label_structure import (
    LARGEST_PRICE,
    LEAST_PRICE,
    LabeledProblem,
    LabelStructure,
    checked_class_weights,
    checked_encoding,
    layer_decays,
    refuse_range,
)
from encollapse.ufm.losses import check_loss
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.mse.mean_price import reaches_mean

_LEAST_THRESHOLD = 1e-75  # over the largest entry of the codewords
_LEAST_CONVEX_THRESHOLD = 1e-30  # where Newton steps follow a falling sequence of thresholds
_DEEPEST = 1_000_000  # weight layers
_DEEPEST_LOSS = 30  # weight layers under another loss than MSE, whose descents raise numbers to half as high a power
_QUICK, _QUICK_GROUPS = 1500, 10_000
"""Size of a decomposition, and distinct counts where there is none, up to which the practical value takes a second."""
_WHY_POSITIVE = "at 0 the features or the classifier grow without bound and there is no minimizer"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem(LabeledProblem):
    """The unrestricted feature model (UFM): features, classifier and bias are all free variables.

    Minimize over ``W`` (q, d), ``H`` (d, N) and ``b`` (q,)

        ``F = 1/(2N) Σ_k Σ_i |W h_ki + b - e_k|² + λ_W/2 |W|² + λ_H/2 |H|² + λ_b/2 |b|²``

    where class k has `counts[k]` samples and the codeword ``e_k`` :cite:p:`massion2026`. With another `loss` its mean
    over the samples takes the place of the first term.

    Parameters
    ----------
    encoding : Encoding or str
        One codeword for each class, or a name of :func:`encollapse.encodings.by_name` with one count for each class.
    counts : int or (num_classes,) ints
        Samples per class. One number means balanced data.
    weight_decay : float or sequence of floats
        ``λ_W``, above 0. With `depth` above 1, one number serves every layer, or one is given for each, in the
        order in which they act on the features (the first layer's first).
    feature_decay : float
        ``λ_H``, above 0. It multiplies the sum over all samples.
    bias_decay : float
        ``λ_b`` from 0 to ``math.inf``. Infinity means no bias.
    feature_dim : int, optional
        Dimension d of the features. None means wide enough for the rank never to bind.
    loss : {"mse", "cross_entropy"} or a convex loss
        Loss between outputs and codewords. Cross-entropy, as in ``torch.nn.functional.cross_entropy``, asks for
        codewords that are distributions: entries of 0 or above with sum 1. Any other convex loss is an object. See
        :class:`SeparableLoss`.
    depth : int
        Number M of weight layers on top of the features: outputs ``W_M ··· W_1 h + b``.
    features : {"linear", "relu"}
        Sign constraint of the features: none, or no entry below 0.
    feature_mean_decay : float, optional
        Price of the global mean ``μ`` of the features, on the scale of `feature_decay`: with it the features cost
        ``λ_H/2 Σ|h_i - μ|² + feature_mean_decay/2 · N|μ|²``. From 0 to ``math.inf``, which keeps the mean at 0. None
        is the same as `feature_decay`. A last batch normalization with different decays on gains and offsets has such
        a price. See :func:`batch_norm_problem`.
    class_weights : (K,) floats, optional
        Positive factors of the loss of each class, as weighted losses have them. None is 1 for every class.
    weight_decays, structure
        What a problem made of this one by :func:`dataclasses.replace` takes over as far as it fits. There is no need to
        give them.

    Attributes
    ----------
    weight_decay : float
        What was given, or the geometric mean of the layers' decays: the classifier as a whole and the features
        depend on nothing else.
    weight_decays : tuple of float
        One for each layer.
    loss : str
        Name of the loss.
    structure : LabelStructure
        What encoding, counts and loss determine: the decompositions that the methods share.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range, not finite, or has the wrong shape or type. The text names it.
    UnsupportedError
        If the combination of `loss`, `depth` and `features` has no method in this release.

    Examples
    --------
    >>> import encollapse as ec
    >>> decays = dict(weight_decay=5e-3, feature_decay=2e-3, bias_decay=1.0)
    >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, **decays)
    >>> problem
    Problem(Encoding('one-hot', num_classes=4, code_dim=4), counts=5, weight_decay=0.005,
            feature_decay=0.002, bias_decay=1)
    >>> round(problem.threshold, 6), round(problem.critical_bias_decay(), 6)
    (0.014142, 0.029108)
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
    feature_mean_decay: float | None
    class_weights: FloatArray | None
    weight_decays: tuple[float, ...]
    structure: LabelStructure = field(repr=False)

    def __init__(
        self,
        encoding: Encoding | str,
        counts: int | ArrayLike,
        *,
        weight_decay: float | Sequence[float],
        feature_decay: float,
        bias_decay: float = 0.0,
        feature_dim: int | None = None,
        loss: str | ConvexLoss = "mse",
        depth: int = 1,
        features: str = "linear",
        feature_mean_decay: float | None = None,
        class_weights: ArrayLike | None = None,
        weight_decays: Sequence[float] | None = None,
        structure: LabelStructure | None = None,
    ) -> None:
        encoding = checked_encoding(of_counts(encoding, counts))
        fits = structure is not None and structure.encoding is encoding and structure.counts is counts
        if not fits:
            counts = checks.read_only(checks.class_counts(counts, encoding.num_classes))
        depth = checks.integer(depth, "depth", minimum=1, maximum=_DEEPEST)
        decays = _layer_decays(weight_decay, weight_decays, depth)
        wide = feature_dim is None
        values: dict[str, Any] = {
            "encoding": encoding,
            "counts": counts,
            "depth": depth,
            "weight_decays": decays,
            "weight_decay": geometric_mean(decays),
            "feature_decay": checks.positive(feature_decay, "feature_decay", why=_WHY_POSITIVE),
            "bias_decay": checks.nonnegative(bias_decay, "bias_decay", allow_infinity=True),
            "feature_dim": None if wide else checks.integer(feature_dim, "feature_dim", minimum=1),
        }
        values["feature_mean_decay"] = values["class_weights"] = None
        if feature_mean_decay is not None:
            values["feature_mean_decay"] = checks.nonnegative(
                feature_mean_decay, "feature_mean_decay", allow_infinity=True
            )
        if class_weights is not None:
            values["class_weights"] = checked_class_weights(class_weights, encoding.num_classes)
        own = None if structure is None else structure.loss
        if own is None or own.name != loss:
            own = check_loss(loss)
        values["loss"] = "mse" if own is None else own.name
        values["features"] = checks.choice(features, "features", ("linear", "relu"))
        if structure is None or not fits or structure.loss is not own:
            structure = LabelStructure(encoding, np.asarray(counts), own)
        values["structure"] = structure
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._refuse_range()
        self._refuse_unsolved()

    def _refuse_range(self) -> None:
        """Refuse numbers whose squares, which every method takes, float64 cannot hold."""
        decays = {f"weight_decay[{i}]": value for i, value in enumerate(self.weight_decays)}
        if self.depth == 1:
            decays = {"weight_decay": self.weight_decay}
        size = self.structure.largest_entry
        refuse_range({**decays, "feature_decay": self.feature_decay, "bias_decay": self.bias_decay, "encoding": size})
        self._refuse_mean_range()
        least = _LEAST_THRESHOLD if self.loss == "mse" and self.class_weights is None else _LEAST_CONVEX_THRESHOLD
        if size and not least * size <= self.threshold <= size / _LEAST_THRESHOLD:
            raise ArgumentError(
                f"weight_decay, feature_decay: expected a threshold c = √(N λ_W λ_H) of {least:g} to "
                f"{1.0 / _LEAST_THRESHOLD:g} times the largest entry of the codewords, {size:g}, got {self.threshold:g}"
            )

    def _refuse_mean_range(self) -> None:
        price = self.feature_mean_decay
        if price and not math.isinf(price) and not LEAST_PRICE <= price / self.feature_decay <= LARGEST_PRICE:
            raise ArgumentError(
                f"feature_mean_decay: expected 0, infinity or {LEAST_PRICE:g} to {LARGEST_PRICE:g} times the "
                f"feature_decay {self.feature_decay:g}, got {price:g}; use 0 or infinity"
            )

    def _refuse_unsolved(self) -> None:
        if self.class_weights is not None or self.mean_root != 1.0:
            self._refuse_unsolved_weights("class_weights" if self.class_weights is not None else "feature_mean_decay")
        if self.features == "relu" and self.depth > 1:
            raise UnsupportedError(f"depth: with features='relu' only depth=1 is solved, got {self.depth}")
        if self.loss != "mse" and self.depth > _DEEPEST_LOSS:
            raise UnsupportedError(
                f"depth: with loss={self.loss!r} at most {_DEEPEST_LOSS} layers are solved, got {self.depth}"
            )
        self.structure.require_minimizer(self.bias_decay)

    def _refuse_unsolved_weights(self, name: str) -> None:
        for other, known in (("depth", 1), ("features", "linear")):
            value = getattr(self, other)
            if value != known:
                raise UnsupportedError(f"{other}: with {name} only {known!r} is solved, got {value!r}")
        if self.mean_root > 0 or self.bias_decay == 0:
            return
        mean = np.linalg.norm(self.mean_codeword)
        if self.loss != "mse" or self.class_weights is not None:
            solved = False
        else:
            svd = self.structure.dense_label_svd
            solved = not mean or reaches_mean(svd, self.threshold / svd.labels.scale)
        if not solved:
            raise ArgumentError(
                "feature_mean_decay: at 0, with a bias_decay above 0, there is no minimizer, as a mean of the "
                "features that costs nothing takes over the bias and grows without end while its weights shrink; "
                "give a feature_mean_decay above 0, or bias_decay=0"
            )

    def __repr__(self) -> str:
        low, high = int(self.counts.min()), int(self.counts.max())
        counts = str(low) if low == high else f"{low}..{high}"
        return (
            f"Problem({self.encoding!r}, counts={counts}, weight_decay={self.weight_decay:g}, "
            f"feature_decay={self.feature_decay:g}, bias_decay={self.bias_decay:g})"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the provenance of a geometry."""
        names = ("weight_decay", "feature_decay", "bias_decay", "depth", "features")
        return {name: getattr(self, name) for name in names}

    @property
    def mean_codeword(self) -> FloatArray:
        """Global mean of the labels ``ē = Σ π_k e_k``, shape (q,)."""
        return self.encoding.mean(self.priors)

    @property
    def balance(self) -> float:
        """``(N λ_H/λ_W)^{1/4}``: how the size of the outputs is shared between classifier and features."""
        return float((self.num_samples * (self.feature_decay / self.weight_decay)) ** 0.25)

    @property
    def mean_root(self) -> float:
        """``ρ``: root of the price of the features' global mean over that of the features, 1 by default."""
        if self.feature_mean_decay is None:
            return 1.0
        return math.sqrt(self.feature_mean_decay / self.feature_decay)

    @property
    def is_balanced(self) -> bool:
        """Whether every class has the same number of samples."""
        return self.structure.is_balanced

    @property
    def threshold(self) -> float:
        """Singular values of the weighted labels up to it are not learned: ``c = √(N λ_W λ_H)`` at one weight layer.

        The key ``threshold`` of study files is ``t = c √K`` instead.
        """
        return self._prox.threshold

    @cached_property
    def _prox(self) -> SchattenProx:
        return SchattenProx.of_decays(self.num_samples, self.feature_decay, self.weight_decays)

    @cached_property
    def _critical(self) -> CriticalPoint:
        return critical_point(
            self.structure,
            self._prox,
            self.feature_dim,
            self.features,
            mean_root=self.mean_root,
            weighted=self.class_weights is not None,
        )

    def critical_bias_decay(self) -> float | None:
        """Smallest ``λ_b`` above which the mean direction is learned (``Z u ≠ 0``).

        Returns
        -------
        float or None
            0.0 if any positive bias decay will do, ``inf`` if none will, a finite number in between.
            Exact, from the optimality conditions. None where it is not known: another loss than MSE, several
            weight layers, a `feature_dim` that binds, or non-negative features, outside the cases that are proved.
            :meth:`explain` gives the reason in words.

        Examples
        --------
        >>> import encollapse as ec
        >>> decays = dict(weight_decay=5e-3, feature_decay=2e-3)
        >>> round(ec.ufm.Problem(ec.encodings.one_hot(4), 5, **decays).critical_bias_decay(), 6)
        0.029108
        >>> ec.ufm.Problem(ec.encodings.one_hot(4), [5, 5, 5, 2], **decays).critical_bias_decay()
        0.0
        """
        return self._critical.bias_decay

    def explain(self) -> str:
        """Say in words what :meth:`critical_bias_decay` found, and why.

        Examples
        --------
        >>> import encollapse as ec
        >>> problem = ec.ufm.Problem(ec.encodings.simplex(4), 5, weight_decay=5e-3, feature_decay=2e-3)
        >>> for part in problem.explain().split(", "):
        ...     print(part)
        The mean label is zero
        so the bias is zero and the mean direction is not learned at any bias decay.
        """
        practical = self._quick_practical
        if practical is None:
            return self._critical.reason
        return (
            f"{self._critical.reason} The features carry a tenth of what they carry of the mean label without a bias "
            f"from a bias decay of {practical:.4g} on."
        )

    def turning_point(self) -> tuple[float | None, str]:
        """The bias decay to mark in a figure, and its name.

        Returns
        -------
        value : float or None
            :meth:`critical_bias_decay`, or :meth:`practical_bias_decay` where that is 0.
        name : str
            ``"λ_b*"``, or ``"λ_b at 10 %"`` for the practical value.
        """
        practical = self._quick_practical
        return (self.critical_bias_decay(), "λ_b*") if practical is None else (practical, "λ_b at 10 %")

    @cached_property
    def _quick_practical(self) -> float | None:
        """The practical value where the critical one is 0 and the problem is small enough to wait for it."""
        groups = self.structure.count_groups
        quick = self.structure.rank_limit(None) <= _QUICK if groups is None else len(groups.sizes) <= _QUICK_GROUPS
        if self._critical.bias_decay != 0.0 or not quick:
            return None
        practical = self.practical_bias_decay()
        return None if practical is None or math.isinf(practical) else practical

    def practical_bias_decay(self, share: float = 0.1) -> float | None:
        """Smallest ``λ_b`` at which the features carry a share of what they carry of the mean label without a bias.

        One more sample in one class can move :meth:`critical_bias_decay` to 0 while next to nothing of the mean
        direction is learned. What the features carry is ``1 - |Z u - ē|/|ē|``. It is continuous and never falls in
        ``λ_b``, and is 0 up to the critical value, so this value follows the counts continuously wherever it rises
        (theory of tails).

        Parameters
        ----------
        share : float
            Share of the value at ``λ_b = ∞``, above 0 and below 1.

        Returns
        -------
        float or None
            ``inf`` where nothing of the mean label is learned at any bias decay. None where squared error with one
            weight layer, linear features and room for the rank is not what the problem has.

        Raises
        ------
        ArgumentError
            If `share` is not between 0 and 1.

        Examples
        --------
        >>> import encollapse as ec
        >>> decays = dict(weight_decay=5e-3, feature_decay=2e-3)
        >>> nearly = ec.ufm.Problem(ec.encodings.one_hot(4), [5, 5, 5, 6], **decays)
        >>> even = ec.ufm.Problem(ec.encodings.one_hot(4), 5, **decays)
        >>> nearly.critical_bias_decay(), round(even.critical_bias_decay(), 4)
        (0.0, 0.0291)
        >>> round(nearly.practical_bias_decay(), 4), round(even.practical_bias_decay(), 4)
        (0.033, 0.0323)
        """
        level = checks.real(share, "share")
        if not 0 < level < 1:
            raise ArgumentError(f"share: expected a number above 0 and below 1, got {level:g}")
        solved = self.loss == "mse" and self.depth == 1 and self.features == "linear" and self.class_weights is None
        if (
            not solved
            or self.mean_root in (0.0, math.inf)
            or self.structure.rank_limit(self.feature_dim) < self.structure.rank_limit(None)
        ):
            return None
        key = self.threshold, self.mean_root, level
        if key not in self.structure.memo:
            self.structure.memo[key] = practical_point(self.structure, *key)
        return float(self.structure.memo[key])

    def with_bias_decay(self, bias_decay: float) -> Problem:
        """Return the same problem at another bias decay.

        What encoding and counts determine is shared, so no work is done twice.

        Examples
        --------
        >>> import encollapse as ec
        >>> problem = ec.ufm.Problem(ec.encodings.one_hot(4), 5, weight_decay=5e-3, feature_decay=2e-3)
        >>> problem.with_bias_decay(0.1).bias_decay
        0.1
        """
        return replace(self, bias_decay=bias_decay)


def _layer_decays(weight_decay: Any, known: Sequence[float] | None, depth: int) -> tuple[float, ...]:
    """One decay for each layer. `known` ones stay as long as they agree with `weight_decay`, their mean."""
    one = not isinstance(weight_decay, list | tuple) and np.ndim(weight_decay) == 0
    if one and known is not None and len(known) == depth and geometric_mean(known) == weight_decay:
        return tuple(known)
    each = "" if depth == 1 else f", or one for each of the {depth} layers"
    return layer_decays(weight_decay, "weight_decay", depth, f"one number{each}, as depth={depth}", why=_WHY_POSITIVE)
