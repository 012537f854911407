"""`LabelStructure`: what the encoding, the counts and the loss of a problem determine, whatever its decays are.

Here too are the checks that every kind of problem makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.structured import AffineOneHot
from encollapse.errors import ArgumentError, UnsupportedError
from encollapse.ufm.convex.output_maps import BlockOutputMap, DenseOutputMap
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.losses.squared_error import SQUARED_ERROR
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.weighted_labels import WeightedLabels
from encollapse.ufm.structured.by_count import CountGroups, affine_form
from encollapse.ufm.structured.long_tail import LongTail

_MANY_COUNTS = 128
"""Distinct counts above which sums of resolvents take the place of a decomposition, whose cost is cubic in them."""

_FEW_COUNTS = 0.8
"""Distinct counts for each class up to which classes are grouped under another loss than MSE.

Cost is cubic in the groups, so even a few equal counts pay.
"""

LARGEST = 1e150
"""Largest decay, label or activation, and one over the smallest: their squares are within float64."""

LEAST_PRICE, LARGEST_PRICE = 1e-300, 1e300
"""Bounds of what is not squared, the decay of a bias and the price of a mean: it and its reciprocal keep all digits."""


def checked_encoding(encoding: Any) -> Encoding:
    """Return an encoding, or say what came instead of one."""
    return checks.instance(
        encoding, "encoding", Encoding, why="make one with encollapse.encodings, or Encoding(codewords)"
    )


def layer_decays(value: Any, name: str, count: int, expected: str, *, why: str) -> tuple[float, ...]:
    """Return one decay for each of `count` layers, from one number for all of them or a sequence of as many."""
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0):
        if len(value) != count:
            raise ArgumentError(f"{name}: expected {expected}, got {len(value)}")
        return tuple(checks.positive(v, f"{name}[{i}]", why=why) for i, v in enumerate(value))
    return (checks.positive(value, name, why=why),) * count


def checked_class_weights(value: ArrayLike, num_classes: int) -> FloatArray:
    """Return one factor above 0 for the loss of each class."""
    weights = checks.array(value, "class_weights", (num_classes,), axes="(num_classes,)")
    if (weights <= 0).any():
        raise ArgumentError(
            f"class_weights: every weight must be above 0, got {weights.min():g}; leave out a class of which nothing "
            "is asked"
        )
    for factor in (weights.min(), weights.max()):
        refuse_range({"class_weights": float(factor)})
    return np.asarray(checks.read_only(weights))


def refuse_range(named: Mapping[str, float]) -> None:
    """Refuse decays, and largest entries of arrays, whose squares float64 cannot hold. 0 and infinity pass."""
    for name, value in named.items():
        if not value or np.isinf(value):
            continue
        if name == "bias_decay":
            if not LEAST_PRICE <= value <= LARGEST_PRICE:
                raise ArgumentError(
                    f"{name}: expected 0, infinity or {LEAST_PRICE:g} to {LARGEST_PRICE:g}, beyond which float64 loses "
                    f"digits, got {value:g}; use 0 or infinity"
                )
        elif not 1.0 / LARGEST <= value <= LARGEST:
            array = name in ("encoding", "activations")
            raise ArgumentError(
                f"{name}: expected {'its largest entry' if array else 'it'} between {1.0 / LARGEST:g} and {LARGEST:g}, "
                f"beyond which squares leave float64, got {value:g}; measure "
                f"{'activations' if name == 'activations' else 'the labels'} in another unit"
            )


@dataclass(frozen=True, eq=False)
class LabelStructure:
    """Labels weighted by their frequency, in the forms that the methods work with.

    Nothing here depends on decays, so problems that differ in those only share one. Each form is computed on first use.

    Attributes
    ----------
    encoding : Encoding
        One codeword for each class.
    counts : (K,) ints
        Samples per class.
    loss : ConvexLoss, optional
        None is MSE.
    memo : dict
        Other answers that problems at different bias decays share.
    """

    encoding: Encoding
    counts: IntArray
    loss: ConvexLoss | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def num_samples(self) -> int:
        """Number of samples N."""
        return int(self.counts.sum())

    @cached_property
    def priors(self) -> FloatArray:
        """Class frequencies ``π``, shape (K,)."""
        return np.asarray(self.counts / self.num_samples)

    @cached_property
    def largest_entry(self) -> float:
        """Largest absolute entry of the codewords, or a bound of it."""
        return self.encoding.largest_entry

    @cached_property
    def targets(self) -> FloatArray:
        """What the loss compares outputs with, (q, K): the codewords, as the loss takes them."""
        return self.encoding.codewords if self.loss is None else self.loss.targets(self.encoding.codewords)

    @property
    def is_balanced(self) -> bool:
        """Whether every class has the same number of samples."""
        return bool((self.counts == self.counts[0]).all())

    @property
    def affine_form(self) -> tuple[float, float] | None:
        """(α, γ) of codewords ``α I + γ 11ᵀ``, or of an isometric image of them, or None for other encodings."""
        return affine_form(self.encoding)

    @cached_property
    def count_groups(self) -> CountGroups | None:
        """The classes grouped by count, where classes with one count are interchangeable, or None otherwise."""
        return None if self.affine_form is None else CountGroups.of(self.counts)

    @cached_property
    def long_tail(self) -> LongTail | None:
        """The labels without a decomposition, where there are so many distinct counts that it costs more."""
        form, groups = self.affine_form, self.count_groups
        if form is None or groups is None or len(groups.sizes) <= _MANY_COUNTS:
            return None
        return groups.long_tail(*form)

    @cached_property
    def label_svd(self) -> LabelSVD:
        """The singular value decomposition that every bias decay shares: of the grouped labels where there are any."""
        form, groups = self.affine_form, self.count_groups
        if form is None or groups is None:
            return self.dense_label_svd
        return LabelSVD.of(groups.labels(*form))

    @cached_property
    def dense_label_svd(self) -> LabelSVD:
        """The decomposition of the (q, K) labels, whatever their structure."""
        return LabelSVD.of(WeightedLabels.of(self.encoding.codewords, self.priors))

    @cached_property
    def output_map(self) -> DenseOutputMap | BlockOutputMap:
        """The outputs under another loss than MSE, classes with one count together.

        Raises
        ------
        ArgumentError
            If the codewords are no targets of the loss.
        """
        if self.loss is None:
            raise UnsupportedError("loss: the squared error needs no map of the outputs")
        groups = CountGroups.of(self.counts)
        if not isinstance(self.encoding, AffineOneHot) or len(groups.sizes) > _FEW_COUNTS * len(self.counts):
            return DenseOutputMap.of(self.targets, self.priors)
        column = np.full((len(self.counts), 1), self.encoding.offset)
        column[0] += self.encoding.scale
        on, off = self.loss.targets(column)[:2, 0]
        return BlockOutputMap.of(self.encoding, groups, float(on), float(off))

    def require_minimizer(self, bias_decay: float) -> None:
        """Refuse codewords that are no targets of the loss, and a free bias that moves without end."""
        if self.loss is None:
            return
        mean = self.output_map.mean(self.output_map.targets) if self.counts.all() else self.targets @ self.priors
        if bias_decay == 0 and not self.loss.bounded(mean):
            raise ArgumentError(
                f"bias_decay: at 0 there is no minimizer, as an output that no class asks for, or every class, lets "
                f"its bias move without end under loss={self.loss.name!r}; give a bias_decay above 0, or drop that "
                "output"
            )

    def rank_limit(self, feature_dim: int | None) -> int:
        """Largest rank of the outputs: the least of `code_dim`, `num_classes` and `feature_dim`."""
        full = min(self.encoding.code_dim, self.encoding.num_classes)
        return full if feature_dim is None else min(full, feature_dim)

    def centered_rank(self, threshold: float) -> int:
        """How many singular values of the centered labels exceed `threshold`."""
        if self.long_tail is not None:
            rank = self.long_tail.centered_rank(threshold)
        else:
            rank = int(np.count_nonzero(self.label_svd.spectrum * self.label_svd.labels.scale > threshold))
        form, groups = self.affine_form, self.count_groups
        if form is not None and groups is not None:
            learned = abs(form[0]) * groups.root_priors > threshold
            rank += int((groups.sizes[learned] - 1).sum())
        return rank


_OF_METHODS = frozenset(["any_loss", "balance", "convex_loss", "mean_root", "settings", "structure", "targets"])


class LabeledProblem:
    """What every kind of problem answers from its :class:`LabelStructure`."""

    encoding: Encoding
    structure: LabelStructure

    def __dir__(self) -> list[str]:
        """Without what only methods of the solver use."""
        return [name for name in super().__dir__() if name not in _OF_METHODS]

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
        return self.structure.num_samples

    @property
    def priors(self) -> FloatArray:
        """Class frequencies ``π``, shape (K,)."""
        return self.structure.priors

    @property
    def convex_loss(self) -> ConvexLoss | None:
        """The loss as an object, or None for ``"mse"``."""
        return self.structure.loss

    @property
    def any_loss(self) -> ConvexLoss:
        """The loss as an object, the squared error among them."""
        return self.structure.loss or SQUARED_ERROR

    @property
    def targets(self) -> FloatArray:
        """What the loss compares outputs with, (q, K)."""
        return self.structure.targets
