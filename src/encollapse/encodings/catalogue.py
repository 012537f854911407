"""The catalogue: encodings by name, for command lines and study files."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from encollapse.encodings.affine import label_smoothing, one_hot, one_vs_rest, scaled_one_hot
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.ordinal import ordinal
from encollapse.encodings.random_code import random
from encollapse.encodings.simplex import simplex
from encollapse.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class Entry:
    """A catalogue entry: the function that makes the encoding, and options that make a good example."""

    make: Callable[..., Encoding]
    example: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the docstring, without citation marks."""
        line = (inspect.getdoc(self.make) or "").splitlines()[0]
        return line.split(" :cite")[0].rstrip(".").replace("``", "")

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Parameters beyond the number of classes and the class names."""
        parameters = inspect.signature(self.make).parameters
        return {n: p for n, p in parameters.items() if n not in ("num_classes", "classes")}


CATALOGUE: dict[str, Entry] = {
    "one-hot": Entry(one_hot),
    "simplex": Entry(simplex),
    "label-smoothing": Entry(label_smoothing, {"smoothing": 0.2}),
    "scaled-one-hot": Entry(scaled_one_hot, {"on": 5.0, "off": -1.0}),
    "one-vs-rest": Entry(one_vs_rest),
    "ordinal": Entry(ordinal),
    "random": Entry(random, {"code_dim": 6}),
}


def names() -> tuple[str, ...]:
    """Names that :func:`by_name` knows, in catalogue order."""
    return tuple(CATALOGUE)


def by_name(name: str, num_classes: int, **options: Any) -> Encoding:
    """Make an encoding of the catalogue; ``by_name("random", 10, code_dim=6)``.

    Underscores and dashes in `name` are the same.

    Raises
    ------
    ArgumentError
        If the name is unknown, or an option is unknown or missing; the text lists what exists.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"name: expected a string, got {name!r}")
    entry = CATALOGUE.get(name.replace("_", "-"))
    if entry is None:
        raise ArgumentError(f"name: no encoding is called {name!r}; there are {', '.join(CATALOGUE)}")
    unknown = [o for o in options if o not in entry.options and o != "classes"]
    if unknown:
        known = ", ".join(entry.options) or "none"
        raise ArgumentError(f"{unknown[0]}: the encoding {name!r} has no such option; it has: {known}")
    missing = [n for n, p in entry.options.items() if p.default is p.empty and n not in options]
    if missing:
        raise ArgumentError(f"{missing[0]}: the encoding {name!r} needs this option, and none was given")
    return entry.make(num_classes, **options)
