"""A table of facts in print, in notebooks and in LaTeX."""

from __future__ import annotations

import html as markup_of
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from encollapse._internal.format import SUBSCRIPT

_WIDTH = 100  # columns of print
_ROWS = 40  # rows of a long table in print

Row = tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Facts by name, or a table with heads, or both, the facts first."""

    pairs: Sequence[tuple[str, str]] = ()
    heads: Row = ()
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()


def text(found: Facts) -> str:
    """The table in lines of plain text."""
    lines = _wrapped(found.pairs)
    shown = found.rows[:_ROWS]
    if shown:
        lines += [""] * bool(lines) + _columns([found.heads, *shown], _sides(found))
    if len(found.rows) > len(shown):
        lines.append(f"… {len(found.rows) - len(shown)} more rows")
    return "\n".join([*lines, *found.notes])


def html(found: Facts) -> str:
    """The table for a notebook."""
    sides = _sides(found)
    align = {"l": "left", "r": "right"}

    def cells(row: Sequence[str], tag: str, sides: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align: {align[side]}">{_html(cell)}</{tag}>'
            for cell, side in zip(row, sides, strict=True)
        )

    parts = []
    if found.pairs:
        rows = "".join(
            f'<tr><th style="text-align: left">{_html(name)}</th><td style="text-align: left">{_html(value)}</td></tr>'
            for name, value in found.pairs
        )
        parts.append(f"<table>{rows}</table>")
    if found.rows:
        body = "".join(f"<tr>{cells(row, 'td', sides)}</tr>" for row in found.rows[:_ROWS])
        parts.append(f"<table><thead><tr>{cells(found.heads, 'th', sides)}</tr></thead><tbody>{body}</tbody></table>")
    if len(found.rows) > _ROWS:
        parts.append(f"<p>… {len(found.rows) - _ROWS} more rows</p>")
    return "".join([*parts, *(f"<p>{_html(note)}</p>" for note in found.notes)])


def latex(found: Facts) -> str:
    """The table as a LaTeX tabular, all rows of it without their meanings. It needs booktabs."""
    if not found.rows:
        sides, head = "lp{0.6\\linewidth}", []
        rows: list[Row] = [*found.pairs]
    else:
        kept = [i for i, name in enumerate(found.heads) if name != "meaning"]
        sides = "".join(_sides(found)[i] for i in kept)
        head = [_line([found.heads[i] for i in kept]), r"\midrule"]
        # Names of metrics and errors, written as words.
        names = found.heads[0] in ("metric", "prediction against measurement")
        rows = [tuple(row[i].replace("_", " ") if names and i == 0 else row[i] for i in kept) for row in found.rows]
    body = [_line(row) for row in rows]
    return "\n".join([rf"\begin{{tabular}}{{{sides}}}", r"\toprule", *head, *body, r"\bottomrule", r"\end{tabular}"])


def _line(row: Sequence[str]) -> str:
    return " & ".join(_tex(cell) for cell in row) + r" \\"


_OF_TEX = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"}
_OF_TEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "$": r"\$", "−": "$-$", "∞": r"$\infty$"}
_OF_TEX |= {"λ": r"$\lambda$", "√": r"$\surd$", "–": "--", "≤": r"$\leq$", "·": r"$\cdot$", "…": r"\dots{}"}
_OF_TEX |= {"±": r"$\pm$", "|": r"$|$", "<": "$<$", ">": "$>$", "²": "$^2$", "Σ": r"$\Sigma$", "π": r"$\pi$"}
_OF_TEX |= {"μ": r"$\mu$", "ē": r"$\bar{e}$", "ᵀ": r"$^\top$", "×": r"$\times$", "→": r"$\to$", "Δ": r"$\Delta$"}
_LAMBDA = re.compile(r"λ_([A-Za-z]+)(\*?)")
_POWER = re.compile(r"^(-?\d\.\d+)e(-?\d+)$")


def _tex(cell: str) -> str:
    """A cell in LaTeX: symbols as mathematics, ``5.9e-4`` as a power of ten."""
    power = _POWER.match(cell)
    if power:
        return rf"${power[1]} \times 10^{{{int(power[2])}}}$"
    parts, last = [r"\quad "] if cell.startswith("  ") else [], len(cell) - len(cell.lstrip())
    for found in _LAMBDA.finditer(cell):
        star = r"^\ast" if found[2] else ""
        parts += [_escaped(cell[last : found.start()]), rf"$\lambda_{{{found[1]}}}{star}$"]
        last = found.end()
    joined = "".join([*parts, _escaped(cell[last:])])
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", joined)


def _escaped(text: str) -> str:
    return "".join(_OF_TEX.get(letter, letter) for letter in text)


def _html(text: str) -> str:
    indent = "&emsp;" if text.startswith("  ") else ""
    return indent + SUBSCRIPT.sub(r"<sub>\1</sub>", markup_of.escape(text.lstrip()))


def _wrapped(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names on the left, what is known of them on the right, in lines of readable length."""
    width = max((len(name) for name, _ in pairs), default=0) + 2
    lines: list[str] = []
    for name, value in pairs:
        parts = textwrap.wrap(value, max(_WIDTH - width, 40)) or [""]
        lines += [f"{name:<{width}}{parts[0]}".rstrip(), *(" " * width + part for part in parts[1:])]
    return lines


def _columns(rows: Sequence[Sequence[str]], sides: Sequence[str]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(w) if side == "r" else cell.ljust(w) for cell, w, side in zip(row, widths, sides, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _sides(found: Facts) -> str:
    """Columns of numbers stand on the right."""
    columns = list(zip(*found.rows, strict=True)) if found.rows else []
    return "".join("r" if all(map(_NUMBER.fullmatch, cells)) else "l" for cells in columns)


_NUMBER = re.compile(r"[-−]?[\d.]+(e[-+]?\d+)?( %)?|–|∞")
