"""The problem that a last batch normalization poses."""

from __future__ import annotations

import math

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike
from encollapse.encodings import Encoding
from encollapse.encodings.registry import of_counts
from encollapse.errors import ArgumentError
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.problem import Problem

_NONE = (
    "at 0 the gains of the normalization grow without end while the classifier shrinks, and there is no minimizer; put "
    "the parameters of the normalization among those with weight decay"
)


def batch_norm_problem(
    encoding: Encoding | str,
    counts: int | ArrayLike,
    *,
    weight_decay: float,
    gain_decay: float,
    offset_decay: float | None = None,
    bias_decay: float = 0.0,
    features: str = "linear",
    loss: str | ConvexLoss = "mse",
) -> Problem:
    """Pose the unrestricted feature model that a network with a last batch normalization minimizes.

    Features ``h = γ ∘ x̂ + β`` with rows of ``x̂`` of mean 0 and mean square 1 over the training set, take every value,
    and the decay of γ and β costs exactly ``(1/2N)(λ_γ Σ|h_i - μ|² + λ_β N|μ|²)``. So the problem has ``λ_H = λ_γ/N``,
    whatever the loss, and all weights before the normalization are free (docs, theory of tails). With a ReLU behind the
    normalization the features are non-negative, which needs equal decays.

    Parameters
    ----------
    encoding, counts
        As in :class:`Problem`.
    weight_decay, gain_decay, offset_decay, bias_decay : float
        Decays with factor ½ of the head's weight, of the gains γ and offsets β of the normalization (None is
        `gain_decay`, infinity is a normalization without offsets), and of the head's bias (infinity is none). The loss
        is a mean over the samples, so these are the ``weight_decay`` of an optimizer over the scale of its loss.
    features : {"linear", "relu"}
        Whether a ReLU follows the normalization.
    loss : str or ConvexLoss
        As in :class:`Problem`.

    Returns
    -------
    Problem
        With ``feature_decay = λ_γ/N`` and ``feature_mean_decay = λ_β/N``.

    Raises
    ------
    ArgumentError
        If `gain_decay` is 0, or the other decays leave no minimizer.

    Examples
    --------
    >>> import encollapse as ec
    >>> p = ec.ufm.batch_norm_problem(
    ...     ec.encodings.one_hot(10), 500, weight_decay=5e-4, gain_decay=5e-4, bias_decay=5e-4, loss="cross_entropy"
    ... )
    >>> round(ec.ufm.solve(p).geometry.cosine(0, 1), 6)
    -0.111111
    """
    gain = checks.positive(gain_decay, "gain_decay", why=_NONE)
    encoding = of_counts(encoding, counts)
    number = int(checks.class_counts(counts, encoding.num_classes).sum()) if isinstance(encoding, Encoding) else 1
    offset = gain
    if offset_decay is not None:
        offset = checks.nonnegative(offset_decay, "offset_decay", allow_infinity=True)
    if isinstance(features, str) and features == "relu" and offset != gain:
        raise ArgumentError(
            f"offset_decay: with features='relu' it must be that of the gains, {gain:g}, got {offset:g}; for other "
            "decays no law is known"
        )
    return Problem(
        encoding,
        counts,
        weight_decay=weight_decay,
        feature_decay=gain / number,
        feature_mean_decay=None if offset == gain else (math.inf if math.isinf(offset) else offset / number),
        bias_decay=bias_decay,
        features=features,
        loss=loss,
    )
