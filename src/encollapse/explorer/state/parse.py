"""Text from a page or an address, read into values; what cannot be used is refused by field."""

from __future__ import annotations

import math
import re

MOST_CLASSES = 200
"""Most classes that the page takes: above it a Gram matrix has no pixel for an entry."""

MOST_OUTPUTS = 512
"""Longest codeword that the page takes."""

MOST_CHARACTERS = 1_000_000
"""Longest text of a matrix or a tree."""

_MOST_SAMPLES = 10**9
_SHORT = 40
_COUNTS_TEXT = 4000
_INFINITE = {"inf", "infinity", "+inf", "∞"}


class FieldError(Exception):
    """A value that cannot be used: the field it stands in, and what to tell the user beside it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


def number(
    field: str,
    text: str,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    infinite: bool = False,
) -> float:
    """Read a number; NaN never, infinity only where it is meant."""
    word = short(field, text).lower()
    try:
        value = math.inf if word in _INFINITE else float(word)
    except ValueError:
        raise FieldError(field, f"expected a number, got “{shown(text)}”") from None
    if math.isnan(value):
        raise FieldError(field, "expected a number, got NaN")
    if math.isinf(value) and not (infinite and value > 0):
        raise FieldError(field, "expected a finite number")
    if value <= above or value < least:
        bound = f"above {above:g}" if value <= above else f"of {least:g} or above"
        raise FieldError(field, f"expected a number {bound}, got {value:g}")
    if value > most and not (infinite and math.isinf(value)):
        raise FieldError(field, f"expected at most {most:g}, got {value:g}")
    return value


def whole(field: str, text: str, *, least: int, most: int) -> int:
    """Read a whole number within bounds."""
    word = short(field, text)
    if not re.fullmatch(r"[+-]?\d+", word):
        raise FieldError(field, f"expected a whole number, got “{shown(text)}”")
    value = int(word)
    if not least <= value <= most:
        raise FieldError(field, f"expected {least} to {most}, got {value}")
    return value


def choice(field: str, text: str, options: tuple[str, ...]) -> str:
    """Read one of a few words."""
    if text not in options:
        raise FieldError(field, f"expected one of {', '.join(options)}; got “{shown(text)}”")
    return text


def long_text(field: str, text: str) -> str:
    """Take a text as it stands, up to a length."""
    if len(text) > MOST_CHARACTERS:
        raise FieldError(field, f"the text has {len(text)} characters; the page takes up to {MOST_CHARACTERS}")
    return text


def sample_counts(field: str, text: str) -> str:
    """Check whole numbers with commas or spaces between; return them with commas."""
    if len(text) > _COUNTS_TEXT:
        raise FieldError(field, f"the text is longer than {_COUNTS_TEXT} characters")
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    if not 2 <= len(parts) <= MOST_CLASSES:
        raise FieldError(field, f"expected 2 to {MOST_CLASSES} numbers with commas between, got {len(parts)}")
    return ",".join(str(whole(field, part, least=1, most=_MOST_SAMPLES)) for part in parts)


def samples(field: str, text: str) -> int:
    """Read the number of samples of a class."""
    return whole(field, text, least=1, most=_MOST_SAMPLES)


def short(field: str, text: str) -> str:
    """Take a text that fits a small field, without spaces around it."""
    if len(text) > _SHORT:
        raise FieldError(field, f"the text is longer than {_SHORT} characters")
    if not text.strip():
        raise FieldError(field, "expected a value, got nothing")
    return text.strip()


def shown(text: str) -> str:
    """Show a text in a message, cut to a readable length."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHORT else flat[: _SHORT - 1] + "…"
