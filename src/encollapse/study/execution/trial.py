"""One trial from settings to outcome. Runs in a worker: everything in and out can be pickled."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import encollapse
from encollapse._internal.json_values import plain
from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.errors import EncollapseError
from encollapse.geometry.arrays import Arrays, to_arrays
from encollapse.study.execution.theory_trial import TrialOutcome, minimize
from encollapse.study.execution.time_limit import OutOfTime, time_limit
from encollapse.study.record import PredictionRecord, TrialRecord
from encollapse.study.resolve import dataset_of, encoding_of, feature_decay_of, problem_of
from encollapse.study.spec.file_digests import require_model
from encollapse.study.spec.train_options import OF_THE_ENGINE
from encollapse.study.store.arrays import frame_arrays
from encollapse.study.trials import THEORY, Trial
from encollapse.train.loop.progress import listening
from encollapse.train.settings import DEFAULTS, decay_of
from encollapse.ufm import Problem

if TYPE_CHECKING:
    from encollapse.train import Run


@dataclass(frozen=True)
class Job:
    """A trial as a worker gets it: its settings, the file that keeps the state of its training, a limit of time."""

    settings: Mapping[str, Any]
    checkpoint: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: a record, rows and arrays, or an `error` that is a whole traceback.

    A trial is `lost` where its worker died without a word. Then it is no fault of its settings, as far as known.
    """

    record: TrialRecord | None
    error: str | None
    history: list[dict[str, Any]]
    arrays: Arrays
    seconds: float
    started: str
    finished: str
    versions: dict[str, str]
    lost: bool = False


Tell = Callable[[int, int, str], None]
Work = Callable[[Job, Tell | None], Outcome]
Findings = tuple[TrialRecord, list[dict[str, Any]], Arrays]
JobOf = Callable[[Trial], Job]

_PACKAGES = {
    "encollapse": "encollapse",
    "numpy": "numpy",
    "scipy": "scipy",
    "torch": "torch",
    "lightning_fabric": "lightning-fabric",
    "sklearn": "scikit-learn",
}
"""Modules that decide the numbers, and what their packages are called."""

_STATES = 4
"""Times that a training writes its state, at least, before a limit of time ends it."""

_alone = threading.Lock()
"""Trials in threads of one process take turns: trainings draw from random state that threads share."""


def execute(job: Job, tell: Tell | None = None) -> Outcome:
    """Run a trial and compare what was found with its prediction. An exception becomes a record.

    Parameters
    ----------
    job : Job
        The trial.
    tell : callable, optional
        Called with the passes done, their most, and a word on the state of the training.
    """
    with _alone:
        started, clock = now(), time.perf_counter()
        record, error, arrays, late = None, None, Arrays(), False
        history: list[dict[str, Any]] = []
        _source_digest()  # of the source that is loaded, before anybody edits it
        if job.seconds is not None:
            _load()
        try:
            with listening(tell), time_limit(job.seconds):
                record, history, arrays = _resumed(job)
        except OutOfTime:
            record, error, late = None, out_of_time(job.seconds), True
        except Exception:
            record, error = None, traceback.format_exc()
        seconds = time.perf_counter() - clock
        return Outcome(record, error, history, arrays, seconds, started, now(), running_versions(), late)


def _load() -> None:
    """Load what trainings need, which takes seconds and is no time of the first trial of a process."""
    from encollapse import measure, train

    _ = train.fit, measure.collapse


def execute_single_threaded(job: Job) -> Outcome:
    """Run a trial in a worker that somebody else started, with one thread, whatever else it does."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    return execute(job)


def lost(reason: str) -> Outcome:
    """Outcome of a trial whose worker died without a word."""
    return Outcome(None, reason, [], Arrays(), 0.0, now(), now(), running_versions(), lost=True)


def out_of_time(seconds: float | None) -> str:
    """What is said of a trial that was stopped at its limit of time."""
    return f"not finished after {seconds:g} s, the limit of a trial; the same command runs it again after all others"


def reason_of(error: str | None) -> str:
    """Last line of a traceback, without the module that an error of ours is from, or empty where there is none."""
    lines = (error or "").strip().splitlines()
    return re.sub(r"^encollapse\.errors\.(\w+: )?", "", lines[-1]) if lines else ""


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def running_versions() -> dict[str, str]:
    """Versions of Python, of the modules that this process has loaded, and the platform, as they say of themselves.

    What metadata of installed packages say may be of other code: a checkout that is imported has none of its own. That
    is why there is also a digest of the source of encollapse.
    """
    found = {"python": platform.python_version()}
    for module, package in _PACKAGES.items():
        version = getattr(sys.modules.get(module), "__version__", None)
        if version is not None:
            found[package] = str(version)
    return found | {"encollapse source": _source_digest(), "platform": platform.platform()}


@cache
def _source_digest() -> str:
    """Sixteen hexadecimal digits, a hash of the names and texts of every module of encollapse."""
    root, total = Path(encollapse.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def _resumed(job: Job) -> Findings:
    """Go on from the job's checkpoint. Where that is of no use, start afresh, and where all fails, leave none."""
    state = None if job.checkpoint is None else Path(job.checkpoint)
    had_state = state is not None and state.exists()
    try:
        try:
            return _found(job)
        except EncollapseError:
            if state is None or not had_state:
                raise
            _forget(state)  # of another release, perhaps, or damaged
            return _found(job)
    except Exception:
        if state is not None:
            _forget(state)
        raise


def _forget(state: Path) -> None:
    if not state.is_dir():
        state.unlink(missing_ok=True)


def _found(job: Job) -> Findings:
    settings = job.settings
    dataset = dataset_of(settings)
    if settings["model"] == THEORY:
        found = minimize(problem_of(settings, dataset.counts), dataset)
    else:
        found = _train(job, dataset)
    prediction = found.prediction
    stated = None if prediction is None else prediction.problem
    problem = stated if isinstance(stated, Problem) else None  # a tail states another, without a feature decay
    record = replace(
        found.record,
        dataset=dataset.name,
        data=dict(dataset.provenance),
        encoding=found.encoding.name,
        classes=tuple(plain(dataset.classes)),
        counts=tuple(dataset.counts.tolist()),
        feature_decay=None if problem is None else problem.feature_decay,
        threshold_c=None if problem is None else problem.threshold,
        threshold_t=None if problem is None else problem.threshold * math.sqrt(problem.num_classes),
        label_mean=tuple(found.encoding.mean(dataset.counts / dataset.counts.sum()).tolist()),
        mean_cosine=found.measured.mean_cosine(),
        prediction=None if prediction is None else PredictionRecord.of(prediction),
    )
    arrays = to_arrays(found.measured, "measured") | found.arrays
    if found.predicted is not None:
        arrays |= to_arrays(found.predicted, "predicted")
    return record, plain(found.history), arrays


def _train(job: Job, dataset: Dataset) -> TrialOutcome:
    from encollapse import train

    settings = job.settings
    require_model(settings)
    measure = settings.get("measure", {})
    optional = {key: settings[key] for key in ("epochs", "model_options") if key in settings}
    optional |= {option: measure[key] for key, option in _OF_MEASURE.items() if key in measure}
    if job.seconds is not None:
        optional["checkpoint_seconds"] = min(DEFAULTS["checkpoint_seconds"], job.seconds / _STATES)
    if decay_of(settings.get("train", {})) == "ufm":
        optional["feature_decay"] = feature_decay_of(settings, dataset.num_classes, len(dataset.train))
    encoding = encoding_of(settings, dataset.counts)
    run = train.fit(
        dataset,
        encoding,
        model=settings["model"],
        features=settings["features"],
        weight_decay=settings["weight_decay"],
        bias_decay=settings["bias_decay"],
        seed=settings["seed"],
        checkpoint=job.checkpoint,
        progress=False,
        **optional,
        **settings.get("train", {}),
    )
    values = run.to_dict() | {"converged": run.converged}
    values["settings"] = {k: v for k, v in values["settings"].items() if k not in OF_THE_ENGINE}
    if "convention" in measure:
        values["collapse"] = _collapse(run, dataset, encoding, measure["convention"])
    return TrialOutcome(
        TrialRecord.from_dict(values),
        encoding,
        run.collapse.geometry,
        run.predicted,
        run.prediction,
        values["history"],
        frame_arrays(run.frames),
    )


def _collapse(run: Run, dataset: Dataset, encoding: Encoding, convention: str) -> dict[str, Any]:
    """Collapse of the trained network by another convention than that of the training."""
    import torch

    from encollapse.measure import collapse
    from encollapse.train.models.classifier import chunks

    head = run.head
    with torch.no_grad():
        inputs = torch.tensor(dataset.train.inputs)
        features = torch.cat([run.model.features(inputs[part]) for part in chunks(len(inputs))]).double()
    return collapse(
        features,
        dataset.train.labels,
        weight=head.weight,
        bias=torch.zeros(len(head.weight)) if head.bias is None else head.bias,
        encoding=encoding,
        num_classes=dataset.num_classes,
        convention=convention,
    ).to_dict()


_OF_MEASURE = {"every": "history_every", "frames": "keep_frames"}
"""Options of the training that the table `measure` gives."""
