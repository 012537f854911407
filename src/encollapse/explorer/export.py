"""The explorer without a server: one file with the path computed in advance, to put on a web page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from encollapse import ufm
from encollapse._internal import files, progress
from encollapse._internal.format import count, number_label, short
from encollapse._internal.json_values import plain
from encollapse._internal.typing import FloatArray
from encollapse.errors import ArgumentError
from encollapse.explorer.state import state
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.problem import problem, refusals
from encollapse.explorer.views import projection
from encollapse.explorer.views.bias_path import HIGHEST, LOWEST, STEPS, exact_decay_at, position_of

MOST_CLASSES = 60  # a page of so many classes has about 2 MB
_FIRST_NODES = 33  # positions that are solved at once
_MOST_NODES = 240  # positions of a page, of which each holds a picture
_CLOSE = 1e-3  # error of a cosine by interpolation that nobody sees

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("tools.js", "frame.js", "export.js")
_TICKS = (0.0, 1e-2, 1.0, 100.0, math.inf)


def export(path: str | Path, address: str = "") -> Path:
    """Write one self-contained page on which the frame turns, without a server and without the network.

    The exact minimizer is solved at bias decays from 0 to infinity, closer where the cosines bend, and the page
    interpolates between them. How far interpolated cosines are from exact ones is computed halfway between neighbors,
    and the page states it.

    Parameters
    ----------
    path : str or Path
        The ``.html`` file, which appears whole or not at all.
    address : str
        Address of a page of the explorer, or what stands behind its ``?``. Default: three classes, one-hot labels.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        If `path` does not end in ``.html``, the address holds a setting that cannot be used, there are more than 60
        classes, or several geometries reach the minimum.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.explorer.export("page.html", "?classes=5&counts=longtail").name  # doctest: +SKIP
    'page.html'
    """
    target = files.with_suffix(path, "path", (".html",))
    chosen = _chosen(address)
    try:
        stated = problem(replace(chosen, bias_decay=0.0))
    except FieldError as error:
        raise ArgumentError(f"address: {error.field}: {error.message}") from None
    if stated.num_classes > MOST_CLASSES:
        raise ArgumentError(f"address: expected at most {MOST_CLASSES} classes, got {stated.num_classes}")
    nodes, farthest = _nodes(stated)
    with files.atomic(target) as temporary:
        temporary.write_text(_page(chosen, stated, nodes, farthest), encoding="utf-8")
    return target


def _chosen(address: str) -> state.State:
    parts = urlsplit(address if "?" in address or "#" in address else f"?{address}")
    values = dict(parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment, keep_blank_values=True))
    chosen, errors = state.parse(values or {"classes": "3", "bias_decay": "0"})
    if errors:
        raise ArgumentError("address: " + "; ".join(f"{name}: {words}" for name, words in errors.items()))
    return chosen


def _nodes(stated: ufm.Problem) -> tuple[list[tuple[float, ufm.Solution]], float]:
    """Solutions by position, and the largest error of a cosine halfway between two of them."""
    positions = {0.0, float(STEPS), *np.linspace(1, STEPS - 1, _FIRST_NODES).tolist()}
    turning = stated.turning_point()[0]
    if turning is not None and LOWEST < turning < HIGHEST:
        positions.add(1 + (STEPS - 2) * math.log(turning / LOWEST) / math.log(HIGHEST / LOWEST))
    solved = _solved(stated, sorted(positions))
    *_, error = progress.tracked(_refined(stated, solved), None, show=True, text="bias decays")
    return sorted(solved.items()), error


def _refined(stated: ufm.Problem, solved: dict[float, ufm.Solution]) -> Iterator[float]:
    """Add positions in rounds until interpolation is close. After each the largest error of the closed intervals."""
    error = 0.0
    open_ = list(pairwise(sorted(solved)))
    while open_:
        middles = _solved(stated, [(a + b) / 2 for a, b in open_])
        following = []
        for a, b in open_:
            middle = (a + b) / 2
            apart = _apart(middles[middle], solved[a], solved[b])
            if apart > _CLOSE and len(solved) < _MOST_NODES:
                solved[middle] = middles[middle]
                following += [(a, middle), (middle, b)]
            else:
                error = max(error, apart)
        open_ = following
        yield error


def _solved(stated: ufm.Problem, positions: list[float]) -> dict[float, ufm.Solution]:
    try:
        with refusals():
            path = ufm.bias_path(stated, [exact_decay_at(position) for position in positions])
    except FieldError as error:
        raise ArgumentError(f"address: {error.field}: {error.message}") from None
    for found in path.solutions:
        if not found.unique:
            raise ArgumentError(
                f"address: at a bias decay of {number_label(found.problem.bias_decay)} several geometries reach the "
                "minimum, and a page could show one of them only; choose other settings"
            )
    return dict(zip(positions, path.solutions, strict=True))


def _apart(middle: ufm.Solution, left: ufm.Solution, right: ufm.Solution) -> float:
    between = (_cosines(left) + _cosines(right)) / 2
    apart = np.abs(between - _cosines(middle))
    return float(np.nanmax(apart)) if np.isfinite(apart).any() else 0.0


def _cosines(found: ufm.Solution) -> FloatArray:
    cosines = found.geometry.cosines()
    return np.asarray(cosines[np.triu_indices(len(cosines), 1)])


def _page(chosen: state.State, stated: ufm.Problem, nodes: list[tuple[float, ufm.Solution]], error: float) -> str:
    from encollapse import __version__

    turning, name = stated.turning_point()
    inside = turning is not None and LOWEST < turning < HIGHEST
    data = {
        "nodes": _drawn(stated, nodes),
        "names": [str(name) for name in stated.encoding.classes],
        "empty": all(found.rank == 0 for _, found in nodes),
        "lowest": LOWEST,
        "highest": HIGHEST,
        "start": position_of(chosen.bias_decay),
        "critical": stated.critical_bias_decay(),
        "turning": position_of(turning) if inside and turning is not None else None,
        "note": _note(name, turning) if inside else "",
        "ticks": [(position_of(decay), number_label(decay)) for decay in _TICKS],
    }
    low, high = int(stated.counts.min()), int(stated.counts.max())
    samples = count(low, "sample") + " each" if low == high else f"{low} to {high} samples a class"
    loss = "squared error" if stated.loss == "mse" else "cross-entropy"
    settings = (
        f"{chosen.encoding} labels, {stated.num_classes} classes, {samples}, {loss}, "
        f"λ_W = {number_label(stated.weight_decay)}, λ_H = {number_label(stated.feature_decay)}"
    )
    words = (
        "Late in training, the last-layer features of each class collapse to one point, its class mean. The frame that "
        "the class means form is the exact minimizer of the unrestricted feature model. A free bias takes up the mean "
        "of the labels. As its decay grows, the features have to carry the mean themselves, and the frame turns."
    )
    accuracy = (
        f"Solved exactly at {len(nodes)} bias decays and interpolated between them. Halfway between neighbors an "
        f"interpolated cosine is at most {short(error) if error > 0 else '0'} from the exact one. "
        f"Made with encollapse {__version__}."
    )
    parts = {
        "TITLE": escape("Neural collapse: the frame and the bias"),
        "SETTINGS": re.sub(r"_([WH])", r"<sub>\1</sub>", escape(settings)),
        "WORDS": escape(words),
        "ACCURACY": escape(accuracy),
        "CSS": (_STATIC / "explorer.css").read_text(encoding="utf-8"),
        "THEME": (_STATIC / "theme.js").read_text(encoding="utf-8"),
        # What could end the element is written so that it cannot.
        "DATA": json.dumps(plain(data), separators=(",", ":")).replace("<", "\\u003c"),
        "SCRIPT": "\n".join(map(_script, _SCRIPTS)),
    }
    template = (_STATIC / "export.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], template)


def _note(name: str, turning: float | None) -> str:
    value = number_label(turning)
    return (
        f"The frame turns at λ_b* = {value}."
        if name == "λ_b*"
        else f"The frame has turned by a tenth at λ_b = {value}."
    )


def _drawn(stated: ufm.Problem, nodes: list[tuple[float, ufm.Solution]]) -> list[dict[str, Any]]:
    """What the page draws at each position, every frame turned to the one before."""
    drawn: list[dict[str, Any]] = []
    previous = None
    for position, found in nodes:
        weight, means, _ = found.parameters()
        seen = projection.picture(weight, means, stated.priors, previous=previous)
        previous = seen.means
        cosines = _cosines(found)
        known = cosines[~np.isnan(cosines)]
        drawn.append(
            {
                "position": round(position, 3),
                "means": np.round(seen.means, 4).tolist(),
                "rows": np.round(seen.rows, 4).tolist(),
                "shown": round(seen.shown, 4),
                "cosines": [None if math.isnan(c) else round(c, 4) for c in cosines.tolist()],
                "mean": found.geometry.mean_cosine(),
                "least": float(known.min()) if len(known) else math.nan,
                "most": float(known.max()) if len(known) else math.nan,
                "bias": float(np.linalg.norm(found.bias)),
                "loss": found.loss,
            }
        )
    return drawn


def _script(name: str) -> str:
    """A module of the page without its imports and exports, as all of them stand in one."""
    text = (_STATIC / name).read_text(encoding="utf-8")
    return re.sub(r"^export ", "", re.sub(r"^import .*;\n", "", text, flags=re.M), flags=re.M)
