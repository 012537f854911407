"""Trials on a real local Dask cluster and through submitit's local executors, killed workers included."""

import contextlib
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import encollapse as ec
from encollapse.errors import ArgumentError, EncollapseError
from encollapse.study.execution.executors import outcomes
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.trial import Outcome, execute
from encollapse.study.study import Study, parse

pytestmark = pytest.mark.processes

TOML = """
name = "clusters"
title = "Clusters"
[[runs]]
dataset = { name = "digits", counts = 7 }
encoding = "one-hot"
weight_decay = 5e-3
relative_threshold = 0.3
bias_decay = [0, inf]
epochs = 3
train = { finish = 20 }
seeds = [0, 1, 2]
"""


def study(text: str = TOML) -> Study:
    return parse(text, "clusters.toml", origin="clusters.toml")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as made:
        yield made


@pytest.mark.slow
def test_dask_gives_what_this_process_gives_and_survives_the_death_of_a_worker(cluster: Any, tmp_path: Path) -> None:
    from distributed import Client

    queue = TrialQueue(study().trials)
    ended: dict[str, Outcome] = {}
    with Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        options = {"address": cluster.scheduler_address}
        for trial, outcome in outcomes(queue, "dask", None, options=options):
            if not ended:
                victims = list(client.run(os.getpid).values())
                os.kill(victims[0], signal.SIGKILL)
            ended[trial.id] = outcome
    assert set(ended) == {trial.id for trial in study().trials}
    assert [outcome.error for outcome in ended.values()] == [None] * 6

    two = study(TOML.replace("[0, 1, 2]", "1"))
    results = ec.study.run(two, out=tmp_path, executor="dask", executor_options=options, progress=False, workers=2)
    alone = {trial.id: outcome.record for trial, outcome in outcomes(TrialQueue(two.trials), "inline", 1)}
    assert {result.id for result in results.done} == alone.keys()
    for result in results.done:
        for record in (result.record, ended[result.id].record):
            expected = alone[result.id]
            assert record is not None
            assert expected is not None
            assert record["loss"] == expected["loss"]


@pytest.mark.slow
def test_a_dask_cluster_of_our_own_does_not_mind_that_another_one_runs(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    small = study(TOML.replace("seeds = [0, 1, 2]", "model = 'ufm'").replace("[0, inf]", "[0.5]"))
    with socket.socket() as another, warnings.catch_warnings():
        with contextlib.suppress(OSError):  # then somebody else holds the port, which serves as well
            another.bind(("127.0.0.1", 8787))
            another.listen()
        warnings.filterwarnings("error", message=".*8787")
        results = ec.study.run(small, out=tmp_path, executor="dask", progress=False, workers=1)
    assert len(results.done) == 1


def test_dask_without_a_scheduler_is_said() -> None:
    pytest.importorskip("distributed")
    options = {"address": "tcp://127.0.0.1:1", "timeout": 0.5}
    with pytest.raises(EncollapseError, match=r"address: no Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"):
        list(outcomes(TrialQueue(study().trials), "dask", None, options=options))
    with pytest.raises(ArgumentError, match="dask has no option 'adress'; it has: address, timeout"):
        outcomes(TrialQueue(study().trials), "dask", None, options={"adress": "x"})


@pytest.mark.slow
@pytest.mark.parametrize(("cluster_name", "models"), [("debug", ["ufm", "mlp"]), ("local", ["mlp"])])
def test_submitit_runs_trials_as_jobs(tmp_path: Path, cluster_name: str, models: list[str]) -> None:
    """Each local job is a process of its own, which takes longer to start than to train."""
    pytest.importorskip("submitit")
    small = study(TOML.replace("seeds = [0, 1, 2]", f"model = {models}").replace("[0, inf]", "[0.5]"))
    results = ec.study.run(
        small,
        out=tmp_path,
        executor="submitit",
        executor_options={"cluster": cluster_name, "timeout_min": 5},
        progress=False,
    )
    assert len(results.done) == len(models)
    assert (tmp_path / "submitit").is_dir()


def test_submitit_names_a_parameter_that_it_does_not_take(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ArgumentError, match=r"executor_options: submitit does not take them \(.*nonsense"):
        outcomes(
            TrialQueue(study().trials),
            "submitit",
            None,
            work=execute,
            options={"cluster": "local", "nonsense": 3},
            folder=tmp_path,
        )
