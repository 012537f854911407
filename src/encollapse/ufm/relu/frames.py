"""The best orthogonal frame under any convex loss: features on axes of their own, one for each class.

With ``x_k`` on its own axis ``|w_k| x_k`` costs as much as ``|z_k|``, so what is left is a group lasso,

    min_{z, b}  Σ_k π_k ℓ(z_k/u_k + b; e_k) + c Σ_k |z_k| + λ_b/2 |b|²,

which is convex. L-BFGS on the factors gets near. Newton steps on the learned classes finish. Their second
derivative is one block a class and the bias.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from encollapse._internal.rounding import EPS
from encollapse._internal.typing import FloatArray
from encollapse.ufm.convex.composite import Composite

_EMPTY = np.zeros(0)
_LARGEST = 3e7  # entries of the blocks up to which Newton steps are taken
_NEWTON_STEPS = 60  # a guard: near a minimum they converge quadratically
_ROUNDS = 6  # of approach and Newton's method
_IDLE = 1e-7  # length, relative to the longest, below which a class is tried at 0


def class_by_class(on: float, off: float, root_priors: FloatArray, threshold: float) -> FloatArray:
    """Outputs Z (K, K) of the frame for targets `on` at the class itself and `off` elsewhere, without a bias.

    The softmax of class k has all other entries at ``q_k = off ± c/√(K(K - 1) π_k)``, toward 1/K, or is even where
    that is beyond. The outputs are ``log(1/q_k - K + 1)`` times the centered unit vector.
    """
    k = len(root_priors)
    moved = threshold / (np.sqrt(k * (k - 1.0)) * root_priors)
    other = off + moved if on >= off else off - moved
    learned = other < 1.0 / k if on >= off else other > 1.0 / k
    size = np.where(learned, np.log(np.where(learned, 1.0 / other - (k - 1.0), 1.0)), 0.0)
    return np.asarray((np.eye(k) - 1.0 / k) * (size * root_priors))


def best_frame(composite: Composite, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the outputs Z (q, K) of the best frame and its bias, starting from that of nothing learned."""
    outputs, bias = _approach(composite, bias)
    for _ in range(_ROUNDS):
        outputs, bias = _newton(composite, outputs, bias)
        lengths = np.linalg.norm(outputs, axis=0)
        pull = -_pulled(composite, outputs, bias)[0]
        pushed = np.linalg.norm(pull, axis=0)
        c = composite.threshold
        idle = (lengths > 0) & (lengths <= _IDLE * lengths.max(initial=0.0))
        # A short class goes back to 0, and from there a class starts along its pull where that is above c.
        born = (lengths == 0) & (pushed > c * (1.0 + 1e-9))
        if not idle.any() and not born.any():
            break
        outputs = np.where(idle, 0.0, outputs)
        step = np.where(born, (1.0 - c / np.maximum(pushed, c)) / composite.loss.smoothness, 0.0)
        outputs = outputs + step * pull
    return outputs, bias


def _value(composite: Composite, outputs: FloatArray, bias: FloatArray) -> float:
    fit = composite.fit(composite.table.forward(outputs, _EMPTY, bias))
    return fit + composite.threshold * float(np.linalg.norm(outputs, axis=0).sum()) + composite.penalty(bias)


def _pulled(composite: Composite, outputs: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Derivatives of fit and bias penalty in Z and in b."""
    k = composite
    matrix, _, mean = k.pull(k.gradient(k.table.forward(outputs, _EMPTY, bias)))
    return matrix, mean + k.bias_decay * bias if k.has_bias else np.zeros_like(bias)


def _approach(composite: Composite, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
    """L-BFGS on ``z_k = w_k x_k``."""
    k, c = composite, composite.threshold
    (q, classes), has_bias = k.table.shape, k.has_bias
    unit = 1.0 / np.sqrt(1.0 + k.bias_decay)
    first = -_pulled(k, np.zeros((q, classes)), bias)[0]
    lengths = np.linalg.norm(first, axis=0)
    roots = np.sqrt(np.maximum(lengths - c, 0.1 * c) / k.loss.smoothness)
    weight = roots * first / np.maximum(lengths, 1e-300)
    scale = 1.0 / max(_value(k, np.zeros((q, classes)), bias), 1e-300)

    def function(x: FloatArray) -> tuple[float, FloatArray]:
        w, sizes = x[: q * classes].reshape(q, classes), x[q * classes : (q + 1) * classes]
        b = x[(q + 1) * classes :] * unit if has_bias else bias
        outputs = w * sizes
        matrix, mean = _pulled(k, outputs, b)
        value = k.fit(k.table.forward(outputs, _EMPTY, b)) + k.penalty(b)
        value += 0.5 * c * float(np.sum(w**2) + np.sum(sizes**2))
        slope = [(matrix * sizes + c * w).ravel(), (w * matrix).sum(axis=0) + c * sizes]
        return scale * value, scale * np.concatenate([*slope, mean * unit] if has_bias else slope)

    start = np.concatenate([weight.ravel(), roots, bias / unit if has_bias else _EMPTY])
    options = {"maxiter": 3000, "maxfun": 4000, "ftol": 1e-16, "gtol": 1e-12, "maxcor": 30}
    x = minimize(function, start, jac=True, method="L-BFGS-B", options=options).x
    outputs = x[: q * classes].reshape(q, classes) * x[q * classes : (q + 1) * classes]
    return outputs, x[(q + 1) * classes :] * unit if has_bias else bias


def _newton(composite: Composite, outputs: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Newton steps on the learned classes and the bias."""
    k = composite
    q, classes = k.table.shape
    if q * q * classes > _LARGEST:
        return outputs, bias
    value = _value(k, outputs, bias)
    for _ in range(_NEWTON_STEPS):
        step, turn, size = _direction(k, outputs, bias)
        share, moved = 1.0, None
        while moved is None and share > 1e-8:
            trial = outputs + share * step, bias + share * turn
            trial_value = _value(k, *trial)
            if trial_value < value - 1e-4 * share * size or (trial_value <= value and size <= 64 * EPS * value):
                moved = trial
            share *= 0.5
        if moved is None:
            break
        (outputs, bias), value = moved, trial_value
        if size <= 1e-3 * EPS * value:
            break
    return outputs, bias


def _direction(composite: Composite, outputs: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Newton step in Z and b, by elimination of the classes, and how much it is to gain."""
    k, c, t = composite, composite.threshold, composite.table
    q, u = t.shape[0], t.direction
    lengths = np.linalg.norm(outputs, axis=0)
    learned = np.flatnonzero(lengths)
    matrix, mean = _pulled(k, outputs, bias)
    units = outputs[:, learned] / lengths[learned]
    slope = matrix[:, learned] + c * units
    curvature = k.loss.curvature(t.forward(outputs, _EMPTY, bias), t.targets, t.copies)
    bends = np.zeros((t.shape[1], q, q))
    index = np.arange(q)
    bends[:, index, index] = curvature.diagonal.T
    if curvature.factor is not None:
        bends -= curvature.factor.T[:, :, None] * curvature.factor.T[:, None, :]
    blocks = bends[learned] - (c / lengths[learned])[:, None, None] * units.T[:, :, None] * units.T[:, None, :]
    blocks[:, index, index] += (c / lengths[learned])[:, None] + 1e-14 * (1.0 + c / lengths[learned])[:, None]
    sides = np.concatenate([slope.T[:, :, None], u[learned, None, None] * bends[learned]], axis=2)
    solved = np.linalg.solve(blocks, sides)
    step = np.zeros_like(outputs)
    turn = np.zeros_like(bias)
    if k.has_bias:
        to_bias = np.einsum("k,kij->ij", u**2, bends) + k.bias_decay * np.eye(q)
        to_bias -= np.einsum("k,kij,kjl->il", u[learned], bends[learned], solved[:, :, 1:])
        right = mean - np.einsum("k,kij,kj->i", u[learned], bends[learned], solved[:, :, 0])
        # A common shift of all outputs costs nothing at a bias decay of 0.
        turn = -np.linalg.lstsq(to_bias, right, rcond=1e-13)[0]
    step[:, learned] = -(solved[:, :, 0] + solved[:, :, 1:] @ turn).T
    gain = -float(np.sum(slope * step[:, learned]) + mean @ turn)
    return step, turn, max(gain, 0.0)
