"""The state of a training in one file, from which it goes on exactly as if it had not been interrupted.

Tensors are kept as safetensors and everything else as JSON in the header of the same file, so that one rename makes
both appear.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from encollapse._internal import files
from encollapse._internal.warn import warn
from encollapse.errors import ArgumentError, FileFormatError
from encollapse.train.loop.task import Work
from encollapse.train.settings import Settings

VERSION = 3
"""Of the layout. States of layout 2 have no digest and are read without one."""

_INDIFFERENT = ("checkpoint", "checkpoint_seconds", "devices", "keep_checkpoint", "progress")
"""Settings that do not change what is computed, or by rounding alone."""


@dataclass
class CheckpointFile:
    """When and where the state is written. Without a path nothing is."""

    path: Path | None
    seconds: float
    fingerprint: str
    _last: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, work: Work, settings: Settings) -> CheckpointFile:
        """Checkpoints as the settings ask for."""
        return cls(settings.checkpoint, settings.checkpoint_seconds, _fingerprint(work, settings))

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return self.path is not None and time.monotonic() - self._last >= self.seconds

    def write(self, state: Any) -> None:
        """Write a state, which appears whole or not at all.

        Where the system refuses, as on a full disk, there is a warning: the training is worth more than its state.
        """
        try:
            self._write(state)
        except OSError as error:
            self._partial.unlink(missing_ok=True)
            warn(
                f"checkpoint: {str(self.path)!r} cannot be written ({error.strerror or error}); the training goes on, "
                "but if it is interrupted, what came since the last state is lost"
            )
        self._last = time.monotonic()

    def _write(self, state: Any) -> None:
        from safetensors.torch import save

        assert self.path is not None
        tensors: dict[str, Tensor] = {}
        header = {"version": VERSION, "fingerprint": self.fingerprint, "state": _pack(state, tensors)}
        self.path.parent.mkdir(exist_ok=True)  # not its parents: a study whose folder is renamed gets no second one
        # One name for all attempts: what a killed process leaves behind is overwritten.
        with self._partial.open("wb") as file:
            file.write(save(tensors, metadata={"encollapse": json.dumps(header)} | files.UNSEALED))
        files.seal(self._partial)
        self._partial.replace(self.path)

    def read(self, device: torch.device) -> Any:
        """The state that was written last, or None where there is no file, but one can be written.

        Raises
        ------
        ArgumentError
            If it is the state of another training, or the path is a folder.
        FileFormatError
            If the file is something else.
        WriteError
            If no file can be written there.
        """
        if self.path is None:
            return None
        if files.is_dir(self.path):
            raise ArgumentError(f"checkpoint: {str(self.path)!r} is a folder; name a file in it")
        if not files.exists(self.path):
            files.folder(self.path.parent)
            return None
        from safetensors import SafetensorError, safe_open

        try:
            whole = files.sealed(self.path)
            if whole is False:
                raise ValueError("damaged: its digest is another")
            with safe_open(self.path, framework="pt") as opened:
                header = json.loads((opened.metadata() or {})["encollapse"])
                # Views of the file lie at any address, and products of some processors round by the address: clone.
                tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
            if header["version"] not in (2, VERSION):
                raise ArgumentError(
                    f"checkpoint: {str(self.path)!r} has layout {header['version']!r}, and this release reads 2 and "
                    f"{VERSION}; go on with the release that wrote it, or delete it and train from the start"
                )
            if header["fingerprint"] != self.fingerprint:
                older = "" if header["version"] == VERSION else ", or of an earlier release with other options"
                raise ArgumentError(
                    f"checkpoint: {str(self.path)!r} is the state of a training with other settings or data{older}; "
                    "delete it, or name another file"
                )
            if whole is None and header["version"] == VERSION:
                raise ValueError("damaged: it has no digest")
            return _unpack(header["state"], tensors, device)
        except ArgumentError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise FileFormatError(
                f"{self.path}: not the state of a training ({error}); delete it, or name another file"
            ) from None

    def delete(self) -> None:
        """Remove the file if it is there."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self._partial.unlink(missing_ok=True)

    @property
    def _partial(self) -> Path:
        assert self.path is not None
        return self.path.with_name(f".{self.path.name}.partial")


def optimizer_state(optimizer: Optimizer) -> list[Any]:
    """What an optimizer remembers of each of its parameters, in their order."""
    return [dict(optimizer.state[p]) if p in optimizer.state else None for p in _parameters(optimizer)]


def restore_optimizer(optimizer: Optimizer, state: list[Any]) -> None:
    """Inverse of :func:`optimizer_state`. Nothing is cast, unlike in ``load_state_dict``."""
    optimizer.state.clear()
    for parameter, held in zip(_parameters(optimizer), state, strict=True):
        if held is not None:
            optimizer.state[parameter] = held


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A nested value as JSON, with its tensors moved to a dictionary."""
    if isinstance(value, np.ndarray):
        return {"array": _pack(torch.from_numpy(np.array(value)), tensors)}
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name, "here": value.device.type != "cpu"}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(entry, tensors)] for key, entry in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(entry, tensors) for entry in value]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    if isinstance(value, list):
        return [_unpack(entry, tensors, device) for entry in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return _unpack(value["array"], tensors, device).numpy()
    if "tensor" in value:
        tensor = tensors[value["tensor"]]
        return tensor.to(device) if value["here"] else tensor
    return {key: _unpack(entry, tensors, device) for key, entry in value["dict"]}


def _fingerprint(work: Work, settings: Settings) -> str:
    """A hash of everything that decides the training."""
    plain = {name: value for name, value in settings.to_dict().items() if name not in _INDIFFERENT}
    total = hashlib.sha256(json.dumps(plain, sort_keys=True, default=repr).encode())
    arrays = [work.train.inputs, work.train.labels, work.targets.numpy()]
    if work.test is not None:
        arrays += [work.test.inputs, work.test.labels]
    if work.fixed_weight is not None:
        arrays.append(work.fixed_weight.numpy())
    for array in arrays:
        total.update(repr(array.shape).encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
