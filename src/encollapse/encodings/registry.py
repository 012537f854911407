"""The encodings by name, for command lines, study files and the contract tests."""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from encollapse._internal import checks
from encollapse.encodings.binary import error_correcting, hadamard
from encollapse.encodings.encoding import Encoding
from encollapse.encodings.lines import grassmannian
from encollapse.encodings.relations import from_similarity, hierarchical, ordinal
from encollapse.encodings.soft_labels import soft_ordinal
from encollapse.encodings.spherical import circular, random, spherical
from encollapse.encodings.structured import label_smoothing, one_hot, one_vs_rest, scaled_one_hot, simplex
from encollapse.encodings.targets import multi_label
from encollapse.encodings.ternary import ternary
from encollapse.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class EncodingEntry:
    """An encoding of the registry: the function that makes the encoding, and options that make a good example."""

    function: Callable[..., Encoding]
    example: dict[str, Any] = field(default_factory=dict)
    """Options of an example that do for any number of classes."""
    describe: Callable[[int], dict[str, Any]] | None = None
    """Options of an example that describe each class, such as a tree, made for a number of classes."""

    @property
    def summary(self) -> str:
        """First line of the docstring, without citation marks."""
        line = (inspect.getdoc(self.function) or "").splitlines()[0]
        return line.split(" :cite")[0].rstrip(".").replace("``", "")

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """Parameters beyond the number of classes and the class names."""
        parameters = inspect.signature(self.function).parameters
        return {n: p for n, p in parameters.items() if n not in ("num_classes", "classes")}

    def example_for(self, num_classes: int) -> dict[str, Any]:
        """Options of an example with `num_classes` classes."""
        return self.example | (self.describe(num_classes) if self.describe is not None else {})

    def make(self, num_classes: int, **options: Any) -> Encoding:
        """Make the encoding. Where the options settle the number of classes, it has to be `num_classes`."""
        if "num_classes" in inspect.signature(self.function).parameters:
            return self.function(num_classes, **options)
        wanted = checks.integer(num_classes, "num_classes", minimum=2)
        encoding = self.function(**options)
        if encoding.num_classes != wanted:
            given = next(iter(self.options))
            raise ArgumentError(
                f"{given}: it describes {encoding.num_classes} classes, but there are {wanted}; one has to change"
            )
        return encoding


def _example_tree(num_classes: int) -> dict[str, Any]:
    """Classes by twos, and those by twos again, named by their numbers."""
    level: list[Any] = [str(k) for k in range(num_classes)]
    while len(level) > 2:
        level = [level[i : i + 2] if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    return {"tree": level}


def _example_similarity(num_classes: int) -> dict[str, Any]:
    return {"S": [[0.75 ** abs(k - j) for j in range(num_classes)] for k in range(num_classes)]}


def _example_label_sets(num_classes: int) -> dict[str, Any]:
    """The set of ones in the binary digits of each class number."""
    digits = max(1, (num_classes - 1).bit_length())
    return {"label_sets": [[j for j in range(digits) if k >> j & 1] for k in range(num_classes)], "num_labels": digits}


ENCODINGS: dict[str, EncodingEntry] = {
    "one-hot": EncodingEntry(one_hot),
    "simplex": EncodingEntry(simplex),
    "label-smoothing": EncodingEntry(label_smoothing, {"smoothing": 0.2}),
    "scaled-one-hot": EncodingEntry(scaled_one_hot, {"on": 5.0, "off": -1.0}),
    "one-vs-rest": EncodingEntry(one_vs_rest),
    "hadamard": EncodingEntry(hadamard),
    "error-correcting": EncodingEntry(error_correcting, {"code_dim": 7}),
    "ternary": EncodingEntry(ternary),
    "ordinal": EncodingEntry(ordinal),
    "soft-ordinal": EncodingEntry(soft_ordinal),
    "circular": EncodingEntry(circular),
    "spherical": EncodingEntry(spherical, {"code_dim": 3}),
    "grassmannian": EncodingEntry(grassmannian, {"code_dim": 3}),
    "random": EncodingEntry(random, {"code_dim": 6}),
    "hierarchical": EncodingEntry(hierarchical, describe=_example_tree),
    "from-similarity": EncodingEntry(from_similarity, describe=_example_similarity),
    "multi-label": EncodingEntry(multi_label, describe=_example_label_sets),
}


def names() -> tuple[str, ...]:
    """Names that :func:`by_name` knows, in the order of the registry.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.names()[:4]
    ('one-hot', 'simplex', 'label-smoothing', 'scaled-one-hot')
    """
    return tuple(ENCODINGS)


def by_name(name: str, num_classes: int, **options: Any) -> Encoding:
    """Make an encoding by its name, as command lines and study files do.

    Parameters
    ----------
    name : str
        One of :func:`names`. Underscores and dashes are the same.
    num_classes : int
        Number of classes K. Where the options describe each class, such as the tree of ``"hierarchical"``, it has to
        be what they say.
    **options
        Arguments of the function of that name, and `classes`.

    Returns
    -------
    Encoding
        Codewords of shape (code_dim, num_classes), with the methods ``encode`` and ``decode``.

    Raises
    ------
    ArgumentError
        If the name is unknown, an option is unknown or missing (the text lists what exists), or the options
        describe another number of classes.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.encodings.by_name("random", 5, code_dim=3)
    Encoding('random', num_classes=5, code_dim=3)
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"name: expected a string, got {name!r}")
    entry = ENCODINGS.get(name.replace("_", "-"))
    if entry is None:
        meant = checks.did_you_mean(name, ENCODINGS)
        raise ArgumentError(
            f"name: no encoding is called {name!r}; {meant and meant + ' '}there are {', '.join(ENCODINGS)}"
        )
    unknown = [o for o in options if o not in entry.options and o != "classes"]
    if unknown:
        known = ", ".join(entry.options) or "none at all"
        raise ArgumentError(f"{unknown[0]}: the encoding {name!r} has no such option; it has {known}")
    missing = [n for n, p in entry.options.items() if p.default is p.empty and n not in options]
    if missing:
        example = entry.example_for(4)
        given = " ".join(f"{name}={json.dumps(example[name], separators=(',', ':'))}" for name in missing)
        raise ArgumentError(
            f"{missing[0]}: the encoding {name!r} needs this option, and none was given; "
            f"with 4 classes, for example {given}"
        )
    return entry.make(num_classes, **options)


def resolved(encoding: Encoding | str | None, num_classes: int | None) -> Any:
    """What is given where an encoding is taken: a name becomes its encoding, all else stays as it is.

    Raises
    ------
    ArgumentError
        If the name is unknown, needs options, or the number of classes is not known.
    """
    if not isinstance(encoding, str):
        return encoding
    if num_classes is None:
        raise ArgumentError(
            f"encoding: the name {encoding!r} alone does not say how many classes there are; give one count for each "
            f"class, or encodings.by_name({encoding!r}, num_classes)"
        )
    try:
        return by_name(encoding, num_classes)
    except ArgumentError as error:
        raise ArgumentError(str(error).replace("name: ", "encoding: ", 1)) from None


def of_counts(encoding: Encoding | str, counts: Any) -> Any:
    """:func:`resolved` where there is one count for each class, or one number for all of them."""
    held = checks.to_numpy(counts, "counts")
    return resolved(encoding, held.size if held.ndim else None)
