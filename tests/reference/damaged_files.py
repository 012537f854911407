"""Files of every kind that the package reads, damaged at random, and what reading them comes to."""

import gzip
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

import encollapse as ec
from encollapse.errors import EncollapseError
from encollapse.measure import ClassMoments, load_array, measure_shards

Bytes = bytearray
K, D, N = 5, 7, 60


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, its maker, how it is read, and whether its bytes have a sum that is compared."""

    name: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    summed: bool = False


@dataclass
class Verdict:
    """What became of damaged files, by kind."""

    refused: Counter[str] = field(default_factory=Counter)
    unharmed: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    """Read without a word as other values, where the format has no sum of its bytes to compare."""
    unnoticed: list[str] = field(default_factory=list)
    """The same where it has one."""
    raw: list[str] = field(default_factory=list)
    """Exceptions that are none of the package's, or that do not name the file."""


def kinds() -> list[Kind]:
    """All kinds, each with the function of the package that reads it."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, D)).astype(np.float32), np.arange(N) % K
    pixels = rng.integers(0, 256, (N, 4, 4)).astype(np.uint8)
    moments = ClassMoments(K, D).update(x, y)
    own = ec.encodings.random(K, 3)
    tensors = {"features": torch.from_numpy(x), "labels": torch.from_numpy(y)}
    table = pa.table({"features": pa.array(list(x), pa.list_(pa.float32(), D)), "labels": y})
    columns = pa.table({f"x{j}": x[:, j] for j in range(D)} | {"labels": y})

    def packed(method: int) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            np.savez(path, features=x, labels=y)
            with zipfile.ZipFile(path) as archive:
                held = {name: archive.read(name) for name in archive.namelist()}
            with zipfile.ZipFile(path, "w", method) as archive:
                for name, content in held.items():
                    archive.writestr(name, content)

        return write

    def images(path: Path) -> None:
        header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in pixels.shape)
        path.write_bytes(gzip.compress(header + pixels.tobytes(), mtime=0))
        path.with_name("train-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1]) + N.to_bytes(4, "big") + y.astype(np.uint8).tobytes()
        )

    def arrays(path: Path) -> Any:
        return load_array(path, "features"), load_array(path, "labels")

    def shards(path: Path) -> Any:
        found = measure_shards(path, progress=False)
        return found.to_dict()

    def data(path: Path) -> Any:
        found = ec.data.load(str(path)).train
        return found.inputs, found.labels

    def encoding(path: Path) -> Any:
        found = ec.encodings.Encoding.load(path)
        return found.codewords, found.classes

    def state(path: Path) -> Any:
        return list(ClassMoments.load(path).state_dict().values())

    methods = {"stored": 0, "deflated": 8, "bzip2": 12, "lzma": 14}
    zipped = [
        Kind(f"{name}-{reader.__name__}.npz", packed(method), reader, summed=True)
        for name, method in methods.items()
        for reader in (arrays, shards, data)
    ]
    return [
        *zipped,
        Kind("array.npy", lambda path: np.save(path, x), load_array),
        *(Kind(f"{r.__name__}.safetensors", lambda path: save_file(tensors, path), r) for r in (arrays, shards, data)),
        *(Kind(f"{r.__name__}.parquet", lambda path: pq.write_table(table, path), r) for r in (arrays, shards, data)),
        Kind("columns.parquet", lambda path: pq.write_table(columns, path), shards),
        Kind("train-images-idx3-ubyte.gz", images, lambda path: data(path.parent), summed=True),
        Kind("encoding.npz", own.save, encoding, summed=True),
        Kind("encoding.json", own.save, encoding),
        Kind("moments.safetensors", moments.save, state, summed=True),
    ]


def _flip(data: Bytes, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), rng.integers(1, 4)):
        data[place] ^= 1 << int(rng.integers(8))


def _cut(data: Bytes, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def _blank(data: Bytes, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    stop = min(start + int(rng.integers(1, 65)), len(data))
    data[start:stop] = bytes(stop - start) if rng.random() < 0.5 else rng.bytes(stop - start)


def _insert(data: Bytes, rng: np.random.Generator) -> None:
    place = int(rng.integers(len(data) + 1))
    data[place:place] = rng.bytes(int(rng.integers(1, 9)))


def _tail(data: Bytes, rng: np.random.Generator) -> None:
    """Headers at the end, where archives and tables say what is in them."""
    place = len(data) - 1 - int(rng.integers(min(len(data), 200)))
    data[place] = int(rng.integers(256))


def _head(data: Bytes, rng: np.random.Generator) -> None:
    place = int(rng.integers(min(len(data), 160)))
    data[place] = int(rng.integers(48, 58)) if rng.random() < 0.5 else int(rng.integers(256))


DAMAGES = (_flip, _cut, _blank, _insert, _tail, _head)


def campaign(folder: Path, number: int, seed: int = 0) -> Verdict:
    """Damage and read so many files, the kinds in turn."""
    rng, verdict = np.random.default_rng(seed), Verdict()
    every = kinds()
    whole: dict[str, tuple[bytes, Any]] = {}
    for kind in every:
        path = folder / kind.name.replace(".", "-") / kind.name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind.write(path)
        whole[kind.name] = path.read_bytes(), kind.read(path)
    for i in range(number):
        kind = every[i % len(every)]
        path = folder / kind.name.replace(".", "-") / kind.name
        content, wanted = whole[kind.name]
        data = bytearray(content)
        damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
        damage(data, rng)
        path.write_bytes(data)
        _judge(kind, path, wanted, f"{kind.name} {damage.__name__} #{i}", verdict)
        path.write_bytes(content)
    return verdict


def _judge(kind: Kind, path: Path, wanted: Any, case: str, verdict: Verdict) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.read(path)
        same = _same(found, wanted)
    except EncollapseError as error:
        if str(path.parent) in str(error) or str(error).startswith("labels: "):  # of all files together
            verdict.refused[kind.name] += 1
        else:
            verdict.raw.append(f"{case}: names no file: {error}")
    except BaseException as error:
        verdict.raw.append(f"{case}: {type(error).__name__}: {error}")
        if isinstance(error, KeyboardInterrupt):
            raise
    else:
        if same:
            verdict.unharmed[kind.name] += 1
        elif kind.summed:
            verdict.unnoticed.append(case)
        else:
            verdict.other[kind.name] += 1


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and repr(found) == repr(wanted)
    if isinstance(wanted, list | tuple) and len(wanted) and not isinstance(wanted[0], str):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, tuple):
        return bool(found == wanted)
    return bool(np.array_equal(np.asarray(found), np.asarray(wanted), equal_nan=False))


def bomb(path: Path, size: int) -> None:
    """A small archive whose array `features` takes `size` bytes, all zero, one column after the other."""
    header = f"{{'descr': '<f4', 'fortran_order': True, 'shape': ({size // 28}, 7), }}".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    block = bytes(2**24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("features.npy", "w") as stream:
        stream.write(head)
        left = size // 28 * 28
        while left:
            left -= stream.write(block[: min(left, len(block))])
