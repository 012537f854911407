"""`fit`: train a network on the objective of the unrestricted feature model, and measure what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from encollapse import _checks, data, encodings
from encollapse.data import Dataset, Split
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, MissingDependencyError
from encollapse.geometry import Comparison, compare
from encollapse.measure import Collapse
from encollapse.train import models
from encollapse.train.chunks import chunks
from encollapse.train.loop import train
from encollapse.train.models import Classifier
from encollapse.train.run import Run
from encollapse.train.settings import Settings
from encollapse.ufm import Problem, Solution, solve

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fit(
    dataset: Dataset | str | Path,
    encoding: Encoding | str,
    *,
    weight_decay: float,
    feature_decay: float,
    bias_decay: float = 0.0,
    model: str = "mlp",
    feature_dim: int | None = None,
    features: str = "linear",
    epochs: int | None = None,
    finish: int | None = None,
    learning_rate: float = 1e-2,
    batch_size: int = 64,
    tolerance: float = 1e-3,
    seed: int = 0,
    device: str = "auto",
    history_every: int = 10,
    progress: bool = True,
) -> Run:
    """Train a network to the minimum of the UFM objective, measure its collapse, compare with the theory.

    The objective regularises the head and, explicitly, the *features*; the backbone is free. Training has two phases.
    `epochs` of Adam on minibatches come first, with a one-cycle learning rate and with weight and feature decay eased
    in over the first half :cite:p:`kingma2015,smith2019`. Then come up to `finish` iterations of L-BFGS on the whole
    backbone and the whole training set :cite:p:`liu1989`, with the head solved for exactly at each of them (variable
    projection, :cite:p:`golub2003`). They are what reaches the minimum: near the critical bias decay the loss is
    quartic in the mean direction, where first-order steps converge like 1/steps. Neither phase knows anything of the
    predicted minimum, which is computed afterwards.

    Parameters
    ----------
    dataset : Dataset, str or path
        Training data, or what :func:`encollapse.data.load` takes.
    encoding : Encoding or str
        Codewords of the classes, or a name of :func:`encollapse.encodings.by_name`.
    weight_decay, feature_decay : float
        ``λ_W`` and ``λ_H``, above 0; `feature_decay` multiplies the sum over all training samples.
    bias_decay : float
        ``λ_b`` from 0 to ``math.inf``; infinity means that the head has no bias.
    model : {"mlp", "cnn"}
        Backbone.
    feature_dim : int, optional
        Dimension d of the features; default 64, or the largest rank ``min(q, K)`` of a minimiser if above.
    features : {"linear", "relu"}
        Features as the last linear layer gives them, or their positive part.
    epochs : int, optional
        Passes of Adam over the data; 0 for none. Default 20 for the mlp, 30 for the cnn.
    finish : int, optional
        Most iterations of L-BFGS, each about one pass over the data; 0 for none. Default 700 for the mlp,
        of which a few hundred are usually needed, and 10 for the cnn, whose passes are expensive.
    learning_rate : float
        Peak of Adam's one-cycle schedule, in units in which codewords have size one and both decays are
        equal; so it need not be tuned to them.
    batch_size : int
        Samples in a step of Adam; may exceed what there is.
    tolerance : float
        Training stops once both parts of :class:`encollapse.train.Stationarity` are at or below it. Relative
        errors of the class means' Gram matrix then come out of about its size.
    seed : int
        Decides initial values and the order of samples. The same seed gives the same network on the same
        machine with one thread. The caller's random state is left alone.
    device : {"auto", "cpu", "gpu", "cuda", "mps"}
        Where to train.
    history_every : int
        Passes between two looks at the network; each adds a row to the history and may end the training.
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
    MissingDependencyError
        If Lightning Fabric, or the package that ships the data, is not installed.
    """
    dataset, encoding = _resolve(dataset, encoding)
    entry = models.CATALOGUE[_checks.choice(model, "model", models.names())]
    settings = Settings(
        weight_decay=weight_decay,
        feature_decay=feature_decay,
        bias_decay=bias_decay,
        model=model,
        feature_dim=max(64, min(encoding.code_dim, encoding.num_classes))
        if feature_dim is None
        else feature_dim,
        features=features,
        epochs=entry.epochs if epochs is None else epochs,
        finish=entry.finish if finish is None else finish,
        learning_rate=learning_rate,
        batch_size=batch_size,
        tolerance=tolerance,
        seed=seed,
        device=device,
        history_every=history_every,
        progress=progress,
    )
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
