"""Files and folders of a user's own: arrays, archives, tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.data import Dataset
from encollapse.errors import ArgumentError, FileFormatError

RNG = np.random.default_rng(0)
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
    path = parquet_of(tmp_path / "c.parquet", {"label": LABELS, "size": INPUTS[:, 0], "color": NAMES})
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
    with pytest.raises(FileFormatError, match="row 1 has 2 features, row 0 has 1"):
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
