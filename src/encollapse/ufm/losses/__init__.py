"""Convex losses with their conjugates: those with a name, and the check of a user's own."""

from __future__ import annotations

from typing import Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.ufm.losses.convex_loss import ConvexLoss
from encollapse.ufm.losses.cross_entropy import CrossEntropy

LOSSES: dict[str, ConvexLoss] = {loss.name: loss for loss in (CrossEntropy(),)}
"""Losses by name. MSE has methods of its own and is not among them."""

_PARTS = (
    "name",
    "smoothness",
    "targets",
    "bounded",
    "value",
    "gradient",
    "curvature",
    "conjugate",
    "recentered",
    "outputs",
    "intercept",
)


def check_loss(loss: Any) -> ConvexLoss | None:
    """Return a loss, by name or as an object that has everything that the solver needs, or None for ``"mse"``."""
    if isinstance(loss, str):
        return LOSSES.get(checks.choice(loss, "loss", ("mse", *LOSSES)))
    missing = [part for part in _PARTS if not hasattr(loss, part)]
    if isinstance(loss, type):
        raise ArgumentTypeError(f"loss: expected a name or an object, got the class {loss.__name__}; call it first")
    if missing:
        raise ArgumentTypeError(
            f"loss: expected a name or a convex loss, got {type(loss).__name__} without {', '.join(missing)}; "
            "derive it from encollapse.ufm.SeparableLoss"
        )
    name = loss.name
    if not isinstance(name, str) or not name or name in ("mse", *LOSSES):
        raise ArgumentError(f"loss: expected a loss with a name of its own, got {name!r}")
    checks.positive(loss.smoothness, "loss.smoothness")
    checked: ConvexLoss = loss
    return checked
