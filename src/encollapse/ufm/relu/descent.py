"""Descent over features without negative entries: limited-memory steps, then Newton steps at the end."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.typing import FloatArray
from encollapse.ufm.relu.lower_bound import NonnegativeModel
from encollapse.ufm.relu.model import ReluModel

_OPERATIONS = 1e11
"""Arithmetic that one descent may take."""

_NEWTON_UP_TO = 600
"""Free entries up to which Newton steps are taken."""

_NEWTON_STEPS = 40  # a guard: near a minimum they converge quadratically

_MEMORY, _SHORT_MEMORY, _LARGE = 30, 8, 4000
"""Steps that L-BFGS-B remembers, up to a number of variables and beyond it, where its own algebra takes the time."""


def bounded_descent(model: NonnegativeModel, start: FloatArray, rest: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    """Follow L-BFGS-B from features `start` (d, K) and `rest`. Return where it ends, and its steps."""
    d, k = start.shape
    most = int(np.clip(_OPERATIONS / (10 * k**3 + 4 * d * k**2), 100, 1500))
    scale = 1.0 / model.value_and_gradient(np.zeros_like(start), 0.0 * rest)[0]
    size = start.size
    memory = _MEMORY if size + rest.size <= _LARGE else _SHORT_MEMORY

    def function(flat: FloatArray) -> tuple[float, FloatArray]:
        value, slope, other = model.value_and_gradient(flat[:size].reshape(start.shape), flat[size:])
        return value * scale, np.concatenate([slope.ravel(), other]) * scale

    found = minimize(
        function,
        np.concatenate([start.ravel(), rest]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * size + [(None, None)] * rest.size,
        options={"maxiter": most, "maxfun": most, "ftol": 1e-16, "gtol": 1e-11, "maxcor": memory},
    )
    return found.x[:size].reshape(start.shape), found.x[size:], int(found.nit)


def projected_gradient(model: ReluModel, features: FloatArray) -> FloatArray:
    """Half the gradient of J in X, without what pushes entries at 0 below it, shape of `features`."""
    gradient = features @ model.at(features.T @ features)[1]
    return np.where(features > 0, gradient, np.minimum(gradient, 0.0))


def polish(model: ReluModel, features: FloatArray) -> tuple[FloatArray, int]:
    """Take projected Newton steps, on the absolute Hessian of the free entries, as long as they help."""
    value = model.at(features.T @ features)[0]
    residual = float(np.linalg.norm(projected_gradient(model, features)))
    for step in range(_NEWTON_STEPS):
        direction = _newton_direction(model, features)
        length, better = 1.0, None
        while direction is not None and better is None and length > 1e-9:
            trial = np.maximum(features + length * direction, 0.0)
            trial_value = model.at(trial.T @ trial)[0]
            trial_residual = float(np.linalg.norm(projected_gradient(model, trial)))
            level = trial_value <= value * (1 + 1e-13)
            if trial_value < value * (1 - 1e-12) or (level and trial_residual < 0.5 * residual):
                better = trial, trial_value, trial_residual
            length *= 0.5
        if better is None:
            return features, step
        features, value, residual = better
    return features, _NEWTON_STEPS


def _newton_direction(model: ReluModel, features: FloatArray) -> FloatArray | None:
    """Newton step of the entries that are free to move, or None where they are too many, or none."""
    _, gradient, (outer, inner) = model.derivatives(features.T @ features)
    slope = features @ gradient
    free = (features > 0) | (slope < 0)
    # An entry next to 0 that is pushed there would bend the step of all others.
    tiny = 1e-10 * float(features.max(initial=0.0))
    free &= ~((features <= tiny) & (slope >= 0))
    rows, columns = np.nonzero(free)
    count = len(rows)
    if not 0 < count <= _NEWTON_UP_TO:
        return None
    # Along V the slope X G changes by V G + ½ X (P W Q + Q W P) with W = XᵀV + VᵀX.
    hessian = np.where(rows[:, None] == rows[None, :], gradient[np.ix_(columns, columns)], 0.0)
    entries = np.ix_(rows, columns)
    for one, other in ((outer, inner), (inner, outer)):
        seen = features @ one
        hessian += 0.5 * (seen @ features.T)[np.ix_(rows, rows)] * other[np.ix_(columns, columns)]
        hessian += 0.5 * seen[entries] * (features @ other)[entries].T
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    floor = 1e-12 * float(np.abs(values).max())
    along = vectors.T @ slope[free]
    step = np.zeros_like(features)
    step[free] = -vectors @ (along / np.maximum(np.abs(values), max(floor, np.finfo(float).tiny)))
    return step
