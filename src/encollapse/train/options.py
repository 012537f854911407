"""What an option of a training is, and which values options take. Loads without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from encollapse._internal import checks
from encollapse.errors import ArgumentError

DECAYS = ("ufm", "plain", "decoupled")
LOSSES = ("mse", "cross_entropy")
FEATURES = ("linear", "relu")
OPTIMIZERS = ("adam", "adamw", "sgd", "lbfgs")
SCHEDULES = ("one_cycle", "cosine", "step", "constant")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
CLASS_WEIGHTS = ("none", "balanced")
CLASSIFIERS = ("trained", "fixed")
DEVICES = ("auto", "cpu", "gpu", "cuda", "mps")

LARGEST = 1e30
"""Of learning rates and decays: beyond it the steps of an optimizer leave the range of float32."""

_GROWS = "at 0 the features or the classifier grow without bound"


@dataclass(frozen=True)
class Option:
    """What is known of one option besides its name and its default.

    Attributes
    ----------
    check : callable
        Takes a value and the name, returns the value as it is kept, and refuses what cannot be used.
    help : str
        The line that the command shows.
    more : str
        What only the documentation adds.
    unit : str
        Of the value, if it has one.
    usual : str
        What the default None stands for, if the default depends on other options.
    choices : tuple of str
        The words that it takes.
    group : {"", "Network", "Training"}
        Where the help of the command lists it.
    flag, metavar : str
        Name and value in the command, where they are not those of the keyword.
    """

    check: Callable[[Any, str], Any]
    help: str
    more: str = ""
    unit: str = ""
    usual: str = ""
    choices: tuple[str, ...] = ()
    group: str = "Training"
    flag: str = ""
    metavar: str = ""


def option(default: Any, check: Callable[[Any, str], Any] | tuple[str, ...], text: str, **about: Any) -> Any:
    """A field of the settings with its default, its check or its choices, and its help."""
    if isinstance(check, tuple):
        about["choices"], check = check, partial(checks.choice, options=check)
    return field(default=default, metadata={"option": Option(check, text, **about)})


def class_weights(value: Any, name: str) -> str | tuple[float, ...]:
    """A word or one weight a class."""
    if isinstance(value, str):
        return checks.choice(value, name, CLASS_WEIGHTS)
    weights = checks.array(value, name, (None,), axes="(num_classes,)")
    return tuple(checks.positive(float(w), f"{name}[{k}]") for k, w in enumerate(weights))


def history_every(value: Any, name: str) -> int | str | tuple[int, ...]:
    """A number of passes, a word, or the passes that have a row."""
    if isinstance(value, str):
        return checks.choice(value, name, ("log",))
    if isinstance(value, Sequence):
        return tuple(sorted({checks.integer(v, f"{name}[{i}]", minimum=0) for i, v in enumerate(value)}))
    return checks.integer(value, name, minimum=1)


def classifier(value: Any, name: str) -> Any:
    """A word or the matrix of the head."""
    if isinstance(value, str):
        return checks.choice(value, name, CLASSIFIERS)
    return checks.read_only(checks.array(value, name, (None, None), axes="(code_dim, feature_dim)"))


def within(check: Callable[[Any, str], float]) -> Callable[[Any, str], float]:
    """A check that also refuses finite numbers that no step in float32 can use."""

    def checked(value: Any, name: str) -> float:
        number = check(value, name)
        if LARGEST < number < math.inf:
            raise ArgumentError(f"{name}: training takes numbers up to {LARGEST:g}, got {number:g}; use a lower one")
        return number

    return checked


positive = within(partial(checks.positive, why=_GROWS))
rate = within(checks.positive)
count = partial(checks.integer, minimum=1)
passes = partial(checks.integer, minimum=0)
