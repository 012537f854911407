"""`fit`: train a network on the objective of the unrestricted feature model, and measure what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from encollapse import data, encodings
from encollapse._internal.typing import ArrayLike
from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.geometry import ClassGeometry, compare
from encollapse.train import models
from encollapse.train.distributed.process_group import launch
from encollapse.train.loop.loop import Trained, train
from encollapse.train.loop.task import Work
from encollapse.train.run import Run
from encollapse.train.settings import Settings
from encollapse.train.theory.fixed_classifier import frame_of_encoding
from encollapse.train.theory.prediction import Prediction, predict, require_distributions

LEARNING_RATES = {"ufm": {"adam": 1e-2, "sgd": 2e-1}, "other": {"adam": 3e-3, "adamw": 3e-3, "sgd": 3e-2}}
DECOUPLED_EPOCHS = 200
TOLERANCE = 1e-3
SQUARED_TOLERANCE = 1e-5
"""Tolerance where only the squared gradient judges, whose root is about the relative error that is left."""

ROW_ERRORS = ("gram_error", "shape_error", "bias_error", "outputs_error")
"""Errors of :class:`encollapse.Comparison` that a row of the history has."""


def fit(
    dataset: Dataset | str | Path,
    encoding: Encoding | str,
    *,
    weight_decay: float,
    feature_decay: float | None = None,
    bias_decay: float = 0.0,
    decay: str = "ufm",
    loss: str = "mse",
    class_weights: str | Sequence[float] = "none",
    logit_adjustment: float = 0.0,
    model: str = "mlp",
    model_options: Mapping[str, Any] | None = None,
    feature_dim: int | None = None,
    features: str = "linear",
    classifier: str | ArrayLike = "trained",
    optimizer: str | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.9,
    nesterov: bool = False,
    schedule: str = "one_cycle",
    warm_up: float = 0.0,
    epochs: int | None = None,
    finish: int | None = None,
    batch_size: int = 64,
    tolerance: float | None = None,
    leave_saddles: bool = True,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    precision: str = "32-true",
    history_every: int | str | Sequence[int] = 10,
    keep_frames: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    keep_checkpoint: bool = False,
    progress: bool = True,
) -> Run:
    """Train a network, measure its collapse, and compare it with the minimum of the unrestricted feature model.

    By default the objective regularizes the head and, explicitly, the *features*; the backbone is free. Training has
    two phases. `epochs` of Adam on minibatches come first, with a one-cycle learning rate and with weight and feature
    decay eased in over the first half :cite:p:`kingma2015,smith2019`. Then come up to `finish` iterations of L-BFGS
    on the whole backbone and the whole training set :cite:p:`liu1989`; under MSE the head is solved for exactly at
    each of them (variable projection, :cite:p:`golub2003`), under cross-entropy it is one more variable. They are
    what reaches the minimum: near the critical bias decay the loss is quartic in the mean direction, where
    first-order steps converge like 1/steps. Neither phase knows anything of the predicted minimum, which is computed
    afterwards.

    Parameters
    ----------
    dataset : Dataset, str or path
        Training data, or what :func:`encollapse.data.load` takes.
    encoding : Encoding or str
        Codewords of the classes, or a name of :func:`encollapse.encodings.by_name`.
    weight_decay : float
        ``λ_W``, above 0; under plain and decoupled decay the λ of all parameters but the head's bias.
    feature_decay : float
        ``λ_H``, above 0; it multiplies the sum over all training samples. For ``decay="ufm"`` alone.
    bias_decay : float
        ``λ_b`` from 0 to ``math.inf``, always a term of the loss; infinity means that the head has no bias.
    decay : {"ufm", "plain", "decoupled"}
        What is regularized. ``"ufm"``: head and features, as in the theory. ``"plain"``: ``λ/2`` times the square of
        every parameter is added to the loss. ``"decoupled"``: every step shrinks every parameter by the factor
        ``1 - learning_rate · λ``, apart from the loss :cite:p:`loshchilov2019`. The last two have no UFM minimum of
        their own; the comparison is then with the nearest one, see ``Run.prediction_kind``.
    loss : {"mse", "cross_entropy"}
        Loss between outputs and codewords. Cross-entropy asks for codewords that are distributions.
    class_weights : {"none", "balanced"} or (K,) floats
        Factor of the loss of each class's samples; ``"balanced"`` is ``N/(K n_k)``, under which every class counts the
        same. No prediction of ours is about a loss with such factors.
    logit_adjustment : float
        τ of cross-entropy with ``τ log ē`` added to the outputs in training alone :cite:p:`menon2021`; under one-hot
        labels ē are the class frequencies, and 1 is usual. Again without a prediction.
    model : str
        Backbone: a name of :func:`encollapse.train.names`, or the import path of a module, ``package.module:Class``.
    model_options : mapping, optional
        Options of the model.
    feature_dim : int, optional
        Dimension d of the features; default 64, or the largest rank ``min(q, K)`` of a minimizer if above.
    features : {"linear", "relu"}
        Features as the last linear layer gives them, or their positive part.
    classifier : {"trained", "fixed"} or (q, d) array
        Whether the head's weight is trained, or fixed: at a frame made from the encoding, or at the given one. The
        bias, where there is one, is trained all the same. The frame has the left singular vectors and the singular
        values of the centered codewords, the largest scaled to 1: a simplex ETF for one-hot :cite:p:`zhu2021`.
    optimizer : {"adam", "adamw", "sgd", "lbfgs"}, optional
        Optimizer of the passes over minibatches; default ``"adam"``, and ``"adamw"`` under decoupled decay.
        ``"lbfgs"`` makes no such passes.
    learning_rate : float, optional
        Peak of the schedule; default 1e-2 for Adam and 2e-1 for SGD, 3e-3 and 3e-2 under plain and decoupled decay.
        For ``decay="ufm"`` in units in which codewords have size one and both decays are equal; so it
        need not be tuned to them.
    momentum, nesterov : float, bool
        Of SGD :cite:p:`sutskever2013`.
    schedule : {"one_cycle", "cosine", "step", "constant"}
        Learning rate along the epochs; ``"step"`` divides it by 10 after one and two thirds of them.
    warm_up : float
        Fraction of the epochs over which the learning rate rises linearly to what the schedule says.
    epochs : int, optional
        Passes over minibatches; 0 for none. Default 20 for the mlp; 30 for other networks, and on a small set as many
        as make 50,000 samples, up to 100; 200 under decoupled decay.
    finish : int, optional
        Most iterations of L-BFGS, each about one pass over the data; 0 for none, as under decoupled decay. Default 700
        for the mlp, of which a few hundred are usually needed; 10 for other networks, whose passes are expensive, and
        on a small set as many as make 50,000 samples, up to 300; with ``optimizer="lbfgs"`` the default epochs besides.
    batch_size : int
        Samples in a step of the first phase, over all devices; may exceed what there is.
    tolerance : float, optional
        Training stops once both parts of :class:`encollapse.train.Stationarity` are at or below it. Default 1e-3;
        and 1e-5 for ReLU features and for a fixed classifier, where the squared gradient alone judges. Relative
        errors of the class means' Gram matrix are about as large as the negative curvature, or as the root of the
        squared gradient.
    leave_saddles : bool
        Where L-BFGS waits at a saddle, as rare classes that have merged are just below the threshold of minority
        collapse, step off it along its own negative curvature, which needs no prediction. False leaves it there.
    seed : int
        Decides initial values and the order of samples. The same seed gives the same network on the same
        machine with one thread. The caller's random state is left alone.
    device : {"auto", "cpu", "gpu", "cuda", "mps"}
        Where to train.
    devices : int
        How many of them train this network together, a process each: GPUs, or processes of a CPU. They share out the
        samples of every step, and the result is the same up to rounding. See :doc:`/training`.
    precision : {"32-true", "bf16-mixed", "16-mixed"}
        Of the first phase. L-BFGS and every measurement run in float32 and, after the features, float64.
    history_every : int, "log" or sequence of int
        Passes between two rows of the history; or ``"log"``, rows at powers of √2; or the passes after which to add
        one. The start and the end always have a row. With a number, training can end at these rows alone; otherwise
        every 10 passes.
    keep_frames : bool
        Keep class means, weight and bias of every row of the history, as ``Run.frames``.
    checkpoint : path, optional
        File in which the state of the training is kept, and from which it goes on if it exists: exactly as if it had
        not been interrupted. Deleted at the end, unless `keep_checkpoint`.
    checkpoint_seconds : float
        Seconds between two writes of it, which come after whole passes.
    keep_checkpoint : bool
        Leave the file, as of the last write.
    progress : bool
        Show a bar if the training lasts over two seconds and standard error is a terminal.

    Returns
    -------
    Run
        Also where the budget ran out first; its ``status`` says so.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument cannot be used; the text names it.
    TrainingError
        If the loss stops being finite, or one of several processes ends before its time.
    FileFormatError
        If `checkpoint` holds something else than the state of this very training.
    MissingDependencyError
        If Lightning Fabric, or the package that ships the data, is not installed.
    """
    dataset, encoding = _resolve(dataset, encoding)
    settings = _settings(
        encoding,
        len(dataset.train),
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        bias_decay=bias_decay,
        decay=decay,
        loss=loss,
        class_weights=class_weights,
        logit_adjustment=logit_adjustment,
        model=model,
        model_options=model_options or {},
        feature_dim=feature_dim,
        features=features,
        classifier=classifier,
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        nesterov=nesterov,
        schedule=schedule,
        warm_up=warm_up,
        epochs=epochs,
        finish=finish,
        batch_size=batch_size,
        tolerance=tolerance,
        leave_saddles=leave_saddles,
        seed=seed,
        device=device,
        devices=devices,
        precision=precision,
        history_every=history_every,
        keep_frames=keep_frames,
        checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds,
        keep_checkpoint=keep_checkpoint,
        progress=progress,
    )
    dataset = models.prepared(model, settings.model_options, dataset, progress=settings.progress)
    fixed = _fixed_weight(settings, encoding)
    if settings.loss == "cross_entropy":
        require_distributions(encoding, dataset.counts, settings.bias_decay)
    if settings.devices > len(dataset.train):
        raise ArgumentError(
            f"devices: {settings.devices} devices cannot share out {len(dataset.train)} samples; use fewer"
        )
    work = Work(f"{dataset.name}, {encoding.name}", dataset.train, dataset.test, encoding, fixed)
    trained = launch(train, settings, work, settings)
    seen = trained.observation
    measured = seen.collapse(torch.tensor(dataset.train.labels), encoding, settings.loss)
    prediction = predict(seen, settings, work)
    missing = dict(prediction.missing)
    comparison = None
    if prediction.geometry is not None:
        comparison = compare(prediction.geometry, measured.geometry)
    last = trained.history[-1]
    if dataset.test is None:
        missing["test_accuracy"] = "the data set has no hold-out"
    if seen.stationarity is None:
        missing["stationarity"] = "decoupled decay is a rule for steps and belongs to no loss that could be stationary"
    return Run(
        model=trained.classifier,
        collapse=measured,
        prediction=prediction.solution,
        prediction_kind=prediction.kind,
        prediction_note=prediction.note,
        predicted=prediction.geometry,
        comparison=comparison,
        history=tuple(row | errors for row, errors in zip(trained.history, _errors(trained, prediction), strict=True)),
        frames=trained.frames if settings.keep_frames else (),
        settings=settings,
        dataset=dataset.name,
        encoding=encoding.name,
        data=dataset.provenance,
        status=trained.status,
        stationarity=seen.judged,
        loss=seen.loss,
        predicted_loss=prediction.loss,
        relative_excess=prediction.relative_excess,
        test_accuracy=last.get("test_accuracy"),
        test_nc4_agreement=last.get("test_nc4_agreement"),
        test_balanced_accuracy=last.get("test_balanced_accuracy"),
        test_minority_accuracy=last.get("test_minority_accuracy"),
        seconds=trained.seconds,
        missing=missing,
    )


def _settings(encoding: Encoding, num_samples: int, **given: Any) -> Settings:
    """Fill in the defaults that depend on other settings."""
    given["model_options"] = models.check_options(given["model"], given["model_options"])
    default_epochs, default_finish = models.lengths(given["model"], num_samples)
    decoupled = given["decay"] == "decoupled"
    optimizer = given["optimizer"]
    if optimizer is None:
        optimizer = "adamw" if decoupled else "adam"
    epochs = DECOUPLED_EPOCHS if decoupled else default_epochs
    if optimizer == "lbfgs":  # it has the whole time
        epochs, default_finish = 0, default_finish + epochs
    squared = given["features"] == "relu" or not (
        isinstance(given["classifier"], str) and given["classifier"] == "trained"
    )
    rate = LEARNING_RATES["ufm" if given["decay"] == "ufm" else "other"].get(optimizer, 1e-3)
    defaults = {
        "feature_dim": max(64, min(encoding.code_dim, encoding.num_classes)),
        "epochs": epochs,
        "finish": 0 if decoupled else default_finish,
        "learning_rate": rate,
        "optimizer": optimizer,
        "tolerance": SQUARED_TOLERANCE if squared else TOLERANCE,
    }
    return Settings(**given | {name: value for name, value in defaults.items() if given[name] is None})


def _resolve(dataset: Dataset | str | Path, encoding: Encoding | str) -> tuple[Dataset, Encoding]:
    if isinstance(dataset, str | Path):
        dataset = data.load(dataset)
    if not isinstance(dataset, Dataset):
        raise ArgumentTypeError(
            f"dataset: expected a Dataset, a name or a path, got {type(dataset).__name__}; "
            "make one with encollapse.data.load, or Dataset(name, Split(inputs, labels))"
        )
    if isinstance(encoding, str):
        encoding = encodings.by_name(encoding, dataset.num_classes)
    if not isinstance(encoding, Encoding):
        raise ArgumentTypeError(f"encoding: expected an Encoding or a name, got {type(encoding).__name__}")
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
