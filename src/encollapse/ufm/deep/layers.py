"""Several weight layers: one matrix as a product of them, at the least weight decay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from encollapse._internal import checks
from encollapse._internal.rounding import EPS
from encollapse._internal.typing import ArrayLike, FloatArray
from encollapse.errors import ArgumentError
from encollapse.ufm.deep.schatten_prox import geometric_mean


def _decomposed(weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Singular triplets above rounding: the power 2/M would turn 1e-17 into something that counts."""
    left, singular, right = np.linalg.svd(weight, full_matrices=False)
    rank = int(np.count_nonzero(singular > 4 * max(weight.shape) * EPS * singular[0]))
    return left[:, :rank], singular[:rank], right[:rank]


def split_cost(weight: FloatArray, decays: Sequence[float]) -> float:
    """Least ``Σ_l λ_l/2 |W_l|²`` over ``W_M ··· W_1 = weight``.

    It is ``M/2 (Π λ_l)^{1/M} Σ_i σ_i^{2/M}`` with the singular values of `weight` :cite:p:`shang2020`. Those within
    rounding of zero count as zero.
    """
    depth = len(decays)
    if depth == 1:
        return 0.5 * decays[0] * float(np.sum(weight**2))
    _, singular, _ = _decomposed(weight)
    return 0.5 * depth * geometric_mean(decays) * float(np.sum(singular ** (2.0 / depth)))


def split(weight: FloatArray, decays: Sequence[float], seed: int) -> tuple[FloatArray, ...]:
    """Factorize `weight` (q, d) into layers ``(W_1, …, W_M)`` of least weight decay.

    All layers but the last are (d, d). They are balanced, ``λ_{l+1} W_{l+1}ᵀ W_{l+1} = λ_l W_l W_lᵀ``. The
    rotations between two layers are free, and `seed` picks them.
    """
    depth = len(decays)
    if depth == 1:
        return (weight.copy(),)
    generator = np.random.default_rng(seed)
    left, singular, right = _decomposed(weight)
    width, rank = weight.shape[1], len(singular)
    common = math.sqrt(geometric_mean(decays)) * singular ** (1.0 / depth)
    layers, incoming = [], right
    for decay in decays[:-1]:
        frame, _ = np.linalg.qr(generator.standard_normal((width, max(rank, 1))))
        frame = frame[:, :rank]
        layers.append((frame * (common / math.sqrt(decay))) @ incoming)
        incoming = frame.T
    layers.append((left * (common / math.sqrt(decays[-1]))) @ incoming)
    return tuple(layers)


def is_layers(weight: ArrayLike) -> bool:
    """Whether `weight` is a sequence of matrices rather than one matrix."""
    return isinstance(weight, list | tuple) and len(weight) > 0 and getattr(weight[0], "ndim", 0) == 2


def check_layers(weight: Sequence[ArrayLike], depth: int, code_dim: int) -> list[FloatArray]:
    """Return the layers ``[W_1, …, W_M]`` as float64, or say which one does not fit."""
    if len(weight) != depth:
        raise ArgumentError(f"weight: expected the {depth} layers of depth={depth}, got {len(weight)}")
    layers: list[FloatArray] = []
    for i, value in enumerate(weight):
        rows = code_dim if i == depth - 1 else None
        columns = layers[-1].shape[0] if layers else None
        layers.append(checks.array(value, f"weight[{i}]", (rows, columns), axes="(outputs, inputs)"))
    return layers
