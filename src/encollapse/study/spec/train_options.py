"""Options of :func:`encollapse.train.fit` that the `train` table of a study file may hold. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encollapse.study.trials import THEORY
from encollapse.train.settings import OPTIONS as KEYWORDS
from encollapse.train.settings import Settings, decay_of

ELSEWHERE = {
    "weight_decay": "weight_decay",
    "feature_decay": "feature_decay or relative_threshold",
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
    given = {key: settings[key] for key in ("weight_decay", "bias_decay", "features", "epochs") if key in settings}
    given |= {"history_every": measure["every"]} if "every" in measure else {}
    if decay_of(train) == "ufm":
        given["feature_decay"] = settings.get("feature_decay", 1.0)  # what follows from a threshold is above 0 as well
    Settings(**given | train)
