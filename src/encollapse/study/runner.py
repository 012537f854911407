"""Run a study: find what is missing, run it, keep every trial as it finishes."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import closing
from pathlib import Path

from encollapse.errors import ArgumentTypeError
from encollapse.study.arrays import save_geometries
from encollapse.study.execute import Outcome
from encollapse.study.executors import outcomes
from encollapse.study.progress import ProgressDisplay
from encollapse.study.results import Results, open_results
from encollapse.study.store import Row, Store
from encollapse.study.study import Study, load
from encollapse.study.trials import Trial


def run(
    study: Study | str | Path,
    *,
    out: str | Path,
    workers: int | None = None,
    executor: str | Executor = "process",
    resume: bool = True,
    progress: bool = True,
) -> Results:
    """Run the trials of a study that its folder does not hold yet, and return all results.

    Every trial is committed as it finishes: stopping the driver in any way, ``kill -9`` included, loses
    only trials that were still running, and calling again runs exactly those that are missing. A trial
    that raises, or whose worker process dies twice, is stored with its traceback and does not stop the
    others; it is tried again by the next call.

    Parameters
    ----------
    study : Study, str or path
        A study, or what :func:`load` takes.
    out : str or path
        Folder of the results; made if it is not there. One driver at a time.
    workers : int, optional
        Processes, each with one thread; default one a CPU. Only for ``executor="process"``.
    executor : {"process", "inline"} or concurrent.futures.Executor
        ``"inline"`` runs the trials one after the other in this process.
    resume : bool
        False runs every trial again and replaces what is stored.
    progress : bool
        Show progress on standard error: live in a terminal, a line a trial in a log.

    Raises
    ------
    ArgumentError, ArgumentTypeError, UnsupportedError
        If an argument cannot be used, or `out` holds a study of another name.
    EncollapseError
        If another driver is running in `out`, or worker processes do not start.
    """
    if isinstance(study, str | Path):
        study = load(study)
    if not isinstance(study, Study):
        raise ArgumentTypeError(f"study: expected a Study, a name or a path, got {type(study).__name__}")
    store = Store(out)
    store.create()
    with store.driver_lock():
        store.write_definition(study.name, study.definition())
        todo = [trial for trial in study.trials if not (resume and store.completed(trial))]
        stored = len(study.trials) - len(todo)
        # The executor is checked even if nothing is left to run.
        with (
            closing(outcomes(todo, executor, workers)) as finished,
            ProgressDisplay(study.name, len(study.trials), stored, shown=progress) as display,
        ):
            for trial, outcome in finished:
                _keep(store, trial, outcome)
                display.add(trial, outcome)
    return open_results(store.path)


def _keep(store: Store, trial: Trial, outcome: Outcome) -> None:
    # Geometries first: a row that says "done" must never be without them.
    if outcome.measured is not None:
        save_geometries(store.geometry_path(trial.id), outcome.predicted, outcome.measured)
    store.write(
        Row(
            trial.id,
            trial.settings,
            "failed" if outcome.record is None else "done",
            outcome.record,
            outcome.error,
            outcome.seconds,
            outcome.started,
            outcome.finished,
            outcome.versions,
        )
    )
