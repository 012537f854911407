"""Binary codes with a large minimum distance, as columns of ±1: (code_dim, num_classes)."""

from __future__ import annotations

import numpy as np

from encollapse._internal import memory
from encollapse._internal.typing import FloatArray, IntArray
from encollapse.encodings.codes.hadamard_matrices import hadamard_matrix, hadamard_order

_SHARPNESS = 1.0  # how much more the nearest pair counts than one that is one bit further apart
_SWEEPS = 3  # exchanges of every column
_FLIP_SHARPNESS = 2.0  # the same for single bits


def minimum_distance(codewords: FloatArray) -> int:
    """Smallest number of entries in which two columns of ±1 differ."""
    return int(distances(codewords).min(initial=len(codewords), where=~np.eye(codewords.shape[1], dtype=bool)))


def distances(codewords: FloatArray) -> IntArray:
    """Number of entries in which columns of ±1 differ, for every pair (K, K)."""
    return np.asarray((len(codewords) - codewords.T @ codewords) // 2, dtype=np.int64)


def distance_bound(num_classes: int, code_dim: int) -> int:
    """No code of K words and q bits has a larger minimum distance: Plotkin's bound on the code and its shortenings.

    A bit separates at most ⌊K/2⌋⌈K/2⌉ pairs, so the mean distance is at most q times that over all pairs. And of K
    words, at least half agree in any one bit: leaving it out gives ⌈K/2⌉ words at the same distances.
    """
    bound = code_dim
    while num_classes > 1 and code_dim > 0:
        separated = (num_classes // 2) * ((num_classes + 1) // 2)
        bound = min(bound, 2 * code_dim * separated // (num_classes * (num_classes - 1)))
        num_classes, code_dim = (num_classes + 1) // 2, code_dim - 1
    return bound


def exhaustive_code(num_classes: int, code_dim: int) -> FloatArray:
    """Every way to split the classes in two, the even splits first, over again if `code_dim` is above their number."""
    memory.require_room("code_dim", code_dim, num_classes, instead="give a smaller one")
    splits = np.arange(1, 2 ** (num_classes - 1))
    bits = splits[:, None] >> np.arange(num_classes - 1) & 1
    rows = np.concatenate([np.ones((len(splits), 1)), 1.0 - 2.0 * bits], axis=1)
    rows = rows[np.argsort(np.abs(rows.sum(axis=1)), kind="stable")]
    return np.asarray(rows[np.arange(code_dim) % len(rows)])


def hadamard_code(num_classes: int, code_dim: int) -> FloatArray:
    """Rows of a Hadamard matrix and, where the classes need them, their complements.

    A matrix of order n has columns that differ in n/2 entries. Without its constant row that is a code of
    length n - 1 which meets Plotkin's bound, and with the complements of all columns one of 2n words of length n. Rows
    are cut off or used again to give the length asked for.
    """
    order = hadamard_order(num_classes)
    if code_dim < order - 1:
        order = hadamard_order((num_classes + 1) // 2)
        matrix = hadamard_matrix(order)
        words = np.concatenate([matrix, -matrix], axis=1)
    else:
        words = hadamard_matrix(order)[1:]
    return np.asarray(words[np.arange(code_dim) % len(words), :num_classes])


def linear_code(num_classes: int, code_dim: int) -> FloatArray:
    """Words of a linear code whose generator is chosen column by column. It needs ``code_dim ≥ log₂ K``.

    With k = ⌈log₂ K⌉ message bits, a column g (a nonzero bit vector) adds 1 to the weight of the messages u with
    ``<u, g> = 1``. The column that makes the soft minimum of the weights w largest is the one with the smallest
    ``Σ_u exp(-β w_u) (-1)^<u, g>``: one Walsh-Hadamard transform tells it for all g. After a greedy start, each column
    in turn is given up and chosen anew. Columns are not repeated before all are used, for a repeated column repeats
    a row. Each used once gives the simplex code.
    """
    bits = max(1, (num_classes - 1).bit_length())
    messages = np.arange(2**bits)
    sign = np.ones(2**bits)
    for bit in range(bits):
        sign = np.where(messages >> bit & 1, -sign, sign)  # (-1) to the number of ones in the message
    weights, used = np.zeros(2**bits), np.zeros(2**bits)
    columns: list[int] = []
    best, best_weight = columns, -1.0
    for turn in range((1 + _SWEEPS) * code_dim):
        if turn >= code_dim:
            given_up = columns.pop(0)
            weights -= sign[messages & given_up] < 0
            used[given_up] -= 1
        column = _next_column(weights, used)
        weights += sign[messages & column] < 0
        used[column] += 1
        columns.append(column)
        if len(columns) == code_dim and weights[1:].min() > best_weight:
            best, best_weight = columns.copy(), float(weights[1:].min())
    return np.asarray(sign[np.array(best)[:, None] & messages[:num_classes]])


def _next_column(weights: FloatArray, used: FloatArray) -> int:
    urgency = np.exp(-_SHARPNESS * (weights - weights[1:].min()))
    urgency[0] = 0.0
    gain = _walsh_transform(urgency)
    gain[1:][used[1:] > used[1:].min()] = np.inf
    gain[0] = np.inf
    return int(gain.argmin())


def _walsh_transform(values: FloatArray) -> FloatArray:
    """``Σ_u values_u (-1)^<u, g>`` for every bit vector g. The length is a power of two."""
    result = values.reshape(-1, 1)
    while len(result) > 1:
        even, odd = result[::2], result[1::2]
        result = np.concatenate([even + odd, even - odd], axis=1)
    return np.asarray(result[0])


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
    pair_energy = np.exp(-_FLIP_SHARPNESS * (np.arange(own + 1) - float(distance.min())))
    pair_energy[own] = 0.0
    energies = pair_energy[distance]
    field = code @ energies  # Σ_l x_jl E_kl, from which the pairs that agree in bit j follow
    total = energies.sum(axis=0)
    tabu_until = np.zeros(code.shape, dtype=np.int64)
    longest_tabu = max(2, min(20, code.size // 4))
    best, best_key = code.copy(), _fewest_nearest(histogram)
    apart, together = np.exp(-_FLIP_SHARPNESS) - 1, np.exp(_FLIP_SHARPNESS) - 1
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
        if (key := _fewest_nearest(histogram)) > best_key:
            best, best_key = code.copy(), key
    return best


def _fewest_nearest(histogram: IntArray) -> tuple[int, int]:
    nearest = int(np.flatnonzero(histogram)[0])
    return nearest, -int(histogram[nearest])
