"""Cosines and bias along the bias decay, and the slider that runs from 0 to infinity."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse.explorer.state.problem import problem, refusals
from encollapse.explorer.state.state import State

LOWEST, HIGHEST = 1e-4, 1e3
"""Ends of the logarithmic part of the slider."""

STEPS = 1000
"""Positions of the slider: 0 is a bias decay of 0, the last one infinity."""

_FINE, _COARSE = 61, 25  # points of a path, the fewer where each takes an iteration
_CHUNK = 4  # points between two looks at whether anybody still waits


class SupersededError(Exception):
    """Nobody waits for the result any more: a later request has come."""


def decay_at(position: int) -> float:
    """Bias decay at a position of the slider, in the three digits that it resolves and an address should hold."""
    return float(f"{exact_decay_at(position):.3g}")


def exact_decay_at(position: float) -> float:
    """Bias decay at a position of the slider, or between two."""
    if position <= 0 or position >= STEPS:
        return 0.0 if position <= 0 else math.inf
    return float(LOWEST * (HIGHEST / LOWEST) ** ((position - 1) / (STEPS - 2)))


def position_of(bias_decay: float) -> int:
    """Position of the slider nearest to a bias decay. Both ends are kept for 0 and infinity."""
    if bias_decay == 0.0:
        return 0
    if math.isinf(bias_decay):
        return STEPS
    share = math.log(bias_decay / LOWEST) / math.log(HIGHEST / LOWEST)
    return min(max(1 + round(share * (STEPS - 2)), 1), STEPS - 1)


def grid(critical: float | None, number: int = _FINE) -> list[float]:
    """Bias decays that draw a smooth line with a sharp corner at the critical one."""
    decays = {0.0, math.inf, *np.geomspace(LOWEST, HIGHEST, number).tolist()}
    if critical is not None and LOWEST < critical < HIGHEST:
        decays |= {critical * factor for factor in (0.98, 1.0, 1.02, 1.06, 1.12)}
    return sorted(decays)


def line(state: State, wanted: Callable[[], bool] = lambda: True, *, seconds: float = 6.0) -> dict[str, Any]:
    """Solve along the bias decay: cosines and bias of each point, and where the critical point is.

    Parameters
    ----------
    state : State
        Its own bias decay plays no part.
    wanted : callable
        Asked between a few points. False ends the work.
    seconds : float
        A fourth of the points is always solved, the rest as far as the time allows.

    Raises
    ------
    FieldError
        If the state cannot be used.
    SupersededError
        If the result is no longer wanted.
    """
    stated, began = problem(state), time.monotonic()
    plain = stated.loss == "mse" and stated.depth == 1 and stated.features == "linear"
    critical = stated.critical_bias_decay()
    turning, turning_name = stated.turning_point()
    decays = grid(critical, _FINE if plain else _COARSE)
    coarse = sorted({*decays[::4], 0.0, math.inf, *([critical] if critical in decays else [])})
    rest = [decay for decay in decays if decay not in coarse]
    solved: dict[float, tuple[float, float, float, float, bool]] = {}
    for chunk in (*_chunks(coarse), *_chunks(rest)):
        if not wanted():
            raise SupersededError
        if len(solved) >= len(coarse) and time.monotonic() - began > seconds:
            break
        with refusals():
            path = ufm.bias_path(stated, chunk)
        solved |= {
            decay: (*_spread(found), float(np.linalg.norm(found.bias)), found.unique)
            for decay, found in zip(chunk, path.solutions, strict=True)
        }
    drawn = sorted(solved)
    mean, least, most, bias, _ = (list(column) for column in zip(*(solved[d] for d in drawn), strict=True))
    return {
        "bias_decay": drawn,
        "mean": mean,
        "least": least,
        "most": most,
        "bias": bias,
        "critical": critical,
        "turning": turning,
        "turning_name": turning_name,
        "unique": all(unique for *_, unique in solved.values()),
        "explanation": stated.explain(),
        "label_mean": float(np.linalg.norm(stated.mean_codeword)),
    }


def _chunks(decays: list[float]) -> list[list[float]]:
    return [decays[start : start + _CHUNK] for start in range(0, len(decays), _CHUNK)]


def _spread(solution: ufm.Solution) -> tuple[float, float, float]:
    """Mean, least and largest cosine between class means, or NaN where a mean is zero or minimizers differ."""
    if not solution.unique:
        return math.nan, math.nan, math.nan
    cosines = solution.geometry.cosines()
    pairs = cosines[~np.eye(len(cosines), dtype=bool)]
    if np.isnan(pairs).all():
        return math.nan, math.nan, math.nan
    return solution.geometry.mean_cosine(), float(np.nanmin(pairs)), float(np.nanmax(pairs))
