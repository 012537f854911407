"""Kinds of fields: text from a page or an address, read by pydantic. What cannot be used is refused by field."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from encollapse.encodings.registry import ENCODINGS
from encollapse.explorer.state import matrix_input
from encollapse.explorer.state.matrix_input import MOST_CHARACTERS, MOST_CLASSES, MOST_OUTPUTS, shown

OWN = "own"
"""Name of the encoding whose codewords are pasted or loaded."""

_SHORT = 40  # characters of a number with all of its digits, and room
_COUNTS_TEXT = 4000  # characters of 200 counts with many digits
_INFINITE = {"inf", "infinity", "+inf", "∞"}


class FieldError(ValueError):
    """A value that cannot be used: the field it stands in, and what to tell the user beside it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


def _short(value: Any) -> Any:
    """Take a text that fits a small field, without spaces around it."""
    if not isinstance(value, str):
        return value
    if len(value) > _SHORT:
        raise ValueError(f"the text is longer than {_SHORT} characters")
    if not value.strip():
        raise ValueError("expected a value, got nothing")
    return value.strip()


def _whole(value: Any) -> Any:
    word = _short(value)
    if isinstance(word, str) and not re.fullmatch(r"[+-]?\d+", word):
        raise ValueError(f"expected a whole number, got “{shown(word)}”")
    return word


def _number(value: Any) -> Any:
    word = _short(value)
    if isinstance(word, str) and word.lower() in _INFINITE:
        return math.inf
    if str(word).lower().lstrip("+-") == "nan":
        raise ValueError("expected a number, got NaN")
    return word


def _sample_counts(text: str) -> str:
    """Whole numbers with commas or spaces between, kept with commas alone."""
    if len(text) > _COUNTS_TEXT:
        raise ValueError(f"the text is longer than {_COUNTS_TEXT} characters")
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    if not parts:
        return ""
    if not 2 <= len(parts) <= MOST_CLASSES:
        raise ValueError(f"expected 2 to {MOST_CLASSES} numbers with commas between, got {len(parts)}")
    return ",".join(str(read("typed", Samples, part)) for part in parts)


def _json_list(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise ValueError('write nested lists as JSON, as in [["cat", "dog"], ["car", "truck"]]')
    return value


def _optional_encoding(name: str) -> str:
    return name if not name or name in ENCODINGS else _encoding(name)


def _encoding(name: str) -> str:
    if name not in (*ENCODINGS, OWN):
        raise ValueError(f"expected one of {', '.join((*ENCODINGS, OWN))}; got “{shown(name)}”")
    return name


@dataclass(frozen=True)
class Between:
    """A check that a whole number lies within bounds, and says both of them if it does not."""

    least: int
    most: int

    def __call__(self, value: int) -> int:
        """Pass the number on."""
        if not self.least <= value <= self.most:
            raise ValueError(f"expected {self.least} to {self.most}, got {value}")
        return value


Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Word = Annotated[str, BeforeValidator(lambda text: _short(text) if text else "")]
EncodingName = Annotated[str, AfterValidator(_encoding)]
OptionalEncoding = Annotated[str, AfterValidator(_optional_encoding)]
Counts = Annotated[str, AfterValidator(_sample_counts)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Decay = Annotated[Number, Field(gt=0, le=1e6)]
BiasDecay = Annotated[float, BeforeValidator(_number), Field(ge=0)]
Spread = Annotated[Number, Field(ge=0, le=3)]
StartScale = Annotated[Number, Field(ge=1e-6, le=1)]
Ratio = Annotated[Number, Field(ge=1, le=1e6)]
Whole = Annotated[int, BeforeValidator(_whole)]
Classes = Annotated[Whole, AfterValidator(Between(2, MOST_CLASSES))]
Samples = Annotated[Whole, AfterValidator(Between(1, 10**9))]
Depth = Annotated[Whole, AfterValidator(Between(1, 8))]
Width = Annotated[Whole, AfterValidator(Between(1, MOST_OUTPUTS))]
OptionalWidth = Annotated[
    Width | None, BeforeValidator(lambda text: text if text is None or str(text).strip() else None)
]
Seed = Annotated[Whole, AfterValidator(Between(0, 10**9))]
Size = Annotated[Whole, AfterValidator(Between(0, MOST_OUTPUTS))]
JsonList = Annotated[Text, AfterValidator(_json_list)]
Matrix = Annotated[Text, AfterValidator(matrix_input.matrix)]
Square = Annotated[Text, AfterValidator(matrix_input.square)]


def read(field: str, kind: Any, value: Any) -> Any:
    """Read the value of one field as a kind of this module.

    Raises
    ------
    FieldError
        If it cannot be used.
    """
    try:
        return _reader(kind).validate_python(value)
    except ValidationError as error:
        raise FieldError(field, message(error.errors()[0])) from None


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def message(error: ErrorDetails) -> str:
    """Say what is wrong with a value, and what is expected."""
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    match kind:
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case "string_too_long":
            return f"the text has {len(value)} characters; the page takes up to {limits['max_length']}"
        case "literal_error":
            return f"expected one of {str(limits['expected']).replace(chr(39), '')}; got “{shown(str(value))}”"
        case "greater_than":
            return f"expected a number above {limits['gt']:g}, got {float(value):g}"
        case "greater_than_equal":
            return f"expected a number of {limits['ge']:g} or above, got {float(value):g}"
        case "less_than_equal":
            return f"expected at most {limits['le']:g}, got {float(value):g}"
        case "finite_number":
            return "expected a finite number"
        case "float_parsing":
            return f"expected a number, got “{shown(str(value))}”"
    return f"{error['msg']}, got “{shown(str(value))}”"
