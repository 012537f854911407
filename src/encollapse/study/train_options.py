"""Options of :func:`encollapse.train.fit` that the `train` table of a study file may hold. Needs no torch."""

from __future__ import annotations

from encollapse.train.settings import KEYWORDS

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
