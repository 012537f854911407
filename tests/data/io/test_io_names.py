"""One reader for data sets and for features: the same files, arrays and columns, whatever they are called."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import encollapse as ec
from encollapse.data.io.arrays import FEATURE_NAMES, LABEL_NAMES
from encollapse.errors import FileFormatError

FEATURES = np.random.default_rng(0).standard_normal((11, 7)).astype(np.float32)
LABELS = np.arange(11) % 5


def write(folder: Path, suffix: str, features: str, labels: str) -> Path:
    path = folder / f"train{suffix}"
    if suffix == ".npz":
        arrays: dict[str, Any] = {features: FEATURES, labels: LABELS}
        np.savez(path, **arrays)
    elif suffix == ".safetensors":
        save_file({features: torch.from_numpy(FEATURES), labels: torch.from_numpy(LABELS)}, path)
    else:
        parquet(path, {features: list(FEATURES), labels: LABELS})
    return path


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("labels", LABEL_NAMES)
@pytest.mark.parametrize("features", FEATURE_NAMES)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_every_name_is_read_in_every_kind_of_file(tmp_path: Path, suffix: str, features: str, labels: str) -> None:
    path = write(tmp_path, suffix, features, labels)
    for source in (path, tmp_path):
        data = ec.data.load(source)
        np.testing.assert_array_equal(data.train.inputs, FEATURES)
        np.testing.assert_array_equal(data.train.labels, LABELS)
    measured = ec.measure.measure_shards(path)
    assert measured.nc1_pinv == pytest.approx(ec.measure.collapse(FEATURES, LABELS).nc1_pinv or 0.0, rel=1e-12)


def test_columns_named_like_labels_are_no_features(tmp_path: Path) -> None:
    columns = {f"x{i}": FEATURES[:, i] for i in range(7)} | {"target": LABELS.astype(float), "label": LABELS}
    path = parquet(tmp_path / "part.parquet", columns)
    np.testing.assert_array_equal(ec.measure.load_array(path), FEATURES)
    expected = ec.measure.collapse(FEATURES, LABELS).nc1_pinv
    assert ec.measure.measure_shards(path).nc1_pinv == pytest.approx(expected or 0.0, rel=1e-12)


def test_a_folder_of_features_is_a_data_set_too(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", FEATURES)
    np.save(tmp_path / "target.npy", LABELS)
    np.testing.assert_array_equal(ec.data.load(tmp_path).train.inputs, FEATURES)


def test_of_inputs_and_features_data_are_inputs_and_measurements_of_features(tmp_path: Path) -> None:
    path = tmp_path / "both.npz"
    np.savez(path, inputs=-FEATURES, features=FEATURES, labels=LABELS)
    np.testing.assert_array_equal(ec.data.load(path).train.inputs, -FEATURES)
    means = ec.measure.measure_shards(path).source
    assert means is not None
    np.testing.assert_allclose(means.statistics.means[0], FEATURES[LABELS == 0].mean(axis=0), rtol=1e-6)


def test_a_part_without_rows_has_any_width(tmp_path: Path) -> None:
    import pyarrow as pa

    for number, stop in enumerate((0, 4, 11)):
        start = (0, 0, 4)[number]
        rows = pa.array(list(FEATURES[start:stop]), pa.list_(pa.float32()))
        parquet(tmp_path / f"part-{number}.parquet", {"features": rows, "labels": LABELS[start:stop]})
    measured = ec.measure.measure_shards(tmp_path)
    assert measured.num_samples == 11
    assert measured.nc1_pinv == pytest.approx(ec.measure.collapse(FEATURES, LABELS).nc1_pinv or 0.0, rel=1e-12)


def test_lists_of_several_lengths_and_empty_cells_are_named_by_row(tmp_path: Path) -> None:
    ragged = parquet(tmp_path / "a.parquet", {"label": LABELS[:2], "features": [[1.0], [1.0, 2.0]]})
    holes = parquet(tmp_path / "b.parquet", {"label": LABELS[:2], "features": [[1.0], None]})
    for path, text in ((ragged, "row 1 has 2 features, row 0 has 1"), (holes, "empty cells in rows 0 to 1")):
        with pytest.raises(FileFormatError, match=text):
            ec.data.load(path)
        with pytest.raises(FileFormatError, match=text):
            ec.measure.measure_shards(path)
