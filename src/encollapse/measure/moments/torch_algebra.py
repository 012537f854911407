"""The linear algebra of the metrics by torch, whose threads have just gathered the moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from encollapse._internal.typing import FloatArray
from encollapse.metrics.linear_algebra import LinearAlgebra

_PANELS = 4


class _Torch:
    """Linear algebra of numpy arrays by torch, on the processor."""

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        return np.asarray((_tensor(left) @ _tensor(right)).numpy())

    def gram(self, rows: FloatArray) -> FloatArray:
        size = rows.shape[1]
        result = np.empty((size, size))
        given, total = _tensor(rows), torch.from_numpy(result)
        width = max(64, -(-size // _PANELS))
        # In panels of columns: what is below the diagonal, three eighths of the work, is copied.
        for start in range(0, size, width):
            stop = min(start + width, size)
            panel = total[start:stop, start:]
            torch.mm(given[:, start:stop].T, given[:, start:], out=panel)
            square = panel[:, : stop - start]  # which rounding may leave symmetric to the last bits only
            square.copy_(square.triu() + square.triu(1).T)
            total[stop:, start:stop] = panel[:, stop - start :].T
        return result

    def cholesky(self, matrix: FloatArray) -> FloatArray | None:
        lower, info = torch.linalg.cholesky_ex(_tensor(matrix))
        return lower.numpy() if int(info) == 0 else None

    def solve(self, lower: FloatArray, right: FloatArray, *, transposed: bool = False) -> FloatArray:
        triangle = _tensor(lower)
        solved = torch.linalg.solve_triangular(triangle.T if transposed else triangle, _tensor(right), upper=transposed)
        return np.asarray(solved.numpy())


TORCH: LinearAlgebra = _Torch()


class _Memory:
    """Memory of an array that is only read here, handed on as if it could be written to."""

    def __init__(self, values: FloatArray) -> None:
        self._values = values
        self.__array_interface__: dict[str, Any] = dict(values.__array_interface__)
        self.__array_interface__["data"] = (values.__array_interface__["data"][0], False)


def _tensor(values: FloatArray) -> torch.Tensor:
    """Tensor on the memory of an array, which torch would share with a warning where it is read-only."""
    return torch.from_numpy(values if values.flags.writeable else np.asarray(_Memory(values)))
