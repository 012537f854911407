"""`Run`: what came of one training: the network, its measured collapse, and the prediction beside it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encollapse._internal import files
from encollapse._internal.json_values import plain, revived
from encollapse._internal.shown import Shown
from encollapse.encodings import Encoding
from encollapse.errors import FileFormatError
from encollapse.geometry import ClassGeometry, Comparison, compare
from encollapse.geometry.arrays import from_arrays, to_arrays
from encollapse.measure import Collapse
from encollapse.measure.result import VALUES
from encollapse.train.loop.history import Frame
from encollapse.train.loop.loop import TrainingStatus
from encollapse.train.loop.optimizers import decay_time
from encollapse.train.models import Classifier
from encollapse.train.models.building import build
from encollapse.train.settings import OPTIONS, Settings
from encollapse.train.theory.prediction import OF_THEORY, Prediction
from encollapse.ufm import Excess, Problem, Solution, TailProblem, sample_norm_problem, solve


@dataclass(frozen=True, eq=False)
class Run(Shown):
    """A trained network and everything measured on it.

    Attributes
    ----------
    model : Classifier
        The trained network, on the CPU, in evaluation mode.
    collapse : Collapse
        Collapse of the training set's features under ``head``.
    theory : Prediction
        What the theory says of this training, computed after it: ``kind``, ``note``, ``solution`` with its problem,
        ``geometry``, ``loss``, ``relative_excess``. The properties below read it.
    comparison : Comparison or None
        Measured geometry against predicted geometry, or None where the prediction is not solved or not unique.
    history : tuple of dict
        One plain mapping for each look during training: ``epoch`` (passes over the data so far), ``phase``
        (``"start"``, the optimizer's name or ``"lbfgs"``), ``loss`` and its terms (``loss_fit``, ``loss_weight``,
        ``loss_features``, ``loss_bias``, ``loss_backbone``), ``stationarity`` with its parts ``descent`` and
        ``escape``, ``mean_cosine``, every value of :class:`encollapse.measure.Collapse`, ``gram_error``,
        ``shape_error``, ``bias_error`` and ``outputs_error`` against the prediction, with a hold-out
        ``test_accuracy``, ``test_balanced_accuracy``, ``test_minority_accuracy``, ``test_nc4_agreement`` and
        ``test_ncc_accuracy``, in the last row ``excess`` with its parts and ``guarantee``, and under plain and
        decoupled decay ``effective_weight_decay`` and ``effective_feature_decay``.
    frames : tuple of Frame
        Class means, weight and bias at each row of the history, if they were asked for.
    settings : Settings
        Exact settings of the training.
    dataset, encoding : str
        Names.
    data : mapping
        Provenance of the data set.
    status : TrainingStatus
        How the training ended. ``status.message`` says what to do.
    stationarity : float or None
        Final value of :class:`encollapse.train.Stationarity`. Its two parts are in the last row of the history.
        None under decoupled decay.
    loss : float
        Final objective on the whole training set, in float64.
    test_accuracy, test_nc4_agreement : float or None
        On the hold-out: accuracy by ``encoding.decode``, and how often that decision is the nearest class mean of
        the training features, or None without a hold-out.
    test_balanced_accuracy, test_minority_accuracy : float or None
        On the hold-out: accuracy averaged over classes, and over those alone that have less than half the training
        samples of the largest, or None without a hold-out, or without such classes.
    seconds : float
        Wall time of the training itself.
    input_shape : tuple of int
        Shape of one input.
    missing : mapping
        For each value that is None, the reason.

    Examples
    --------
    >>> import encollapse as ec
    >>> small = ec.data.load("digits", counts=5, seed=0)
    >>> run = ec.train.fit(small, "one-hot", weight_decay=5e-3, feature_decay=1e-2, epochs=1, finish=0)
    >>> run.status.name, run.collapse.num_samples, run.prediction.certificate.holds
    ('BUDGET', 50, True)
    >>> run.excess.distance < run.guarantee
    True
    """

    model: Classifier
    collapse: Collapse
    theory: Prediction
    comparison: Comparison | None
    history: tuple[dict[str, Any], ...]
    frames: tuple[Frame, ...]
    settings: Settings
    dataset: str
    encoding: str
    data: Mapping[str, Any]
    status: TrainingStatus
    stationarity: float | None
    loss: float
    test_accuracy: float | None
    test_nc4_agreement: float | None
    test_balanced_accuracy: float | None
    test_minority_accuracy: float | None
    seconds: float
    input_shape: tuple[int, ...]
    missing: Mapping[str, str]

    @property
    def prediction(self) -> Solution | None:
        """The minimum of the unrestricted feature model with the same codewords, counts and decays.

        None where the classifier is fixed, or no such model fits.
        """
        return self.theory.solution

    @property
    def prediction_kind(self) -> str:
        """What the network is compared with.

        ``"minimum"``: the minimum of the very objective that was minimized, also where the decay of a last
        normalization prices the features. ``"given activations"``: the same for the last layers, given the activations
        below them. ``"effective"``: no law holds, and the feature decay (and under decoupled decay the weight decay)
        was read off the trained network. ``"fixed_classifier"``: the minimum over features and
        bias for the fixed weight. ``"none"``: nothing, for the reason in `prediction_note`.
        """
        return self.theory.kind

    @property
    def prediction_note(self) -> str:
        """The same in a sentence with its numbers, and what does not follow."""
        return self.theory.note

    @property
    def predicted(self) -> ClassGeometry | None:
        """The predicted geometry, the one that `comparison` is against."""
        return self.theory.geometry

    @property
    def predicted_loss(self) -> float | None:
        """The predicted minimum."""
        return self.theory.loss

    @property
    def relative_excess(self) -> float | None:
        """UFM objective of the network over the predicted minimum, less 1, both at the decays of the prediction."""
        return self.theory.relative_excess

    @property
    def excess(self) -> Excess | None:
        """Objective of the network above the certified minimum, in parts, or None where no law holds.

        Its three parts say what is left: layers out of balance, variation within classes, the class means. Given
        activations, variation within classes is part of these, and costs nothing by itself.
        """
        return self.theory.excess

    @property
    def guarantee(self) -> float | None:
        """Bound on how far outputs of training samples are from the predicted ones, from the loss alone.

        It is a mean over the samples: of ``|o - o*|²``, under cross-entropy of the divergence of the distributions.
        """
        return None if self.excess is None else self.excess.guarantee

    @property
    def decay_time(self) -> float | None:
        """How long the training has lasted in units of the decay: ``τ = Σ learning rate / (1 - momentum) · λ``.

        Sizes settle after about 5 (:doc:`/your-training`). None under Adam with the decay in its gradient, which it
        divides by the size of that gradient, and where features are regularized.
        """
        return decay_time(self.settings, self.collapse.num_samples)

    @property
    def head(self) -> nn.Linear:
        """The last linear layer: weight (q, d) and bias (q,), no bias where its decay is infinite."""
        return self.model.head

    @property
    def converged(self) -> bool:
        """Whether the stationarity fell below the tolerance."""
        return self.status is TrainingStatus.STATIONARY

    @property
    def message(self) -> str:
        """How the training ended, in words."""
        return self.status.message

    def __repr__(self) -> str:
        error = None if self.comparison is None else self.comparison.gram_error
        return (
            f"Run({self.dataset!r}, {self.encoding!r}, model={self.settings.model_name!r}, status={self.status.name}, "
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
            "excess": None if self.excess is None else self.excess.to_dict(),
            "decay_time": self.decay_time,
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
        """Write the run as a folder, from which :func:`load` brings it back. Each file appears whole or not at all.

        ``model.safetensors`` has the network, ``run.json`` the record, ``geometry.safetensors`` the class geometries
        and what the predicted problem is about, for a linear tail the activations (N, p) below it. ``encoding.npz`` has
        the encoding of that problem. If frames were kept, ``frames.safetensors`` has arrays ``epoch`` (F,),
        ``class_means`` (F, d, K), ``weight`` (F, q, d), ``bias`` (F, q), ``samples`` (F, n, d) and ``sample_labels``
        (F, n).
        """
        from safetensors.numpy import save_file as save_arrays
        from safetensors.torch import save_file

        target = files.folder(directory)
        with files.atomic(target / "model.safetensors") as temporary:
            save_file(self.model.state_dict(), temporary)
        arrays = to_arrays(self.collapse.geometry, "measured")
        stated, of_problem = _statement(self.theory.problem)
        arrays |= of_problem
        if stated is not None:
            self.theory.problem.encoding.save(target / "encoding.npz")
        if self.predicted is not None:
            arrays |= to_arrays(self.predicted, "predicted")
        with files.atomic(target / "geometry.safetensors") as temporary:
            save_arrays({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary)
        if self.frames:
            stacked = {
                name: torch.stack([torch.as_tensor(getattr(frame, name)) for frame in self.frames])
                for name in _OF_FRAMES
                if getattr(self.frames[0], name) is not None
            }
            with files.atomic(target / "frames.safetensors") as temporary:
                save_file(stacked, temporary)
        record = self.to_dict() | {"input_shape": self.input_shape, "problem": stated}
        files.write_text(target / "run.json", json.dumps(plain(record), indent=1) + "\n")
        return target


_OF_FRAMES = ("epoch", "class_means", "weight", "bias", "samples", "sample_labels")


def load(folder: str | Path, *, model: nn.Module | None = None) -> Run:
    """Bring back a run that :meth:`Run.save` or ``encollapse train --out`` has written.

    The prediction is solved for again, which gives the same minimum. Details of the collapse that need the features
    themselves are not stored.

    Parameters
    ----------
    folder : str or path
        The folder.
    model : nn.Module, optional
        The module that was trained, with any weights, where ``fit`` was given a module itself and not its name.

    Returns
    -------
    Run
        With the network in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no run in it.
    FileFormatError
        If what is there is no run that can be read.

    Examples
    --------
    >>> import tempfile
    >>> import encollapse as ec
    >>> small = ec.data.load("digits", counts=5, seed=0)
    >>> run = ec.train.fit(small, "one-hot", weight_decay=5e-3, feature_decay=1e-2, epochs=1, finish=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = ec.train.load(run.save(folder))
    >>> again.comparison.gram_error == run.comparison.gram_error
    True
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file

    source = Path(folder)
    if not files.is_file(source / "run.json"):
        raise FileNotFoundError(2, "No run in this folder", str(source))
    try:
        record = revived(json.loads((source / "run.json").read_text()))
        state, arrays = load_file(source / "model.safetensors"), load_arrays(source / "geometry.safetensors")
        frames = load_arrays(source / "frames.safetensors") if (source / "frames.safetensors").is_file() else None
        return _loaded(source, record, state, arrays, frames, model)
    except (SafetensorError, FileNotFoundError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        raise FileFormatError(
            f"{source}: no run that can be read ({type(error).__name__}: {error}); save it again with Run.save"
        ) from error


def _loaded(
    source: Path,
    record: dict[str, Any],
    state: dict[str, torch.Tensor],
    arrays: dict[str, Any],
    frames: dict[str, Any] | None,
    model: nn.Module | None,
) -> Run:
    weight = state["head.weight"]
    given = {name: value for name, value in record["settings"].items() if name in OPTIONS}
    if given["classifier"] == "given":
        given["classifier"] = weight.double().numpy()
    settings = Settings(**(given if model is None else given | {"model": model}))
    network = build(
        settings.model,
        torch.zeros(2, *record["input_shape"]),
        feature_dim=settings.feature_dim,
        code_dim=len(weight),
        bias=settings.has_bias,
        features=settings.features,
        options=settings.model_options,
        fixed_weight=weight if settings.fixed_classifier else None,
    )
    network.load_state_dict(state)
    found, solution, predicted = record["collapse"], None, None
    measured = from_arrays(arrays, "measured", found["provenance"])
    if "predicted.feature_gram" in arrays:
        predicted = from_arrays(arrays, "predicted")
    if record["problem"] is not None:
        # Runs of earlier releases have the codewords alone.
        known = {"problem.counts": measured.counts} | arrays
        encoding = Encoding(arrays["codewords"]) if "codewords" in arrays else Encoding.load(source / "encoding.npz")
        solution = solve(_restated(record["problem"], encoding, known), throw=False)
    theory = Prediction(
        record["prediction_kind"],
        record["prediction_note"],
        solution,
        predicted,
        record["predicted_loss"],
        record["relative_excess"],
        None if record.get("excess") is None else Excess(**record["excess"]),
        {name: record["missing"][name] for name in record["missing"] if name in OF_THEORY},
    )
    kept = {name: found[name] for name in ("num_samples", "num_classes", "missing", "convention", "route")}
    same = ("dataset", "encoding", "data", "stationarity", "loss", "test_accuracy", "test_nc4_agreement", "seconds")
    return Run(
        model=network.eval(),
        collapse=Collapse({name: found[name] for name in VALUES}, **kept, geometry=measured),
        theory=theory,
        comparison=None if predicted is None else compare(predicted, measured),
        history=tuple(record["history"]),
        frames=()
        if frames is None
        else tuple(
            Frame(**{name: frames[name][i] for name in _OF_FRAMES if name in frames})
            for i in range(len(frames["epoch"]))
        ),
        settings=settings,
        status=TrainingStatus[record["status"]],
        test_balanced_accuracy=record["test_balanced_accuracy"],
        test_minority_accuracy=record["test_minority_accuracy"],
        input_shape=tuple(record["input_shape"]),
        missing=record["missing"],
        **{name: record[name] for name in same},
    )


_PROBLEMS: dict[str, Callable[..., Any]] = {
    "Problem": Problem,
    "TailProblem": TailProblem,
    "SampleNormProblem": sample_norm_problem,
}
"""What makes a problem of each class."""


def _arguments(kind: str) -> tuple[list[str], list[str]]:
    """Names of the arrays that a problem is stated with besides its encoding, and of its options."""
    given = list(inspect.signature(_PROBLEMS[kind]).parameters.values())
    arrays = [p.name for p in given if p.kind is not p.KEYWORD_ONLY and p.name != "encoding"]
    return arrays, [p.name for p in given if p.kind is p.KEYWORD_ONLY]


def _statement(problem: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Options of a problem for the record, and the arrays that belong to it."""
    if problem is None:
        return None, {}
    kind = type(problem).__name__
    named, options = _arguments(kind)
    values = {name: getattr(problem, name) for name in options}
    kept = {n: v for n, v in values.items() if v is None or isinstance(v, float | int | str | tuple | np.ndarray)}
    arrays = {f"problem.{name}": _small(getattr(problem, name)) for name in named}
    return {"kind": kind, "options": kept}, arrays


def _restated(stated: dict[str, Any], encoding: Encoding, arrays: dict[str, Any]) -> Any:
    """The problem of a record. Of earlier releases it is a plain one, by its options alone."""
    kind, options = (stated["kind"], stated["options"]) if "options" in stated else ("Problem", stated)
    given = (arrays[f"problem.{name}"] for name in _arguments(kind)[0])
    return _PROBLEMS[kind](encoding, *given, **options)


def _small(array: Any) -> Any:
    """The same numbers in float32 where they fit: activations are computed in it."""
    short = array.astype(np.float32) if array.dtype == np.float64 else array
    return short if np.array_equal(short, array) else array


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.2g}"
