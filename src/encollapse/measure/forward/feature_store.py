"""Features kept for a second reading: in memory up to a budget, then in a file that nobody sees."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO

import torch

from encollapse.measure.moments.inputs import rows_per_block, to_working

DEFAULT_BUDGET = 2**30
"""Bytes of features that are kept in memory."""


class FeatureStore:
    """Batches of features (n, d) in the dtype they came in, read back in order, block by block.

    Use it in a with block: on the way out the file is gone. It has no name in the file system, so it does
    not outlive the process either.

    Parameters
    ----------
    budget : int
        Bytes to keep in memory. What comes after goes to a temporary file.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._in_memory: list[torch.Tensor] = []
        self._spilled: list[tuple[int, torch.Size, torch.dtype]] = []
        self._file: IO[bytes] | None = None
        self._end = 0
        self.num_rows = 0

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_memory.clear()
        if self._file is not None:
            self._file.close()

    @property
    def bytes_on_disk(self) -> int:
        """Size of the temporary file."""
        return self._end

    def append(self, features: torch.Tensor) -> None:
        """Keep a batch (n, d)."""
        if not len(features):
            return
        batch = features.detach().cpu().contiguous()
        self.num_rows += len(batch)
        size = batch.nbytes
        # Once a batch went to the file all later ones do, which keeps the order.
        if self._file is None and size <= self._budget:
            self._budget -= size
            self._in_memory.append(batch)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="encollapse-")  # noqa: SIM115 (closed by __exit__)
        self._file.write(batch.view(torch.uint8).numpy().data)
        self._spilled.append((self._end, batch.shape, batch.dtype))
        self._end += size

    def blocks(self, device: torch.device, *, double: bool = False) -> Iterator[torch.Tensor]:
        """Blocks on `device`, in the order of the samples. See :meth:`FeatureRows.blocks`."""
        kept: list[torch.Tensor] = []
        for batch in self._batches():
            step = rows_per_block(batch.shape[1])
            kept.append(batch)
            # Small batches are joined, as small products are slow.
            if sum(map(len, kept)) >= step:
                for block in torch.split(torch.cat(kept) if len(kept) > 1 else batch, step):
                    yield to_working(block, device, double=double)
                kept.clear()
        if kept:
            yield to_working(torch.cat(kept), device, double=double)

    def _batches(self) -> Iterator[torch.Tensor]:
        yield from self._in_memory
        if self._file is None:
            return
        self._file.flush()
        for start, shape, dtype in self._spilled:  # read and not mapped, for pages of a map count as memory in use
            self._file.seek(start)
            held = bytearray(self._file.read(shape.numel() * dtype.itemsize))
            yield torch.frombuffer(held, dtype=dtype).reshape(shape)
        self._file.seek(self._end)
