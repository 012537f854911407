"""The convex problem that the UFM under MSE reduces to, solved for given labels at one or many bias decays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import BoolArray, FloatArray
from encollapse.ufm.certificate import certify
from encollapse.ufm.minimum import Minimum
from encollapse.ufm.mse.duality import duality_gap
from encollapse.ufm.mse.label_svd import LabelSVD
from encollapse.ufm.mse.newton import rank_one_svd, split_mean
from encollapse.ufm.mse.resolvent.newton_path import gaps, minimize_biases
from encollapse.ufm.mse.resolvent.polar_gram import PolarGram
from encollapse.ufm.mse.resolvent.table import ResolventTable
from encollapse.ufm.mse.secular import secular_values

_SMALL = 64  # coordinates up to which one bias decay is solved faster by a decomposition in each step
_FAINT = 1e-6  # of the longest class mean: shorter ones have lost half of their digits to it
_ROUNDED = 1e-7  # of the largest singular value: diagonals below it have lost half of their digits to its rounding


def clear(diagonals: FloatArray, squares: FloatArray, largest: float) -> BoolArray:
    """Whether sums of resolvents know the lengths of all class means of a minimizer, in each row.

    They know the diagonal of ``|Z|`` to the rounding of `largest`, the largest singular value there may be, and of its
    largest entry. The squared lengths are that over the class frequencies: where nothing is learned, or a class is
    rare, rounding alone looks like a length.

    Parameters
    ----------
    diagonals, squares : (..., K)
        ``|Z|_kk`` and ``|Z|_kk/π_k``.
    largest : float
        Of the pencil.
    """
    least = diagonals.min(axis=-1)
    return np.asarray(
        (least > _ROUNDED * largest)
        & (least > _FAINT * diagonals.max(axis=-1))
        & (squares.min(axis=-1) > _FAINT * squares.max(axis=-1))
    )


@dataclass(frozen=True, eq=False)
class ThinSVD:
    """``Z = left diag(singular) right`` with the positive singular values only, as (q, r), (r,), (r, K)."""

    left: FloatArray
    singular: FloatArray
    right: FloatArray

    @property
    def rank(self) -> int:
        """Number of triplets."""
        return len(self.singular)

    def triplets(self) -> ThinSVD:
        """Return itself."""
        return self


@dataclass(frozen=True, eq=False)
class ThresholdedLabels:
    """Z: the labels without a bias, ``A - b uᵀ``, with their singular values soft-thresholded, in units of the labels.

    Z is known through the decomposition that every bias shares and x. Matrices are built when asked for.

    Attributes
    ----------
    label_svd : LabelSVD
        The labels.
    pencil : ResolventTable
        The matrices ``A_x A_xᵀ`` in its coordinates, and c.
    shift : (n,)
        ``x = ē - b`` in the coordinates of the label_svd.
    rank : int
        Of Z.
    """

    label_svd: LabelSVD
    pencil: ResolventTable
    shift: FloatArray
    rank: int

    @cached_property
    def singular(self) -> FloatArray:
        """Singular values of Z, (min(q, K),), descending."""
        r, t = self.label_svd, np.flatnonzero(self.shift)
        values = r.spectrum.copy()
        if len(t):
            values[t] = secular_values(r.spectrum[t], self.shift[t])
        result = np.zeros(min(r.labels.centered.shape))
        result[: self.rank] = np.maximum(np.sort(values)[::-1][: self.rank] - self.pencil.threshold, 0.0)
        return result

    def magnitudes(self) -> tuple[FloatArray, Callable[[FloatArray], float]] | None:
        """``|Z|_kk`` (K,) and ``y -> yᵀ |Z| y`` without a decomposition, or None where that is not accurate."""
        r = self.label_svd
        if not self.resolved or r.slot.get(self) is not None:
            return None
        known = PolarGram(self.pencil, self.shift[None], r.right, r.labels.root_priors)
        squares = known.diagonals[0] / r.labels.root_priors**2
        if not clear(known.diagonals[0], squares, self.pencil.largest):
            return None
        return known.diagonals[0], lambda y: float(known.forms(y[None])[0])

    @property
    def resolved(self) -> bool:
        """Whether sums of resolvents serve, and are faster than singular vectors."""
        return len(self.label_svd.spectrum) > _SMALL and self.pencil.usable

    def triplets(self) -> ThinSVD:
        """Compose the singular vectors. The label_svd keeps those of one minimizer only."""
        known = self.label_svd.slot.get(self)
        if isinstance(known, ThinSVD):
            return known
        left, values, right = _compose(self.label_svd, self.shift)
        order = np.argsort(-values)[: self.rank]
        shrunk = np.maximum(values[order] - self.pencil.threshold, 0.0)
        found = ThinSVD(left[:, order], shrunk, np.ascontiguousarray(right[:, order].T))
        self.label_svd.slot.put(self, found)
        return found


def minimize(label_svd: LabelSVD, threshold: float, bias_decay: float) -> Minimum[ThresholdedLabels]:
    """Minimize ``½|Z + b uᵀ - A|² + c|Z|_* + λ_b/2|b|²``. `threshold` is c in units of the labels."""
    return minimize_along(label_svd, threshold, np.array([bias_decay]))[0]


def minimize_along(label_svd: LabelSVD, threshold: float, bias_decays: FloatArray) -> list[Minimum[ThresholdedLabels]]:
    """Minimize at each of the bias decays (m,), all together where precision allows."""
    r = label_svd
    pencil = ResolventTable(r.spectrum, r.mean, threshold)
    if (len(bias_decays) == 1 and len(r.spectrum) <= _SMALL) or not pencil.usable or bias_decays.min() < 0:
        return [_one_by_one(r, pencil, float(value)) for value in bias_decays]
    found, steps = minimize_biases(pencil, bias_decays)
    # Labels moved by δ move the bound by <Y, δ> and the loss by half of |δ|² more; |Y u| meets what is common to all.
    centered, common = r.defect
    # Y is what the outputs miss, and half of its square part of the loss.
    dual_size = np.sqrt(np.minimum(threshold**2 * len(r.spectrum), 2.0 * found.value))
    shared = np.minimum(threshold, np.linalg.norm(found.pull, axis=1) + found.residual)
    open_ = gaps(found) + 2.0 * (dual_size * centered + shared * common) + centered**2 + common**2
    biases = found.bias @ r.left.T
    # Singular values that exceed c by rounding only are not learned.
    ranks = pencil.count_above(threshold + margin(threshold, r.spectrum), found.shift)
    free = bias_decays == 0.0
    biases[free] = r.labels.mean
    shifts, biases = checks.read_only(found.shift), checks.read_only(biases)
    minimizers = []
    for i, loss in enumerate(found.value.tolist()):
        certificate = certify(loss, loss - float(open_[i]))
        if not certificate.holds:
            minimizers.append(_one_by_one(r, pencil, float(bias_decays[i])))
            continue
        minimizers.append(
            Minimum(
                loss=loss,
                bias=biases[i],
                certificate=certificate,
                iterations=int(steps[i]),
                factors=ThresholdedLabels(r, pencil, shifts[i], int(ranks[i])),
            )
        )
    return minimizers


def _one_by_one(label_svd: LabelSVD, pencil: ResolventTable, bias_decay: float) -> Minimum[ThresholdedLabels]:
    """Solve by a decomposition in each step: relative precision however small c is, at n³ a step.

    The certificate is computed from Z itself, in the coordinates of the labels.
    """
    r, labels, threshold = label_svd, label_svd.labels, pencil.threshold
    t = np.flatnonzero(r.mean)
    shift, bias, iterations = np.zeros(len(r.spectrum)), np.zeros_like(labels.mean), 0
    if bias_decay == 0.0:
        bias = labels.mean.copy()
    elif len(t):
        shift[t], taken, iterations = split_mean(r.spectrum[t], r.mean[t], threshold, bias_decay)
        bias = r.left[:, t] @ taken
    left, values, right = _compose(r, shift)
    order = np.argsort(-values)
    kept = order[values[order] - threshold > margin(threshold, r.spectrum)]
    shrunk = values[kept] - threshold
    triplets = ThinSVD(left[:, kept], shrunk, np.ascontiguousarray(right[:, kept].T))
    outputs = (triplets.left * shrunk) @ triplets.right
    # The difference of labels and outputs would carry the rounding of the labels, which drowns a small c.
    dual = (left * np.minimum(values, threshold)) @ right.T
    moved = r.left @ shift
    if bias_decay < 0:
        # The bias maximizes here, so the loss of these outputs is that at their own best bias.
        bias = (labels.mean - outputs @ labels.root_priors) / (1.0 + bias_decay)
        moved = labels.mean - bias
    loss, certificate = duality_gap(labels, outputs, dual, float(shrunk.sum()), moved, bias, threshold, bias_decay)
    found = ThresholdedLabels(r, pencil, checks.read_only(shift), len(kept))
    r.slot.put(found, triplets)
    return Minimum(loss, checks.read_only(bias), certificate, iterations, found)


def margin(threshold: float, spectrum: FloatArray) -> float:
    """By how much a singular value of ``A_c + x uᵀ`` must exceed c to be above it by more than rounding.

    All but the largest lie between values of `spectrum`, those of ``A_c``, so that a long x adds no rounding to them.
    """
    return 8 * EPS * max(threshold, float(spectrum.max(initial=0.0)))


def _compose(label_svd: LabelSVD, shift: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Singular triplets (columns) of ``A_c + x uᵀ``, in any order."""
    r, t = label_svd, np.flatnonzero(shift)
    if len(t) == 0:
        return r.left, r.spectrum, r.right
    # A_c + x uᵀ = [left_t Q] σ [(right_t diag(d) Q + u wᵀ)/σ]ᵀ on the touched triplets; the others stay.
    vectors, singular, weights = rank_one_svd(r.spectrum[t], shift[t])
    updated = r.right[:, t] @ (r.spectrum[t, None] * vectors)
    updated += np.outer(r.labels.root_priors, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        updated = np.where(singular > 0, updated / singular, 0.0)
    inert = np.setdiff1d(np.arange(len(r.spectrum)), t)
    return (
        np.column_stack([r.left[:, t] @ vectors, r.left[:, inert]]),
        np.concatenate([singular, r.spectrum[inert]]),
        np.column_stack([updated, r.right[:, inert]]),
    )
