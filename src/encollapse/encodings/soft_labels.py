"""Distributions over the classes as codewords."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks, memory
from encollapse.encodings.encoding import Encoding

_DISTANCES = ("absolute", "squared")


def soft_ordinal(
    num_classes: int, scale: float = 1.0, distance: str = "absolute", *, classes: Sequence[str] | None = None
) -> Encoding:
    """Soft labels for ordered classes: probabilities that fall with the distance from the class (SORD).

    Class k asks for the probabilities ``softmax_i(-scale · φ(i, k))`` with ``φ = |i - k|`` or ``(i - k)²``
    :cite:p:`diaz2019`, so a neighbor costs less than a class far off. Columns are distributions, which cross-entropy
    takes.

    Parameters
    ----------
    num_classes : int
        Number of classes K, at least 2.
    scale : float
        How fast probabilities fall, above 0. One-hot labels are its limit at infinity.
    distance : {"absolute", "squared"}
        The distance φ of two classes.
    classes : sequence of str, optional
        Names of the classes, in their order.

    Returns
    -------
    Encoding
        Shape (K, K). Columns sum to 1.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.soft_ordinal(3).codewords.round(3)
    array([[0.665, 0.212, 0.09 ],
           [0.245, 0.576, 0.245],
           [0.09 , 0.212, 0.665]])
    """
    k = checks.integer(num_classes, "num_classes", minimum=2)
    fall = checks.positive(scale, "scale")
    power = 1 + _DISTANCES.index(checks.choice(distance, "distance", _DISTANCES))
    memory.require_room("codewords", k, k, instead="take fewer classes, or targets of a regression")
    ranks = np.arange(k, dtype=np.float64)
    weights = np.exp(-fall * np.abs(ranks[:, None] - ranks[None, :]) ** power)
    return Encoding(weights / weights.sum(axis=0), name="soft-ordinal", classes=classes)
