"""`fit`: train a network on the objective of the unrestricted feature model, and measure what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from encollapse import data, encodings
from encollapse._typing import ArrayLike
from encollapse.data import Dataset, Split
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, MissingDependencyError, UnsupportedError
from encollapse.geometry import Comparison, compare
from encollapse.measure import Collapse
from encollapse.train import models
from encollapse.train.chunks import chunks
from encollapse.train.loop import train
from encollapse.train.models import Classifier
from encollapse.train.run import Run
from encollapse.train.settings import Settings
from encollapse.ufm import Problem, Solution, solve

LEARNING_RATES = {"ufm": {"adam": 1e-2, "sgd": 1e-1}, "other": {"adam": 1e-3, "adamw": 1e-3, "sgd": 1e-3}}
DECOUPLED_EPOCHS = 200

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fit(
    dataset: Dataset | str | Path,
    encoding: Encoding | str,
    *,
    weight_decay: float,
    feature_decay: float | None = None,
    bias_decay: float = 0.0,
    decay: str = "ufm",
    loss: str = "mse",
    model: str | nn.Module = "mlp",
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
    tolerance: float = 1e-3,
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

    By default the objective regularises the head and, explicitly, the *features*; the backbone is free. Training has
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
        What is regularised. ``"ufm"``: head and features, as in the theory. ``"plain"``: ``λ/2`` times the square of
        every parameter is added to the loss. ``"decoupled"``: every step shrinks every parameter by the factor
        ``1 - learning_rate · λ``, apart from the loss :cite:p:`loshchilov2019`. The last two have no UFM minimum of
        their own; the comparison is then with the nearest one, see :attr:`Run.prediction_kind`.
    loss : {"mse", "cross_entropy"}
        Loss between outputs and codewords. Cross-entropy asks for codewords that are distributions.
    model : str or torch.nn.Module
        Backbone: a name of :func:`encollapse.train.names`.
    model_options : mapping, optional
        Options of the model.
    feature_dim : int, optional
        Dimension d of the features; default 64, or the largest rank ``min(q, K)`` of a minimiser if above.
    features : {"linear", "relu"}
        Features as the last linear layer gives them, or their positive part.
    classifier : {"trained", "fixed"} or (q, d) array
        Whether the head's weight is trained, or fixed: at a frame made from the encoding, or at the given one. The
        bias, where there is one, is trained all the same.
    optimizer : {"adam", "adamw", "sgd", "lbfgs"}, optional
        Optimiser of the passes over minibatches; default ``"adam"``, and ``"adamw"`` under decoupled decay.
        ``"lbfgs"`` makes no such passes.
    learning_rate : float, optional
        Peak of the schedule; default 1e-2 for Adam, 1e-1 for SGD and 1e-3 for either under plain and decoupled decay.
        For ``decay="ufm"`` in units in which codewords have size one and both decays are equal; so it
        need not be tuned to them.
    momentum, nesterov : float, bool
        Of SGD :cite:p:`sutskever2013`.
    schedule : {"one_cycle", "cosine", "step", "constant"}
        Learning rate along the epochs; ``"step"`` divides it by 10 after one and two thirds of them.
    warm_up : float
        Fraction of the epochs over which the learning rate rises linearly to what the schedule says.
    epochs : int, optional
        Passes over minibatches; 0 for none. Default 20 for the mlp, 30 for the cnn, 200 under decoupled decay.
    finish : int, optional
        Most iterations of L-BFGS, each about one pass over the data; 0 for none, as under decoupled decay. Default 700
        for the mlp, of which a few hundred are usually needed, and 10 for the cnn, whose passes are expensive.
    batch_size : int
        Samples in a step of the first phase, over all devices; may exceed what there is.
    tolerance : float
        Training stops once both parts of :class:`encollapse.train.Stationarity` are at or below it. Relative
        errors of the class means' Gram matrix then come out of about its size.
    seed : int
        Decides initial values and the order of samples. The same seed gives the same network on the same
        machine with one thread. The caller's random state is left alone.
    device : {"auto", "cpu", "gpu", "cuda", "mps"}
        Where to train.
    devices : int
        How many of them. Each step's samples are shared out; the result is that of one device up to rounding.
    precision : {"32-true", "bf16-mixed", "16-mixed"}
        Of the first phase. L-BFGS and every measurement run in float32 and, after the features, float64.
    history_every : int, "log" or sequence of int
        Passes between two rows of the history; or rows at powers of two; or the passes after which to add one. The
        start and the end always have a row. With a number, training can end at these rows alone; otherwise every
        10 passes.
    keep_frames : bool
        Keep class means, weight and bias of every row of the history, as :attr:`Run.frames`.
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
        If the loss stops being finite.
    FileFormatError
        If `checkpoint` holds something else than the state of this very training.
    MissingDependencyError
        If Lightning Fabric, or the package that ships the data, is not installed.
    """
    dataset, encoding = _resolve(dataset, encoding)
    settings = _settings(
        encoding,
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        bias_decay=bias_decay,
        decay=decay,
        loss=loss,
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
    assert settings.feature_decay is not None
    problem = Problem(
        encoding,
        dataset.counts,
        weight_decay=settings.weight_decay,
        feature_decay=settings.feature_decay,
        bias_decay=settings.bias_decay,
        feature_dim=settings.feature_dim,
        features=settings.features,
    )
    trained = train(dataset, encoding, settings, _fabric(settings.device))
    seen = trained.observation
    measured = seen.collapse(torch.tensor(dataset.train.labels), encoding)
    missing: dict[str, str] = {}
    prediction = solve(problem, throw=False)
    comparison = _compare(prediction, measured, missing)
    if dataset.test is None:
        missing["test_accuracy"] = "the data set has no hold-out"
    return Run(
        model=trained.classifier,
        collapse=measured,
        prediction=prediction,
        comparison=comparison,
        history=trained.history,
        settings=settings,
        dataset=dataset.name,
        encoding=encoding.name,
        data=dataset.provenance,
        status=trained.status,
        stationarity=seen.stationarity.value,
        loss=seen.loss,
        relative_excess=None if "relative_excess" in missing else seen.loss / prediction.loss - 1,
        test_accuracy=None if dataset.test is None else _accuracy(trained.classifier, dataset.test, encoding),
        seconds=trained.seconds,
        missing=missing,
    )


def _settings(encoding: Encoding, **given: Any) -> Settings:
    """Fill in the defaults that depend on other settings."""
    given["model_options"] = models.check_options(given["model"], given["model_options"])
    default_epochs, default_finish = models.lengths(given["model"])
    decoupled = given["decay"] == "decoupled"
    optimizer = given["optimizer"]
    if optimizer is None:
        optimizer = "adamw" if decoupled else "adam"
    epochs = 0 if optimizer == "lbfgs" else DECOUPLED_EPOCHS if decoupled else default_epochs
    rate = LEARNING_RATES["ufm" if given["decay"] == "ufm" else "other"].get(optimizer, 1e-3)
    defaults = {
        "feature_dim": max(64, min(encoding.code_dim, encoding.num_classes)),
        "epochs": epochs,
        "finish": 0 if decoupled else default_finish,
        "learning_rate": rate,
        "optimizer": optimizer,
    }
    settings = Settings(**given | {name: value for name, value in defaults.items() if given[name] is None})
    plain: dict[str, Any] = {
        "decay": "ufm",
        "loss": "mse",
        "classifier": "trained",
        "optimizer": "adam",
        "schedule": "one_cycle",
    }
    plain |= {
        "devices": 1,
        "precision": "32-true",
        "keep_frames": False,
        "checkpoint": None,
    }
    plain |= {"warm_up": 0.0}
    for name, value in plain.items():
        if getattr(settings, name) is not value and getattr(settings, name) != value:
            raise UnsupportedError(f"{name}: {getattr(settings, name)!r} is not there yet; use {value!r}")
    return settings


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


def _fabric(device: str) -> Fabric:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingDependencyError(
            "encollapse.train needs Lightning Fabric, which is not installed: pip install 'encollapse[study]'"
        ) from None
    try:
        return Fabric(accelerator=device, devices=1)
    except (RuntimeError, ValueError) as error:
        raise ArgumentError(
            f"device: {device!r} is not available here ({error}); use 'auto' or 'cpu'"
        ) from None


def _compare(prediction: Solution, measured: Collapse, missing: dict[str, str]) -> Comparison | None:
    if not prediction.status.success:
        missing["comparison"] = missing["relative_excess"] = prediction.status.message
        return None
    if not prediction.unique:
        missing["comparison"] = (
            "several geometries reach the predicted minimum; relative_excess says how near it is"
        )
        return None
    return compare(prediction.geometry, measured.geometry)


@torch.no_grad()
def _accuracy(classifier: Classifier, split: Split, encoding: Encoding) -> float:
    """Share of samples whose output is nearest to the codeword of their class."""
    inputs = torch.tensor(split.inputs)
    outputs = torch.cat([classifier(inputs[part]) for part in chunks(len(inputs))])
    return float((encoding.decode(outputs) == split.labels).mean())
