"""Arrays from files, and plain errors for what is none."""

import gzip
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from encollapse import data
from encollapse._internal import memory
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError, MemoryLimitError
from encollapse.measure import load_array, load_features, load_labels, measure_shards
from reference.damaged_files import bomb, campaign

FEATURES = np.random.default_rng(0).standard_normal((11, 7)).astype(np.float32)
LABELS = np.arange(11) % 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "h.npy", FEATURES)
    np.save(tmp_path / "y.npy", LABELS)
    np.savez(tmp_path / "one.npz", anything=FEATURES)
    np.savez(tmp_path / "two.npz", h=FEATURES, y=LABELS)
    np.savez(tmp_path / "none.npz")
    save_file({"h": torch.from_numpy(FEATURES).bfloat16(), "y": torch.from_numpy(LABELS)}, tmp_path / "two.safetensors")
    save_file({"h": torch.from_numpy(FEATURES)}, tmp_path / "one.safetensors")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", h=np.array([{}], dtype=object))
    for suffix in ("npy", "npz", "safetensors"):
        (tmp_path / f"text.{suffix}").write_text("not an array at all")
        (tmp_path / f"empty.{suffix}").write_bytes(b"")
    (tmp_path / "archive.npy").write_bytes((tmp_path / "one.npz").read_bytes())
    (tmp_path / "array.npz").write_bytes((tmp_path / "h.npy").read_bytes())
    return tmp_path


def test_features_and_labels_come_back(folder: Path) -> None:
    np.testing.assert_array_equal(load_features(folder / "h.npy"), FEATURES)
    np.testing.assert_array_equal(load_features(str(folder / "one.npz")), FEATURES)
    np.testing.assert_array_equal(load_features(folder / "two.npz", "h"), FEATURES)
    np.testing.assert_array_equal(load_array(folder / "one.safetensors"), FEATURES)
    narrow = load_features(folder / "two.safetensors", "h")
    assert torch.equal(narrow, torch.from_numpy(FEATURES).bfloat16())
    for path, key in (("y.npy", None), ("two.npz", "y"), ("two.safetensors", "y")):
        labels = load_labels(folder / path, key)
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, LABELS)


BAD: list[tuple[str, str | None, type[Exception], str]] = [
    ("h.csv", None, ArgumentError, r"path.*\.npy or \.npz or \.safetensors"),
    ("absent.npy", None, FileNotFoundError, "absent.npy"),
    ("h.npy", "h", ArgumentError, "key.*single array"),
    ("two.npz", None, ArgumentError, "key.*several arrays.*'h', 'y'"),
    ("two.safetensors", "z", ArgumentError, "key.*no array 'z'.*'h', 'y'"),
    ("none.npz", None, FileFormatError, "holds no array"),
    ("objects.npy", None, FileFormatError, "Python objects"),
    ("objects.npz", None, FileFormatError, "Python objects"),
    ("text.npy", None, FileFormatError, "cannot be read as .npy"),
    ("text.npz", None, FileFormatError, "cannot be read as .npz"),
    ("text.safetensors", None, FileFormatError, "cannot be read as .safetensors"),
    ("empty.npy", None, FileFormatError, "cannot be read as .npy"),
    ("empty.npz", None, FileFormatError, "cannot be read as .npz"),
    ("empty.safetensors", None, FileFormatError, "cannot be read as .safetensors"),
    ("archive.npy", None, FileFormatError, "rename it to .npz"),
    ("array.npz", None, FileFormatError, "not an .npz archive"),
]


@pytest.mark.parametrize(("name", "key", "kind", "text"), BAD)
def test_bad_files(folder: Path, name: str, key: str | None, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        load_array(folder / name, key)


def test_wrong_kinds_of_array(folder: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"y\.npy.*int64"):
        load_features(folder / "y.npy")
    with pytest.raises(ArgumentTypeError, match=r"h\.npy.*float32"):
        load_labels(folder / "h.npy")


def test_without_torch_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import encollapse; encollapse.measure"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingDependencyError" in result.stderr
    assert "pip install 'encollapse[torch]'" in result.stderr


def test_damaged_files_are_refused_by_name_or_read_as_written(tmp_path: Path) -> None:
    """A slice of `benchmarks/damaged_files.py`: every kind of file, damaged a few times."""
    found = campaign(tmp_path, 150, seed=7)
    assert found.raw == []
    assert found.unnoticed == []
    assert found.refused.total() > 90


def test_a_header_that_breaks_off_is_damage(tmp_path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (5, 3".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(120)
    )
    with pytest.raises(FileFormatError, match=r"a\.npy"):
        load_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("shape", "kind", "text"),
    [((10**12,), FileFormatError, "promises 8000000000000 bytes"), ((3,), FileFormatError, "")],
)
def test_headers_that_lie(tmp_path: Path, shape: tuple[int, ...], kind: type[Exception], text: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(8 * 11)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(kind, match=r"a\.npy"):
        load_array(tmp_path / "a.npy")
    with pytest.raises(kind, match=text or "promises 24 bytes, 88 follow"):
        load_array(tmp_path / "a.npz")


def test_what_unpacks_beyond_reason_is_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "DENSE_LIMIT_BYTES", 2**22)
    bomb(tmp_path / "a.npz", 2**24)
    np.save(tmp_path / "a.labels.npy", np.zeros(2**24 // 28, np.int8))
    runs = pa.table({"x": np.zeros(2**20, np.float32), "label": np.zeros(2**20, np.int64)})
    pq.write_table(runs, tmp_path / "b.parquet")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 1]))
    images = bytes([0, 0, 8, 3, 0, 0, 0x40, 0, 0, 0, 0x4, 0, 0, 0, 0, 1])
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images + bytes(2**24), mtime=0))
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    tracemalloc.start()
    for read in (
        lambda: load_array(tmp_path / "a.npz", "features"),
        lambda: load_array(tmp_path / "b.parquet", "x"),
        lambda: load_array(tmp_path / "b.parquet"),
        lambda: data.load(str(tmp_path)),
    ):
        with pytest.raises(MemoryLimitError, match=r"(a\.npz|b\.parquet|ubyte\.gz).*unpack to 0\.[01] GiB"):
            read()
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with pytest.raises(MemoryLimitError, match=r"a\.npz.*unpack"):
        measure_shards(tmp_path / "a.npz")


def test_what_there_is_no_memory_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).standard_normal(1000))
    assert memory.free_bytes() > 2**20
    monkeypatch.setattr(memory, "free_bytes", lambda: 7999)
    with pytest.raises(MemoryLimitError, match=r"a\.npz: the array 'x': needs .* free"):
        load_array(tmp_path / "a.npz")


def test_free_memory_is_what_limits_leave() -> None:
    code = (
        "import resource; from encollapse._internal import memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, 3 * 10**9)); print(memory.free_bytes())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10**8 < int(result.stdout) < 3 * 10**9
