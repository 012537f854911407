"""`fit`: train a network on the objective of the unrestricted feature model, and measure what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import torch

from encollapse import data
from encollapse._internal import checks
from encollapse._internal.warn import warn
from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.encodings.registry import resolved
from encollapse.errors import ArgumentError
from encollapse.geometry import ClassGeometry, compare
from encollapse.train import models
from encollapse.train.distributed.process_group import ProcessGroup, require_fabric
from encollapse.train.loop.loop import Trained, train
from encollapse.train.loop.optimizers import decay_time
from encollapse.train.loop.task import Work
from encollapse.train.run import Run
from encollapse.train.settings import Options, Settings, described
from encollapse.train.theory.fixed_classifier import frame_of_encoding
from encollapse.train.theory.laws import predict, require_distributions
from encollapse.train.theory.prediction import Prediction
from encollapse.ufm.inverse.design import design_mismatch

ROW_ERRORS = ("gram_error", "shape_error", "bias_error", "outputs_error")
"""Errors of :class:`encollapse.Comparison` that a row of the history has."""


@described
def fit(dataset: Dataset | str | Path, encoding: Encoding | str, **settings: Unpack[Options]) -> Run:
    """Train a network, measure its collapse, and compare it with the minimum of the unrestricted feature model.

    By default the objective regularizes the head and, explicitly, the *features*. The backbone is free. Training has
    two phases. `epochs` of Adam on minibatches come first, with a one-cycle learning rate and with weight and feature
    decay eased in over the first half :cite:p:`kingma2015,smith2019`. More than 256 classes are told apart by a
    cross-entropy first, which fades. Then come up to `finish` iterations of L-BFGS on the whole backbone and the
    whole training set :cite:p:`liu1989`. Under MSE the head is solved for exactly at each of them (variable
    projection, :cite:p:`golub2003`), under cross-entropy it is one more variable. They are what reaches the minimum:
    near the critical bias decay the loss is quartic in the mean direction, where first-order steps converge like
    1/steps. Neither phase knows anything of the predicted minimum, which is computed afterwards.

    Parameters
    ----------
    dataset : Dataset, str or path
        Training data, or what :func:`encollapse.data.load` takes.
    encoding : Encoding or str
        Codewords of the classes, or a name of :func:`encollapse.encodings.by_name`.
    {options}

    Returns
    -------
    Run
        Also where the budget ran out first, which its ``status`` tells.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument cannot be used. The text names it.
    TrainingError
        If the loss stops being finite, or one of several processes ends before its time.
    FileFormatError
        If `checkpoint` holds something else than the state of this very training.
    MissingDependencyError
        If Lightning Fabric, or the package that ships the data, is not installed.

    Examples
    --------
    >>> import encollapse as ec
    >>> small = ec.data.load("digits", counts=5, seed=0)
    >>> run = ec.train.fit(small, "one-hot", weight_decay=5e-3, feature_decay=1e-2, bias_decay=0.1, epochs=2, finish=30)
    >>> run.prediction_kind, run.collapse.accuracy, run.comparison.gram_error < 0.1
    ('minimum', 1.0, True)
    """
    dataset, encoding = _resolve(dataset, encoding)
    completed = Settings(**settings).completed(
        num_samples=len(dataset.train), code_dim=encoding.code_dim, num_classes=encoding.num_classes
    )
    decays = {key: getattr(completed, key) for key in ("weight_decay", "feature_decay", "bias_decay")}
    mismatch = design_mismatch(encoding, dataset.counts, **decays)
    if mismatch:
        warn(mismatch)
    return _fit(dataset, encoding, completed)


def _fit(dataset: Dataset, encoding: Encoding, settings: Settings) -> Run:
    dataset = models.prepared(settings.model, settings.model_options, dataset, progress=settings.progress)
    fixed = _fixed_weight(settings, encoding)
    if settings.loss == "cross_entropy":
        require_distributions(encoding, dataset.counts, settings.bias_decay)
    if settings.devices > len(dataset.train):
        raise ArgumentError(
            f"devices: {settings.devices} devices cannot share out {len(dataset.train)} samples; use fewer"
        )
    work = Work(f"{dataset.name}, {encoding.name}", dataset.train, dataset.test, encoding, fixed)
    trained = _trained(work, settings)
    seen = trained.observation
    measured = seen.collapse(torch.tensor(dataset.train.labels), encoding, settings.loss)
    theory = predict(trained, settings, work)
    missing = dict(theory.missing)
    comparison = None if theory.geometry is None else compare(theory.geometry, measured.geometry)
    history = [row | errors for row, errors in zip(trained.history, _errors(trained, theory), strict=True)]
    history[-1] |= {} if theory.excess is None else theory.excess.logged()
    last = trained.history[-1]
    if dataset.test is None:
        missing["test_accuracy"] = "the data set has no hold-out"
    if decay_time(settings, len(dataset.train)) is None:
        missing["decay_time"] = "features are regularized, or Adam divides the decay by the size of its gradient"
    if seen.stationarity is None:
        missing["stationarity"] = "decoupled decay is a rule for steps and belongs to no loss that could be stationary"
    return Run(
        model=trained.classifier,
        collapse=measured,
        theory=theory,
        comparison=comparison,
        history=tuple(history),
        frames=trained.frames if settings.keep_frames else (),
        settings=settings,
        dataset=dataset.name,
        encoding=encoding.name,
        data=dataset.provenance,
        status=trained.status,
        stationarity=seen.judged,
        loss=seen.loss,
        test_accuracy=last.get("test_accuracy"),
        test_nc4_agreement=last.get("test_nc4_agreement"),
        test_balanced_accuracy=last.get("test_balanced_accuracy"),
        test_minority_accuracy=last.get("test_minority_accuracy"),
        seconds=trained.seconds,
        input_shape=dataset.train.inputs.shape[1:],
        missing=missing,
    )


def _trained(work: Work, settings: Settings) -> Trained:
    """Train in as many processes as the settings have devices. The first is this one."""
    if settings.devices == 1:
        return train(ProcessGroup.alone(settings), work, settings)
    require_fabric()
    from encollapse.train.distributed.launcher import together

    with together(train, settings, (work, settings)) as fabric:
        return train(ProcessGroup(fabric), work, settings)


def _resolve(dataset: Dataset | str | Path, encoding: Encoding | str) -> tuple[Dataset, Encoding]:
    if isinstance(dataset, str | Path):
        dataset = data.load(dataset)
    cure = "make one with encollapse.data.load, or Dataset(name, Split(inputs, labels))"
    checks.instance(dataset, "dataset", Dataset, what="a Dataset, a name or a path", why=cure)
    made = resolved(encoding, dataset.num_classes)
    encoding = checks.instance(made, "encoding", Encoding, what="an Encoding or a name")
    if encoding.num_classes != dataset.num_classes:
        raise ArgumentError(
            f"encoding: has {encoding.num_classes} classes, the data set {dataset.name!r} has {dataset.num_classes}; "
            "give one codeword for each class"
        )
    return dataset, encoding


def _fixed_weight(settings: Settings, encoding: Encoding) -> torch.Tensor | None:
    """The head's weight (q, d) where it is not trained."""
    if not settings.fixed_classifier:
        return None
    if isinstance(settings.classifier, str):
        return torch.tensor(frame_of_encoding(encoding, settings.feature_dim))
    if len(settings.classifier) != encoding.code_dim:
        raise ArgumentError(
            f"classifier: has {len(settings.classifier)} rows for codewords of length {encoding.code_dim}; "
            "give a row for each output"
        )
    return torch.tensor(settings.classifier)


def _errors(trained: Trained, prediction: Prediction) -> list[dict[str, float | None]]:
    """Errors of each row of the history against the prediction."""
    rows: list[dict[str, float | None]] = []
    for frame in trained.frames:
        if prediction.geometry is None:
            rows.append(dict.fromkeys(ROW_ERRORS))
            continue
        means = frame.class_means.astype(float)
        measured = ClassGeometry(
            means.T @ means,
            prediction.geometry.counts,
            classifier_gram=frame.weight @ frame.weight.T,
            class_outputs=frame.weight @ means,
            bias=frame.bias,
        )
        errors = compare(prediction.geometry, measured)
        rows.append({name: getattr(errors, name) for name in ROW_ERRORS})
    return rows
