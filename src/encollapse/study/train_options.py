"""Options of :func:`encollapse.train.fit` that the `train` table of a study file may hold. Needs no torch."""

from __future__ import annotations

OPTIONS = ("batch_size", "device", "feature_dim", "finish", "learning_rate", "tolerance")
"""What `train` takes."""

ELSEWHERE = {
    "weight_decay": "weight_decay",
    "feature_decay": "feature_decay or threshold",
    "bias_decay": "bias_decay",
    "model": "model",
    "features": "features",
    "epochs": "epochs",
    "seed": "seeds",
    "history_every": "measure = { every = ... }",
}
"""Options that a study file has another key for."""

NOT_IN_A_STUDY = ("progress",)
"""Options that the engine sets itself."""
