"""Files of network states: which there are, in what order they were written, and a network that takes one up."""

from __future__ import annotations

import copy
import glob
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encollapse._internal import checks, files
from encollapse._internal.warn import warn
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""What files of states may be called."""

_INDEX = ".index.json"
"""End of the name of a file that says which file holds which tensor of a large state, as transformers writes it."""

_IN_FOLDERS = (
    "model.safetensors",
    "pytorch_model.bin",
    "model.pt",
    "pytorch_model.pt",
    f"model.safetensors{_INDEX}",
    f"pytorch_model.bin{_INDEX}",
)
"""The state among the files of a folder a checkpoint, such as ``checkpoint-500`` of transformers."""

_SPLIT = {
    ".metadata": "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {} state.pt",
    "zero_to_fp32.py": "python zero_to_fp32.py . state.pt, in that folder",
}
"""Files beside which several processes wrote a state in pieces, and what puts it together."""

_KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "module")
"""Where a checkpoint that holds more keeps the state of the network."""


def checkpointed(build: nn.Module | Callable[[], nn.Module], loader: Any) -> nn.Module:
    """The network that takes up the states of a training, a copy of the one that is handed in, or one that is made.

    Raises
    ------
    ArgumentTypeError
        If `build` makes no network, or the loader can be read only once.
    """
    if isinstance(loader, Iterator):
        raise ArgumentTypeError(
            "loader: an iterator can be read once, and every checkpoint needs all batches; give a list or a DataLoader"
        )
    if isinstance(build, nn.Module):
        return copy.deepcopy(build)
    made: Any = build
    if callable(build):
        try:
            inspect.signature(build).bind()
        except TypeError as error:
            name = getattr(build, "__name__", "build")
            raise ArgumentTypeError(
                f"build: {name} is called without arguments ({error}); give a network, or lambda: {name}(...)"
            ) from None
        except ValueError:  # without a signature
            pass
        made = build()
    return checks.instance(made, "build", nn.Module, what="a torch.nn.Module or what makes one")


def find_checkpoints(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files of states, in natural order of their names (2 before 10) unless they are listed.

    Parameters
    ----------
    source : folder, pattern such as ``"ckpt/*.pt"``, file, or list of files
        From a folder every file of a state, or, where it has none, the one in each folder inside it.

    Raises
    ------
    FileNotFoundError
        If a folder or a file is not there.
    ArgumentError
        If there are no files of states.
    """
    if not isinstance(source, str | Path):
        if not isinstance(source, Iterable):
            raise ArgumentTypeError(f"checkpoints: expected files or a folder, got {type(source).__name__}")
        paths = [Path(path) for path in source]
    elif files.is_dir(Path(source)):
        paths = sorted({*_in_folder(Path(source)), *_in_folders_of(Path(source))}, key=files.natural_order)
    elif glob.has_magic(str(source)):
        found = (Path(path) for path in glob.glob(str(source), recursive=True))  # noqa: PTH207 (it may be absolute)
        paths = sorted(
            (p for path in found for p in (_in_folder(path) if path.is_dir() else [path])), key=files.natural_order
        )
    else:
        paths = [Path(source)]
    if not paths:
        raise ArgumentError(f"checkpoints: {str(source)!r} has no files of states ({', '.join(SUFFIXES)})")
    for path in paths:
        _require_whole(path, "checkpoints")
        if re.search(r"-\d+-of-\d+\.", path.name):
            raise ArgumentError(
                f"checkpoints: {str(path)!r} is one part of a state; give the index beside it, which ends in "
                f"{_INDEX!r}, or the folder"
            )
        if not files.is_file(path):
            raise FileNotFoundError(f"checkpoints: there is no file {str(path)!r}")
        if path.suffix not in SUFFIXES and not path.name.endswith(_INDEX):
            raise ArgumentError(f"checkpoints: expected files ending in {', '.join(SUFFIXES)}, got {str(path)!r}")
    return paths


def _require_whole(path: Path, argument: str) -> None:
    """Refuse a folder, or a folder of such, in which several processes wrote a state in pieces."""
    for folder in (path, *sorted(path.iterdir())) if files.is_dir(path) else ():
        for name, command in _SPLIT.items():
            if (folder / name).is_file():
                raise ArgumentError(
                    f"{argument}: {str(folder)!r} holds a state in pieces, as several processes wrote it; put it "
                    f"together with {command.format(folder)}, and give the file"
                )


def _in_folder(folder: Path) -> list[Path]:
    if any((folder / name).is_file() for name in _SPLIT):
        return [folder]
    own = [path for path in folder.iterdir() if path.is_file() and _is_state(path)]
    whole = [path for path in own if path.name in _IN_FOLDERS]
    if whole:  # beside it lie the states of optimizer, scheduler and random numbers
        return [min(whole, key=lambda path: _IN_FOLDERS.index(path.name))]
    return own or _in_folders_of(folder)


def _in_folders_of(folder: Path) -> list[Path]:
    """The states in the folders of a folder, beside which the Trainer of transformers puts the last one."""
    inside = (p for p in folder.iterdir() if p.is_dir())
    return [path for p in inside for path in _in_folder(p) if path.name in _IN_FOLDERS or path.is_dir()]


def _is_state(path: Path) -> bool:
    return path.suffix in SUFFIXES or path.name in _IN_FOLDERS


def steps_of(paths: Iterable[Path]) -> list[int]:
    """Number of the step at which each state was written, as the names say it, else its place in the list.

    The number after "step" counts, otherwise after "epoch" or "iter", otherwise the last one of the name, or of the
    folder where the files of all are called alike. It must grow from file to file. A warning says where not.
    """
    places = list(paths)
    alike = len({path.name for path in places}) < len(places)
    names = [path.parent.name if alike else path.stem for path in places]
    for pattern in (r"step\D?(\d+)", r"(?:epoch|iter\w*)\D?(\d+)", r"(\d+)(?!.*\d)"):
        found = [re.search(pattern, name, re.IGNORECASE) for name in names]
        numbers = [int(match[1]) for match in found if match]
        if len(numbers) == len(places) and all(a < b for a, b in pairwise(numbers)):
            return numbers
        if len(numbers) == len(places) and numbers != sorted(numbers) and _grow(places, numbers):
            warn(
                f"checkpoints: their names count {', '.join(map(str, numbers[:5]))}, and they are taken in the order "
                "of the list, by their places; give the folder or a pattern for the order of the names"
            )
            break
    return list(range(len(places)))


def _grow(paths: list[Path], numbers: list[int]) -> bool:
    """Whether the numbers would grow from file to file in the order of the names."""
    placed = sorted(range(len(paths)), key=lambda i: files.natural_order(paths[i]))
    return all(numbers[a] < numbers[b] for a, b in pairwise(placed))


def file_digest(path: Path) -> str:
    """SHA-256 of the contents of a file, and of those that it is the index of."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not path.name.endswith(_INDEX):
        return found
    return hashlib.sha256("".join([found, *map(file_digest, _pieces(path))]).encode()).hexdigest()


def _pieces(index: Path) -> list[Path]:
    """Files that an index names, beside it.

    Raises
    ------
    FileFormatError
        If it is no index, or names files elsewhere.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        names = []
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise FileFormatError(f"checkpoint: {str(index)!r} is no index of files that hold a state")
    return [index.parent / name for name in names]


def load_state(network: nn.Module, path: str | Path, argument: str = "checkpoint") -> None:
    """Load the state of a network from a file, also where it lies beside other things or under a prefix.

    It is read with ``weights_only``, or as safetensors: no code in a file is executed. Names with a common prefix,
    such as ``module.`` of DistributedDataParallel, ``_orig_mod.`` of torch.compile or ``model.`` of Lightning, are
    taken for those of the network.

    Parameters
    ----------
    network : torch.nn.Module
        What takes the state up.
    path : str or Path
        A file of ``torch.save`` or of safetensors.
    argument : str
        Name of the argument that the path came in, for errors.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it holds no state.
    ArgumentError
        If it does not fit the network.
    """
    state = _read(Path(path), argument)
    for key in _KEYS:
        if isinstance(state.get(key), Mapping):
            state = state[key]
            break
    wanted = network.state_dict()
    first = next(iter(wanted), "")
    for prefix in sorted((name.removesuffix(first) for name in state if name.endswith(f".{first}")), key=len):
        if wanted.keys() - state.keys() and all(prefix + name in state for name in wanted):
            state = {name: state[prefix + name] for name in wanted}
    if wanted and not wanted.keys() & state.keys():
        held = ", ".join(map(repr, list(state)[:3])) or "nothing"
        raise ArgumentError(
            f"{argument}: {str(path)!r} holds no state of this network, but {held}; leave such files out, by a pattern "
            "such as 'model-*.pt'"
        )
    state = _with_tied(state, wanted)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"{argument}: {str(path)!r} does not fit the network ({' '.join(str(error).split())[:300]}); "
            "make the network with the options that it was trained with"
        ) from None


def _with_tied(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state with all names of tied tensors, of which transformers writes one."""
    places = {name: value.data_ptr() for name, value in wanted.items() if isinstance(value, torch.Tensor)}
    known = {places[name]: value for name, value in state.items() if places.get(name)}
    tied = {name: known[place] for name, place in places.items() if name not in state and place in known}
    return {**state, **tied} if tied else state


def _read(path: Path, argument: str) -> Mapping[str, Any]:
    _require_whole(path, argument)
    if not files.is_file(path):
        raise FileNotFoundError(f"{argument}: there is no file {str(path)!r}")
    if path.name.endswith(_INDEX):
        return {name: value for piece in _pieces(path) for name, value in _read(piece, argument).items()}
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).partition(". ")[0].split())[:200] or type(error).__name__
        raise FileFormatError(
            f"{argument}: {str(path)!r} holds no plain state dict ({reason}); "
            "save it with torch.save(network.state_dict(), path)"
        ) from None
    if not isinstance(state, Mapping):
        raise FileFormatError(
            f"{argument}: {str(path)!r} holds a {type(state).__name__} and no state dict; "
            "save it with torch.save(network.state_dict(), path)"
        )
    return state
