"""Local search for binary codes: one bit at a time, the nearest codewords are pushed apart."""

from __future__ import annotations

import numpy as np

from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings.codes.binary_codes import distances

_SHARPNESS = 2.0


def improve(codewords: FloatArray, steps: int, generator: np.random.Generator) -> FloatArray:
    """Best code met on a tabu search of `steps` flips from the columns of ±1 `codewords` (code_dim, num_classes).

    The energy ``Σ_{k<l} exp(-β d_kl)`` is ruled by the pairs at the smallest distances. Each step flips the bit that
    lowers it most, or raises it least, among those not flipped lately, so the search leaves local minima. A step
    costs as much as one look at every bit. The best code has the largest minimum distance, and of those the
    fewest pairs at it.
    """
    code = codewords.copy()
    length, count = code.shape
    distance = distances(code)
    own = length + 1  # stands for the distance of a word from itself: above all others
    np.fill_diagonal(distance, own)
    histogram = np.bincount(distance.ravel(), minlength=own + 1)
    # The energy of one pair, by its distance, relative to that of the nearest pair at the start.
    pair_energy = np.exp(-_SHARPNESS * (np.arange(own + 1) - float(distance.min())))
    pair_energy[own] = 0.0
    energies = pair_energy[distance]
    field = code @ energies  # Σ_l x_jl E_kl, from which the pairs that agree in bit j follow
    total = energies.sum(axis=0)
    tabu_until = np.zeros(code.shape, dtype=np.int64)
    longest_tabu = max(2, min(20, code.size // 4))
    best, best_key = code.copy(), _quality(histogram)
    apart, together = np.exp(-_SHARPNESS) - 1, np.exp(_SHARPNESS) - 1
    for step in range(steps):
        agreeing = code * field
        change = (total + agreeing) * apart + (total - agreeing) * together
        change[tabu_until > step] = np.inf
        j, k = divmod(int(change.argmin()), count)
        tabu_until[j, k] = step + generator.integers(2, 2 + longest_tabu)
        before, energy_before = distance[k].copy(), energies[k].copy()
        after = before + (code[j] * code[j, k]).astype(np.int64)
        after[k] = own
        code[j, k] *= -1
        distance[k] = distance[:, k] = after
        histogram += 2 * (np.bincount(after, minlength=own + 1) - np.bincount(before, minlength=own + 1))
        energies[k] = energies[:, k] = energy = pair_energy[after]
        field += np.outer(code[:, k], energy - energy_before)
        field[j] += 2 * code[j, k] * energy_before
        field[:, k] = code @ energy
        total += energy - energy_before
        total[k] = energy.sum()
        if (key := _quality(histogram)) > best_key:
            best, best_key = code.copy(), key
    return best


def _quality(histogram: IntArray) -> tuple[int, int]:
    nearest = int(np.flatnonzero(histogram)[0])
    return nearest, -int(histogram[nearest])
