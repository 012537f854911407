"""Numbers and symbols as a page writes them."""

from __future__ import annotations

import math
import re

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BREAK = re.compile(r"(?<=,) |(?<= ·) ")
_OUTSIDE = re.compile(_BREAK.pattern.replace(" |", r" (?![^()]*\))|") + r"(?![^()]*\))")
"""The same, where no bracket is open."""
_TINY = 1e-6
"""Shares below which a percentage would have a power of ten, and so says less than the power alone."""
SUBSCRIPT = re.compile(r"(?<=[\wλπᵀ|])_(b|B|W|T|H|k|l|F|γ|meas|pred)(?![A-Za-z])")


def number_label(value: float | None) -> str:
    """A regularization as people read it: ``0``, ``0.4286``, ``∞``, or a dash where there is none."""
    if value is None:
        return "–"
    return "∞" if math.isinf(value) else f"{value:.4g}"


def power(value: float | None, digits: int = 2) -> str:
    """A few digits for running text: ``5.9 × 10⁻⁴``, ``0.012``, or a dash where there is none."""
    if value is None:
        return "–"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return signed(value, digits)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa if digits == 2 else f"{float(mantissa):g}"
    return unbroken(f"{mantissa.replace('-', '−')} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}")


def short(value: float | None) -> str:
    """Two digits for a table: ``5.9e-4``, or a dash where there is none."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def two_digits(value: float) -> str:
    """Two digits for running text, and all before the point of a large number: ``0.012``, ``4.5e-05``, ``112``."""
    return f"{value:.2g}" if abs(value) < 99.5 else f"{value:.0f}"


def signed(value: float, digits: int) -> str:
    """A number in significant digits, with a real minus sign and without a negative zero."""
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """A number with fixed decimals, with a real minus sign and without a negative zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """Two digits of a percentage, above 100 all before the point, and of what is tiny its power of ten."""
    if value is None:
        return "–"
    if 0 < abs(value) < _TINY:
        return power(value)
    return unbroken(f"{100 * value:.2g} %" if abs(value) < 0.995 else f"{100 * value:.0f} %")


def count(number: int, noun: str) -> str:
    """``1 network``, ``2 networks``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bias_decay_is(value: float) -> str:
    """``λ_b = 0.1``, which no line break takes apart."""
    return unbroken(f"λ_b = {number_label(value)}")


def unbroken(text: str) -> str:
    """The text with spaces at which no line ends."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def wrapped(text: str, length: int, most: int = 3, *, brackets: bool = True) -> str:
    """A name longer than `length` in up to `most` lines, broken at brackets, commas and dots. The rest is left out.

    With `brackets` the first of them stays whole: behind what it belongs to where that makes lines of more equal
    length, else on a line of its own. The tables of a page have every name in full.
    """
    if len(text) <= length or "\n" in text:
        return text
    lines = _lines(text.replace(" (", "\n(", int(brackets)), length, _BREAK)
    joined = _lines(text, length, _OUTSIDE)
    if brackets and max(map(len, joined)) <= length and _size(joined) < _size(lines):
        lines = joined
    return "\n".join(lines) if len(lines) <= most else "\n".join(lines[:most]) + " …"


def _lines(text: str, length: int, at: re.Pattern[str]) -> list[str]:
    """As much on every line as it holds."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines.append("")
        for part in at.split(line):
            if lines[-1] and len(lines[-1]) + len(part) + 1 > length:
                lines.append(part)
            else:
                lines[-1] = f"{lines[-1]} {part}".strip()
    return lines


def _size(lines: list[str]) -> tuple[int, int]:
    """How many lines there are, and how long the longest is."""
    return len(lines), max(map(len, lines))


def mathematics(text: str) -> str:
    """Set the indices of symbols such as ``λ_b`` the way matplotlib does."""
    return SUBSCRIPT.sub(r"$_{\\mathrm{\1}}$", text.replace("$", r"\$"))


def markup(text: str) -> str:
    """Set the indices of symbols such as ``λ_b`` as subscripts in plotly's markup, all else escaped."""
    return SUBSCRIPT.sub(r"<sub>\1</sub>", text.replace("&", "&amp;").replace("<", "&lt;"))
