"""The folder of a study: what is written comes back, and what is wrong is refused."""

import math
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError, EncollapseError, FileFormatError
from encollapse.geometry import ClassGeometry
from encollapse.geometry.arrays import to_arrays
from encollapse.study.record import CertificateRecord, PredictionRecord, TrialRecord
from encollapse.study.store.arrays import load_arrays, load_geometries, save_arrays
from encollapse.study.store.sqlite import Store, StoredTrial
from reference.study_folder import failed, study_of, write_folder


def made_geometry() -> ClassGeometry:
    generator = np.random.default_rng(0)
    means, weight = generator.standard_normal((7, 5)), generator.standard_normal((3, 7))
    return ClassGeometry(
        feature_gram=means.T @ means,
        counts=np.array([4, 1, 0, 2, 3]),
        classifier_gram=weight @ weight.T,
        class_outputs=weight @ means,
        bias=generator.standard_normal(3),
        within=generator.random(5),
    )


@pytest.mark.parametrize("with_prediction", [True, False])
def test_geometries_come_back_exactly(tmp_path: Path, with_prediction: bool) -> None:
    measured = made_geometry()
    plain = ClassGeometry(feature_gram=np.eye(5), counts=np.full(5, 3))
    arrays = to_arrays(measured, "measured") | (to_arrays(plain, "predicted") if with_prediction else {})
    save_arrays(tmp_path / "g.safetensors", arrays)
    predicted, again = load_geometries(tmp_path / "g.safetensors")
    for name in ("feature_gram", "counts", "classifier_gram", "class_outputs", "bias", "within"):
        np.testing.assert_array_equal(getattr(again, name), getattr(measured, name))
    if with_prediction:
        assert predicted is not None
        np.testing.assert_array_equal(predicted.feature_gram, np.eye(5))
        assert predicted.bias is None
    else:
        assert predicted is None


def test_a_damaged_geometry_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    path.write_bytes(b"not what it seems")
    with pytest.raises(FileFormatError, match=r"g\.safetensors: not what a trial wrote"):
        load_geometries(path)
    save_arrays(path, {"other": np.eye(3)})
    with pytest.raises(FileFormatError, match=r"g\.safetensors: not what a trial wrote"):
        load_geometries(path)


def test_arrays_come_back_whatever_their_layout_in_memory(tmp_path: Path) -> None:
    wanted = {"turned": np.arange(6.0).reshape(2, 3).T, "every other": np.arange(7)[::2], "one": np.array(2.5)}
    found = load_arrays(save_arrays(tmp_path / "a.safetensors", wanted))
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def test_rows_come_back_with_infinity_and_absent_values(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    trial = next(t for t in study_of().trials if math.isinf(t.settings["bias_decay"]))
    record = TrialRecord(
        classes=("inf", "b"),
        counts=(3, 5),
        loss=math.nan,
        collapse={"nc1_pinv": math.inf, "cdnv": None},
        prediction=PredictionRecord(
            "SOLVED", "m", 0.5, None, math.inf, CertificateRecord("none", None, -math.inf, False)
        ),
    )
    row = StoredTrial(trial.id, trial.settings, "done", record, None, 2.0, "a", "b", {"numpy": "1"})
    store.keep(row)
    again = store.rows()[trial.id]
    assert again.settings == trial.settings
    assert again.record == replace(record, loss=None)
    assert record.value("nc1_pinv") is None


def test_records_of_other_releases_are_read() -> None:
    record = TrialRecord.from_dict(
        {"loss": 0.25, "collapse": {"cdnv": "inf"}, "what it is": 3, "prediction": {"loss": 1}}
    )
    assert record.value("loss") == 0.25
    assert record.collapse["cdnv"] == math.inf
    assert (record.comparison, record.counts, record.value("gram_error")) == (None, (), None)
    assert record.prediction is not None
    assert (record.prediction.loss, record.prediction.certificate.holds) == (1, False)
    assert record == TrialRecord.from_dict(record.to_dict())


def test_what_is_stored_of_a_trial_is_read_back_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    (trial, *_) = study_of().trials
    row = StoredTrial(trial.id, trial.settings, "failed", None, "no", 2.0, "a", "b", {"numpy": "1"})
    store.keep(row)
    again = store.rows()[trial.id]
    assert (again.seconds, again.started, again.finished, again.versions) == (2.0, "a", "b", {"numpy": "1"})


def test_a_trial_without_its_files_counts_as_lost(tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path, study)
    done, gone, also, bad = study.trials[:4]
    store.arrays_path(gone.id).unlink()
    store.history_path(also.id).unlink()
    store.keep(failed(bad, "Traceback: no"))
    statuses = store.statuses()
    assert [statuses[trial.id] for trial in (done, gone, also, bad)] == ["done", "lost", "lost", "failed"]


def test_a_folder_belongs_to_one_study(tmp_path: Path) -> None:
    store = write_folder(tmp_path, study_of())
    with pytest.raises(ArgumentError, match=r"holds the study 'made-up', not 'other'; give another folder"):
        store.write_definition("other", {})


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no study results"):
        ec.study.open(tmp_path)
    (tmp_path / "results.sqlite").write_text("this is a text file, long enough to be looked at " * 9)
    with pytest.raises(FileFormatError, match="not a results file of encollapse"):
        ec.study.open(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ArgumentError, match="is a file; give a folder"):
        ec.study.run("digits-transition", out=file)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (99, r"newer encollapse \(layout 99\); update to read it"),
        (1, r"older encollapse \(layout 1\); give another folder, or delete this one and run the study again"),
    ],
)
def test_results_of_another_layout_are_refused_with_what_to_do(layout: int, message: str, tmp_path: Path) -> None:
    store = write_folder(tmp_path, study_of())
    with sqlite3.connect(store.file) as connection:
        connection.execute(f"PRAGMA user_version = {layout}")
    with pytest.raises(FileFormatError, match=message):
        ec.study.open(tmp_path)


def test_open_gives_trials_in_the_order_of_the_study(tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path, study)
    with sqlite3.connect(store.file) as connection:
        connection.execute("DELETE FROM trials WHERE id = ?", (study.trials[1].id,))
    store.keep(failed(study.trials[0], "Traceback\nValueError: nothing"))
    results = ec.study.open(tmp_path)
    assert [result.id for result in results.trials] == [t.id for t in study.trials if t is not study.trials[1]]
    assert results.missing == (study.trials[1],)
    assert [result.id for result in results.failed] == [study.trials[0].id]
    with pytest.raises(ArgumentError, match="failed and has no record"):
        _ = results.failed[0].record


def test_worst_and_frame_agree_with_the_comparisons(tmp_path: Path) -> None:
    write_folder(tmp_path, study_of())
    results = ec.study.open(tmp_path)
    errors = {}
    for result in results.trials:
        predicted, measured = result.geometries()
        assert predicted is not None
        errors[result.id] = ec.compare(predicted, measured).gram_error
    worst = results.worst("gram_error")
    assert worst is not None
    assert worst.id == max(errors, key=lambda i: errors[i] or 0)
    frame = results.to_frame().set_index("trial")
    assert frame["gram_error"].to_dict() == errors
    assert frame["bias_decay"].max() == math.inf
    with pytest.raises(ArgumentError, match="error: expected one of 'gram_error'"):
        results.worst("nonsense")


def test_a_second_driver_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    refused = pytest.raises(EncollapseError, match=r"another driver \(process \d+ on .*\) is running")
    with store.driver_lock(), refused:
        ec.study.run("digits-transition", out=tmp_path, executor="inline", progress=False)
    with store.driver_lock():
        pass


def test_the_lock_of_a_killed_driver_blocks_nobody(tmp_path: Path) -> None:
    holder = (
        "import sys, time; from encollapse.study.store.sqlite import Store; s = Store(sys.argv[1]); s.create()\n"
        "with s.driver_lock(): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    store = Store(tmp_path)
    with pytest.raises(EncollapseError, match=f"process {process.pid} "), store.driver_lock():
        pass
    process.kill()
    process.communicate()
    with store.driver_lock():
        pass
