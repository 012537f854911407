"""Run a study: find what is missing, run it, keep every trial as it finishes."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import closing
from pathlib import Path
from typing import Any

from encollapse._internal import checks
from encollapse._internal.warn import warn
from encollapse.study.execution.display import ProgressDisplay
from encollapse.study.execution.executors import outcomes
from encollapse.study.execution.queue import TrialQueue
from encollapse.study.execution.trial import Job, Outcome
from encollapse.study.labels import labels_of
from encollapse.study.results import Results, open_results
from encollapse.study.store.sqlite import Store, StoredTrial
from encollapse.study.study import Study, load
from encollapse.study.trials import Trial

_NAMED = 5
"""Damaged trials that a warning names."""


def run(
    study: Study | str | Path,
    *,
    out: str | Path,
    workers: int | None = None,
    executor: str | Executor = "process",
    resume: bool = True,
    rerun_failed: bool = False,
    retries: int = 0,
    max_seconds: float | None = None,
    grace: float | None = None,
    trial_seconds: float | None = None,
    executor_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Results:
    """Run the trials of a study that its folder does not hold yet, and return all results.

    Every trial is committed as it finishes: stopping the driver in any way, ``kill -9`` included, loses
    only trials that were still running, and calling again runs exactly those that are missing. A trial
    that raises is stored with its traceback and does not stop the others. A trial whose worker process dies
    is run once more. If that one dies too, it is stored as lost, and run by the next call. Trials that were
    begun before and not finished come last. What is damaged on disk is said, and run again.

    Parameters
    ----------
    study : Study, str or path
        A study, or what :func:`load` takes.
    out : str or path
        Folder of the results. It is made if it is not there. One driver at a time.
    workers : int, optional
        Trials that run at a time. Default: one a CPU, for submitit no limit, and for a Dask cluster at an
        address whatever it has.
    executor : {"process", "inline", "dask", "submitit"} or concurrent.futures.Executor
        ``"process"``: worker processes of one thread each. ``"inline"``: one trial after the other in this
        process. ``"dask"``: the cluster at the option ``address``, or one of processes on this machine.
        ``"submitit"``: jobs of a batch system.
    resume : bool
        False runs every trial again and replaces what is stored.
    rerun_failed : bool
        Run trials again that are stored as failed.
    retries : int
        How often a trial that failed is tried again before it is stored as failed.
    max_seconds : float, optional
        Time after which no trial is begun. The next call goes on from there.
    grace : float, optional
        Seconds after `max_seconds` for which trials that still run are waited for. Default: `max_seconds` again,
        but at least a minute. A training that is left goes on from its last state in the next call.
    trial_seconds : float, optional
        Limit of one trial. Default: that of the study file, if it has one. A trial that takes longer is stored as
        lost, and run by the next call, or by this one where there are `retries`, after all others. With the
        executor ``"process"`` its worker is killed where it does not stop by itself. Others stop what runs in Python.
    executor_options : mapping, optional
        ``address`` and ``timeout`` for Dask, and ``cluster`` and the parameters of submitit, such as
        ``timeout_min`` and ``slurm_partition``.
    progress : bool
        Show progress on standard error: live in a terminal, a line a trial in a log.

    Returns
    -------
    Results
        All that the folder holds now, of this call and of those before.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        If an argument cannot be used, or `out` holds a study of another name.
    MissingDependencyError
        If the executor needs a package that is not installed.
    EncollapseError
        If another driver is running in `out`, a result cannot be written, no scheduler answers at the
        address, or worker processes do not start.

    Examples
    --------
    Of a trial with the model ``"ufm"`` the exact minimizer is found, which takes no training. A second call finds
    everything stored and runs nothing.

    >>> from dataclasses import replace
    >>> import encollapse as ec
    >>> study = ec.study.load("digits-transition")
    >>> theory = tuple(ec.study.Trial({**trial.settings, "model": "ufm"}) for trial in study.trials[:2])
    >>> results = ec.study.run(replace(study, trials=theory), out="runs/theory", executor="inline", progress=False)
    >>> len(results.done), results.worst("gram_error").comparison_error("gram_error") < 1e-12
    (2, True)
    >>> again = ec.study.run(results.study, out="runs/theory", progress=False)
    >>> [r.row.finished for r in again.done] == [r.row.finished for r in results.done]
    True
    """
    if isinstance(study, str | Path):
        study = load(study)
    checks.instance(study, "study", Study, what="a Study, a name or a path")
    limit = study.trial_seconds if trial_seconds is None else checks.positive(trial_seconds, "trial_seconds")
    store = Store(out)
    with store.driver_lock():
        store.create()
        store.clean()
        study = study.at(store.path, copy=True)
        store.write_definition(study.name, study.definition())
        settled = {"done"} if rerun_failed else {"done", "failed"}
        statuses = store.statuses() if resume else {}
        begun = store.begun()
        todo = sorted(
            (trial for trial in study.trials if statuses.get(trial.id) not in settled), key=lambda t: begun[t.id]
        )
        damaged = [trial for trial in todo if statuses.get(trial.id) == "damaged"]
        if damaged:
            named = [f"{trial.id} ({trial.label})" for trial in damaged[:_NAMED]]
            more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
            warn(
                f"{store.path}: {len(damaged)} stored trials are damaged, in {store.file.name} or in their files; "
                f"they are run again: {', '.join(named)}{more}"
            )
        failed = sum(statuses.get(trial.id) == "failed" for trial in study.trials)
        note = "" if rerun_failed or not failed else f" ({failed} of them failed; --rerun-failed tries them again)"
        queue = TrialQueue(todo, retries=retries, max_seconds=max_seconds, grace=grace)
        display = ProgressDisplay(
            study.name,
            labels_of(study.trials),
            len(study.trials),
            len(study.trials) - len(todo),
            shown=progress,
            note=note,
        )

        # The executor is checked even if nothing is left to run.
        def job_of(trial: Trial) -> Job:
            store.begin(trial.id)
            return Job(trial.settings, str(store.checkpoint_path(trial.id).resolve()), limit)

        found = outcomes(
            queue, executor, workers, job_of=job_of, observer=display, options=executor_options, folder=store.path
        )
        with closing(found), display:
            for trial, outcome in found:
                if outcome.error is not None and queue.try_again(trial):
                    display.again(trial, outcome)
                    continue
                store.keep(_row(trial, outcome, queue.attempts(trial)), outcome.history, outcome.arrays)
                display.add(trial, outcome)
        if display.finished == len(todo) and not display.unfinished:
            store.forget_begun()
    return open_results(store.path)


def _row(trial: Trial, outcome: Outcome, attempts: int) -> StoredTrial:
    return StoredTrial(
        trial.id,
        trial.settings,
        "done" if outcome.record is not None else "lost" if outcome.lost else "failed",
        outcome.record,
        outcome.error,
        outcome.seconds,
        outcome.started,
        outcome.finished,
        outcome.versions,
        attempts,
    )
