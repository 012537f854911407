"""Executors: dead workers, foreign executors, and what is refused."""

import multiprocessing
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.study.execution.display import Observer
from encollapse.study.execution.executors import outcomes
from encollapse.study.execution.futures import Outcomes
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.trial import Work
from encollapse.study.trials import Trial
from reference.broken_work import begets, dies_for_seed_0, dies_once, endless, fails_for_seed_1, fine, slow, telling


def trials(count: int, name: str = "digits") -> list[Trial]:
    shared = {"dataset": {"name": name}, "encoding": {"name": "one-hot"}, "bias_decay": 0.0, "model": "mlp"}
    return [Trial({**shared, "seed": seed}) for seed in range(count)]


def run(given: list[Trial], executor: Any, workers: int | None, work: Work) -> Outcomes:
    return outcomes(TrialQueue(given), executor, workers, work=work)


def test_a_worker_that_always_dies_costs_its_own_trial_only() -> None:
    ended = {t.settings["seed"]: o for t, o in run(trials(5), "process", 2, dies_for_seed_0)}
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert ended[0].record is None
    assert "died twice" in str(ended[0].error)
    assert all(ended[seed].record is not None for seed in range(1, 5))


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    work = trials(3, str(tmp_path / "marker"))
    ended = [o for _, o in run(work, "process", 2, dies_once)]
    assert [o.error for o in ended] == [None, None, None]
    assert (tmp_path / "marker").exists()


def test_processes_have_one_thread_and_leave_with_the_iterator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    running = run(trials(4), "process", 1, fine)
    _, first = next(running)
    assert first.record is not None
    assert first.record.settings["pid"] != os.getpid()
    assert first.record.settings["threads"] == "1"
    running.close()
    assert "OMP_NUM_THREADS" not in os.environ
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not multiprocessing.active_children()


def test_a_worker_may_have_processes_of_its_own() -> None:
    ((_, ended),) = run(trials(1), "process", 1, begets)
    assert ended.record is not None
    assert ended.record.settings["exitcode"] == 0


def test_any_executor_of_concurrent_futures_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with ThreadPoolExecutor(2) as pool:
        ended = [t.settings["seed"] for t, _ in run(trials(5), pool, None, fine)]
    assert sorted(ended) == [0, 1, 2, 3, 4]


class _Losing(ThreadPoolExecutor):
    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(ConnectionError("the cluster went away"))
        return future


def test_an_executor_that_loses_a_trial_is_recorded() -> None:
    with _Losing() as pool:
        ((_, ended),) = run(trials(1), pool, None, fine)
    assert "ConnectionError: the cluster went away" in str(ended.error)


@pytest.mark.parametrize(
    ("executor", "workers", "error", "message"),
    [
        ("threads", None, ArgumentError, "executor: expected one of 'process', 'inline', 'dask'"),
        (7, None, ArgumentTypeError, "executor: expected a name or a concurrent.futures.Executor, got int"),
        ("process", 0, ArgumentError, "workers: expected at least 1, got 0"),
        ("process", 1.5, ArgumentTypeError, "workers: expected a whole number"),
    ],
)
def test_bad_executors_are_refused_before_anything_runs(
    executor: Any, workers: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(trials(1), executor, workers, fine)


def test_a_failed_trial_is_tried_again_as_often_as_asked() -> None:
    queue = TrialQueue(trials(3), retries=2)
    tries: list[int] = []
    for trial, outcome in outcomes(queue, "inline", None, work=fails_for_seed_1):
        if outcome.error is not None and queue.try_again(trial):
            continue
        tries.append(queue.attempts(trial))
    assert tries == [1, 1, 3]


@pytest.mark.parametrize("executor", ["inline", "process", "threads"])
def test_no_trial_begins_once_the_time_is_over(executor: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        queue = TrialQueue(trials(50), max_seconds=3.0)
        start = time.monotonic()
        chosen = pool if executor == "threads" else executor
        ended = [outcome for _, outcome in outcomes(queue, chosen, 1, work=slow)]
        assert len(ended) < 50
        assert len(ended) >= 1 or executor == "process"  # whose workers take a while to start
        assert len(ended) + len(queue) == 50
        assert all(outcome.record is not None for outcome in ended)
        assert 3.0 <= time.monotonic() - start < 30.0
    with pytest.raises(ArgumentError, match="max_seconds: expected a number"):
        TrialQueue(trials(1), max_seconds=-1.0)


def test_what_still_runs_after_the_grace_is_left() -> None:
    queue = TrialQueue(trials(2), max_seconds=2.0, grace=0.5)
    start = time.monotonic()
    assert list(outcomes(queue, "process", 2, work=endless)) == []
    assert time.monotonic() - start < 30.0
    assert not multiprocessing.active_children()


def test_options_are_for_executors_that_have_some() -> None:
    with pytest.raises(ArgumentError, match="executor_options: 'process' has no option 'address'"):
        outcomes(TrialQueue(trials(1)), "process", 1, work=fine, options={"address": "x"})


class Noting(Observer):
    """A observer that keeps what it is told."""

    def __init__(self) -> None:
        self.news: list[tuple[Any, ...]] = []

    def started(self, trial: Trial) -> None:
        self.news.append(("started", trial.settings["seed"]))

    def moved(self, trial: Trial, done: int, total: int, note: str) -> None:
        self.news.append(("moved", trial.settings["seed"], done, total, note))

    def lost(self, trial: Trial) -> None:
        self.news.append(("lost", trial.settings["seed"]))


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_trials_tell_how_far_they_are(executor: str) -> None:
    observer = Noting()
    list(outcomes(TrialQueue(trials(1)), executor, 1, work=telling, observer=observer))
    assert observer.news == [("started", 0), ("moved", 0, 3, 7, "half way")]


def test_a_death_is_told(tmp_path: Path) -> None:
    observer = Noting()
    queue = TrialQueue(trials(1, str(tmp_path / "marker")))
    list(outcomes(queue, "process", 1, work=dies_once, observer=observer))
    assert observer.news == [("started", 0), ("lost", 0), ("started", 0)]
