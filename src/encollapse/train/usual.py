"""Usual values: trainings by name, and defaults that follow from the network and the number of classes.

Loads without PyTorch.
"""

from __future__ import annotations

from typing import Any

from encollapse.train.models import catalog

LEARNING_RATES = {"ufm": {"adam": 1e-2, "sgd": 2e-1}, "other": {"adam": 3e-3, "adamw": 3e-3, "sgd": 3e-2}}
FEATURES = 64
"""Features up to which Adam has its full learning rate, and up to :data:`catalog.WIDTH` hidden units of an mlp.

A step of Adam has the size of its learning rate in every entry, and an output of a layer adds up one for each input:
the rate has to fall as 1/width, or most hidden units die in the first epochs :cite:p:`yanghu2021`. By the number of
features it falls a little faster: of 505 classes of glyphs in 48 passes, about 10 are lost again at the rate as
1/width, and one or two at this.
"""
DECOUPLED_EPOCHS = 200  # more than elsewhere, as no L-BFGS follows them
TOLERANCE = 1e-3  # of gradient and curvature, relative to the scale of the objective
SQUARED_TOLERANCE = 1e-5
"""Tolerance where only the squared gradient judges, whose root is about the relative error that is left."""

MANY_CLASSES_TOLERANCE = 1e-4
"""Tolerance above :data:`catalog.MANY_CLASSES` dimensions of the minimizer, where the head may leave no direction of
negative curvature to be seen and the squared gradient judges: on 505 classes of glyphs 1e-3 leaves a gram_error of
0.029, and this 0.009.
"""

_USUAL: dict[str, Any] = {"schedule": "cosine", "epochs": 200, "finish": 0, "batch_size": 128}
_ONE_DECAY = _USUAL | {"decay": "plain", "bias_decay": "weight_decay"}
RECIPES: dict[str, dict[str, Any]] = {
    "sgd-cosine": _ONE_DECAY | {"optimizer": "sgd", "momentum": 0.9},
    "sgd-step": _ONE_DECAY | {"optimizer": "sgd", "momentum": 0.9, "schedule": "step"},
    "adam-cosine": _ONE_DECAY | {"optimizer": "adam"},
    "adamw-cosine": _USUAL | {"decay": "decoupled", "optimizer": "adamw", "warm_up": 0.05},
}
"""Usual trainings as options. Where one names another option, it takes the value of that."""


def learning_rate(optimizer: str, decay: str, *, feature_dim: int, width: int) -> float:
    """The default learning rate, of Adam under UFM decay lower where layers are wide."""
    rate = LEARNING_RATES["ufm" if decay == "ufm" else "other"].get(optimizer, 1e-3)
    if decay != "ufm" or optimizer != "adam":
        return rate
    return float(rate * min(1.0, (FEATURES / feature_dim) ** 1.25, catalog.WIDTH / width))


def tolerance(rank: int, *, squared: bool) -> float:
    """The default tolerance for a minimizer of up to `rank` dimensions, if only the squared gradient judges or not."""
    if squared:
        return SQUARED_TOLERANCE
    return MANY_CLASSES_TOLERANCE if rank > catalog.MANY_CLASSES else TOLERANCE
