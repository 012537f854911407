"""A frozen extractor under a trained network: its features are computed once and take the place of the inputs."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encollapse._internal import checks, files
from encollapse._internal.files import atomic
from encollapse._internal.progress import tracked
from encollapse.data import Dataset, Split, standardized
from encollapse.data.io.arrays import SUFFIXES, array_names
from encollapse.errors import ArgumentError, FileFormatError
from encollapse.measure import load_features
from encollapse.train.models.catalog import check_options
from encollapse.train.models.classifier import chunks
from encollapse.train.models.imported import Trunk, imported

Features = np.ndarray[Any, Any]

KEPT = 4
"""Sets of features that are kept in memory."""

_memory: OrderedDict[str, Features] = OrderedDict()


def prepared(
    model: Any, options: Mapping[str, Any] | None, dataset: Dataset, *, device: str = "cpu", progress: bool = False
) -> Dataset:
    """The data that a model is trained on: for ``"frozen"`` the extractor's features, for all others `dataset` itself.

    Features are standardized column by column by the training samples.

    Parameters
    ----------
    model, options
        As in :func:`encollapse.train.fit`.
    dataset : Dataset
        The data as they are.
    device : str
        Where the extractor runs.
    progress : bool
        Show a bar if that lasts.

    Raises
    ------
    ArgumentError, ArgumentTypeError, FileNotFoundError, FileFormatError
        If an option cannot be used, or the extractor cannot take such inputs.
    """
    if model != "frozen":
        return dataset
    given = check_options(model, options)
    source = given["extractor"]
    if Path(source).suffix in SUFFIXES:
        train, test = _from_file(Path(source), dataset)
    else:
        extractor = _Extractor(given, device, progress)
        train = extractor(dataset.train.inputs)
        test = None if dataset.test is None else extractor(dataset.test.inputs)
    held = None if dataset.test is None or test is None else _with(dataset.test, test)
    both = standardized(_with(dataset.train, train), held)
    provenance = {**dataset.provenance, "inputs": f"features of {source}, standardized by the training samples"}
    return Dataset(dataset.name, both[0], both[1], dataset.classes, provenance)


class _Extractor:
    """A module in evaluation mode, with a memory of what it has computed."""

    def __init__(self, given: Mapping[str, Any], device: str, progress: bool) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = imported(given["extractor"], given["arguments"], "model_options.extractor")
        if given["weights"] is not None:
            _load(module, Path(given["weights"]))
        self._trunk = Trunk(module, given["features_method"]).eval().to(device)
        self._device, self._progress = device, progress
        self._folder = None if given["cache"] is None else Path(given["cache"])
        told = {key: given[key] for key in ("extractor", "arguments", "features_method")}
        self._key = hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode())
        code = inspect.getsourcefile(type(module))
        if code is not None:
            self._key.update(Path(code).read_bytes())
        for value in module.state_dict().values():
            self._key.update(checks.to_numpy(value, "weights").tobytes())

    def __call__(self, inputs: Features) -> Features:
        key = self._key.copy()
        key.update(repr(inputs.shape).encode() + np.ascontiguousarray(inputs).tobytes())
        name = key.hexdigest()
        stored = None if self._folder is None else self._folder / f"{name}.npy"
        if name not in _memory:
            if stored is not None and stored.is_file():
                _memory[name] = np.load(stored, allow_pickle=False)
            else:
                _memory[name] = self._compute(inputs)
        _memory.move_to_end(name)
        while len(_memory) > KEPT:
            _memory.popitem(last=False)
        if stored is not None and not stored.is_file():
            with atomic(stored) as temporary, temporary.open("wb") as handle:
                np.save(handle, _memory[name], allow_pickle=False)
        return _memory[name]

    @torch.no_grad()
    def _compute(self, inputs: Features) -> Features:
        tensor = torch.tensor(inputs)
        self._trunk.width(tensor[:2].to(self._device))
        parts = chunks(len(tensor))
        text = "extracting features"
        found = [
            self._trunk(tensor[part].to(self._device)).float().cpu()
            for part in tracked(parts, len(parts), show=self._progress, text=text)
        ]
        return np.asarray(torch.cat(found).numpy())


def _load(module: torch.nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not files.is_file(path):
        raise FileNotFoundError(2, "No such file", str(path))
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise FileFormatError(
            f"{path}: not the weights of {type(module).__name__} ({error}); save them with "
            "safetensors.torch.save_file(module.state_dict(), path)"
        ) from None


def _from_file(path: Path, dataset: Dataset) -> tuple[Features, Features | None]:
    """Rows of a file of features, which has one for each sample of the data set's source, whole and in order."""
    if not files.is_file(path):
        raise FileNotFoundError(2, "No such file", str(path))
    names = array_names(path)
    named = "features" in names
    train = _rows(path, "features" if named else None, dataset.train)
    if dataset.test is None:
        return train, None
    if dataset.provenance.get("holdout"):
        return train, _rows(path, "features" if named else None, dataset.test)
    if "test_features" not in names:
        raise ArgumentError(
            f"model_options.extractor: {dataset.name!r} brings its own test set, and {path} has no array "
            "'test_features'; save features and test_features in one .npz file"
        )
    return train, _rows(path, "test_features", dataset.test)


def _rows(path: Path, key: str | None, split: Split) -> Features:
    whole = checks.to_numpy(load_features(path, key), str(path))
    last = int(split.rows.max())
    if last >= len(whole):
        raise ArgumentError(
            f"model_options.extractor: {path} has features of {len(whole)} samples, and the data go up to "
            f"sample {last}; give one row for each sample of the source, whole and in its order"
        )
    return np.asarray(whole[split.rows], np.float32)


def _with(split: Split, inputs: Features) -> Split:
    return Split(inputs, split.labels, split.clean_labels, split.rows)
