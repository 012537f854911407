"""Products by torch in full precision, and by them the linear algebra of the metrics.

The metrics take it because torch's threads have just gathered the moments: those of another library would wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from encollapse._internal.typing import FloatArray
from encollapse.measure.moments.symmetric_product import add_gram
from encollapse.metrics.linear_algebra import LinearAlgebra


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Matrix products in the dtype of their factors: no autocast, no TF32, no bfloat16 shortcuts."""
    restore = _no_shortcuts()
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        restore()


def _no_shortcuts() -> Callable[[], None]:
    """Ask for full float32 products, and return what brings the caller's settings back."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # set backend by backend, which the older call refuses to read
        backends: tuple[Any, ...] = (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul"))  # noqa: B009
        found = [(backend, backend.fp32_precision) for backend in backends]
        for backend in backends:
            backend.fp32_precision = "ieee"

        def restore_each() -> None:
            for backend, value in found:
                backend.fp32_precision = value

        return restore_each
    torch.set_float32_matmul_precision("highest")
    return lambda: torch.set_float32_matmul_precision(precision)


class _Torch:
    """Linear algebra of numpy arrays by torch, on the processor."""

    def product(self, left: FloatArray, right: FloatArray) -> FloatArray:
        return np.asarray((_tensor(left) @ _tensor(right)).numpy())

    def gram(self, rows: FloatArray) -> FloatArray:
        total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        add_gram(total, _tensor(rows))
        upper = total.triu_()
        return np.asarray((upper + upper.triu(1).T).numpy())

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
