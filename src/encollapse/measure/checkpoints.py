"""`measure_checkpoints`: the states that a training left behind, measured one after the other as a film."""

from __future__ import annotations

import hashlib
import importlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset

from encollapse._internal import files
from encollapse._internal.json_values import plain
from encollapse._internal.progress import tracked
from encollapse._internal.shown import Shown
from encollapse._internal.typing import FloatArray
from encollapse.encodings import Encoding
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError, Undefined
from encollapse.measure.checkpoint_files import checkpointed, file_digest, find_checkpoints, load_state, steps_of
from encollapse.measure.forward.running import placed, undisturbed
from encollapse.measure.model import BatchReader, labeled_batches, loader_length, measure_model
from encollapse.measure.result import VALUES, Collapse
from encollapse.measure.stored import read_collapse, without_covariance, write_collapse
from encollapse.metrics import as_convention, linear_cka, procrustes_distance, subspace_distance

if TYPE_CHECKING:
    import pandas

_PROBE = 512
"""Samples whose features are kept of every checkpoint, for the alignment of one with the next."""

DRIFT = {
    "means_moved": "|M - M'|/|M'|, the change of the centered class means in the coordinates of the network",
    "means_procrustes": "Procrustes distance of the centered class means, whatever their rotation and length",
    "subspace": "root mean square sine of the angles between the spans of the class means",
    "features_cka": "debiased linear CKA of the features of some samples, 1 where nothing has changed",
}
"""What the drift between two snapshots is measured by."""


@dataclass(frozen=True, eq=False)
class Checkpoints(Shown):
    """A training as a film: every metric of every checkpoint, and how far the class means moved in between.

    Parameters
    ----------
    paths : tuple of Path
        The checkpoints, in order.
    steps : tuple of int
        Their steps, as their names say, or their places.
    results : tuple of Collapse or None
        The measurement of each, or None where it has none, for the reason in `missing`. They keep class means and
        variances, and no covariance: ``details`` that need one are missing.
    missing : dict
        Reason, by path, for every checkpoint without a result.
    drift_rows : tuple of dict
        Drift up to each checkpoint from the one before (``means_moved`` and so on) and from each to the last
        (``means_moved_to_last``), or None where a value does not exist, as the last has no way to go.

    Examples
    --------
    >>> import tempfile, torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    >>> folder = tempfile.TemporaryDirectory()
    >>> for step in (0, 100):
    ...     torch.save(network.state_dict(), f"{folder.name}/step-{step}.pt")
    >>> batches = [(torch.randn(20, 3), torch.arange(20) % 5)]
    >>> film = ec.measure.measure_checkpoints(folder.name, network, batches)
    >>> film.steps, film.drift_rows[1]["means_moved"]
    ((0, 100), 0.0)
    """

    paths: tuple[Path, ...]
    steps: tuple[int, ...]
    results: tuple[Collapse | None, ...]
    missing: dict[str, str] = field(default_factory=dict)
    drift_rows: tuple[dict[str, float | None], ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One row a checkpoint: ``step``, ``checkpoint``, every metric (None where it has no value), ``missing``."""
        blank = dict.fromkeys(VALUES)
        return [
            {"step": step, "checkpoint": str(path)}
            | (blank if result is None else dict(result.values))
            | {"missing": self.missing.get(str(path), "")}
            for path, step, result in zip(self.paths, self.steps, self.results, strict=True)
        ]

    @property
    def frame(self) -> pandas.DataFrame:
        """The rows as a table of pandas."""
        import pandas

        return pandas.DataFrame(self.rows())

    @property
    def drift(self) -> pandas.DataFrame:
        """The drift as a table of pandas, one row a checkpoint."""
        import pandas

        return pandas.DataFrame(
            [
                {"step": step, "checkpoint": str(path)} | row
                for path, step, row in zip(self.paths, self.steps, self.drift_rows, strict=True)
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: ``checkpoints``, a list of rows, each with its ``drift``."""
        rows = zip(self.rows(), self.drift_rows, strict=True)
        return dict(plain({"checkpoints": [row | {"drift": drift} for row, drift in rows]}))

    def drawing(self, metrics: Sequence[str] | None = None) -> Any:
        """The figure with its numbers, to be saved by ``save_as("film.svg")``."""
        return importlib.import_module("encollapse.report.figures.checkpoints").checkpoints_drawing(self, metrics)


def measure_checkpoints(
    checkpoints: str | Path | Iterable[str | Path],
    build: nn.Module | Callable[[], nn.Module],
    loader: Iterable[Any],
    *,
    resume: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Checkpoints:
    """Measure the network at every checkpoint of a training, and how it moved from one to the next.

    Parameters
    ----------
    checkpoints : folder, pattern such as ``"ckpt/*.pt"``, or list of files
        State dicts of ``torch.save``, which are loaded with ``weights_only``, or safetensors, also inside checkpoints
        of Lightning and in the folders that the Trainer of transformers writes. In natural order of their names, 2
        before 10. A list keeps its own order.
    build : torch.nn.Module, or a function that makes it
        The network. One that is handed in is copied and stays as it is.
    loader : iterable of (inputs, labels) or of mappings
        Batches, read once a checkpoint: a list or a ``DataLoader``, no generator.
    resume : str or Path, optional
        Folder in which every result is kept as soon as it is there. A run that was ended goes on from it. A result is
        known by the contents of the checkpoint, the structure of the network, the options, and the first samples of
        the loader.
    progress : bool
        Show a progress bar where standard error is a terminal and the work takes more than two seconds.
    **options
        Those of :func:`encollapse.measure.measure_model`.

    Returns
    -------
    Checkpoints
        A row a checkpoint as ``frame``, the measurements as ``results``, the drift as ``drift``, and ``plot()``. A
        checkpoint that cannot be measured, as its file is damaged, is of another network, or has features that are not
        finite, is a row without values, and `missing` has the reason.

    Raises
    ------
    FileNotFoundError, FileFormatError, ArgumentError
        If a checkpoint is not there, or none of them can be measured: the reason of the first.
    ArgumentTypeError
        If `build` makes no network, or the loader can be read only once.

    Examples
    --------
    >>> import tempfile, torch, encollapse as ec
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 5))
    >>> folder = tempfile.TemporaryDirectory()
    >>> for epoch in (2, 10):
    ...     torch.save(network.state_dict(), f"{folder.name}/epoch-{epoch}.pt")
    >>> batches = [(torch.randn(20, 3), torch.arange(20) % 5)]
    >>> film = ec.measure.measure_checkpoints(f"{folder.name}/*.pt", network, batches)
    >>> [row["step"] for row in film.rows()]
    [2, 10]
    """
    paths = find_checkpoints(checkpoints)
    network = checkpointed(build, loader)
    if not isinstance(options.get("head", ""), str | None):
        raise ArgumentTypeError("head: expected the name of a layer, for every network of a film has its own layers")
    convention = as_convention(options.get("convention", "default"))
    store = None if resume is None else files.folder(resume)
    label_key = options.get("label_key")
    with placed(network, options.get("device")) as device, _seeded(network, device, loader):
        probe = _first_samples(loader, label_key)
    setting = _digest_of_setting(network, probe, loader, options)
    found: list[tuple[Collapse, FloatArray] | None] = []
    missing: dict[str, str] = {}
    failure: ArgumentError | FileFormatError | None = None
    for path in tracked(paths, len(paths), show=progress, text="checkpoints"):
        name = hashlib.sha256(f"{setting} {file_digest(path)}".encode()).hexdigest()[:40]
        kept = None if store is None else store / f"{name}.npz"
        known = None if kept is None else read_collapse(kept, options.get("encoding"), convention)
        if known is None:
            try:
                load_state(network, path)
                known = _measured(network, probe, loader, options)
                if kept is not None:
                    write_collapse(kept, *known)
            except (ArgumentError, FileFormatError) as error:
                failure = failure or error
                missing[str(path)] = str(error)
        found.append(known)
    if failure is not None and not any(found):
        raise failure
    results = tuple(None if known is None else known[0] for known in found)
    return Checkpoints(tuple(paths), tuple(steps_of(paths)), results, missing, tuple(_drift(found)))


def _measured(
    network: nn.Module, probe: list[tuple[Any, Any]], loader: Iterable[Any], options: Mapping[str, Any]
) -> tuple[Collapse, FloatArray]:
    """Measurement without its covariance, and the features (n, d) of the probe."""
    result = without_covariance(measure_model(network, loader, **{"progress": False} | dict(options)))
    with placed(network, options.get("device")) as device, undisturbed(network, device, loader):
        reader = BatchReader(
            network, options.get("head"), device, options.get("ignore_index"), options.get("label_shift")
        )
        read = [reader.read(inputs, labels) for inputs, labels in probe]
    rows = [batch[1].double().cpu().numpy() for batch in read if batch is not None]
    return result, np.concatenate(rows)[:_PROBE] if rows else np.zeros((0, 1))


@contextmanager
def _seeded(network: nn.Module, device: torch.device, loader: Any) -> Iterator[None]:
    """As :func:`undisturbed`, with random numbers that are the same in every run, for transforms of a data set."""
    with undisturbed(network, device, loader):
        torch.default_generator.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (what data sets use)
        random.seed(0)
        yield


def _first_samples(loader: Iterable[Any], label_key: str | None) -> list[tuple[Any, Any]]:
    """Batches of about 512 samples: of a data set that can be asked for any, at even steps, otherwise the first."""
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        size = len(loader.dataset)  # type: ignore[arg-type]  # of a data set that is no stream
        places = np.unique(np.linspace(0, size - 1, min(size, _PROBE)).round().astype(int)).tolist() if size else []
        step = min(loader.batch_size or 64, _PROBE)
        loader = DataLoader(Subset(loader.dataset, places), step, collate_fn=loader.collate_fn)
    found, seen = [], 0
    for inputs, labels in labeled_batches(loader, label_key):
        found.append((inputs, labels))
        seen += int(np.prod(np.shape(labels)))
        if seen >= _PROBE:
            break
    return found


def _digest_of_setting(network: nn.Module, probe: Any, loader: Iterable[Any], options: Mapping[str, Any]) -> str:
    """What a result depends on besides the checkpoint, as far as it can be told."""
    encoding = options.get("encoding")
    codewords = encoding.codewords if isinstance(encoding, Encoding) and encoding.num_classes <= _CODEWORDS else None
    told = {name: value for name, value in sorted(options.items()) if name not in _WITHOUT_EFFECT}
    shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items() if hasattr(value, "shape")]
    digest = hashlib.sha256()
    for part in (_FORMAT, type(network).__qualname__, shapes, repr(told), codewords, loader_length(loader), probe):
        _feed(digest, part)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        _feed(digest, [*value.items()])
    elif isinstance(value, list | tuple):
        for entry in (len(value), *value):
            _feed(digest, entry)
    else:
        digest.update(f"{value!r};".encode())


def _drift(found: Sequence[tuple[Collapse, FloatArray] | None]) -> Iterator[dict[str, float | None]]:
    last = next((known for known in reversed(found) if known is not None), None)
    before: tuple[Collapse, FloatArray] | None = None
    for known in found:
        row = _between(known, before)
        to_last = _between(None if known is last else known, last)
        yield row | {f"{name}_to_last": value for name, value in to_last.items()}
        before = known or before


def _between(
    known: tuple[Collapse, FloatArray] | None, other: tuple[Collapse, FloatArray] | None
) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(DRIFT)
    if known is None or other is None:
        return row
    means = [result.statistics.present_means for result in (known[0], other[0])]
    values: dict[str, Callable[[], float]] = {
        "means_moved": lambda: _relative_change(*means),
        "means_procrustes": lambda: procrustes_distance(*means),
        "subspace": lambda: subspace_distance(*means),
        "features_cka": lambda: linear_cka(known[1], other[1]),
    }
    for name, compute in values.items():
        try:
            row[name] = compute()
        except (Undefined, ArgumentError):  # all means coincide, or of a change of width
            row[name] = None
    return row


def _relative_change(means: FloatArray, others: FloatArray) -> float:
    first, second = (rows - rows.mean(axis=0) for rows in (means, others))
    length = float(np.linalg.norm(second))
    if first.shape != second.shape or length == 0.0:
        raise Undefined("there is nothing to compare with")
    return float(np.linalg.norm(first - second)) / length


_FORMAT = "checkpoints 1"
_CODEWORDS = 4096  # classes up to which the digest of an encoding takes every codeword
_WITHOUT_EFFECT = ("device", "progress", "memory_budget")
