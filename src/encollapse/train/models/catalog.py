"""What is known of a model by its name alone: its options and its phase lengths. Needs no torch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError, ArgumentTypeError

ACTIVATIONS = ("relu", "gelu", "tanh")
IMPORTED = "PACKAGE.MODULE:CLASS"


def _whole_numbers(value: Any, name: str) -> list[int]:
    if not isinstance(value, list | tuple) or not value:
        raise ArgumentTypeError(f"{name}: expected a list of one whole number or more, got {value!r}")
    return [checks.integer(entry, name, minimum=1) for entry in value]


def _name(value: Any, name: str) -> str | None:
    return None if value is None else _text(value, name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name}: expected a text, got {value!r}")
    return value


_size = partial(checks.integer, minimum=1)
_depth = partial(checks.integer, minimum=0)


def _one_of(*options: str) -> Callable[[Any, str], Any]:
    return partial(checks.choice, options=options)


@dataclass(frozen=True)
class ModelOption:
    """An option of a model: its default, and the check that a given value passes."""

    default: Any
    check: Callable[[Any, str], Any]


@dataclass(frozen=True)
class ModelEntry:
    """What is known of a model: its options, the default lengths of the two phases of training, an option it needs.

    An iteration of L-BFGS costs about as much as an epoch of Adam. Where convolutions make both expensive,
    more of the work is left to Adam, which then gets further in the same time. A small set makes passes cheap again,
    and needs more of them, for each has few steps: with `by_samples` the lengths are those of a large set, and a
    smaller one is passed as often as makes `SAMPLES` of them, up to the `MOST` of the phase. With `by_classes`
    Adam takes at least `STEPS_A_CLASS` steps for each of many classes, in `MANY_PASSES` or more.
    """

    options: Mapping[str, ModelOption]
    epochs: int
    finish: int
    by_samples: bool = False
    by_classes: bool = False
    needs: str = ""

    def lengths(self, num_samples: int, rank: int, batch_size: int) -> tuple[int, int]:
        """Default lengths of the two phases on a training set of that size."""
        if self.by_classes and rank > MANY_CLASSES:
            steps = math.ceil(max(num_samples, 1) / batch_size)
            return max(MANY_PASSES, math.ceil(STEPS_A_CLASS * rank / steps)), self.finish
        if not self.by_samples:
            return self.epochs, self.finish
        passes = math.ceil(SAMPLES / max(num_samples, 1))
        return max(self.epochs, min(passes, MOST[0])), max(self.finish, min(passes, MOST[1]))


SAMPLES = 50_000  # of a set that is passed as often as the defaults say
MOST = (100, 300)  # passes, and iterations of L-BFGS, that a small set gets at most

MANY_CLASSES = 256
"""Ranks of a minimizer above which trainings take more steps and a finer tolerance."""

STEPS_A_CLASS = 16
"""Steps of Adam for each of many classes. Some classes have not been learned after a quarter of them.

Then few units of the last hidden layer are active on their samples, and L-BFGS takes long to find a way for them.
"""

MANY_PASSES = 64
"""Passes of Adam over many classes. A pass costs as much as an iteration of L-BFGS and, of a large set, gains more:
with 505 classes of 40 glyphs each, 64 passes end 0.0013 above the minimum, and 40 iterations more take 0.0005 off.
"""


TAILS = ("none", "batch-norm", "batch-norm-relu", "layer-norm", "rms-norm", "linear")

_TAIL = {"tail": ModelOption("none", _one_of(*TAILS)), "tail_depth": ModelOption(2, partial(checks.integer, minimum=2))}
WIDTH = 128  # unit of the width of hidden layers
MARGIN = 1.5
"""Default width of dense hidden layers: the next multiple of it above so many times the rank of the features.

Some units die in the first epochs, and with no more left than the rank a layer cannot give the classes their features.
"""

_DENSE = {
    **_TAIL,
    "width": ModelOption(WIDTH, _size),
    "activation": ModelOption("relu", _one_of(*ACTIVATIONS)),
    "normalization": ModelOption("none", _one_of("none", "batch", "layer")),
}
_RESIDUAL = {
    **_TAIL,
    "normalization": ModelOption("group", _one_of("group", "batch", "none")),
    "stem_stride": ModelOption(1, partial(checks.integer, minimum=1, maximum=4)),
}

MODELS: dict[str, ModelEntry] = {
    "mlp": ModelEntry({**_DENSE, "depth": ModelOption(3, _depth)}, epochs=20, finish=700, by_classes=True),
    "cnn": ModelEntry(
        {
            **_TAIL,
            "channels": ModelOption([16, 32], _whole_numbers),
            "hidden": ModelOption(128, _size),
            "activation": ModelOption("relu", _one_of(*ACTIVATIONS)),
            "normalization": ModelOption("none", _one_of("none", "batch", "group")),
        },
        epochs=30,
        finish=10,
        by_samples=True,
    ),
    "vgg": ModelEntry(
        {
            **_TAIL,
            "width": ModelOption(16, _size),
            "stages": ModelOption(3, _size),
            "normalization": ModelOption("batch", _one_of("batch", "group", "none")),
        },
        epochs=30,
        finish=10,
        by_samples=True,
    ),
    "resnet8": ModelEntry({"width": ModelOption(16, _size), **_RESIDUAL}, epochs=30, finish=10, by_samples=True),
    "resnet18": ModelEntry({"width": ModelOption(64, _size), **_RESIDUAL}, epochs=30, finish=10, by_samples=True),
    "frozen": ModelEntry(
        {
            "extractor": ModelOption(None, _text),
            "arguments": ModelOption({}, checks.mapping),
            "features_method": ModelOption(None, _name),
            "weights": ModelOption(None, _name),
            "cache": ModelOption(None, _name),
            **_DENSE,
            "depth": ModelOption(0, _depth),
        },
        epochs=20,
        finish=700,
        by_classes=True,
        needs="extractor",
    ),
}

DENSE = ("mlp", "frozen")

OF_IMPORTED = ModelEntry({}, epochs=30, finish=10, by_samples=True)
OF_MODULES = ModelEntry(
    {"last_layer": ModelOption(True, checks.flag), "features_method": ModelOption(None, _name)},
    epochs=30,
    finish=10,
    by_samples=True,
)


def names() -> tuple[str, ...]:
    """Names of models that :func:`encollapse.train.fit` knows, besides import paths.

    Returns
    -------
    tuple of str
        In the order of the documentation.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.train.names()
    ('mlp', 'cnn', 'vgg', 'resnet8', 'resnet18', 'frozen')
    """
    return tuple(MODELS)


def is_import_path(name: Any) -> bool:
    """Whether `name` has the form ``package.module:Class`` or ``file.py:Class``."""
    return isinstance(name, str) and name.count(":") == 1 and all(name.split(":"))


def recognized(name: Any) -> bool:
    """Whether `name` is in the catalog or has the form of an import path, which is not followed here."""
    return isinstance(name, str) and (name in MODELS or is_import_path(name))


def is_module(model: Any) -> bool:
    """Whether `model` is a torch.nn.Module itself."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def check_options(model: Any, options: Mapping[str, Any] | None = None, *, rank: int = 1) -> dict[str, Any]:
    """All options of the model, checked, with the defaults of those not given.

    Dense hidden layers are by default wide enough for features of the `rank` that a minimizer has.

    Options of an import path are arguments of the class and go to it unchecked. A module itself has `last_layer` and
    `features_method` alone.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If the model is unknown, it has no such option, or an option has a value that it cannot take.
    """
    given = {} if options is None else checks.mapping(options, "model_options")
    known = _entry(model).options
    if is_import_path(model):
        return given
    for option in given:
        if option not in known:
            name = repr(model) if isinstance(model, str) else type(model).__name__
            raise ArgumentError(f"model_options: {name} has no option {option!r}; it has {', '.join(known)}")
    needed = _entry(model).needs
    if needed and needed not in given:
        raise ArgumentError(
            f"model_options: {model!r} needs {needed!r}: an import path {IMPORTED}, or a file of features"
        )
    found = {
        option: about.check(given[option], f"model_options.{option}") if option in given else about.default
        for option, about in known.items()
    }
    if model in DENSE and "width" not in given:
        found["width"] = WIDTH * math.ceil(MARGIN * rank / WIDTH)
    return found


def lengths(model: Any, num_samples: int, *, rank: int = 1, batch_size: int = 64) -> tuple[int, int]:
    """Default phase lengths of the model on so many samples: epochs of Adam, and most iterations of L-BFGS.

    The `rank` is that of a minimizer's features, at most the number of classes.

    Raises
    ------
    ArgumentError
        If the model is unknown.
    """
    return _entry(model).lengths(num_samples, rank, batch_size)


def _entry(model: Any) -> ModelEntry:
    if is_module(model):
        return OF_MODULES
    if not recognized(model):
        meant = checks.did_you_mean(model, MODELS)
        raise ArgumentError(
            f"model: expected one of {', '.join(map(repr, MODELS))}, or the import path of a "
            f"torch.nn.Module as {IMPORTED}, got {model!r}" + (meant and f"; {meant}")
        )
    return MODELS.get(model, OF_IMPORTED)
