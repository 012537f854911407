"""A last normalization of each sample (RMSNorm, LayerNorm): its problem.

Features are ``h = γ ∘ x̂ + o`` with ``|x̂|² = d`` for every sample. With the outputs as a product of three factors, the
decays of head and gains cost at least ``c_d (Σ σ_i^{2/3})^{3/2}``, ``c_d = √(λ_W λ_γ/d)``, in the singular values of
``Z = W M diag(u)``. An offset adds ``κ = λ_γ/λ_o`` to d, and LayerNorm, whose x̂ has mean zero, takes 1 off it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import of_counts
from encollapse.errors import ArgumentError
from encollapse.ufm.bias_decay import mean_share
from encollapse.ufm.label_structure import LabeledProblem, LabelStructure, checked_encoding, refuse_range
from encollapse.ufm.losses import check_loss
from encollapse.ufm.losses.convex_loss import ConvexLoss

_WHY_POSITIVE = "at 0 it grows without bound and there is no minimizer"


@dataclass(frozen=True, eq=False, repr=False)
class SampleNormProblem(LabeledProblem):
    """A head over a normalization of each sample with decayed gains. See :func:`sample_norm_problem`.

    Attributes
    ----------
    encoding, counts, weight_decay, bias_decay, loss
        As in :class:`Problem`.
    kind : {"rms", "layer"}
        The normalization.
    feature_dim : int
        Its width d.
    gain_decay, offset_decay : float
        Decays of gains and offsets. Infinity means that there are no offsets.
    structure : LabelStructure
        What encoding, counts and loss determine.
    """

    encoding: Encoding
    counts: IntArray
    kind: str
    feature_dim: int
    weight_decay: float
    gain_decay: float
    offset_decay: float
    bias_decay: float
    loss: str
    structure: LabelStructure

    def __repr__(self) -> str:
        return (
            f"SampleNormProblem({self.encoding!r}, kind={self.kind!r}, feature_dim={self.feature_dim}, "
            f"weight_decay={self.weight_decay:g}, gain_decay={self.gain_decay:g}, "
            f"offset_decay={self.offset_decay:g}, bias_decay={self.bias_decay:g}, loss={self.loss!r})"
        )

    @property
    def weight_decays(self) -> tuple[float, ...]:
        """The decay of the head."""
        return (self.weight_decay,)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values for the provenance of a geometry."""
        names = ("kind", "feature_dim", "weight_decay", "gain_decay", "offset_decay", "bias_decay", "loss")
        return {"tail": "sample_norm", **{name: getattr(self, name) for name in names}}

    @property
    def budget(self) -> int:
        """Mean square that gains can draw on: d for RMSNorm, d - 1 for LayerNorm."""
        return self.feature_dim - (self.kind == "layer")

    @property
    def offset_share(self) -> float:
        """``κ = λ_γ/λ_o``, 0 without offsets."""
        return 0.0 if math.isinf(self.offset_decay) else self.gain_decay / self.offset_decay

    @property
    def mean_share(self) -> float:
        """``β = λ_b/(1 + λ_b)``: what the bias leaves of the price of a mean error, under MSE."""
        return mean_share(self.bias_decay)

    def threshold(self, budget: float) -> float:
        """``√(λ_W λ_γ/budget)``."""
        return math.sqrt(self.weight_decay) * math.sqrt(self.gain_decay / budget)


def sample_norm_problem(
    encoding: Encoding | str,
    counts: int | ArrayLike,
    *,
    kind: str = "rms",
    feature_dim: int,
    weight_decay: float,
    gain_decay: float,
    offset_decay: float | None = None,
    bias_decay: float = 0.0,
    loss: str | ConvexLoss = "mse",
) -> SampleNormProblem:
    """Return the problem of a head over RMSNorm or LayerNorm, whose gains and offsets decay.

    For balanced classes with affine one-hot labels under MSE, :func:`solve` knows the minimum of an RMSNorm tail: r
    equal singular values, which need not be all K - 1, so that the class means can be a tight frame of *lower rank*
    than a simplex. Elsewhere it returns the lowest of several stationary points with a lower bound, and
    ``certificate.kind`` is ``"stationary"``.

    Parameters
    ----------
    encoding : Encoding or str
        One codeword for each class.
    counts : int or (K,) ints
        Samples of each class.
    kind : {"rms", "layer"}
        RMSNorm scales a sample to mean square 1 over its d entries. LayerNorm takes off their mean first.
    feature_dim : int
        Width d of the normalization, at least 2 for LayerNorm.
    weight_decay, gain_decay : float
        ``λ_W`` of the head and ``λ_γ`` of the gains, above 0.
    offset_decay : float, optional
        ``λ_o`` of the offsets, above 0. ``math.inf`` means none. Default: none for RMSNorm, `gain_decay` for LayerNorm,
        as these layers usually are.
    bias_decay : float
        ``λ_b`` of the bias of the head. Infinity means no bias.
    loss : {"mse", "cross_entropy"} or a convex loss
        As for :class:`Problem`. Under another loss than MSE no closed form is known.

    Returns
    -------
    SampleNormProblem
        What :func:`solve` takes.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If a value is out of range or has the wrong type. The text names it.

    Examples
    --------
    Six classes at so large a decay that it does not pay to tell all five directions apart:

    >>> import encollapse as ec
    >>> decays = dict(weight_decay=0.4, gain_decay=0.4)
    >>> problem = ec.ufm.sample_norm_problem(ec.encodings.one_hot(6), 100, feature_dim=13, **decays)
    >>> solution = ec.ufm.solve(problem)
    >>> solution.rank, solution.certificate.kind
    (3, 'theorem')
    """
    encoding = checked_encoding(of_counts(encoding, counts))
    classes = checks.read_only(checks.class_counts(counts, encoding.num_classes))
    form = checks.choice(kind, "kind", ("rms", "layer"))
    gains = checks.positive(gain_decay, "gain_decay", why=_WHY_POSITIVE)
    if offset_decay is None:
        offsets = gains if form == "layer" else math.inf
    else:
        offsets = checks.real(offset_decay, "offset_decay")
        if offsets <= 0:
            raise ArgumentError(
                f"offset_decay: expected a number above 0, or math.inf for no offsets, got {offsets:g}; {_WHY_POSITIVE}"
            )
    structure = LabelStructure(encoding, classes, check_loss(loss))
    decay = checks.nonnegative(bias_decay, "bias_decay", allow_infinity=True)
    head = checks.positive(weight_decay, "weight_decay", why=_WHY_POSITIVE)
    named = {"weight_decay": head, "gain_decay": gains, "offset_decay": offsets, "encoding": encoding.largest_entry}
    refuse_range({**named, "bias_decay": decay})
    structure.require_minimizer(decay)
    return SampleNormProblem(
        encoding=encoding,
        counts=classes,
        kind=form,
        feature_dim=checks.integer(feature_dim, "feature_dim", minimum=1 + (form == "layer")),
        weight_decay=head,
        gain_decay=gains,
        offset_decay=offsets,
        bias_decay=decay,
        loss="mse" if structure.loss is None else structure.loss.name,
        structure=structure,
    )
