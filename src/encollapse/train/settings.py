"""`Settings`: everything that decides a training run besides its data and its encoding. Loads without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError

DECAYS = ("ufm", "plain", "decoupled")
LOSSES = ("mse", "cross_entropy")
OPTIMIZERS = ("adam", "adamw", "sgd", "lbfgs")
SCHEDULES = ("one_cycle", "cosine", "step", "constant")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
CLASS_WEIGHTS = ("none", "balanced")
CLASSIFIERS = ("trained", "fixed")
DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")

_FIXED_SIZE = "give a matrix (q, d), or one of " + ", ".join(map(repr, CLASSIFIERS))


@dataclass(frozen=True, eq=False)
class Settings:
    """Checked settings of :func:`encollapse.train.fit`, where each is explained; its keywords are these fields."""

    weight_decay: float
    feature_decay: float | None
    bias_decay: float
    decay: str
    loss: str
    class_weights: str | tuple[float, ...]
    logit_adjustment: float
    model: Any
    model_options: Mapping[str, Any]
    feature_dim: int
    features: str
    classifier: Any
    optimizer: str
    learning_rate: float
    momentum: float
    nesterov: bool
    schedule: str
    warm_up: float
    epochs: int
    finish: int
    batch_size: int
    tolerance: float
    leave_saddles: bool
    seed: int
    device: str
    devices: int
    precision: str
    history_every: int | str | tuple[int, ...]
    keep_frames: bool
    checkpoint: Path | None
    checkpoint_seconds: float
    keep_checkpoint: bool
    progress: bool

    def __post_init__(self) -> None:
        why = "at 0 the features or the classifier grow without bound"
        self._set("weight_decay", checks.positive(self.weight_decay, "weight_decay", why=why))
        checks.choice(self.decay, "decay", DECAYS)
        self._check_feature_decay(why)
        self._set("bias_decay", checks.nonnegative(self.bias_decay, "bias_decay", allow_infinity=True))
        checks.choice(self.loss, "loss", LOSSES)
        self._set("class_weights", _class_weights(self.class_weights))
        self._check_logit_adjustment()
        if not isinstance(self.model_options, Mapping):
            raise ArgumentTypeError(f"model_options: expected a mapping, got {self.model_options!r}")
        self._set("model_options", dict(self.model_options))
        checks.choice(self.features, "features", ("linear", "relu"))
        self._set("feature_dim", checks.integer(self.feature_dim, "feature_dim", minimum=1))
        self._check_classifier()
        self._check_optimizer()
        self._set("batch_size", checks.integer(self.batch_size, "batch_size", minimum=1))
        self._set("tolerance", checks.nonnegative(self.tolerance, "tolerance"))
        # PyTorch's generators take seeds below 2⁶⁴.
        self._set("seed", checks.integer(self.seed, "seed", minimum=0, maximum=2**63 - 1))
        checks.choice(self.device, "device", DEVICES)
        self._set("devices", checks.integer(self.devices, "devices", minimum=1))
        checks.choice(self.precision, "precision", PRECISIONS)
        self._set("history_every", _history_every(self.history_every))
        self._check_checkpoint()
        for name in ("nesterov", "leave_saddles", "keep_frames", "keep_checkpoint", "progress"):
            if not isinstance(getattr(self, name), bool):
                raise ArgumentTypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0):
            raise ArgumentError("nesterov: needs optimizer='sgd' and a momentum above 0; leave it out")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_feature_decay(self, why: str) -> None:
        if self.decay == "ufm":
            if self.feature_decay is None:
                raise ArgumentError("feature_decay: missing; decay='ufm' regularizes the features explicitly")
            self._set("feature_decay", checks.positive(self.feature_decay, "feature_decay", why=why))
        elif self.feature_decay is not None:
            raise ArgumentError(
                f"feature_decay: decay={self.decay!r} regularizes parameters and no features, "
                f"got {self.feature_decay!r}; leave it out, or use decay='ufm'"
            )

    def _check_logit_adjustment(self) -> None:
        self._set("logit_adjustment", checks.nonnegative(self.logit_adjustment, "logit_adjustment"))
        if self.logit_adjustment > 0 and self.loss != "cross_entropy":
            raise ArgumentError(
                f"logit_adjustment: adds to logits, and loss={self.loss!r} has none, got {self.logit_adjustment}; "
                "use loss='cross_entropy', or 0"
            )

    def _check_classifier(self) -> None:
        if isinstance(self.classifier, str):
            checks.choice(self.classifier, "classifier", CLASSIFIERS)
            return
        matrix = checks.array(self.classifier, "classifier", (None, None), axes="(code_dim, feature_dim)")
        if matrix.shape[1] != self.feature_dim:
            raise ArgumentError(
                f"classifier: has {matrix.shape[1]} columns for feature_dim={self.feature_dim}; {_FIXED_SIZE}"
            )
        self._set("classifier", checks.read_only(matrix))

    def _check_optimizer(self) -> None:
        checks.choice(self.optimizer, "optimizer", OPTIMIZERS)
        checks.choice(self.schedule, "schedule", SCHEDULES)
        for name in ("epochs", "finish"):
            self._set(name, checks.integer(getattr(self, name), name, minimum=0))
        self._set("learning_rate", checks.positive(self.learning_rate, "learning_rate"))
        for name in ("momentum", "warm_up"):
            self._set(name, checks.nonnegative(getattr(self, name), name))
            if getattr(self, name) >= 1:
                raise ArgumentError(f"{name}: expected a number below 1, got {getattr(self, name)}")
        if self.optimizer == "lbfgs" and self.epochs > 0:
            raise ArgumentError(
                f"epochs: optimizer='lbfgs' makes no passes over minibatches, got {self.epochs}; give finish instead"
            )
        if self.decay != "decoupled" and self.optimizer == "adamw":
            raise ArgumentError(
                f"optimizer: 'adamw' is Adam with decoupled decay, and decay={self.decay!r} is in the loss; "
                "use decay='decoupled' or optimizer='adam'"
            )
        if self.decay == "decoupled" and self.optimizer in ("adam", "lbfgs"):
            raise ArgumentError(
                f"optimizer: decay='decoupled' is a step of its own, which {self.optimizer!r} does not take; "
                "use 'adamw' or 'sgd', or decay='plain'"
            )
        if self.decay == "decoupled" and self.finish > 0:
            raise ArgumentError(
                f"finish: L-BFGS minimizes a loss, and decoupled decay belongs to none, got {self.finish}; "
                "give finish=0, or decay='plain'"
            )

    def _check_checkpoint(self) -> None:
        if self.checkpoint is not None:
            if not isinstance(self.checkpoint, str | Path):
                raise ArgumentTypeError(f"checkpoint: expected a path, got {self.checkpoint!r}")
            self._set("checkpoint", Path(self.checkpoint))
        self._set("checkpoint_seconds", checks.nonnegative(self.checkpoint_seconds, "checkpoint_seconds"))

    @property
    def has_bias(self) -> bool:
        """Whether the head has a bias: not where the bias decay is infinite."""
        return not math.isinf(self.bias_decay)

    @property
    def fixed_classifier(self) -> bool:
        """Whether the head's weight is given and not trained."""
        return not (isinstance(self.classifier, str) and self.classifier == "trained")

    @property
    def reweighted(self) -> bool:
        """Whether the loss treats classes differently, which no theory here is about."""
        return self.class_weights != "none" or self.logit_adjustment > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, where an infinite bias decay is the string ``"inf"``."""
        values = asdict(self)
        values |= {"bias_decay": self.bias_decay if self.has_bias else "inf"}
        values |= {"model": self.model if isinstance(self.model, str) else type(self.model).__name__}
        values |= {"classifier": self.classifier if isinstance(self.classifier, str) else "given"}
        values |= {"checkpoint": None if self.checkpoint is None else str(self.checkpoint)}
        for name in ("history_every", "class_weights"):
            if isinstance(values[name], tuple):
                values[name] = list(values[name])
        return values


KEYWORDS = tuple(field.name for field in fields(Settings))
"""Keywords of :func:`encollapse.train.fit`."""


def _class_weights(value: Any) -> str | tuple[float, ...]:
    if isinstance(value, str):
        return checks.choice(value, "class_weights", CLASS_WEIGHTS)
    weights = checks.array(value, "class_weights", (None,), axes="(num_classes,)")
    return tuple(checks.positive(float(w), f"class_weights[{k}]") for k, w in enumerate(weights))


def _history_every(value: Any) -> int | str | tuple[int, ...]:
    if isinstance(value, str):
        return checks.choice(value, "history_every", ("log",))
    if isinstance(value, Sequence):
        return tuple(sorted({checks.integer(v, f"history_every[{i}]", minimum=0) for i, v in enumerate(value)}))
    return checks.integer(value, "history_every", minimum=1)
