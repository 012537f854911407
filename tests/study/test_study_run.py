"""Studies of real, tiny trainings: resume, failures, and drivers that are stopped or killed."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentTypeError
from encollapse.study.execution.trial import Job, execute
from encollapse.study.resolve import dataset_of, feature_decay_of
from encollapse.study.study import parse
from reference.study_survival import processes_of_group

TINY = """
name = "tiny"
title = "Tiny"
[defaults]
dataset = {{ name = "digits", counts = 5 }}
weight_decay = 5e-3
relative_threshold = 0.3
epochs = 1
train = {{ finish = 2 }}
[[runs]]
encoding = "one-hot"
bias_decay = {decays}
seeds = {seeds}
"""


def tiny(decays: str = "[0, inf]", seeds: str = "[0]") -> ec.study.Study:
    return parse(TINY.format(decays=decays, seeds=seeds), "tiny.toml", origin="tiny.toml")


def test_running_again_runs_what_is_missing_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = ec.study.run(tiny(), out=tmp_path, executor="inline")
    assert len(first.done) == 2
    assert "[2/2] done" in capfd.readouterr().err
    more = ec.study.run(tiny("[0, 1, inf]"), out=tmp_path, executor="inline")
    assert "1 trials to run, 2 already stored" in capfd.readouterr().err
    kept = {result.id: result.row for result in more.done}
    assert len(kept) == 3
    assert all(kept[result.id] == result.row for result in first.done)
    record = first.done[0].record
    assert record["threshold_t"] == pytest.approx(0.3)
    assert record["counts"] == [5] * 10
    predicted, measured = first.done[0].geometries()
    assert predicted is not None
    assert ec.compare(predicted, measured).gram_error == pytest.approx(record["comparison"]["gram_error"], rel=1e-12)


def test_a_failing_trial_is_recorded_and_tried_again_when_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = TINY.format(decays="[0]", seeds="[0]")
    broken = text + '[[runs]]\nencoding = "one-hot"\nbias_decay = 0\ndataset = { name = "digits", counts = 9999 }\n'
    study = parse(broken, "tiny.toml", origin="tiny.toml")
    results = ec.study.run(study, out=tmp_path, executor="inline", progress=False)
    assert len(results.done) == 1
    (failure,) = results.failed
    assert failure.error is not None
    assert failure.error.startswith("Traceback")
    assert "counts: class 0 has 178 training samples, fewer than 9999" in failure.error
    frame = results.to_frame()
    assert "counts: class 0" in frame[frame["status"] == "failed"]["error"].item()
    finished = results.done[0].row.finished
    again = ec.study.run(study, out=tmp_path, executor="inline")
    assert again.failed[0].row == failure.row
    assert "(1 of them failed; --rerun-failed tries them again)" in capfd.readouterr().err
    third = ec.study.run(study, out=tmp_path, executor="inline", rerun_failed=True, retries=2, progress=False)
    assert third.failed[0].row.attempts == 3
    assert third.done[0].row.finished == finished


def test_run_refuses_what_is_not_a_study(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="study: expected a Study, a name or a path, got int"):
        ec.study.run(3, out=tmp_path)  # type: ignore[arg-type]


def start(folder: Path, *options: str, seeds: Sequence[int] = (0, 1)) -> tuple[subprocess.Popen[str], list[str]]:
    """Start the real command on a study of many trials, as a user does, in its own process group."""
    file = folder / "tiny.toml"
    file.write_text(TINY.format(decays="[0, 0.1, 1, inf]", seeds=list(seeds)))
    command = [sys.executable, "-m", "encollapse.cli", "study", str(file), "--out", str(folder / "out"), *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background, these tests perhaps, and all that it starts ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return process, command


def wait_for_rows(folder: Path, number: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        file = folder / "out" / "results.sqlite"
        if file.exists():
            with sqlite3.connect(file, timeout=30) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'trials'").fetchall()
                if tables and connection.execute("SELECT count(*) FROM trials").fetchone()[0] >= number:
                    return
        time.sleep(0.05)
    raise AssertionError("the study did not store a trial in time")


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_kill_9_of_the_driver_loses_no_finished_trial(tmp_path: Path) -> None:
    process, command = start(tmp_path, "--workers", "1")
    wait_for_rows(tmp_path, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while processes_of_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of_group(process.pid) == []  # workers leave with their driver

    with sqlite3.connect(tmp_path / "out" / "results.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    before = {result.id: result.row for result in ec.study.open(tmp_path / "out").trials}
    assert 2 <= len(before) < 8
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert f"{len(before)} already stored" in done.stderr
    after = ec.study.open(tmp_path / "out")
    assert len(after.done) == 8
    assert all(result.row == before[result.id] for result in after.done if result.id in before)
    for result in after.done:
        result.geometries()


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process group")
def test_ctrl_c_leaves_one_line_and_what_has_finished(tmp_path: Path) -> None:
    process, _ = start(tmp_path, "--workers", "1", seeds=range(99))  # more than a slow machine ends in time
    wait_for_rows(tmp_path, 1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "error: interrupted" in errors
    assert "Traceback" not in errors
    assert 1 <= len(ec.study.open(tmp_path / "out").done) < 396


INTERRUPTED_START = """
import multiprocessing, os, signal, sys, threading, time
from multiprocessing import util
import encollapse as ec

spawn = util.spawnv_passfds

def spawned(path, arguments, descriptors):
    number = spawn(path, arguments, descriptors)
    if b"resource_tracker" not in b" ".join(map(os.fsencode, arguments)):
        os.kill(os.getpid(), signal.SIGINT)  # before the process is sent what it needs to load
        time.sleep(0.1)
    return number

if __name__ == "__main__":
    util.spawnv_passfds = spawned
    if "thread" in sys.argv:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    try:
        ec.study.run("tiny.toml", out="out", workers=1, progress=False)
    except KeyboardInterrupt:
        print("interrupted, left running:", len(multiprocessing.active_children()), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("others", [[], ["thread"]])
def test_ctrl_c_while_a_worker_starts_leaves_no_process(tmp_path: Path, others: list[str]) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(decays="[0]", seeds="[0]"))
    (tmp_path / "driver.py").write_text(INTERRUPTED_START)
    done = subprocess.run(
        [sys.executable, "driver.py", *others],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.stdout == "interrupted, left running: 0\n"
    assert done.stderr == ""


def test_a_checkpoint_that_is_of_no_use_is_left_behind(tmp_path: Path) -> None:
    (trial, _) = tiny().trials
    state = tmp_path / "state.safetensors"
    wanted = execute(Job(trial.settings))
    state.write_bytes(b"of another release")
    found = execute(Job(trial.settings, str(state)))
    assert found.error is None
    assert not state.exists()
    assert found.record is not None
    assert wanted.record is not None
    assert found.record["loss"] == wanted.record["loss"]


def test_versions_are_those_of_the_code_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    (trial, _) = tiny().trials
    monkeypatch.setattr(torch, "__version__", "2.0.0+mine")  # whatever the metadata of an installed package say
    ran = execute(Job({**trial.settings, "model": "ufm"})).versions
    assert (ran["torch"], ran["encollapse"], ran["numpy"]) == ("2.0.0+mine", ec.__version__, np.__version__)
    source, root = hashlib.sha256(), Path(ec.__file__).parent
    for path in sorted(root.rglob("*.py")):
        source.update(f"{path.relative_to(root).as_posix()}\0".encode())
        source.update(path.read_bytes())
    assert ran["encollapse source"] == source.hexdigest()[:16]


def test_a_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    import encollapse.train

    (trial, _) = tiny().trials
    state = tmp_path / "state.safetensors"
    dataset = dataset_of(trial.settings)
    encollapse.train.fit(
        dataset,
        "one-hot",
        weight_decay=trial.settings["weight_decay"],
        feature_decay=feature_decay_of(trial.settings, 10, 50),
        epochs=1,
        finish=2,
        checkpoint=state,
        checkpoint_seconds=0.0,
        keep_checkpoint=True,
        progress=False,
    )
    assert state.exists()
    heard: dict[str, list[int]] = {"resumed": [], "fresh": []}
    found = execute(Job(trial.settings, str(state)), lambda done, *_: heard["resumed"].append(done))
    fresh = execute(Job(trial.settings), lambda done, *_: heard["fresh"].append(done))
    assert 0 in heard["fresh"]
    assert 0 not in heard["resumed"]  # the first passes were not made again
    assert found.record is not None
    assert fresh.record is not None
    assert found.record["loss"] == fresh.record["loss"]
    assert not state.exists()
