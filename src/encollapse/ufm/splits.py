"""Newton's method for the bias at many bias decays together, and what it proves about each."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encollapse._typing import FloatArray, IntArray
from encollapse.ufm.contour import EPS, WINDOW
from encollapse.ufm.resolvents import Evaluation, Pencil

_Mask: TypeAlias = NDArray[np.bool_]

_NEWTON_STEPS = 60
_CONJUGATE_STEPS = 60
_HALVINGS = 30
_AT_REST = 16 * EPS
_ROUNDING = 64 * EPS


def split_means(pencil: Pencil, bias_decays: FloatArray) -> tuple[Evaluation, IntArray]:
    """Minimise f at each of the bias decays (m,); returns the minima and the Newton steps of each."""
    mean = pencil.mean
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(bias_decays), 1.0, bias_decays / (1.0 + bias_decays))
    shift = share[:, None] * mean
    bias = mean / (1.0 + bias_decays)[:, None]
    steps = np.zeros(len(bias_decays), dtype=np.int64)
    moving = np.flatnonzero((bias_decays > 0) & ~np.isinf(bias_decays))
    for _ in range(_NEWTON_STEPS):
        if not len(moving):
            break
        now = pencil.at(shift[moving], bias[moving], bias_decays[moving])
        scale = np.linalg.norm(now.pull, axis=1) + bias_decays[moving] * np.linalg.norm(now.bias, axis=1)
        going = now.residual > _AT_REST * scale
        if not going.any():
            break
        moving, now = moving[going], now.rows(np.flatnonzero(going))
        better, moved = _search(now, _newton_direction(now))
        shift[moving], bias[moving] = better.shift, better.bias
        steps[moving] += 1
        moving = moving[moved]
    return pencil.at(shift, bias, bias_decays), steps


def _search(now: Evaluation, step: FloatArray) -> tuple[Evaluation, _Mask]:
    """Halve the steps until each descends; says which of them still gain anything."""
    slope = np.einsum("ij,ij->i", step, now.gradient)
    length = np.ones(len(step))
    trial = now
    fine = np.zeros(len(step), dtype=bool)
    for _ in range(_HALVINGS):
        move = length[:, None] * step
        trial = now.pencil.at(now.shift + move, now.bias - move, now.bias_decay)
        # Near the minimum the value no longer resolves the step, but the gradient still does.
        fine = trial.value <= now.value + 1e-4 * length * slope
        fine |= trial.residual < 0.5 * now.residual
        if fine.all():
            break
        length = np.where(fine, length, 0.5 * length)
    gained = (trial.residual < 0.5 * now.residual) | (trial.value < now.value - 4 * EPS * np.abs(now.value))
    kept = fine & gained
    best = np.where(kept[:, None], trial.shift, now.shift)
    bias = np.where(kept[:, None], trial.bias, now.bias)
    return replace(trial, shift=best, bias=bias), kept


def _newton_direction(now: Evaluation) -> FloatArray:
    """Conjugate gradients on all Newton systems together."""
    lowest = now.pencil.threshold / max(float(now.pencil.spectrum.max()), now.pencil.threshold)
    scale = np.maximum(now.diagonal, lowest) + now.bias_decay[:, None]
    residual = -now.gradient
    step = np.zeros_like(residual)
    solved = residual / scale
    direction = solved.copy()
    square = np.einsum("ij,ij->i", residual, solved)
    goal = square * 1e-6
    for _ in range(_CONJUGATE_STEPS):
        bent = now.bent(direction)
        bending = np.einsum("ij,ij->i", direction, bent)
        open_ = (square > goal) & (bending > 0)
        if not open_.any():
            break
        length = np.where(open_, square / np.where(bending > 0, bending, 1.0), 0.0)
        step += length[:, None] * direction
        residual -= length[:, None] * bent
        solved = residual / scale
        previous, square = square, np.where(open_, np.einsum("ij,ij->i", residual, solved), square)
        share = np.divide(square, previous, out=np.zeros_like(square), where=open_)
        direction = solved + share[:, None] * direction
    return step


def gaps(found: Evaluation) -> FloatArray:
    """Duality gaps (m,) of ``b`` with ``Z = SVT_c(A - b uᵀ)``, in exact labels.

    ``Y``, the labels ``A - b uᵀ`` with singular values clipped at c, is feasible, and ``Y u = φ(T) x = λ_b b + ∇f``.
    Its dual value is ``f - |∇f|²/(2 λ_b)``. At ``λ_b = 0`` and ∞ the answer is closed form and ∇f is 0. What is added
    to ∇f covers the rounding of the nodes, and an eigenvalue that is too near to ``c²`` for them.
    """
    pencil, c, decay = found.pencil, found.pencil.threshold, found.bias_decay
    sizes = np.linalg.norm(found.shift, axis=1)
    above = pencil.count_above(c * (1.0 - WINDOW), found.shift)
    between = above != pencil.count_above(c * (1.0 + WINDOW), found.shift)
    slack = found.residual + sizes * np.where(between, WINDOW + _ROUNDING, _ROUNDING)
    chosen = (decay > 0) & ~np.isinf(decay)
    gap = np.where(chosen, slack**2 / (2.0 * np.where(chosen, decay, 1.0)), 0.0)
    # The value is a sum of terms that may be far larger than itself.
    return np.asarray(gap + 4 * EPS * (pencil.base_value + 0.5 * sizes**2 + found.penalty))
