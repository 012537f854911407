"""The dynamics view: gradient flow from a small random start to the certified minimum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np

from encollapse import ufm
from encollapse._internal.typing import FloatArray
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.problem import problem, refusals, solution
from encollapse.explorer.state.state import State
from encollapse.explorer.views import projection
from encollapse.explorer.views.bias_path import SupersededError
from encollapse.explorer.views.solution import certificate, numbers

MOST_CLASSES, MOST_OUTPUTS = 12, 24
"""Largest problem whose flow is followed: about two seconds of one core."""

_POINTS, _CHUNK = 120, 10  # times of a path, and of a piece after which the server asks whether anybody waits
_FIRST = 0.1  # first time after the start, as a share of the time in which the fastest direction grows by e
_FOLDS = 9.0  # the path ends when the slowest direction has shrunk by e so many times
_FLATTEST = 1e-3  # a rate below this share of the smaller decay is that of a flat minimum, whose end nobody awaits
_THERE = 1e-10  # excess as a share of the minimum at which the path has arrived


def dynamics(state: State, wanted: Callable[[], bool] = lambda: True, *, seconds: float = 10.0) -> dict[str, Any]:
    """Follow gradient flow from a small random start until the slowest direction has died out.

    Parameters
    ----------
    state : State
        The controls; `start_scale` and `start_seed` give the start.
    wanted : callable
        Asked after every few times. False ends the work.
    seconds : float
        After as many the path ends where it is.

    Raises
    ------
    FieldError
        If the state cannot be used, or its flow is none that is followed here.
    SupersededError
        If the result is no longer wanted.
    """
    stated = problem(state)
    _require_small(stated)
    found = solution(state)
    width = min(stated.code_dim, stated.num_classes, stated.feature_dim or stated.code_dim)
    with refusals():
        slowest = float(ufm.rates(found)[0])
    grown = growth_rates(stated)
    times = _times(stated, state, grown, slowest)
    path, whole = _followed(stated, state, width, times, found.loss * (1 + _THERE), wanted, seconds)
    final, reached = found.singular_values, path.singular_values[:, : len(found.singular_values)]
    excess = path.losses - found.loss
    return {
        "classes": stated.num_classes,
        "names": [str(name) for name in stated.encoding.classes],
        "time": path.times.tolist(),
        "loss": path.losses.tolist(),
        "excess": excess.tolist(),
        "minimum": found.loss,
        "singular_values": reached.T.tolist(),
        "final": final.tolist(),
        "half": [_reached(path.times, values, end / 2) for values, end in zip(reached.T, final, strict=True)],
        "growth": None if grown is None else grown.tolist(),
        "rate": slowest if slowest > _FLATTEST * min(stated.weight_decay, stated.feature_decay) else None,
        "bias": np.linalg.norm(path.biases, axis=1).tolist(),
        "cosine": [path.geometry(i).mean_cosine() for i in range(len(path.times))],
        "conserved": _conserved(path).tolist(),
        "balance": _balance(path).tolist(),
        "frames": _frames(path, state, nothing=found.rank == 0),
        "whole": whole,
        "verdict": certificate(found)["verdict"],
        "numbers": numbers(found),
    }


def _require_small(stated: ufm.Problem) -> None:
    if stated.depth != 1:
        raise FieldError("depth", "the path of training is followed for one linear layer; set the depth to 1")
    if stated.features != "linear":
        raise FieldError("features", "the path of training is followed for linear features; choose “linear”")
    if stated.num_classes > MOST_CLASSES:
        raise FieldError(
            "classes", f"the path of training is followed for up to {MOST_CLASSES} classes, got {stated.num_classes}"
        )
    if stated.code_dim > MOST_OUTPUTS:
        raise FieldError(
            "encoding",
            f"the path of training is followed for codewords of up to {MOST_OUTPUTS} entries, got {stated.code_dim}",
        )


def growth_rates(stated: ufm.Problem) -> FloatArray | None:
    """Rates at which small layers grow along the directions of the labels, descending, or None under cross-entropy.

    At small layers the bias has settled at ``b = ē/(1 + λ_b)``, and each direction of the labels less this bias, with
    singular value σ, moves apart from the others by ``d/dt (w, m) = [[-λ_W, s], [s, -λ_H]] (w, m)`` with
    ``s = σ/√N``. The rate is positive where σ is above the threshold ``c = √(N λ_W λ_H)`` :cite:p:`saxe2014`.
    """
    if stated.loss != "mse":
        return None
    bias = stated.mean_codeword / (1 + stated.bias_decay)
    labels = (stated.encoding.codewords - bias[:, None]) * np.sqrt(stated.priors)
    strength = np.linalg.svd(labels, compute_uv=False) / math.sqrt(stated.num_samples)
    w, h = stated.weight_decay, stated.feature_decay
    return np.asarray(np.sqrt(((w - h) / 2) ** 2 + strength**2) - (w + h) / 2)


def _times(stated: ufm.Problem, state: State, grown: FloatArray | None, slowest: float) -> FloatArray:
    """The start, and times with equal ratios from the first growth to the end."""
    least = min(stated.weight_decay, stated.feature_decay)
    if grown is None:  # the slopes of cross-entropy at the start are those of squared error within a factor
        grown = growth_rates(replace(stated, loss="mse"))
    rising = [rate for rate in (() if grown is None else grown) if rate > _FLATTEST * least]
    arrival = 2 * math.log(10 / state.start_scale) / min(rising) if rising else 0.0
    last = arrival + _FOLDS / max(slowest, _FLATTEST * least)
    first = _FIRST / (max(rising) if rising else stated.weight_decay + stated.feature_decay)
    return np.concatenate([[0.0], np.geomspace(min(first, last / 100), last, _POINTS)])


def _followed(
    stated: ufm.Problem,
    state: State,
    width: int,
    times: FloatArray,
    enough: float,
    wanted: Callable[[], bool],
    seconds: float,
) -> tuple[ufm.Flow, bool]:
    """The path until the loss is low enough, and whether it got there before the last time or the seconds ended it."""
    began = monotonic()
    kept: list[ufm.Flow] = []
    at: dict[str, Any] = {"feature_dim": width, "scale": state.start_scale, "seed": state.start_seed}
    for first in range(0, len(times), _CHUNK):
        if not wanted():
            raise SupersededError
        if kept and (kept[-1].losses[-1] <= enough or monotonic() - began > seconds):
            break
        start = times[first - 1] if first else 0.0
        with refusals():
            # Flow does not depend on when it begins, so each piece goes on from the end of the one before.
            piece = ufm.flow(stated, times[first : first + _CHUNK] - start, **at)
        kept.append(piece)
        at = {"weight": piece.weights[-1], "class_means": piece.class_means[-1], "bias": piece.biases[-1]}
    joined = {
        name: np.concatenate([getattr(piece, name) for piece in kept])
        for name in ("losses", "weights", "class_means", "biases")
    }
    count = len(joined["losses"])
    return ufm.Flow(stated, times[:count], **joined), count == len(times) or bool(joined["losses"][-1] <= enough)


def _scaled_means(path: ufm.Flow) -> FloatArray:
    return np.asarray(path.class_means * np.sqrt(path.problem.counts))


def _conserved(path: ufm.Flow) -> FloatArray:
    """``|WᵀW - M diag(n) Mᵀ|`` at each time: constant without decay :cite:p:`du2018`."""
    means = _scaled_means(path)
    apart = path.weights.transpose(0, 2, 1) @ path.weights - means @ means.transpose(0, 2, 1)
    return np.asarray(np.linalg.norm(apart, axis=(1, 2)))


def _balance(path: ufm.Flow) -> FloatArray:
    """``|λ_W WᵀW - λ_H M diag(n) Mᵀ|`` over the sum of both norms at each time: 0 at every stationary point."""
    means, stated = _scaled_means(path), path.problem
    left = stated.weight_decay * path.weights.transpose(0, 2, 1) @ path.weights
    right = stated.feature_decay * means @ means.transpose(0, 2, 1)
    total = np.linalg.norm(left, axis=(1, 2)) + np.linalg.norm(right, axis=(1, 2))
    return np.asarray(np.linalg.norm(left - right, axis=(1, 2)) / np.where(total > 0, total, 1.0))


def _reached(times: FloatArray, values: FloatArray, wanted: float) -> float | None:
    """The first time at which a value is reached, between two of the times by their logarithms, or None if never."""
    above = np.flatnonzero(values >= wanted)
    if wanted <= 0 or len(above) == 0 or above[0] == 0:
        return None
    i = int(above[0])
    if times[i - 1] == 0:
        return float(times[i])
    share = (wanted - values[i - 1]) / (values[i] - values[i - 1])
    return float(times[i - 1] * (times[i] / times[i - 1]) ** share)


def _frames(path: ufm.Flow, state: State, *, nothing: bool) -> list[dict[str, Any]]:
    """Class means and classifier rows at each time, in three directions that do not change: those of the last picture.

    Where nothing is learned they are those of the first one, and lengths are relative to it.
    """
    at = 0 if nothing else -1
    priors, k = path.problem.priors, path.problem.num_classes
    every = np.concatenate([path.class_means.transpose(0, 2, 1), path.weights], axis=1)  # (T, K + q, d)
    seen = projection.picture(
        path.weights[at], path.class_means[at], priors, axes=state.axes, samples=every.reshape(-1, every.shape[2])
    )
    drawn = seen.samples.reshape(*every.shape[:2], 3)
    longest = float(np.linalg.norm(drawn[at, k:], axis=1).max())
    drawn[:, k:] /= longest if longest > 0 else 1.0
    return [{"means": np.round(points[:k], 4).tolist(), "rows": np.round(points[k:], 4).tolist()} for points in drawn]
