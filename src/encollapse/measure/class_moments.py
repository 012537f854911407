"""`ClassMoments`: counts, means and scatter of features that arrive in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from encollapse._internal import checks
from encollapse._internal.typing import ArrayLike, FloatArray, IntArray
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure.assembly import assemble
from encollapse.measure.decisions.classifier import LinearClassifier
from encollapse.measure.moments import distributed, inputs
from encollapse.measure.moments import files as moment_files
from encollapse.measure.moments import state as moment_state
from encollapse.measure.moments.accumulate import RowAdder, Workspace, add_block
from encollapse.measure.moments.inputs import FeatureRows, Rows, float64_device, labels_for, plain_batch, to_working
from encollapse.measure.moments.residuals import compiled
from encollapse.measure.moments.state import MomentState
from encollapse.measure.moments.symmetric_product import in_parts
from encollapse.measure.moments.threads import brief_operations
from encollapse.measure.moments.torch_algebra import TORCH
from encollapse.measure.moments.waiting import WaitingRows, waiting_rows
from encollapse.metrics import Convention, Decisions
from encollapse.metrics.statistics import ClassStatistics

if TYPE_CHECKING:
    from encollapse.encodings import Encoding
    from encollapse.measure.result import Collapse

_LONG_BLOCK = 2**24
"""Entries of a block of which no residuals are kept. Without a copy of it, four times as many."""


_writable = torch.inference_mode(False)
"""What is made in inference mode cannot be written to outside of it, and the next batch may come there."""


class ClassMoments:
    """Counts, means and within-class scatter, gathered in one pass and safe at any degree of collapse.

    Only differences to a provisional center of each class are added up, to float64 totals, so that spreads
    of 1e-8 about means of size 10 are still right. Small batches
    wait in a block of at most 2²² numbers, in float32 where they came in no finer, until it pays to multiply. Whatever
    reads, merges, copies or saves the moments takes them in first, so that nothing else tells of it. With
    ``covariance=False`` there is nothing to multiply: where numba is installed, batches are added up at once after the
    first 2²¹ numbers.

    Parameters
    ----------
    num_classes : int
        Number of classes K, those included that may turn out to have no samples.
    feature_dim : int
        Feature dimension d.
    device : str or torch.device
        Where the moments are kept. Batches from elsewhere are moved. It must compute in float64.
    covariance : bool
        Keep the pooled (d, d) within-class covariance, which ``nc1_pinv`` and ``vci`` need.

    Raises
    ------
    ArgumentError
        If a size is below 1, or the device has no float64.
    ArgumentTypeError
        If a size is no whole number.

    Examples
    --------
    >>> import torch, encollapse as ec
    >>> moments = ec.measure.ClassMoments(num_classes=3, feature_dim=2)
    >>> for batch in (torch.eye(3, 2), 3 * torch.eye(3, 2)):
    ...     moments = moments.update(batch, torch.arange(3))
    >>> moments.means
    tensor([[2., 0.],
            [0., 2.],
            [0., 0.]], dtype=torch.float64)
    >>> moments.within_trace
    tensor([1., 1., 0.], dtype=torch.float64)
    """

    _waiting: WaitingRows | None = None
    _kernels: Any | None = None
    """Compiled loops, from when enough samples have come to repay looking for them."""
    _adder: RowAdder | None = None

    @_writable
    def __init__(
        self, num_classes: int, feature_dim: int, *, device: torch.device | str = "cpu", covariance: bool = True
    ) -> None:
        self._added = moment_state.empty(
            checks.integer(num_classes, "num_classes", minimum=1),
            checks.integer(feature_dim, "feature_dim", minimum=1),
            device=float64_device(device),
            covariance=checks.flag(covariance, "covariance"),
        )

    @property
    def _state(self) -> MomentState:
        """The moments of all samples seen, none of which waits any longer."""
        self._end_waiting()
        return self._added

    @_state.setter
    def _state(self, state: MomentState) -> None:
        self._added, self._waiting, self._adder = state, None, None

    def __getstate__(self) -> dict[str, Any]:
        return {"_added": self._state}

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return self._added.num_classes

    @property
    def feature_dim(self) -> int:
        """Feature dimension d."""
        return self._added.feature_dim

    @property
    def num_samples(self) -> int:
        """Samples seen so far."""
        return int(self._added.counts.sum()) + (0 if self._waiting is None else len(self._waiting))

    @property
    def device(self) -> torch.device:
        """Where the moments are kept."""
        return self._added.counts.device

    @property
    def covariance(self) -> bool:
        """Whether the within-class covariance is kept."""
        return self._added.scatter is not None

    @property
    def counts(self) -> torch.Tensor:
        """Samples of each class, (K,) int64."""
        return self._state.counts.clone()

    @property
    def means(self) -> torch.Tensor:
        """Class means, (K, d) float64, or NaN for a class without samples."""
        return self._state.means

    @property
    def within_trace(self) -> torch.Tensor:
        """Trace of the covariance of each class (divided by ``n_k``), (K,), or NaN without samples."""
        return self._state.traces / self._state.counts

    @property
    def within_covariance(self) -> torch.Tensor | None:
        """Pooled within-class covariance (divided by N), (d, d), or None with ``covariance=False``."""
        scatter = self._state.within_scatter()
        return None if scatter is None else scatter / self.num_samples

    def __repr__(self) -> str:
        return (
            f"ClassMoments(num_classes={self.num_classes}, feature_dim={self.feature_dim}, "
            f"num_samples={self.num_samples}, device={str(self.device)!r})"
        )

    def update(self, features: ArrayLike, labels: ArrayLike) -> ClassMoments:
        """Take in a batch. A batch that is refused leaves the moments as they were.

        Parameters
        ----------
        features : (N, d)
            numpy or torch, any device, any real floating-point dtype. N may be 0.
        labels : (N,) ints
            Classes from 0 to K - 1.

        Raises
        ------
        ArgumentError
            If an entry is not finite, a label out of range, or a shape wrong.
        ArgumentTypeError
            If the features are not floating-point numbers or the labels not whole ones.
        """
        plain = plain_batch(features, labels, self._added.feature_dim)
        if plain is not None and self._take_plain(*plain):
            return self
        rows = FeatureRows(features)
        if rows.feature_dim != self.feature_dim:
            raise ArgumentError(
                f"features: expected {self.feature_dim} columns, the feature_dim of these moments, "
                f"got {rows.feature_dim}"
            )
        targets = labels_for(labels, self.num_classes, rows.num_rows)
        if rows.num_rows < waiting_rows(rows.feature_dim):
            self._let_wait(rows, targets)
        else:
            self._add(rows, torch.from_numpy(targets).to(self.device))
        return self

    def _take_plain(self, values: Rows, targets: IntArray) -> bool:
        """Take in a small batch as it is. False, and nothing done, where that cannot be or something is wrong."""
        waiting = self._waiting
        if waiting is not None:
            return waiting.take_plain(values, targets, self._added.num_classes, self._kernels)
        if self._kernels is None or self.covariance or len(targets) >= waiting_rows(self._added.feature_dim):
            return False
        return self._add_one_by_one(values, targets, inputs.array_resolution(values))

    def _add_one_by_one(self, values: Rows, targets: IntArray, resolution: float) -> bool:
        """Add rows where nothing waits for a product. False, and nothing done, where one is wrong."""
        adder = self._adder
        if adder is None or adder.state is not self._added:
            adder = self._adder = RowAdder(self._added, self._kernels)
        if not adder.add(values, targets):
            return False
        if resolution > self._added.resolution:
            self._added = replace(self._added, resolution=resolution)
        return True

    def _let_wait(self, rows: FeatureRows, targets: IntArray) -> None:
        """Let a small batch wait for others. Whenever a block is full, it is taken in."""
        values, start = rows.plain(self.device), 0
        if self._waiting is not None and self._waiting.dtype != rows.kept_dtype:
            self._end_waiting()
        if self.covariance or self._kernels is None:
            waiting = self._waiting
            if waiting is None:
                waiting = WaitingRows(rows.feature_dim, rows.kept_dtype, self.device, self.covariance)
                self._waiting = waiting
            waiting.resolution = max(waiting.resolution, rows.resolution)
            start = waiting.take(values, targets, 0)
            while waiting.full:
                self._add_waiting()
                if not self.covariance and self._kernels is not None:
                    self._end_waiting()
                    break
                waiting.resolution = rows.resolution
                start = waiting.take(values, targets, start)
        if start < len(targets):
            plain = np.require(np.asarray(values)[start:], requirements=("C", "W"))
            self._add_one_by_one(plain, targets[start:], rows.resolution)

    def _end_waiting(self) -> None:
        """Take in the rows that wait, and let go of their memory."""
        self._add_waiting()
        self._waiting = None

    @_writable
    def _add_waiting(self) -> None:
        """Take in the rows that wait."""
        waiting = self._waiting
        if waiting is None:
            return
        kernels = compiled(waiting.rows.numel(), self.device)
        with brief_operations(kernels is not None and self._multiplies_in_parts) as threads:
            waiting.room.threads = threads
            block, own = to_working(waiting.rows, self.device), waiting.labels
            self._added = add_block(self._added, block, own, waiting.resolution, workspace=waiting.room)
        waiting.clear()
        if kernels is not None:
            self._kernels = kernels

    @property
    def _multiplies_in_parts(self) -> bool:
        """Whether blocks ask torch for no product that is worth its threads."""
        return not self.covariance or in_parts(self.feature_dim, self.device, torch.get_num_threads())

    @_writable
    def _add(self, rows: FeatureRows, targets: torch.Tensor) -> None:
        """Take in a large batch, block by block."""
        no_copies = rows.usable_as_they_are(self.device)
        step = inputs.rows_per_block(rows.feature_dim)
        if not self.covariance:
            step = max(1, (4 if no_copies else 1) * _LONG_BLOCK // rows.feature_dim)
        state, fresh = self._state, not self.num_samples
        if not fresh and rows.num_rows > step:
            state = state.copy()
        start = 0
        try:
            entries = min(rows.num_rows, step) * rows.feature_dim
            brief = no_copies and self._multiplies_in_parts and compiled(entries, self.device) is not None
            with brief_operations(brief) as threads:
                room = Workspace(threads)
                for block in rows.blocks(self.device, step):
                    stop = start + len(block)
                    own = targets[start:stop]
                    state = add_block(state, block, own, rows.resolution, first_row=start, workspace=room)
                    start = stop
        except BaseException:
            if fresh:
                self._state = self._state.blank()
            raise
        self._state = state

    @_writable
    def merge(self, other: ClassMoments) -> ClassMoments:
        """Take in the samples of other moments, which stay as they are.

        Raises
        ------
        ArgumentError
            If the number of classes, the feature dimension or ``covariance`` differ.
        """
        if not isinstance(other, ClassMoments):
            raise ArgumentTypeError(f"other: expected ClassMoments, got {type(other).__name__}")
        for what in ("num_classes", "feature_dim", "covariance"):
            if getattr(self, what) != getattr(other, what):
                raise ArgumentError(
                    f"other: has {what}={getattr(other, what)}, these moments have {getattr(self, what)}"
                )
        self._state = moment_state.merge(self._state, other._state.to(self.device))
        return self

    @_writable
    def all_reduce(self, group: Any = None) -> ClassMoments:
        """Merge the moments of all processes of a torch.distributed group. Every rank gets the same.

        Call it once, after the last batch: a second call would count every sample once for each rank.
        Without a running process group it does nothing.
        """
        if distributed.is_running():
            self._state = distributed.all_reduce(self._state, group)
        return self

    def statistics(self, *, class_averaged_covariance: FloatArray | None = None) -> ClassStatistics:
        """Return what the metrics are computed from, as float64 numpy.

        Raises
        ------
        ArgumentError
            If no samples were seen.
        """
        if not self.num_samples:
            raise ArgumentError("moments: no samples were seen yet; call update first")
        covariance = self.within_covariance
        return ClassStatistics(
            means=self.means.cpu().numpy(),
            counts=self._state.counts.cpu().numpy(),
            within_trace=self.within_trace.cpu().numpy(),
            within_covariance=None if covariance is None else covariance.cpu().numpy(),
            class_averaged_covariance=class_averaged_covariance,
            resolution=self._state.resolution,
            algebra=TORCH,
            covariance_resolution=inputs.product_resolution(self._state.resolution, self.feature_dim),
        )

    def collapse(
        self,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        encoding: Encoding | str | None = None,
        convention: str | Convention = "default",
        loss: str = "mse",
    ) -> Collapse:
        """Collapse metrics of the samples seen so far.

        The metrics that need the samples again (nc4_agreement, ncc_accuracy, accuracy) are missing.
        See :func:`encollapse.measure.collapse` for the arguments.
        """
        return assemble(
            self.statistics(),
            LinearClassifier.of(weight, bias, encoding, self.num_classes, self.feature_dim, loss),
            convention,
            Decisions(reason="moments do not keep the features; use measure.collapse or measure_model"),
        )

    def named(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the moments by name, which later batches change."""
        return moment_files.named(self._state)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the moments as named tensors (copies)."""
        return moment_files.to_tensors(self._state)

    @_writable
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over moments from :meth:`state_dict` of moments of the same shape.

        Raises
        ------
        ArgumentError
            If an entry is missing or unknown, has another shape or dtype, or cannot be right.
        """
        self._state = moment_files.from_tensors(state, self._state).to(self._state.counts.device)

    def save(self, path: str | Path) -> Path:
        """Write the moments to a ``.safetensors`` file, which appears whole or not at all."""
        return moment_files.save(self._state, path)

    @classmethod
    def load(cls, path: str | Path, *, device: torch.device | str = "cpu") -> ClassMoments:
        """Read moments written by :meth:`save`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FileFormatError
            If the file does not hold moments that this version reads.
        """
        state = moment_files.load(path, float64_device(device))
        num_classes, feature_dim = state.anchors.shape
        moments = cls(num_classes, feature_dim, device=device, covariance=state.scatter is not None)
        moments._state = state
        return moments
