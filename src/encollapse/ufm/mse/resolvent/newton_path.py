"""Newton's method for the bias at many bias decays together, and what it proves about each."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.ufm.mse.resolvent.contour import WINDOW
from encollapse.ufm.mse.resolvent.table import Evaluation, ResolventTable

_Mask: TypeAlias = NDArray[np.bool_]

_FEW = 30  # values of a path up to which none is solved before the others
_APART = 3  # of a long path every third value is solved first; its neighbors start from it
_NEWTON_STEPS = 60  # a guard: near the minimum they converge quadratically
_CONJUGATE_STEPS = 60  # a guard: an inexact step is still a step downhill
_HALVINGS = 30  # a step of 2^-30 no longer changes the value
_AT_REST = 16 * EPS  # gradient, relative to the terms that cancel in it
_ROUNDING = 64 * EPS  # of ``φ(T) x``, relative to x: of the sum over the nodes


def minimize_biases(pencil: ResolventTable, bias_decays: FloatArray) -> tuple[Evaluation, IntArray]:
    """Minimize f at each of the bias decays (m,). Returns the minima and the Newton steps of each.

    The minimum is a smooth function of ``log λ_b`` between the values at which the rank changes, so a few of many
    values are solved first and the others start from what lies between.
    """
    shift, bias = _closed_form(pencil.mean, bias_decays)
    steps = np.zeros(len(bias_decays), dtype=np.int64)
    inside = np.flatnonzero((bias_decays > 0) & ~np.isinf(bias_decays))
    inside = inside[np.argsort(bias_decays[inside], kind="stable")]
    _refine(pencil, bias_decays, shift, bias, steps, inside)
    return pencil.at(shift, bias, bias_decays), steps


def _refine(
    pencil: ResolventTable,
    bias_decays: FloatArray,
    shift: FloatArray,
    bias: FloatArray,
    steps: IntArray,
    rising: IntArray,
) -> None:
    """Solve for some of the values, in rising order, in place: first every third of many, to start from."""
    if len(rising) > _FEW and len(np.unique(bias_decays[rising[::_APART]])) > _APART:
        few = np.append(rising[:-1:_APART], rising[-1])
        rest = np.setdiff1d(rising, few)
        _refine(pencil, bias_decays, shift, bias, steps, few)
        few = few[np.append(True, np.diff(bias_decays[few]) > 0)]
        shift[rest], bias[rest] = _between(bias_decays, shift, bias, few, rest, pencil.mean)
        rising = rest
    _descend(pencil, bias_decays, shift, bias, steps, rising)


def _closed_form(mean: FloatArray, bias_decays: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shift and bias where nothing of the mean is learned, (m, n) each, exact at 0 and infinity."""
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(bias_decays), 1.0, bias_decays / (1.0 + bias_decays))
    return share[:, None] * mean, mean / (1.0 + bias_decays)[:, None]


def _between(
    bias_decays: FloatArray, shift: FloatArray, bias: FloatArray, known: IntArray, wanted: IntArray, mean: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Interpolate the shares ``x / ē`` and ``b / ē`` of solved values, each on a scale on which it is smooth."""
    at = np.log(bias_decays[known])
    there = np.log(bias_decays[wanted])
    still_shift, still_bias = _closed_form(mean, bias_decays[known])
    shares = np.log(np.concatenate([_ratio(shift[known], still_shift), _ratio(bias[known], still_bias)], axis=1))
    # A spline may swing between values far apart.
    shares = np.exp(np.clip(CubicSpline(at, shares)(there), shares.min(axis=0), shares.max(axis=0)))
    # Between the ends of the known values only, so nothing is extrapolated.
    start_shift, start_bias = _closed_form(mean, bias_decays[wanted])
    x, b = start_shift * shares[:, : len(mean)], start_bias * shares[:, len(mean) :]
    # x + b = ē exactly, and the smaller of the two keeps its digits.
    small = np.abs(x) < np.abs(b)
    return np.where(small, x, mean - b), np.where(small, mean - x, b)


def _ratio(values: FloatArray, still: FloatArray) -> FloatArray:
    quotient = np.divide(values, still, out=np.ones_like(values), where=still != 0)
    return np.where(quotient > 0, quotient, 1.0)


def _descend(
    pencil: ResolventTable,
    bias_decays: FloatArray,
    shift: FloatArray,
    bias: FloatArray,
    steps: IntArray,
    moving: IntArray,
) -> None:
    """Newton steps for some of the values, in place."""
    now = pencil.at(shift[moving], bias[moving], bias_decays[moving])
    for _ in range(_NEWTON_STEPS):
        scale = np.linalg.norm(now.pull, axis=1) + now.bias_decay * np.linalg.norm(now.bias, axis=1)
        going = now.residual > _AT_REST * scale
        if not going.any():
            break
        moving, now = moving[going], now.rows(np.flatnonzero(going))
        better, moved = _search(now, _newton_direction(now, now.residual / scale[going]))
        taken = np.flatnonzero(moved)
        moving, now = moving[taken], better.rows(taken)
        shift[moving], bias[moving] = now.shift, now.bias
        steps[moving] += 1


def _search(now: Evaluation, step: FloatArray) -> tuple[Evaluation, _Mask]:
    """Halve the steps until each descends, and say which of them still gain anything."""
    slope = np.einsum("ij,ij->i", step, now.gradient)
    length = np.ones(len(step))
    trial = now
    fine = np.zeros(len(step), dtype=bool)
    for _ in range(_HALVINGS):
        move = length[:, None] * step
        trial = now.pencil.at(now.shift + move, now.bias - move, now.bias_decay)
        # Near the minimum the value no longer resolves the step, but the gradient still does; and it costs less.
        fine = trial.residual < 0.5 * now.residual
        if not fine.all():
            fine |= trial.value <= now.value + 1e-4 * length * slope
        if fine.all():
            break
        length = np.where(fine, length, 0.5 * length)
    gained = trial.residual < 0.5 * now.residual
    if not gained.all():
        gained |= trial.value < now.value - 4 * EPS * np.abs(now.value)
    return trial, fine & gained


def _newton_direction(now: Evaluation, accuracy: FloatArray) -> FloatArray:
    """Conjugate gradients on all Newton systems together, each to its relative accuracy or what is left to rest."""
    lowest = now.pencil.threshold / max(float(now.pencil.spectrum.max()), now.pencil.threshold)
    scale = np.maximum(now.diagonal, lowest) + now.bias_decay[:, None]
    residual = -now.gradient
    step = np.zeros_like(residual)
    solved = residual / scale
    direction = solved.copy()
    square = np.einsum("ij,ij->i", residual, solved)
    goal = square * np.clip(accuracy, 0.1 * _AT_REST / accuracy, 1e-3) ** 2
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
    return np.asarray(gap + 4 * EPS * found.magnitude)
