"""Products of matrices in full precision, whatever shortcuts the caller allows for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
