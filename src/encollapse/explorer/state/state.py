"""`State`: every control of the page as one value, and its form in an address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from encollapse.encodings.registry import ENCODINGS
from encollapse.explorer.state.fields import (
    BiasDecay,
    Classes,
    Counts,
    Decay,
    Depth,
    EncodingName,
    OptionalEncoding,
    OptionalWidth,
    Ratio,
    Samples,
    Seed,
    Spread,
    StartScale,
    Text,
    Word,
    message,
)
from encollapse.explorer.state.matrix_input import shown

PREFIX = "option."
"""What the names of an encoding's options start with in an address."""


@dataclass(frozen=True)
class State:
    """What the page shows. Two pages in the same state show the same numbers.

    Attributes
    ----------
    encoding, options, matrix
        Name in the catalog with its options as text, or ``"own"`` with the codewords as text.
    classes : int
        Number of classes, where neither a matrix nor an option settles it.
    counts, samples, imbalance, typed
        How the samples are spread: ``balanced``. ``step``, the second half of the classes with `imbalance` times
        fewer. ``longtail``, falling geometrically by `imbalance`. Or one typed number a class.
    weight_decay, feature_decay, bias_decay
        ``λ_W``, ``λ_H``, ``λ_b`` from 0 to infinity.
    loss, depth, features, feature_dim
        As in :class:`encollapse.ufm.Problem`.
    spread : float
        How much the samples of a class differ before the last layers. At 0 no samples are drawn.
    recipe : str
        ``batch-norm``: one weight decay λ_W on every parameter of a network whose head follows a batch normalization,
        which sets the feature decay.
    beside : str
        Name of a second encoding, whose frame is drawn beside the first, or empty for none.
    start_scale, start_seed
        Size and seed of the random start of gradient flow in the dynamics view.
    quantity, centered, axes
        What the Gram matrices hold, about which point, and which three directions of feature space are drawn.
    view : str
        Which view is open: ``explore``, ``dynamics``, ``design`` or ``runs``.
    target, tree, similarity, size
        The geometry that the design view asks for.
    run : str
        The trial that is selected in the runs view.
    """

    encoding: EncodingName = "one-hot"
    options: tuple[tuple[str, str], ...] = ()
    matrix: Text = ""
    classes: Classes = 10
    counts: Literal["balanced", "step", "longtail", "typed"] = "balanced"
    samples: Samples = 100
    imbalance: Ratio = 10.0
    typed: Counts = ""
    weight_decay: Decay = 5e-3
    feature_decay: Decay = 1.8e-3
    bias_decay: BiasDecay = 1.0
    loss: Literal["mse", "cross_entropy"] = "mse"
    depth: Depth = 1
    features: Literal["linear", "relu"] = "linear"
    feature_dim: OptionalWidth = None
    spread: Spread = 0.0
    recipe: Literal["none", "batch-norm"] = "none"
    beside: OptionalEncoding = ""
    start_scale: StartScale = 0.01
    start_seed: Seed = 0
    quantity: Literal["cosines", "products"] = "cosines"
    centered: bool = False
    axes: Literal["turning", "leading"] = "turning"
    view: Literal["explore", "dynamics", "design", "runs"] = "explore"
    target: Literal["simplex", "orthogonal", "hierarchy", "similarity"] = "simplex"
    tree: Text = ""
    similarity: Text = ""
    size: Literal["one_hot", "unit_codewords", "unit_outputs", "as_given"] = "one_hot"
    run: Word = ""

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

_OLD_NAMES = {"centred": "centered"}
"""Names in addresses that users kept from earlier releases."""


def parse(values: Mapping[str, Any]) -> tuple[State, dict[str, str]]:
    """Read the settings of an address.

    Returns
    -------
    state : State
        What could be read, and defaults for the rest.
    errors : dict
        For each field that could not be read, what to tell the user.
    """
    given: dict[str, str] = {}
    errors: dict[str, str] = {}
    options: list[tuple[str, str]] = []
    known = {field.name for field in fields(State)} - {"options"}
    for key, value in values.items():
        name = _OLD_NAMES.get(key, key)
        if not isinstance(value, str):
            errors[shown(str(name))] = "expected text"
        elif name.startswith(PREFIX):
            options.append((name.removeprefix(PREFIX), value))
        elif name in known:
            given[name] = value
        else:
            errors["address"] = f"the page has no setting called “{shown(str(name))}”"
    try:
        state = State(**given)  # type: ignore[arg-type]  # pydantic reads the texts
    except ValidationError as refused:
        errors |= {str(error["loc"][0]): message(error) for error in refused.errors()}
        state = State(**{name: text for name, text in given.items() if name not in errors})  # type: ignore[arg-type]
    kept, unknown = _known_options(state.encoding, options)
    for name in unknown:
        errors["address"] = f"the encoding {state.encoding} has no option “{shown(name)}”"
    return replace(state, options=kept), errors


def _known_options(encoding: str, options: list[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    known = ENCODINGS[encoding].options if encoding in ENCODINGS else {}
    kept = {name: text for name, text in options if name in known and text.strip()}
    return tuple(sorted(kept.items())), [name for name, _ in options if name not in known]


def address(state: State) -> dict[str, str]:
    """Write a state as the settings of an address. What is at its default is left out."""
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
