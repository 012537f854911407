"""Options of :func:`encollapse.train.fit` that the `train` table of a study file may hold. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encollapse.study.trials import THEORY
from encollapse.train.settings import KEYWORDS, Settings

ELSEWHERE = {
    "weight_decay": "weight_decay",
    "feature_decay": "feature_decay or threshold",
    "bias_decay": "bias_decay",
    "model": "model",
    "model_options": 'model = { name = "...", options = { ... } }',
    "features": "features",
    "epochs": "epochs",
    "seed": "seeds",
    "history_every": "measure = { every = ... }",
    "keep_frames": "measure = { frames = true }",
}
"""Options that a study file has another key for."""

OF_THE_ENGINE = ("checkpoint", "checkpoint_seconds", "keep_checkpoint", "progress")
"""Options that the engine sets itself."""

OPTIONS = tuple(name for name in KEYWORDS if name not in ELSEWHERE and name not in OF_THE_ENGINE)
"""What the table `train` may hold."""

FIT_DEFAULTS: dict[str, Any] = {
    "bias_decay": 0.0,
    "decay": "ufm",
    "loss": "mse",
    "class_weights": "none",
    "logit_adjustment": 0.0,
    "model": "mlp",
    "features": "linear",
    "classifier": "trained",
    "momentum": 0.9,
    "nesterov": False,
    "schedule": "one_cycle",
    "warm_up": 0.0,
    "batch_size": 64,
    "leave_saddles": True,
    "seed": 0,
    "device": "auto",
    "devices": 1,
    "precision": "32-true",
    "history_every": 10,
    "keep_frames": False,
    "checkpoint": None,
    "checkpoint_seconds": 60.0,
    "keep_checkpoint": False,
    "progress": True,
}
"""Defaults of :func:`encollapse.train.fit` that do not depend on its other arguments."""


def check_training(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a trial that its training would refuse, before anything runs.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Naming the option, what it is and what it may be.
    """
    if settings["model"] == THEORY:
        return
    train, measure = settings.get("train", {}), settings.get("measure", {})
    decoupled = train.get("decay") == "decoupled"
    optimizer = train.get("optimizer", "adamw" if decoupled else "adam")
    # Where a default depends on other settings, any value will do that is allowed with them.
    likely = {
        "model_options": {},
        "feature_decay": 1.0 if train.get("decay", "ufm") == "ufm" else None,
        "feature_dim": 64,
        "optimizer": optimizer,
        "learning_rate": 1e-2,
        "epochs": 0 if optimizer == "lbfgs" else 1,
        "finish": 0 if decoupled else 1,
        "tolerance": 1e-3,
    }
    given = {key: settings[key] for key in ("weight_decay", "bias_decay", "features", "epochs") if key in settings}
    given |= {"history_every": measure["every"]} if "every" in measure else {}
    Settings(**{**FIT_DEFAULTS, **likely, **given, **train})
