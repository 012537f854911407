"""Distances between class means, and the variance measured by them, tile by tile."""

import numpy as np

from encollapse._internal.typing import FloatArray, IntArray
from encollapse.metrics.convention import DEFAULT, Convention
from encollapse.metrics.statistics import ClassStatistics
from encollapse.metrics.undefined import Undefined, distinct_means

_TILE_ENTRIES = 2**20
_CLOSE = 1e-3


def cdnv(statistics: ClassStatistics, convention: Convention = DEFAULT, *, exponent: float = 1.0) -> float:
    """Mean over unordered pairs of classes of ``(v_k + v_l) / (2 |m_k - m_l|^2p)`` :cite:p:`galanti2022`.

    ``v_k`` is the trace of the covariance of class k, ``p`` the `exponent`, 1 in the paper. The average is
    over pairs of present classes in every convention. Memory stays near one tile of about a million
    entries whatever K and d.
    """
    centered = distinct_means(statistics, convention.averaging)
    variances = statistics.within_trace[statistics.present]
    found = centered.pairs
    least, first, second = found.closest
    if least * found.peak <= centered.rounding:
        k, l = (int(centered.classes[i]) for i in (first, second))  # noqa: E741
        raise Undefined(f"the means of classes {k} and {l} coincide")
    size = len(variances)
    if exponent == 1.0:
        return float((variances / found.peak) @ (found.inverse_squares / found.peak)) / (size * (size - 1))
    total = 0.0
    rows = max(1, _TILE_ENTRIES // size)
    for start in range(0, size, rows):
        stop = min(start + rows, size)
        distances = squared_distances(centered.deviations, start, stop)
        distances[:, : stop - start][np.tril_indices(stop - start)] = np.inf
        np.divide(1.0, distances**exponent, out=distances)
        total += float(variances[start:stop] @ distances.sum(axis=1) + distances.sum(axis=0) @ variances[start:])
    return total / (size * (size - 1))


def squared_distances(points: FloatArray, start: int, stop: int) -> FloatArray:
    """``|p_k - p_l|²`` for rows ``start <= k < stop`` and columns ``l >= start``, each to full precision.

    ``|a|² + |b|² - 2<a, b>`` loses digits where a and b are close, so those few pairs are computed again
    from the difference itself. The points should be near the origin: center them first.
    """
    a, b = points[start:stop], points[start:]
    squares = np.einsum("pd,pd->p", b, b)
    sizes = squares[: stop - start, None] + squares[None, :]
    distances = np.asarray(sizes - 2.0 * (a @ b.T))
    close = np.argwhere(distances < _CLOSE * sizes)
    chunk = max(1, _TILE_ENTRIES // a.shape[1])
    for i in range(0, len(close), chunk):
        k, l = close[i : i + chunk].T  # noqa: E741
        distances[k, l] = _direct(a, b, k, l)
    return distances


def _direct(a: FloatArray, b: FloatArray, k: IntArray, l: IntArray) -> FloatArray:  # noqa: E741
    difference = a[k] - b[l]
    return np.asarray(np.einsum("pd,pd->p", difference, difference))
