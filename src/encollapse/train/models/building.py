"""From a name and some inputs to a classifier."""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from encollapse._internal.warn import warn
from encollapse.errors import ArgumentError
from encollapse.train.models.catalog import check_options
from encollapse.train.models.classifier import Backbone, Classifier
from encollapse.train.models.imported import Trunk, imported
from encollapse.train.models.networks import cnn, mlp, resnet, tail_of, vgg

MAKERS: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "mlp": mlp,
    "cnn": cnn,
    "vgg": vgg,
    "resnet8": partial(resnet, name="resnet8", stages=3, blocks=1),
    "resnet18": partial(resnet, name="resnet18", stages=4, blocks=2),
}

FROZEN = ("width", "depth", "activation", "normalization")
"""Options of the network that is trained on frozen features."""

PROBE = 4
"""Samples with which a foreign module is tried."""

SMALLEST = float(torch.finfo(torch.float32).smallest_normal)
"""Standard deviation of inputs, or its inverse, below which float32 loses digits."""


def build(
    model: str | nn.Module,
    inputs: Tensor,
    *,
    feature_dim: int,
    code_dim: int,
    bias: bool,
    features: str = "linear",
    options: Mapping[str, Any] | None = None,
    fixed_weight: Tensor | None = None,
) -> Classifier:
    """Make a classifier for `inputs` (N, ...), whose mean and spread it standardizes.

    Parameters
    ----------
    model : str or nn.Module
        A name of :func:`encollapse.train.names`, an import path, or a module, of which a copy is trained.
    inputs : (N, ...) tensor
        Training inputs.
    feature_dim, code_dim : int
        Sizes of the head.
    bias : bool
        Whether the head has a bias.
    features : {"linear", "relu"}
        Features as the last layer of the backbone gives them, or their positive part.
    options : mapping, optional
        Options of the model. For an import path: keyword arguments of the class. For it and for a module also
        ``last_layer`` (default True: a linear layer of ours maps the activations to `feature_dim` features. False:
        they are the features) and ``features_method`` (the method of the module that returns its activations).
    fixed_weight : (q, d) tensor, optional
        A head's weight that is not trained.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the model is unknown, an option cannot be used, or the model cannot take such inputs.
    """
    given = check_options(model, options)
    shift, gain = _standardization(inputs)
    name, depth = (given.pop("tail"), given.pop("tail_depth")) if "tail" in given and _of_ours(model) else ("none", 2)
    if name == "batch-norm-relu":
        features = "relu"
    tail = tail_of(name, feature_dim, depth)
    standard = partial(Backbone, features=features, tail=tail, shift=shift, gain=gain)
    if model == "frozen":
        trunk, width = mlp(inputs.shape[1:], **{name: given[name] for name in FROZEN})
        backbone = standard(trunk, width, feature_dim)
    elif isinstance(model, str) and model in MAKERS:
        trunk, width = MAKERS[model](inputs.shape[1:], **given)
        backbone = standard(trunk, width, feature_dim)
    else:
        backbone = _foreign(model, inputs[:PROBE], feature_dim, code_dim, given, standard)
    return Classifier(backbone, feature_dim, code_dim, bias=bias, fixed_weight=fixed_weight)


def _standardization(inputs: Tensor) -> tuple[float, float]:
    """Mean, and the inverse of the standard deviation, where float32 has numbers for both."""
    shift, spread = float(inputs.mean()), float(inputs.std())
    if spread == 0:
        return shift, 1.0
    if not (math.isfinite(shift) and SMALLEST <= spread <= 1 / SMALLEST):
        exact = inputs.double()
        raise ArgumentError(
            f"inputs: a mean of {float(exact.mean()):.3g} and a standard deviation of {float(exact.std()):.3g} are "
            "beyond what float32 can standardize; multiply the inputs by a number that brings them near 1"
        )
    return shift, 1.0 / spread


def _of_ours(model: str | nn.Module) -> bool:
    return isinstance(model, str) and (model in MAKERS or model == "frozen")


def _foreign(
    model: str | nn.Module,
    few: Tensor,
    feature_dim: int,
    code_dim: int,
    options: dict[str, Any],
    standard: Callable[..., Backbone],
) -> Backbone:
    last_layer, method = options.pop("last_layer", True), options.pop("features_method", None)
    module = imported(model, options) if isinstance(model, str) else copy.deepcopy(model)
    trunk = Trunk(module, method)
    width = trunk.width(few)
    if width == code_dim and not trunk.by_method:
        warn(
            f"model: a new linear layer and head were put on the {width} outputs of {type(module).__name__}, which may "
            "have a head of its own; name the method that gives its features in model_options.features_method, or "
            "take its last layer off"
        )
    if not last_layer and width != feature_dim:
        raise ArgumentError(
            f"feature_dim: the features of {type(module).__name__} have {width} entries, got {feature_dim}; "
            f"pass feature_dim={width}, or leave last_layer=False out"
        )
    return standard(trunk, width, feature_dim, last_layer=last_layer)
