"""From a state to what it names: encoding, class counts, problem."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.typing import IntArray
from encollapse.encodings import Encoding
from encollapse.encodings.registry import ENCODINGS, EncodingEntry
from encollapse.errors import EncollapseError, EncollapseWarning
from encollapse.explorer.state import fields
from encollapse.explorer.state.fields import OWN, FieldError
from encollapse.explorer.state.matrix_input import MOST_CLASSES, MOST_OUTPUTS
from encollapse.explorer.state.state import PREFIX, State

_KINDS: dict[str, Any] = {"int": fields.Size, "float": fields.Number, "matrix": fields.Square, "json": fields.JsonList}

_LARGEST_DECAY = 1e6  # as the fields take

DESCRIBING = ("tree", "S", "label_sets")
"""Options that describe each class, and so settle how many there are."""


@contextmanager
def refusals(renamed: dict[str, str] | None = None) -> Iterator[None]:
    """Turn an error of the library, ``name: reason``, into one of the field with that name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EncollapseWarning)
            yield
    except (EncollapseError, np.linalg.LinAlgError, OverflowError, MemoryError) as error:
        name, colon, reason = str(error).partition(": ")
        field = (renamed or {}).get(name, name)
        known = bool(colon) and name.isidentifier()
        raise FieldError(field if known else "address", reason if known else str(error)) from None


@lru_cache(maxsize=64)
def encoding_of(encoding: str, options: tuple[tuple[str, str], ...], matrix: str, classes: int) -> Encoding:
    """Make the encoding that the controls describe.

    Raises
    ------
    FieldError
        If an option or the matrix cannot be used.
    """
    if encoding == OWN:
        codewords = fields.read("matrix", fields.Matrix, matrix)
        q, k = codewords.shape
        if k < 2:
            raise FieldError("matrix", "expected at least two columns, one a class")
        if k > MOST_CLASSES or q > MOST_OUTPUTS:
            raise FieldError(
                "matrix",
                f"the page takes up to {MOST_CLASSES} columns (classes) and {MOST_OUTPUTS} rows, got {q} × {k}",
            )
        with refusals({"codewords": "matrix"}):
            return Encoding(codewords, name="own")
    entry = ENCODINGS[encoding]
    given = options_of(entry, options)
    example = entry.example_for(classes)
    needed = {n: example[n] for n in entry.options if n in example and n not in given}
    # An example's options describe each class only together: a typed tree goes with no example.
    chosen = {n: v for n, v in (needed | given).items() if v is not None}
    with refusals({name: PREFIX + name for name in entry.options} | {"num_classes": "classes"}):
        made = entry.function(**chosen) if any(n in given for n in DESCRIBING) else entry.make(classes, **chosen)
    if made.num_classes > MOST_CLASSES or made.code_dim > 2 * MOST_OUTPUTS:
        describing = next((PREFIX + n for n in DESCRIBING if n in given), "classes")
        raise FieldError(describing, f"the page takes up to {MOST_CLASSES} classes")
    return made


def options_of(entry: EncodingEntry, options: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Read the options of an encoding from text."""
    return {name: _option(entry, name, text) for name, text in options}


def _option(entry: EncodingEntry, name: str, text: str) -> Any:
    kind = fields.Seed if name == "seed" else _KINDS[option_kind(entry, name)]
    return fields.read(PREFIX + name, kind, text)


def option_kind(entry: EncodingEntry, name: str) -> str:
    """How an option is typed: ``int``, ``float``, ``matrix``, or ``json``."""
    annotation = str(entry.options[name].annotation)
    if "ArrayLike" in annotation:
        return "matrix"
    return next((kind for kind in ("int", "float") if kind in annotation), "json")


def counts_of(state: State, num_classes: int) -> IntArray:
    """Samples of each class (K,)."""
    k = num_classes
    if state.counts == "typed":
        if not state.typed:
            raise FieldError("typed", f"type {k} numbers, one a class, with commas between")
        values = np.array([int(part) for part in state.typed.split(",")], dtype=np.int64)
        if len(values) != k:
            raise FieldError("typed", f"expected {k} numbers, one a class, got {len(values)}")
        return values
    if state.counts == "balanced":
        return np.full(k, state.samples, dtype=np.int64)
    few = max(1, round(state.samples / state.imbalance))
    if state.counts == "step":
        return np.where(np.arange(k) < (k + 1) // 2, state.samples, few).astype(np.int64)
    return np.maximum(1, np.rint(np.geomspace(state.samples, few, k))).astype(np.int64)


def encoding(state: State) -> Encoding:
    """Encoding of a state."""
    return encoding_of(state.encoding, state.options, state.matrix, state.classes)


@lru_cache(maxsize=64)
def _problem(key: State) -> ufm.Problem:
    if key.loss != "mse" and key.depth > 1:
        # Descents from many starts take about a second for each bias decay, and a path has dozens.
        raise FieldError(
            "depth", "under another loss than MSE the explorer shows one layer. In Python the package solves more"
        )
    made = encoding(key)
    # Widths and layers that cannot be are refused here, by name.
    with refusals({"codewords": "loss"}):
        base = ufm.Problem(
            made,
            counts_of(key, made.num_classes),
            weight_decay=key.weight_decay,
            feature_decay=key.feature_decay,
            feature_dim=key.feature_dim,
            loss=key.loss,
            depth=key.depth,
            features=key.features,
        )
        # What every bias decay shares is made here, so that moving the slider costs one solve.
        base.critical_bias_decay()
        return base


def problem(state: State) -> ufm.Problem:
    """Problem of a state. States that differ in the bias decay only share its decomposition.

    Raises
    ------
    FieldError
        If a value cannot be used.
    """
    return _problem(state.problem_key).with_bias_decay(state.bias_decay)


def held(state: State, relative_threshold: float, num_classes: int | None = None) -> State:
    """The same state with both decays scaled until ``t = c √K`` is a given number, so that as much is learned.

    K is the encoding's number of classes where `num_classes` gives no other.

    Other depths than one keep their decays: their threshold is no root of a product.
    """
    if state.depth != 1:
        return state
    classes = encoding(state).num_classes if num_classes is None else num_classes
    samples = int(counts_of(state, classes).sum())
    now = math.sqrt(classes * samples * state.weight_decay * state.feature_decay)
    weight, feature = (
        float(f"{min(decay * relative_threshold / now, _LARGEST_DECAY):.4g}")
        for decay in (state.weight_decay, state.feature_decay)
    )
    return replace(state, weight_decay=weight, feature_decay=feature)


def resolved(state: State, num_classes: int | None = None) -> State:
    """The same state with the feature decay that its recipe implies: ``λ_H = λ/N`` behind a batch normalization."""
    if state.recipe == "none":
        return state
    samples = int(counts_of(state, encoding(state).num_classes if num_classes is None else num_classes).sum())
    return replace(state, feature_decay=float(f"{state.weight_decay / samples:.4g}"))


def solution(state: State) -> ufm.Solution:
    """Solve the problem of a state."""
    with refusals({"codewords": "loss"}):
        return ufm.solve(problem(state), throw=False)
