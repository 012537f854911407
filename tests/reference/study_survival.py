"""Kill the driver and the workers of a study at random moments, resume, and look at what is left."""

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import encollapse as ec
from encollapse.study.store.arrays import load_arrays

STUDY = """
name = "survival"
title = "Short trials"
[[runs]]
dataset = {{ name = "digits", counts = 11 }}
encoding = ["one-hot", "simplex"]
weight_decay = 5e-3
relative_threshold = 0.3
bias_decay = [0, 0.1, inf]
epochs = 5
train = {{ finish = {finish}, tolerance = 0.0 }}
measure = {{ every = 5, frames = true }}
seeds = {{ grid = {seeds} }}
"""

PATIENCE = 1800.0
"""Seconds that a trial may take on a machine that is busy with other work."""


@dataclass
class Survival:
    """What was done to a study, and in how many rounds."""

    driver_kills: int = 0
    worker_kills: int = 0
    rounds: int = 0
    trials: int = 0
    seen_by_kill: list[int] = field(default_factory=list)
    deadline: float = math.inf

    @property
    def over(self) -> bool:
        """Whether there is no time for another kill."""
        return time.monotonic() >= self.deadline


def survive(
    folder: Path, *, seeds: int, kills: int, seed: int, finish: int = 30, workers: int = 2, seconds: float = math.inf
) -> Survival:
    """Kill at `kills` moments a study of six trials a seed, resume each time, and check every result at the end.

    If a study ends before that many kills, another begins in a fresh folder. After so many `seconds` nothing is killed
    any more.

    Raises
    ------
    AssertionError
        If a trial is missing, doubled, half-written, or unlike that of an undisturbed run.
    """
    generator = random.Random(seed)
    file = folder / "survival.toml"
    file.write_text(STUDY.format(seeds=list(range(seeds)), finish=finish))
    calm = ec.study.run(ec.study.load(file), out=folder / "calm", workers=workers, progress=False)
    assert len(calm.done) == 6 * seeds
    done = Survival(trials=6 * seeds, deadline=time.monotonic() + seconds)
    while done.driver_kills + done.worker_kills < kills and not done.over:
        out = folder / f"round-{done.rounds}"
        done.rounds += 1
        try:
            _torment(file, out, kills, generator, workers, done)
        except AssertionError as error:
            error.add_note(f"after {done.driver_kills} kills of the driver and {done.worker_kills} of a worker")
            raise
        for _ in range(5):  # a trial that was killed twice is stored as lost; the next call runs it
            subprocess.run(_command(file, out, workers), capture_output=True, timeout=PATIENCE, check=False)
            if len(ec.study.open(out).done) == done.trials:
                break
        require_same(ec.study.open(out), calm)
    return done


def _torment(file: Path, out: Path, kills: int, generator: random.Random, workers: int, done: Survival) -> None:
    """Kill until the study is over or there were enough kills."""
    process = None
    try:
        while done.driver_kills + done.worker_kills < kills and not done.over:
            if process is None or process.poll() is not None:
                if process is not None and _stored(out) == done.trials:
                    return
                process = subprocess.Popen(
                    _command(file, out, workers),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            _wait(process, out, _stored(out) + generator.choice([0, 1, 1]))
            time.sleep(generator.uniform(0.0, 0.6))
            if process.poll() is not None:
                continue
            if _driver_next(done, kills, generator):
                process.kill()
                process.wait()
                _require_nobody(process.pid)
                process = None
                done.driver_kills += 1
            else:
                victims = _workers_of(process.pid)
                if not victims:
                    continue
                os.kill(generator.choice(victims), signal.SIGKILL)
                done.worker_kills += 1
            done.seen_by_kill.append(_require_whole(out))
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _driver_next(done: Survival, kills: int, generator: random.Random) -> bool:
    """Whether the driver is killed next: by chance, but of several kills at least one hits each kind."""
    by_chance = generator.random() < 0.5
    if done.driver_kills + done.worker_kills < kills - 1:
        return by_chance
    return done.driver_kills == 0 or (by_chance and done.worker_kills > 0)


def _command(file: Path, out: Path, workers: int) -> list[str]:
    options = ["--out", str(out), "--workers", str(workers)]
    return [sys.executable, "-m", "encollapse.cli", "study", str(file), *options]


def _wait(process: "subprocess.Popen[bytes]", out: Path, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and _stored(out) < number:
        assert time.monotonic() < deadline, "the study stands still"
        time.sleep(0.02)


def _stored(out: Path) -> int:
    """Trials that are stored as done."""
    if not (out / "results.sqlite").exists():
        return 0
    with sqlite3.connect(out / "results.sqlite", timeout=30) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM trials WHERE status = 'done'").fetchone()[0])
        except sqlite3.OperationalError:  # killed before the tables were made
            return 0


def _workers_of(group: int) -> list[int]:
    return [pid for pid in processes_of_group(group) if pid != group and _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (ProcessLookupError, FileNotFoundError):
        return False


def processes_of_group(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    found.append(int(entry.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


def _require_nobody(group: int) -> None:
    """ProcessGroup leave with their driver."""
    deadline = time.monotonic() + 30
    while processes_of_group(group):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.02)


def _require_whole(out: Path) -> int:
    """Whatever is stored as done can be read in full, at any moment."""
    if _stored(out) == 0:
        return 0
    results = ec.study.open(out)
    for result in results.done:
        result.geometries()
        assert len(result.history()) > 2
    return len(results.done)


def require_same(results: ec.study.Results, calm: ec.study.Results) -> None:
    """Every trial is there exactly once, whole, and equal to that of the undisturbed run."""
    with sqlite3.connect(results.path / "results.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [row[0] for row in connection.execute("SELECT id FROM trials WHERE status = 'done'")]
    wanted = {result.id: result for result in calm.done}
    assert sorted(stored) == sorted(wanted)
    assert not results.missing
    assert not results.failed
    left = [path.name for path in (results.path / "trials").iterdir()]
    assert sorted(left) == sorted(f"{i}{end}" for i in wanted for end in (".json", ".safetensors"))
    for result in results.done:
        other = wanted[result.id]
        assert replace(result.record, seconds=None) == replace(other.record, seconds=None)
        assert result.history() == other.history()
        arrays, expected = load_arrays(result.arrays_path), load_arrays(other.arrays_path)
        assert set(arrays) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(arrays[name], value)
