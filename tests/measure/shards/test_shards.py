"""Folders of shards: every format and executor gives what one array gives."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import encollapse as ec
from encollapse.data.io.rows import open_rows
from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.measure import Collapse, collapse, load_array, load_labels, measure_shards
from encollapse.measure.shards import spans
from encollapse.measure.shards.executing import process_pool
from encollapse.measure.shards.layout import find_shards

K, D, SIZES = 5, 7, (11, 0, 3, 17, 2)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, K, sum(SIZES))
LABELS[LABELS == 3] = 1
FEATURES = (2 * np.eye(K, D)[LABELS] + RNG.standard_normal((len(LABELS), D))).astype(np.float32)
WEIGHT, BIAS = RNG.standard_normal((K, D)), RNG.standard_normal(K)


def parts() -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    cuts = np.cumsum(SIZES)[:-1]
    return list(zip(np.split(FEATURES, cuts), np.split(LABELS, cuts), strict=True))


def npy(path: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    np.save(path.with_suffix(".npy"), x)
    np.save(path.with_suffix(".labels.npy"), y)


def npz(path: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    np.savez_compressed(path.with_suffix(".npz"), features=x, labels=y, extra=x[:, :1])


def by_column(path: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    np.savez(path.with_suffix(".npz"), features=np.asfortranarray(x), labels=y)


def safetensors(path: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    save_file({"h": torch.from_numpy(x), "labels": torch.from_numpy(y)}, path.with_suffix(".safetensors"))


def list_column(path: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    rows = pa.array(list(x), pa.list_(pa.float32(), D)) if len(x) else pa.array([], pa.list_(pa.float32(), D))
    pq.write_table(pa.table({"label": y, "h": rows}), path.with_suffix(".parquet"), row_group_size=4)


def columns(path: Path, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    table = {f"h{j}": x[:, j] for j in range(D)} | {"label": y}
    pq.write_table(pa.table(table), path.with_suffix(".parquet"), row_group_size=4)


def write(folder: Path, kind: Callable[..., None]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, (x, y) in enumerate(parts()):
        kind(folder / f"part-{number + 8}", x, y)  # 8, 9, 10, ...: natural order is not alphabetical
    return folder


def agree(found: Collapse, wanted: Collapse, rtol: float = 1e-9) -> None:
    assert found.missing == wanted.missing
    assert found.to_dict()["counts"] == wanted.to_dict()["counts"]
    for name, value in wanted.values.items():
        if value is not None:
            assert found.values[name] == pytest.approx(value, rel=rtol, abs=1e-12), name


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_ENTRIES", 5 * D)


@pytest.mark.parametrize("kind", [npy, npz, by_column, safetensors, list_column, columns])
def test_every_format(tmp_path: Path, kind: Callable[..., None]) -> None:
    folder = write(tmp_path, kind)
    found = measure_shards(folder, weight=WEIGHT, bias=BIAS, num_classes=K)
    agree(found, collapse(FEATURES, LABELS, weight=WEIGHT, bias=BIAS, num_classes=K))
    assert found.geometry.provenance["shards"] == len(SIZES)
    files = [*sorted(folder.glob("part-8.*")), *sorted(folder.glob("part-11.*"))]
    some = [path for path in files if ".labels" not in path.name]
    rows = [*range(11), *range(14, 31)]
    agree(measure_shards(some, num_classes=K), collapse(FEATURES[rows], LABELS[rows], num_classes=K))


def test_parquet_reads_as_an_array(tmp_path: Path) -> None:
    list_column(tmp_path / "a", FEATURES, LABELS)
    columns(tmp_path / "b", FEATURES, LABELS)
    for name in ("a.parquet", "b.parquet"):
        np.testing.assert_array_equal(load_array(tmp_path / name), FEATURES)
        np.testing.assert_array_equal(load_labels(tmp_path / name, "label"), LABELS)
    np.testing.assert_array_equal(load_array(tmp_path / "b.parquet", "h2"), FEATURES[:, 2])


def test_labels_in_one_file_an_array_or_a_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "h", npy)
    for path in folder.glob("*.labels.npy"):
        (tmp_path / "y").mkdir(exist_ok=True)
        path.rename(tmp_path / "y" / path.name.replace(".labels", ""))
    np.save(folder / "all.npy", LABELS)  # inside the folder, and yet no shard
    np.savez(tmp_path / "all.npz", other=LABELS[:1], labels=LABELS)
    wanted = collapse(FEATURES, LABELS)
    agree(measure_shards(folder, folder / "all.npy"), wanted)
    (folder / "all.npy").unlink()
    agree(measure_shards(folder, str(tmp_path / "all.npz")), wanted)
    agree(measure_shards(folder, LABELS), wanted)
    agree(measure_shards(folder, tmp_path / "y"), wanted)


@pytest.mark.parametrize("convention", ["default", "class-averaged"])
def test_executors_change_no_bit(tmp_path: Path, convention: str) -> None:
    folder = write(tmp_path, npy)
    alone = measure_shards(folder, weight=WEIGHT, convention=convention)
    with ThreadPoolExecutor(3) as pool:
        threads = measure_shards(folder, weight=WEIGHT, convention=convention, executor=pool)
    assert threads.to_dict() == alone.to_dict()
    agree(alone, collapse(FEATURES, LABELS, weight=WEIGHT, convention=convention))


@pytest.mark.processes
@pytest.mark.slow
def test_processes_change_no_bit(tmp_path: Path) -> None:
    folder = write(tmp_path, safetensors)
    alone = measure_shards(folder, weight=WEIGHT, encoding=ec.encodings.simplex(K, K))
    with process_pool(1) as pool:
        found = measure_shards(folder, weight=WEIGHT, encoding=ec.encodings.simplex(K, K), executor=pool)
        assert found.to_dict() == alone.to_dict()
        (folder / "part-10.safetensors").write_bytes(b"\1" * 80)
        with pytest.raises(FileFormatError, match=r"part-10\.safetensors: cannot be read"):
            measure_shards(folder, executor=pool)


@pytest.mark.processes
@pytest.mark.slow
def test_a_dask_cluster_changes_no_bit(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    folder = write(tmp_path, npy)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", processes=True
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as pool,
    ):
        found = measure_shards(folder, weight=WEIGHT, bias=BIAS, executor=pool)
    assert found.to_dict() == measure_shards(folder, weight=WEIGHT, bias=BIAS).to_dict()


def test_one_pass(tmp_path: Path) -> None:
    folder = write(tmp_path, npy)
    both = measure_shards(folder, weight=WEIGHT, bias=BIAS, num_classes=K)
    means = np.full((K, D), np.nan)
    for k in set(LABELS.tolist()):
        means[k] = FEATURES[k == LABELS].astype(np.float64).mean(axis=0)
    once = measure_shards(folder, weight=WEIGHT, bias=BIAS, num_classes=K, centers=means)
    assert (once.nc4_agreement, once.ncc_accuracy) == (both.nc4_agreement, both.ncc_accuracy)
    agree(once, both)
    none = measure_shards(folder, weight=WEIGHT, second_pass=False, covariance=False)
    assert none.nc4_agreement is None
    assert none.nc1_pinv is None
    assert none.cdnv == pytest.approx(both.cdnv, rel=1e-12)


def test_pieces_cover_every_row_once(tmp_path: Path) -> None:
    shards = find_shards(write(tmp_path, npy))
    assert [shard.path.stem for shard in shards] == [f"part-{number}" for number in range(8, 13)]
    rows = [(s.shard.path, i) for piece in spans.cut(shards, 1) for s in piece for i in range(s.start, s.stop)]
    assert rows == [(shard.path, i) for shard in shards for i in range(shard.num_rows)]
    sizes = [sum(s.stop - s.start for s in piece) for piece in spans.cut(shards, 1)]
    assert sizes == [14, 16, 3]  # at most 2 (K + d) rows, taken together or apart


def test_bad_folders(tmp_path: Path) -> None:
    folder = write(tmp_path / "h", npy)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        measure_shards(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match=r"features.*no shards.*\.parquet"):
        measure_shards(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"labels.*nowhere"):
        measure_shards(folder, tmp_path / "nowhere.npy")
    with pytest.raises(ArgumentError, match=r"labels has 2 labels for 33 rows of features in 5 shards"):
        measure_shards(folder, np.array([0, 1]))
    with pytest.raises(ArgumentTypeError, match=r"executor.*get_executor"):
        measure_shards(folder, executor="process")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"centers.*\(5, 7\)"):
        measure_shards(folder, centers=np.zeros((K, D + 1)), num_classes=K)
    (folder / "part-10.labels.npy").unlink()
    with pytest.raises(ArgumentError, match=r"labels: none for .*part-10\.npy.*part-10\.labels\.npy"):
        measure_shards(folder)
    np.save(folder / "part-10.labels.npy", LABELS[:2])
    with pytest.raises(FileFormatError, match=r"part-10\.labels\.npy: has 2 labels for the 3 rows"):
        measure_shards(folder)


def test_bad_shards(tmp_path: Path) -> None:
    folder = write(tmp_path, npy)
    whole = (folder / "part-11.npy").read_bytes()
    (folder / "part-11.npy").write_bytes(whole[:-9])
    with pytest.raises(FileFormatError, match=r"part-11\.npy: cannot be read as \.npy"):
        measure_shards(folder)
    np.save(folder / "part-11.npy", np.zeros((17, D + 1), np.float32))
    with pytest.raises(FileFormatError, match=r"part-11\.npy: has 8 features a sample.*part-8\.npy has 7"):
        measure_shards(folder)
    broken = np.zeros((17, D))
    broken[5, 2] = np.nan
    np.save(folder / "part-11.npy", broken)
    with pytest.raises(ArgumentError, match=r"part-11\.npy from row 0 on: .*finite.*nan"):
        measure_shards(folder)
    np.save(folder / "part-11.npy", np.zeros((17, D), np.int64))
    with pytest.raises(ArgumentTypeError, match=r"part-11\.npy.*int64"):
        measure_shards(folder)
    np.save(folder / "part-11.npy", np.zeros(17))
    with pytest.raises(FileFormatError, match=r"part-11\.npy: expected features of shape \(N, d\)"):
        measure_shards(folder)


def test_files_of_labels_and_features_name_what_helps(tmp_path: Path) -> None:
    np.save(tmp_path / "h.npy", np.ones((5, 3, D)))
    with pytest.raises(FileFormatError, match=r"got \(5, 3, 7\); average the positions, or flatten"):
        measure_shards(tmp_path / "h.npy", np.zeros(5, dtype=int))
    np.save(tmp_path / "h.npy", np.ones((5, D)))
    np.savez(tmp_path / "y.npz", a=np.arange(5), b=np.arange(5))
    with pytest.raises(ArgumentError, match=r"^label_key: .*y\.npz holds several arrays; choose one of 'a', 'b'"):
        measure_shards(tmp_path / "h.npy", tmp_path / "y.npz")
    np.save(tmp_path / "y.npy", np.array(["cat", "dog", "cat", "cat", "dog"], dtype=object))
    with pytest.raises(FileFormatError, match=r"y\.npy: holds Python objects.*classes, labels = np\.unique"):
        measure_shards(tmp_path / "h.npy", tmp_path / "y.npy")
    (tmp_path / "y.csv").write_text("0\n1\n")
    with pytest.raises(ArgumentError, match=r"labels: .*np\.loadtxt\(path, dtype=int\)"):
        measure_shards(tmp_path / "h.npy", tmp_path / "y.csv")


@pytest.mark.parametrize("kind", [npz, safetensors, list_column])
def test_torn_files_are_named(tmp_path: Path, kind: Callable[..., None]) -> None:
    folder = write(tmp_path, kind)
    torn = next(folder.glob("part-11.*"))
    torn.write_bytes(torn.read_bytes()[:-60])
    with pytest.raises(FileFormatError, match=rf"{torn.name}: cannot be read as {torn.suffix}"):
        measure_shards(folder)


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", features=FEATURES, labels=LABELS)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(FEATURES[20].tobytes())] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"a\.npz: cannot be read"):
        measure_shards(tmp_path)


def test_parquet_says_what_is_wrong(tmp_path: Path) -> None:
    ragged = pa.table({"h": pa.array([[1.0, 2.0], [3.0]]), "label": [0, 1]})
    pq.write_table(ragged, tmp_path / "a.parquet")
    with pytest.raises(FileFormatError, match=r"row 1 has 1 features, row 0 has 2"):
        measure_shards(tmp_path)
    pq.write_table(pa.table({"h": [1.0, None], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(FileFormatError, match="empty cells"):
        measure_shards(tmp_path)
    pq.write_table(pa.table({"h": ["x"], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(FileFormatError, match="no column of floating-point numbers"):
        measure_shards(tmp_path)
    two = pa.table({"a": pa.array([[1.0]]), "b": pa.array([[1.0]]), "label": [0]})
    pq.write_table(two, tmp_path / "a.parquet")
    with pytest.raises(ArgumentError, match=r"several list columns.*a, b"):
        measure_shards(tmp_path)
    assert measure_shards(tmp_path, key="b").num_samples == 1


def test_other_things_in_an_archive_are_no_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(FileFormatError, match=r"^\S*a\.npz: holds no array"):
        measure_shards(tmp_path, LABELS)
    np.savez(tmp_path / "a.npz", one=FEATURES, other=FEATURES)
    with pytest.raises(ArgumentError, match=r"^key: \S*a\.npz holds several arrays; choose one of 'one', 'other'"):
        measure_shards(tmp_path, LABELS)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("notes.txt", "no array")
    assert measure_shards(tmp_path, LABELS, key="one").num_samples == len(FEATURES)


def test_a_single_number_is_no_file_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FEATURES)
    np.save(tmp_path / "a.labels.npy", np.int64(3))
    with pytest.raises(FileFormatError, match=r"a\.labels\.npy: expected shape \(N,\), got \(\)"):
        measure_shards(tmp_path)


@pytest.mark.parametrize("kind", [npy, npz, safetensors, list_column])
@pytest.mark.parametrize("when", ["before the second piece", "before the second pass"])
def test_shards_that_change_during_a_run_are_noticed(
    tmp_path: Path, kind: Callable[..., None], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, kind)
    monkeypatch.setattr(spans, "_ENTRIES", 4 * D)
    looked, measured = spans.moments_of, spans.decisions_of

    def replaced(found: Any, *rest: Any) -> Any:
        name = found[0].shard.path
        target = next(p for p in folder.glob("part-11.*") if "labels" not in p.name) if when.endswith("piece") else name
        if target.stat().st_mtime_ns != 1:
            kind(tmp_path / "other", FEATURES[:3], LABELS[:3])
            (tmp_path / f"other{target.suffix}").replace(target)
            os.utime(target, ns=(1, 1))
        return (looked if when.endswith("piece") else measured)(found, *rest)

    monkeypatch.setattr(
        f"encollapse.measure.shards.measuring.{'moments_of' if when.endswith('piece') else 'decisions_of'}", replaced
    )
    with pytest.raises(FileFormatError, match=r"part-\d+\S+: was changed while it was measured"):
        measure_shards(folder)


THREADS = """
import os, sys
import pandas
import encollapse as ec

before = len(os.listdir("/proc/self/task"))
labels = ec.measure.load_labels(sys.argv[1], key="label")
print(labels, len(os.listdir("/proc/self/task")) <= before + 1)  # one returns memory to the system
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_a_column_of_parquet_starts_no_pool_of_threads(tmp_path: Path) -> None:
    """Under a limit of memory a thread may not start, and the process then waited for it for ever at its end."""
    pq.write_table(pa.table({"label": pa.array([0, 2, 1])}), tmp_path / "a.parquet")
    command = [sys.executable, "-c", THREADS, str(tmp_path / "a.parquet")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[0 2 1] True\n"


def test_parquet_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """Also where all rows are one group, as pandas writes them."""
    x = np.random.default_rng(0).standard_normal((60_000, 256), dtype=np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 256)
    pq.write_table(pa.table({"h": rows}), tmp_path / "a.parquet", row_group_size=len(x))
    start, peak, seen = pa.total_allocated_bytes(), 0, 0
    for block in open_rows(tmp_path / "a.parquet", None).blocks(0, len(x), 1000):
        np.testing.assert_array_equal(block, x[seen : seen + 1000])
        seen += len(block)
        peak = max(peak, pa.total_allocated_bytes() - start)
    assert seen == len(x)
    assert peak < x.nbytes / 6
