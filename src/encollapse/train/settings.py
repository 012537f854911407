"""`Settings`: everything that decides a training run besides its data and its encoding."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from encollapse import _checks
from encollapse.errors import ArgumentTypeError
from encollapse.train import models

DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")


@dataclass(frozen=True)
class Settings:
    """Checked settings of :func:`encollapse.train.fit`, where each is explained."""

    weight_decay: float
    feature_decay: float
    bias_decay: float
    model: str
    feature_dim: int
    features: str
    epochs: int
    finish: int
    learning_rate: float
    batch_size: int
    tolerance: float
    seed: int
    device: str
    history_every: int
    progress: bool

    def __post_init__(self) -> None:
        why = "at 0 the features or the classifier grow without bound"
        self._set("weight_decay", _checks.positive(self.weight_decay, "weight_decay", why=why))
        self._set("feature_decay", _checks.positive(self.feature_decay, "feature_decay", why=why))
        self._set("bias_decay", _checks.nonnegative(self.bias_decay, "bias_decay", allow_infinity=True))
        _checks.choice(self.model, "model", models.names())
        _checks.choice(self.features, "features", ("linear", "relu"))
        self._set("feature_dim", _checks.integer(self.feature_dim, "feature_dim", minimum=1))
        self._set("epochs", _checks.integer(self.epochs, "epochs", minimum=0))
        self._set("finish", _checks.integer(self.finish, "finish", minimum=0))
        self._set("learning_rate", _checks.positive(self.learning_rate, "learning_rate"))
        self._set("batch_size", _checks.integer(self.batch_size, "batch_size", minimum=1))
        self._set("tolerance", _checks.nonnegative(self.tolerance, "tolerance"))
        # PyTorch's generators take seeds below 2⁶⁴.
        self._set("seed", _checks.integer(self.seed, "seed", minimum=0, maximum=2**63 - 1))
        _checks.choice(self.device, "device", DEVICES)
        self._set("history_every", _checks.integer(self.history_every, "history_every", minimum=1))
        if not isinstance(self.progress, bool):
            raise ArgumentTypeError(f"progress: expected True or False, got {self.progress!r}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def has_bias(self) -> bool:
        """Whether the head has a bias: not where the bias decay is infinite."""
        return not math.isinf(self.bias_decay)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, where an infinite bias decay is the string ``"inf"``."""
        values = asdict(self)
        return values | {"bias_decay": self.bias_decay if self.has_bias else "inf"}
