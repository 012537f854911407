"""`Run`: what came of one training: the network, its measured collapse, and the prediction beside it."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encollapse._internal import files
from encollapse.geometry import ClassGeometry, Comparison
from encollapse.measure import Collapse
from encollapse.train.frames import Frame
from encollapse.train.models import Classifier
from encollapse.train.settings import Settings
from encollapse.ufm import Solution


class Status(enum.Enum):
    """How a training ended. The value is the message for the user."""

    STATIONARY = "Stationary: the gradient and the negative curvature of the objective fell below the tolerance."
    STALLED = (
        "Stalled: L-BFGS no longer lowers the loss, at the accuracy of float32, while the stationarity "
        "is still above the tolerance. Raise tolerance if the errors are small enough, or use a wider model."
    )
    COMPLETED = "Completed: every epoch was run. Decoupled decay belongs to no loss, so none says how near the end is."
    BUDGET = (
        "Stopped by the budget before the stationarity fell below the tolerance. Raise epochs or finish, or raise "
        "tolerance if the errors are small enough."
    )

    @property
    def message(self) -> str:
        """What happened, and what to try."""
        return str(self.value)


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network and everything measured on it.

    Attributes
    ----------
    model : Classifier
        The trained network, on the CPU, in evaluation mode.
    collapse : Collapse
        Collapse of the training set's features under ``head``.
    prediction : Solution or None
        The minimum of the unrestricted feature model with the same codewords, counts and decays. Computed after the
        training, which does not know it. None where the classifier is fixed, or no such model fits.
    prediction_kind : {"minimum", "effective", "fixed_classifier", "none"}
        What the network is compared with. ``"minimum"``: the minimum of the very objective that was minimized.
        ``"effective"``: features were not regularized (plain or decoupled decay), so the objective has no counterpart
        in the theory; the feature decay (and under decoupled decay the weight decay) was read off the trained network.
        ``"fixed_classifier"``: the minimum over features and bias for the fixed weight.
    prediction_note : str
        The same in a sentence with its numbers, and what does not follow.
    predicted : ClassGeometry or None
        The predicted geometry, the one that `comparison` is against.
    comparison : Comparison or None
        Measured geometry against predicted geometry; None where the prediction is not solved or not unique.
    history : tuple of dict
        One plain mapping for each look during training: ``epoch`` (passes over the data so far), ``phase``
        (``"start"``, the optimizer's name or ``"lbfgs"``), ``loss`` and its terms (``loss_fit``, ``loss_weight``,
        ``loss_features``, ``loss_bias``, ``loss_backbone``), ``stationarity`` with its parts ``descent`` and
        ``escape``, ``mean_cosine``, every value of :class:`encollapse.measure.Collapse`, ``gram_error``,
        ``shape_error``, ``bias_error`` and ``outputs_error`` against the prediction, with a hold-out
        ``test_accuracy``, ``test_balanced_accuracy``, ``test_minority_accuracy``, ``test_nc4_agreement`` and
        ``test_ncc_accuracy``, and under plain and decoupled decay
        ``effective_weight_decay`` and ``effective_feature_decay``.
    frames : tuple of Frame
        Class means, weight and bias at each row of the history, if they were asked for.
    settings : Settings
        Exact settings of the training.
    dataset, encoding : str
        Names.
    data : mapping
        Provenance of the data set.
    status : Status
        How the training ended; ``status.message`` says what to do.
    stationarity : float or None
        Final value of :class:`encollapse.train.Stationarity`; its two parts are in the last row of the history.
        None under decoupled decay.
    loss : float
        Final objective on the whole training set, in float64.
    predicted_loss : float or None
        The predicted minimum.
    relative_excess : float or None
        UFM objective of the network over the predicted minimum, less 1, both at the decays of the prediction.
    test_accuracy, test_nc4_agreement : float or None
        On the hold-out: accuracy by :meth:`Encoding.decode`, and how often that decision is the nearest class mean of
        the training features; None without a hold-out.
    test_balanced_accuracy, test_minority_accuracy : float or None
        On the hold-out: accuracy averaged over classes, and over those alone that have less than half the training
        samples of the largest; None without a hold-out, or without such classes.
    seconds : float
        Wall time of the training itself.
    missing : mapping
        For each value that is None, the reason.
    """

    model: Classifier
    collapse: Collapse
    prediction: Solution | None
    prediction_kind: str
    prediction_note: str
    predicted: ClassGeometry | None
    comparison: Comparison | None
    history: tuple[dict[str, Any], ...]
    frames: tuple[Frame, ...]
    settings: Settings
    dataset: str
    encoding: str
    data: Mapping[str, Any]
    status: Status
    stationarity: float | None
    loss: float
    predicted_loss: float | None
    relative_excess: float | None
    test_accuracy: float | None
    test_nc4_agreement: float | None
    test_balanced_accuracy: float | None
    test_minority_accuracy: float | None
    seconds: float
    missing: Mapping[str, str]

    @property
    def head(self) -> nn.Linear:
        """The last linear layer: weight (q, d) and bias (q,), no bias where its decay is infinite."""
        return self.model.head

    @property
    def converged(self) -> bool:
        """Whether the stationarity fell below the tolerance."""
        return self.status is Status.STATIONARY

    @property
    def message(self) -> str:
        """How the training ended, in words."""
        return self.status.message

    def __repr__(self) -> str:
        error = None if self.comparison is None else self.comparison.gram_error
        return (
            f"Run({self.dataset!r}, {self.encoding!r}, model={self.settings.model!r}, status={self.status.name}, "
            f"stationarity={_short(self.stationarity)}, "
            f"gram_error={_short(error)}, seconds={self.seconds:.2g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: settings, outcome, collapse, comparison and history."""
        return {
            "dataset": self.dataset,
            "data": dict(self.data),
            "encoding": self.encoding,
            "settings": self.settings.to_dict(),
            "status": self.status.name,
            "message": self.message,
            "stationarity": self.stationarity,
            "loss": self.loss,
            "prediction_kind": self.prediction_kind,
            "prediction_note": self.prediction_note,
            "predicted_loss": self.predicted_loss,
            "relative_excess": self.relative_excess,
            "test_accuracy": self.test_accuracy,
            "test_nc4_agreement": self.test_nc4_agreement,
            "test_balanced_accuracy": self.test_balanced_accuracy,
            "test_minority_accuracy": self.test_minority_accuracy,
            "seconds": self.seconds,
            "missing": dict(self.missing),
            "collapse": self.collapse.to_dict(),
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "history": [dict(row) for row in self.history],
        }

    def save(self, directory: str | Path) -> Path:
        """Write ``model.safetensors``, ``run.json`` and, if frames were kept, ``frames.safetensors`` into `directory`.

        Each file appears whole or not at all. The last has arrays ``epoch`` (F,), ``class_means`` (F, d, K),
        ``weight`` (F, q, d) and ``bias`` (F, q).
        """
        from safetensors.torch import save_file

        target = files.folder(directory)
        with files.atomic(target / "model.safetensors") as temporary:
            save_file(self.model.state_dict(), temporary)
        if self.frames:
            stacked = {
                name: torch.stack([torch.as_tensor(getattr(frame, name)) for frame in self.frames])
                for name in ("epoch", "class_means", "weight", "bias")
            }
            with files.atomic(target / "frames.safetensors") as temporary:
                save_file(stacked, temporary)
        files.write_text(target / "run.json", json.dumps(self.to_dict(), indent=1) + "\n")
        return target


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.2g}"
