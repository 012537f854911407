"""`diagnose_checkpoints`: how far a training was from its minimum at every state that it left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from encollapse._internal.progress import tracked
from encollapse.diagnosis.diagnose import diagnose
from encollapse.diagnosis.result import Diagnosis
from encollapse.errors import ArgumentTypeError
from encollapse.measure.checkpoint_files import checkpointed, find_checkpoints, load_state
from encollapse.measure.stored import without_covariance


def diagnose_checkpoints(
    checkpoints: str | Path | Iterable[str | Path],
    build: nn.Module | Callable[[], nn.Module],
    loader: Iterable[Any],
    optimizer: Callable[[nn.Module], Any] | None = None,
    *,
    progress: bool = True,
    **options: Any,
) -> dict[str, Diagnosis]:
    """Diagnose the network at every checkpoint of a training.

    Parameters
    ----------
    checkpoints, build, loader
        As for :func:`encollapse.measure.measure_checkpoints`.
    optimizer : function, optional
        Makes the optimizer of a network, as ``lambda net: torch.optim.SGD(net.parameters(), weight_decay=5e-4)``. Its
        parameter groups tell the decays. Otherwise give ``weight_decay``.
    progress : bool
        Show a progress bar where the work takes more than two seconds.
    **options
        Those of :func:`encollapse.diagnose`.

    Returns
    -------
    dict
        A :class:`Diagnosis` by the path of each checkpoint, in order. What they measured keeps no covariance.

    Raises
    ------
    FileNotFoundError, FileFormatError, ArgumentError, ArgumentTypeError
        As for these two.

    Examples
    --------
    >>> import tempfile, torch, encollapse as ec
    >>> norm = torch.nn.BatchNorm1d(16, momentum=1.0)
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 16, bias=False), norm, torch.nn.Linear(16, 3))
    >>> batches = [(torch.randn(30, 3), torch.arange(30) % 3)]
    >>> _ = network(batches[0][0])  # running averages of these data
    >>> folder = tempfile.TemporaryDirectory()
    >>> torch.save(network.state_dict(), f"{folder.name}/step-0.pt")
    >>> film = ec.diagnosis.diagnose_checkpoints(folder.name, network, batches, weight_decay=1e-2)
    >>> [d.law for d in film.values()]
    ['batch_norm']
    """
    network = checkpointed(build, loader)
    if optimizer is not None and not callable(optimizer):
        raise ArgumentTypeError(
            f"optimizer: expected a function that makes one for a network, got {type(optimizer).__name__}; "
            "give lambda network: torch.optim.SGD(network.parameters(), ...)"
        )
    paths = find_checkpoints(checkpoints)
    found: dict[str, Diagnosis] = {}
    for path in tracked(paths, len(paths), show=progress, text="checkpoints"):
        load_state(network, path)
        made = None if optimizer is None else optimizer(network)
        diagnosis = diagnose(network, loader, made, **{"progress": False} | options)
        found[str(path)] = replace(diagnosis, collapse=without_covariance(diagnosis.collapse))
    return found
