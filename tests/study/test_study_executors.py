"""Executors: dead workers, foreign executors, and what is refused."""

import multiprocessing
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.study.execute import Work
from encollapse.study.executors import Outcomes, outcomes
from encollapse.study.trials import Trial
from encollapse.study.waiting import Waiting
from reference.broken_work import dies_for_seed_0, dies_once, fine


def trials(count: int, name: str = "digits") -> list[Trial]:
    shared = {"dataset": {"name": name}, "encoding": {"name": "one-hot"}, "bias_decay": 0.0, "model": "mlp"}
    return [Trial({**shared, "seed": seed}) for seed in range(count)]


def run(given: list[Trial], executor: Any, workers: int | None, work: Work) -> Outcomes:
    return outcomes(Waiting(given), executor, workers, work=work)


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
    assert first.record["pid"] != os.getpid()
    assert first.record["threads"] == "1"
    running.close()
    assert "OMP_NUM_THREADS" not in os.environ
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not multiprocessing.active_children()


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
