"""`State`: every control of the page as one value, and its form in an address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from encollapse.encodings.registry import ENCODINGS
from encollapse.explorer.state import parse as read
from encollapse.explorer.state.parse import FieldError

OWN = "own"
"""Name of the encoding whose codewords are pasted or loaded."""

PREFIX = "option."
"""What the names of an encoding's options start with in an address."""

COUNT_RULES = ("balanced", "step", "longtail", "typed")
LOSSES = ("mse", "cross_entropy")
FEATURES = ("linear", "relu")
TARGETS = ("simplex", "orthogonal", "hierarchy", "similarity")


@dataclass(frozen=True)
class State:
    """What the page shows. Two pages in the same state show the same numbers.

    Attributes
    ----------
    encoding, options, matrix
        Name in the catalogue with its options as text, or ``"own"`` with the codewords as text.
    classes : int
        Number of classes, where neither a matrix nor an option settles it.
    counts, samples, imbalance, typed
        How the samples are spread: ``balanced``; ``step``, the second half of the classes with `imbalance` times
        fewer; ``longtail``, falling geometrically by `imbalance`; or one typed number a class.
    weight_decay, feature_decay, bias_decay
        ``λ_W``, ``λ_H``, ``λ_b`` from 0 to infinity.
    loss, depth, features, feature_dim
        As in :class:`encollapse.ufm.Problem`.
    quantity, centered, axes
        What the Gram matrices hold, about which point, and which three directions of feature space are drawn.
    view : str
        Which view is open: ``explore``, ``design`` or ``runs``.
    target, tree, similarity, size
        The geometry that the design view asks for.
    run : str
        The trial that is selected in the runs view.
    """

    encoding: str = "one-hot"
    options: tuple[tuple[str, str], ...] = ()
    matrix: str = ""
    classes: int = 10
    counts: str = "balanced"
    samples: int = 100
    imbalance: float = 10.0
    typed: str = ""
    weight_decay: float = 5e-3
    feature_decay: float = 1.8e-3
    bias_decay: float = 1.0
    loss: str = "mse"
    depth: int = 1
    features: str = "linear"
    feature_dim: int | None = None
    quantity: str = "cosines"
    centered: bool = False
    axes: str = "turning"
    view: str = "explore"
    target: str = "simplex"
    tree: str = ""
    similarity: str = ""
    size: str = "one_hot"
    run: str = ""

    @property
    def problem_key(self) -> State:
        """The same problem at no particular bias decay, free of what only concerns the page."""
        neutral = State()
        kept = {name: getattr(self, name) for name in _PROBLEM}
        return replace(neutral, **kept)


_PROBLEM = (
    "encoding",
    "options",
    "matrix",
    "classes",
    "counts",
    "samples",
    "imbalance",
    "typed",
    "weight_decay",
    "feature_decay",
    "loss",
    "depth",
    "features",
    "feature_dim",
)

_DECAY: dict[str, Any] = {"above": 0.0, "most": 1e6}

_READERS: dict[str, Any] = {
    "encoding": lambda f, t: read.choice(f, t, (*ENCODINGS, OWN)),
    "matrix": read.long_text,
    "classes": lambda f, t: read.whole(f, t, least=2, most=read.MOST_CLASSES),
    "counts": lambda f, t: read.choice(f, t, COUNT_RULES),
    "samples": read.samples,
    "imbalance": lambda f, t: read.number(f, t, least=1.0, most=1e6),
    "typed": lambda f, t: read.sample_counts(f, t) if t.strip() else "",
    "weight_decay": lambda f, t: read.number(f, t, **_DECAY),
    "feature_decay": lambda f, t: read.number(f, t, **_DECAY),
    "bias_decay": lambda f, t: read.number(f, t, least=0.0, infinite=True),
    "loss": lambda f, t: read.choice(f, t, LOSSES),
    "depth": lambda f, t: read.whole(f, t, least=1, most=8),
    "features": lambda f, t: read.choice(f, t, FEATURES),
    "feature_dim": lambda f, t: read.whole(f, t, least=1, most=read.MOST_OUTPUTS) if t.strip() else None,
    "quantity": lambda f, t: read.choice(f, t, ("cosines", "products")),
    "centered": lambda f, t: read.choice(f, t, ("0", "1")) == "1",
    "axes": lambda f, t: read.choice(f, t, ("turning", "leading")),
    "view": lambda f, t: read.choice(f, t, ("explore", "design", "runs")),
    "target": lambda f, t: read.choice(f, t, TARGETS),
    "tree": read.long_text,
    "similarity": read.long_text,
    "size": lambda f, t: read.choice(f, t, ("one_hot", "unit_codewords", "unit_outputs", "as_given")),
    "run": lambda f, t: read.short(f, t) if t else "",
}


def parse(values: Mapping[str, Any]) -> tuple[State, dict[str, str]]:
    """Read the settings of an address.

    Returns
    -------
    state : State
        What could be read, and defaults for the rest.
    errors : dict
        For each field that could not be read, what to tell the user.
    """
    given: dict[str, Any] = {}
    errors: dict[str, str] = {}
    options: list[tuple[str, str]] = []
    for name, value in values.items():
        text = value if isinstance(value, str) else ""
        try:
            if not isinstance(value, str):
                raise FieldError(read.shown(str(name)), "expected text")
            if name.startswith(PREFIX):
                options.append((name.removeprefix(PREFIX), read.long_text(name, text)))
            elif name in _READERS:
                given[name] = _READERS[name](name, text)
            else:
                raise FieldError("address", f"the page has no setting called “{read.shown(str(name))}”")
        except FieldError as error:
            errors[error.field] = error.message
    state = State(**given)
    kept, unknown = _known_options(state.encoding, options)
    for name in unknown:
        errors["address"] = f"the encoding {state.encoding} has no option “{read.shown(name)}”"
    return replace(state, options=kept), errors


def _known_options(encoding: str, options: list[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    known = ENCODINGS[encoding].options if encoding in ENCODINGS else {}
    kept = {name: text for name, text in options if name in known and text.strip()}
    return tuple(sorted(kept.items())), [name for name, _ in options if name not in known]


def address(state: State) -> dict[str, str]:
    """Write a state as the settings of an address; what is at its default is left out."""
    neutral = State()
    values: dict[str, str] = {}
    for field in fields(State):
        value = getattr(state, field.name)
        if field.name == "options":
            values |= {PREFIX + name: text for name, text in value}
        elif value != getattr(neutral, field.name):
            values[field.name] = _text(value)
    return values


def defaults() -> dict[str, str]:
    """Every control at its default, as text."""
    return {f.name: _text(getattr(State(), f.name)) for f in fields(State) if f.name != "options"}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        if math.isinf(value):
            return "inf"
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else repr(value)
    return str(value)
