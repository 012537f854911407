"""Trials that never end: stopped at their limit, and tried again after all others."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

import encollapse as ec
from encollapse import cli
from encollapse.errors import ArgumentError
from encollapse.study.execution.executors import outcomes
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.time_limit import OutOfTime, time_limit
from encollapse.study.execution.trial import Job, execute
from encollapse.study.store.sqlite import Store
from encollapse.study.trials import Trial
from reference.broken_work import endless_for_seed_0
from reference.study_survival import processes_of_group

HANGING = """
import time
from pathlib import Path
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(7)

    def forward(self, inputs):
        while not Path("go-on").exists():
            time.sleep(0.01)
        return self.layer(inputs.flatten(1))
"""
STUDY = """
name = "hanging"
title = "Two trials that hang stand first"
trial_seconds = 0.6
[defaults]
dataset = { name = "digits", counts = 5 }
encoding = "one-hot"
weight_decay = 5e-3
relative_threshold = 0.3
epochs = 1
train = { finish = 2 }
[[runs]]
model = "hanging.py:Net"
bias_decay = [0, inf]
[[runs]]
model = "ufm"
bias_decay = [0, inf]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("hanging.py").write_text(HANGING)
    Path("hanging.toml").write_text(STUDY, encoding="utf-8")
    return Path("hanging.toml")


def test_trials_that_hang_starve_nobody_and_come_last_the_next_time(file: Path) -> None:
    hanging, others = ec.study.load(file).trials[:2], ec.study.load(file).trials[2:]
    results = ec.study.run(file, out="out", executor="inline", progress=False)
    assert [result.id for result in results.done] == [trial.id for trial in others]
    for result in results.failed:
        assert result.row.status == "lost"
        assert result.reason.startswith("not finished after 0.6 s, the limit of a trial")
    assert Store("out").begun() == {trial.id: 1 for trial in (*hanging, *others)}
    Path("go-on").touch()
    again = ec.study.run(file, out="out", executor="inline", trial_seconds=600.0, progress=False)
    assert len(again.done) == 4
    assert not Store("out").begun()
    with pytest.raises(ArgumentError, match="trial_seconds: expected a finite number above 0, got 0"):
        ec.study.run(file, out="out", trial_seconds=0)


def test_what_was_begun_and_not_finished_comes_last(file: Path) -> None:
    trials = ec.study.load(file).trials
    Path("go-on").touch()
    store = Store("out")
    store.make()
    for trial in (trials[0], trials[2], trials[0]):
        store.begin(trial.id)
    with (store.path / "begun.txt").open("ab") as noted:
        noted.write(b"\xff\x00 garbage\n")
    for most in (0.0, None):  # the first call has no time to begin anything, and forgets nothing
        ec.study.run(file, out="out", executor="inline", trial_seconds=600.0, max_seconds=most, progress=False)
    with closing(sqlite3.connect(store.file)) as database:
        order = [row[0] for row in database.execute("SELECT id FROM trials ORDER BY rowid")]
    assert order == [trials[i].id for i in (1, 3, 2, 0)]


def test_an_inline_study_ends_when_its_time_is_over(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(STUDY.replace("trial_seconds = 0.6\n", ""), encoding="utf-8")
    start = time.monotonic()
    command = ["study", str(file), "--out", "out", "--executor", "inline", "--max-seconds", "0.5", "--grace", "0.5"]
    assert cli.run(command) == 0
    assert time.monotonic() - start < 60.0
    assert "the time is over with 4 trials not run" in capsys.readouterr().err
    assert cli.run([*command[:-4], "--trial-seconds", "0.4"]) == 1  # the two that hang, after the two that do not
    assert "not finished after 0.4 s" in capsys.readouterr().err
    assert len(ec.study.open("out").done) == 2


def test_a_worker_that_does_not_stop_by_itself_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encollapse.study.execution.process_pool._MARGIN_SECONDS", 0.2)
    shared = {"dataset": {"name": "digits"}, "encoding": {"name": "one-hot"}, "bias_decay": 0.0, "model": "mlp"}
    trials = [Trial({**shared, "seed": seed}) for seed in range(3)]
    queue = TrialQueue(trials)
    found = outcomes(
        queue, "process", 1, work=endless_for_seed_0, job_of=lambda trial: Job(trial.settings, seconds=0.3)
    )
    ended = {trial.settings["seed"]: outcome for trial, outcome in found}
    assert ended[0].lost
    assert "not finished after 0.3 s" in str(ended[0].error)
    assert all(ended[seed].record is not None for seed in (1, 2))


def test_a_state_is_kept_more_often_than_the_limit_comes(file: Path) -> None:
    settings = {**ec.study.load(file).trials[0].settings, "model": "mlp", "epochs": 10**6, "train": {"finish": 0}}
    trial = Trial({key: value for key, value in settings.items() if key != "model_content"})
    state = Path("state.safetensors")
    outcome = execute(Job(trial.settings, str(state), 1.0))
    assert outcome.lost
    assert state.exists()


@pytest.mark.parametrize("thread", [False, True])
def test_a_block_is_over_when_its_time_is(thread: bool) -> None:
    seen: list[object] = []

    def work() -> None:
        start = time.monotonic()
        try:
            with time_limit(0.2):
                while time.monotonic() - start < 30:
                    try:
                        time.sleep(0.01)
                    except OutOfTime:
                        seen.append("swallowed once")
                        if len(seen) > 1:
                            raise
        except OutOfTime:
            seen.append(time.monotonic() - start)
        with time_limit(30.0):
            seen.append("well")

    runner = threading.Thread(target=work)
    if thread:
        runner.start()
        runner.join()
    else:
        work()
    *swallowed, late, well = seen
    assert swallowed == ["swallowed once"] * 2
    assert isinstance(late, float)
    assert 0.6 < late < 20.0
    assert well == "well"
    time.sleep(0.05)  # nothing comes afterwards


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_ctrl_c_while_workers_start_prints_no_traceback(file: Path) -> None:
    command = [sys.executable, "-m", "encollapse.cli", "study", str(file), "--out", "out", "--workers", "3"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    def workers() -> list[int]:
        return [p for p in processes_of_group(process.pid) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]

    deadline = time.monotonic() + 60
    while not workers() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # the first is loading numpy by now
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error: interrupted" in errors
    assert "Traceback" not in errors
