"""One block of features into the moments: the inner loop of every measurement.

Residuals about the anchor of each class are exact to the machine epsilon of the features *relative to the
residual*, whatever the size of the means. Where float32 is what came in, their products are float32 GEMMs of
a few thousand rows, added to float64 totals: an error of about ``√rows · 6e-8`` of the spread, on half the
bytes and at twice the speed.

An anchor is the first sample of its class. Should that be an outlier, residuals are large and their digits
few: before any product is added up, anchors that lie more than twice the spread of their class away from its
mean are moved to the mean.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from encollapse._internal.typing import IntArray
from encollapse.measure.moments.inputs import Rows, require_finite
from encollapse.measure.moments.residuals import LARGE, SMALL, rows_by_class
from encollapse.measure.moments.state import MomentState, empty_rows, move_anchors, nearer_anchors
from encollapse.measure.moments.symmetric_product import add_gram
from encollapse.measure.moments.torch_algebra import exact_products

_TRUSTED_FROM = 8  # samples from which the mean of a batch says where its class is
_STRAY = 0.8  # share of the scatter that may come from the anchor before it is moved
_ATTEMPTS = 3  # times that the anchors of one block are moved


class Workspace:
    """Buffers that the blocks of one update share, its anchors in float32, and its threads."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = torch.get_num_threads() if threads is None else threads
        self._residuals: torch.Tensor | None = None
        self.anchors: torch.Tensor | None = None
        """The anchors of all classes (K, d), where they are known to be float32 numbers."""

    def residuals(self, rows: int, like: torch.Tensor) -> torch.Tensor:
        """Room for `rows` rows of the width and dtype of a block."""
        found = self._residuals
        if found is None or found.dtype != like.dtype or len(found) < rows:
            found = self._residuals = empty_rows(rows, like.shape[1], like.dtype, like.device)
        return found[:rows]


def add_block(
    state: MomentState,
    rows: torch.Tensor,
    labels: torch.Tensor,
    resolution: float,
    *,
    first_row: int = 0,
    workspace: Workspace | None = None,
) -> MomentState:
    """Add a block to the moments in place, and return them. A block that is refused changes nothing.

    Parameters
    ----------
    rows : (n, d)
        float32 or float64, on the device of the moments.
    labels : (n,) int64
        From 0 to K - 1, on the same device.
    resolution : float
        Machine epsilon of the dtype in which the features arrived.
    first_row : int
        Number of the first row, for error messages.
    workspace : Workspace, optional
        Shared with other blocks of the same update, during which nothing else may change the state.
    """
    if not len(labels):
        return replace(state, resolution=max(state.resolution, resolution))
    room = workspace or Workspace()
    with exact_products(rows.device):
        block = _Block(state, rows, labels, room)
        block.require_finite(first_row)
        if not block.fits():
            block = _Block(state, rows.double(), labels, room)
        block.add()
    return replace(state, resolution=max(state.resolution, resolution))


class RowAdder:
    """Small batches into moments without scatter, in place and row by row by the compiled loops.

    All in float64, in which any sample of a class will do as its anchor: none is farther from the mean than the root
    of ``Σ |h - m|²``, so that what n samples amount to about it is at most n + 1 times what they do about the mean.

    Parameters
    ----------
    state : MomentState
        On the processor. Its memory is found once: for a batch of 32 that takes as long as adding it up.
    kernels : module
        The compiled loops.
    """

    def __init__(self, state: MomentState, kernels: Any) -> None:
        self.state = state
        self._add = kernels.add_rows
        self._memory = [tensor.numpy() for tensor in (state.counts, state.anchors, state.sums, state.squares)]

    def add(self, rows: Rows, labels: IntArray) -> bool:
        """Add contiguous rows (n, d) of classes (n,), neither checked yet. False, and nothing done, if one is bad."""
        return bool(self._add(rows, labels, *self._memory))


class _Block:
    """Residuals of a block about the anchors, and their sums by class."""

    def __init__(self, state: MomentState, rows: torch.Tensor, labels: torch.Tensor, workspace: Workspace) -> None:
        self._state, self._room = state, workspace
        size = len(state.counts)
        self._all = size <= len(labels)
        if self._all:
            self._classes, self._place = torch.arange(size, device=labels.device), labels
        else:
            self._classes, self._place = torch.unique(labels, return_inverse=True)
        self._by_class = rows_by_class(rows, self._place, len(self._classes), workspace.threads)
        self._counts = self._by_class.counts
        new = ((self._of(state.counts) == 0) & (self._counts > 0)).nonzero().flatten()
        self._new = self._classes[new]
        self._firsts = rows[self._by_class.first_rows[new]] if len(new) else rows[:0]
        self._all_new = len(new) == len(self._classes)
        anchors = self._single_anchors() if rows.dtype == torch.float32 else None
        self._single = anchors is not None
        self._rows = rows if self._single else rows.double()
        if self._all_new:
            self._anchors = self._firsts
        else:
            self._anchors = self._of(state.anchors).clone() if anchors is None else anchors
            self._anchors.index_copy_(0, new, self._firsts.to(self._rows.dtype))
        self._center()

    def _of(self, values: torch.Tensor) -> torch.Tensor:
        """Entries of the classes of the block."""
        return values if self._all else values[self._classes]

    def _single_anchors(self) -> torch.Tensor | None:
        """Anchors of the classes of the block in float32, None where that would round them."""
        room, state = self._room, self._state
        if room.anchors is not None:
            return self._of(room.anchors)
        wide = self._of(state.anchors)
        if self._all_new:
            narrow = self._firsts
        elif not state.counts.any():
            narrow = torch.zeros(wide.shape, dtype=torch.float32, device=wide.device)
        else:
            narrow = wide.float()
            if not torch.equal(narrow.double(), wide):
                return None
        if self._all:
            room.anchors = narrow
        return narrow

    def _center(self) -> None:
        kept = None if self._state.scatter is None else self._room.residuals(len(self._rows), self._rows)
        found = self._by_class.residual_sums(self._rows, self._anchors, kept)
        self._sums, self._squares, self._largest = found.sums, found.squares, found.largest

    def require_finite(self, first_row: int) -> None:
        """Raise naming the first entry that is not finite."""
        if not torch.isfinite(self._largest):
            require_finite(self._rows, "features", first_row=first_row)

    def fits(self) -> bool:
        """Whether the squares of the residuals are in the range of the dtype that they are computed in."""
        largest = float(self._largest)
        return not self._single or largest == 0.0 or SMALL < largest < LARGE

    def add(self) -> None:
        """Add the block to the state, about anchors near the means."""
        state, room = self._state, self._room
        if self._all and self._all_new:
            state.anchors.copy_(self._firsts)
        else:
            state.anchors.index_copy_(0, self._new, self._firsts.double())
        if not self._single:
            room.anchors = None
        elif room.anchors is not None and not self._all:
            room.anchors.index_copy_(0, self._new, self._firsts)
        self._take(torch.arange(len(self._classes), device=self._classes.device))
        for _ in range(_ATTEMPTS):
            stray = self._stray()
            if not len(stray) or not self._move(stray):
                break
        if state.scatter is not None:
            add_gram(state.scatter, room.residuals(len(self._rows), self._rows), threads=room.threads)

    def _take(self, which: torch.Tensor) -> None:
        """Add counts, sums and squares of some classes of the block to the state."""
        state = self._state
        if self._all and len(which) == len(self._counts):
            state.counts.add_(self._counts)
            state.squares.add_(self._squares)
            state.sums.add_(self._sums)
            return
        classes = self._classes[which]
        state.counts.index_add_(0, classes, self._counts[which])
        state.squares.index_add_(0, classes, self._squares[which])
        state.sums.index_add_(0, classes, self._sums[which].double())

    def _stray(self) -> torch.Tensor:
        """Places of the classes of the block whose anchors are far from their means."""
        state = self._state
        counts, squares = self._of(state.counts), self._of(state.squares)
        shifts = torch.linalg.vector_norm(self._of(state.sums), dim=1)
        # n |δ|² beside the sum of squares about the anchor; as lengths, for squares may overflow.
        far: torch.Tensor = shifts > (_STRAY * squares * counts).sqrt()
        stray = far & (counts >= _TRUSTED_FROM) & (self._counts > 0)
        return stray.nonzero().flatten()

    def _move(self, stray: torch.Tensor) -> bool:
        """Move anchors to the means, and the block with them. Returns False where they are as near as can be."""
        state, classes = self._state, self._classes[stray]
        offsets = state.sums[classes] / state.counts[classes][:, None]
        moved, _ = nearer_anchors(state.anchors[classes], offsets, single=self._single)
        if torch.equal(moved, state.anchors[classes]):
            return False
        # Without the block the state is moved exactly; the block is then taken about the new anchors.
        state.counts[classes] -= self._counts[stray]
        state.squares[classes] -= self._squares[stray]
        state.sums[classes] -= self._sums[stray].double()
        unseen = state.counts[classes] == 0
        state.squares[classes[unseen]] = 0.0
        state.sums[classes[unseen]] = 0.0
        move_anchors(state, classes, offsets, single=self._single)
        self._anchors[stray] = state.anchors[classes].to(self._anchors.dtype)
        if self._single and self._room.anchors is not None:
            self._room.anchors[classes] = self._anchors[stray]
        self._center()
        self._take(stray)
        return True
