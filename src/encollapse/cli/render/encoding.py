"""One encoding on a card: its size, its angles and distances, and its Gram matrix in colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from encollapse._internal import memory
from encollapse._internal.json_values import plain_dict
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.cli.render.cells import Colored, fact_table
from encollapse.encodings import Encoding
from encollapse.report.facts import cosine_range, vector

_WIDEST = 32
"""Classes up to which the Gram matrix is drawn."""

_LONG = 48
"""Characters of an example's option that are shown."""


def encoding_table(encoding: Encoding, example: Sequence[str] = ()) -> RenderableType:
    """Size, lengths, mean, angles and distances of the codewords, and their Gram matrix as colored cells.

    Options in `example` are named as what was chosen for want of others.
    """
    facts = _facts(encoding)
    shown: list[tuple[str, Any]] = [
        ("encoding", f"{encoding.name}: {encoding.num_classes} codewords of length {encoding.code_dim}"),
        ("rank", f"{facts['rank']}, centered {facts['rank_centered']}"),
        ("norms", vector(facts["norms"])),
        ("norm of mean", f"{facts['mean_norm']:.6g} with balanced classes"),
        ("cosines", cosine_range(facts["cosines"])),
        ("  centered", cosine_range(facts["cosines_centered"])),
        ("least distance", f"{facts['least_distance']:.6g}, classes {facts['closest'][0]} and {facts['closest'][1]}"),
    ]
    if example:
        options = "  ".join(text if len(text) <= _LONG else f"{text[:_LONG]}…" for text in example)
        shown.insert(1, ("options", f"{options} (an example; --option gives others)"))
    if encoding.num_classes > _WIDEST:
        return fact_table(shown)
    gram = encoding.gram()
    return Group(fact_table(shown), Text(), Colored(_gram_picture(gram), _gram_digits(gram)))


def encoding_record(encoding: Encoding, example: Sequence[str] = ()) -> dict[str, Any]:
    """The same as plain values, with the codewords themselves."""
    own = {
        "name": encoding.name,
        "num_classes": encoding.num_classes,
        "code_dim": encoding.code_dim,
        "classes": encoding.classes,
        "codewords": encoding.codewords,
        "gram": encoding.gram(),
        "example_options": list(example),
    }
    return plain_dict(own | _facts(encoding))


def _facts(encoding: Encoding) -> dict[str, Any]:
    number = encoding.num_classes
    memory.require_room("cosines", number, number, instead="ask for fewer --classes")
    codewords, centered = encoding.codewords, encoding.centered().codewords
    mean_norm = float(np.linalg.norm(encoding.mean()))
    nearest = []
    for k in range(number - 1):  # one row at a time, for all differences at once would take q of these matrices
        distances = np.linalg.norm(codewords[:, k + 1 :] - codewords[:, [k]], axis=0)
        nearest.append((float(distances.min()), k, k + 1 + int(distances.argmin())))
    least, *closest = min(nearest)
    return {
        "rank": int(np.linalg.matrix_rank(codewords)),
        "rank_centered": int(np.linalg.matrix_rank(centered, tol=_floor(codewords))),
        "norms": np.linalg.norm(codewords, axis=0),
        "mean_norm": mean_norm if mean_norm > _floor(codewords) else 0.0,
        "cosines": _angles(codewords),
        "cosines_centered": _angles(centered),
        "least_distance": least,
        "closest": closest,
    }


def _floor(codewords: FloatArray) -> float:
    """Size of rounding in centered codewords: what is smaller is zero."""
    size = float(np.linalg.norm(codewords))
    return float(size * max(codewords.shape) * EPS)


def _angles(codewords: FloatArray) -> FloatArray:
    norms = np.linalg.norm(codewords, axis=0)
    norms = np.where(norms > _floor(codewords), norms, np.nan)
    cosines: FloatArray = codewords.T @ codewords / np.outer(norms, norms)
    return cosines


def _gram_picture(gram: FloatArray) -> Text:
    """Two columns of a colored background for each entry: blue below zero, vermillion above."""
    scale = float(np.abs(gram).max(initial=0.0)) or 1.0
    text = Text("Gram matrix, blue below 0, white at 0, orange above\n", style="dim")
    for row in gram / scale:
        for value in row:
            text.append("  ", style=f"on {_shade(float(value))}")
        text.append("\n")
    text.right_crop(1)
    return text


def _gram_digits(gram: FloatArray) -> Text:
    """The matrix in three digits, for places without colors such as a pipe or a file."""
    cells = [[f"{value + 0.0:.3g}" for value in np.where(np.abs(row) < 5e-13, 0.0, row)] for row in gram]
    width = max(len(cell) for row in cells for cell in row)
    lines = ["Gram matrix", *(" ".join(cell.rjust(width) for cell in row) for row in cells)]
    return Text("\n".join(lines), no_wrap=True, overflow="ignore")


def _shade(value: float) -> str:
    end = (213, 94, 0) if value > 0 else (0, 114, 178)
    red, green, blue = (round(255 + abs(value) * (part - 255)) for part in end)
    return f"#{red:02x}{green:02x}{blue:02x}"
