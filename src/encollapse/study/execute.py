"""One trial from settings to outcome. Runs in a worker: everything in and out can be pickled."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from encollapse.data import Dataset
from encollapse.errors import UnsupportedError
from encollapse.geometry import ClassGeometry
from encollapse.study.found import Found
from encollapse.study.resolve import dataset_of, encoding_of, feature_decay_of, problem_of
from encollapse.study.theory import minimise
from encollapse.study.trials import THEORY, plain
from encollapse.study.versions import installed
from encollapse.ufm import Solution


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. `record` holds plain values; an `error` is a whole traceback."""

    record: dict[str, Any] | None
    error: str | None
    predicted: ClassGeometry | None
    measured: ClassGeometry | None
    seconds: float
    started: str
    finished: str
    versions: dict[str, str]


def execute(settings: Mapping[str, Any]) -> Outcome:
    """Train the network of a trial and compare it with its prediction; an exception becomes a record."""
    started, clock = now(), time.perf_counter()
    record, error, predicted, measured = None, None, None, None
    try:
        record, predicted, measured = _found(settings)
    except Exception:
        error = traceback.format_exc()
    seconds = time.perf_counter() - clock
    return Outcome(record, error, predicted, measured, seconds, started, now(), installed())


def lost(reason: str) -> Outcome:
    """Outcome of a trial whose worker died without a word."""
    return Outcome(None, reason, None, None, 0.0, now(), now(), installed())


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _found(settings: Mapping[str, Any]) -> tuple[dict[str, Any], ClassGeometry | None, ClassGeometry]:
    dataset = dataset_of(settings)
    if settings["model"] == THEORY:
        found = minimise(problem_of(settings, dataset.counts), dataset)
    else:
        found = _train(settings, dataset)
    problem = found.prediction.problem
    record = found.record | {
        "classes": dataset.classes,
        "counts": dataset.counts,
        "feature_decay": problem.feature_decay,
        "threshold_c": problem.threshold,
        "threshold_t": problem.threshold * math.sqrt(problem.num_classes),
        "label_mean": problem.mean_codeword,
        "mean_cosine": found.measured.mean_cosine(),
        "prediction": _prediction(found.prediction),
    }
    return plain(record), found.prediction.geometry, found.measured


def _train(settings: Mapping[str, Any], dataset: Dataset) -> Found:
    from encollapse import train

    measure = settings.get("measure", {})
    optional = {key: settings[key] for key in ("epochs", "model_options") if key in settings}
    optional |= {option: measure[key] for key, option in _OF_MEASURE.items() if key in measure}
    if settings.get("train", {}).get("decay", "ufm") == "ufm":
        optional["feature_decay"] = feature_decay_of(settings, dataset.num_classes, len(dataset.train))
    run = train.fit(
        dataset,
        encoding_of(settings, dataset.num_classes),
        model=settings["model"],
        features=settings["features"],
        weight_decay=settings["weight_decay"],
        bias_decay=settings["bias_decay"],
        seed=settings["seed"],
        progress=False,
        **optional,
        **settings.get("train", {}),
    )
    if run.prediction is None:
        raise UnsupportedError(run.prediction_note)
    return Found(run.to_dict() | {"converged": run.converged}, run.collapse.geometry, run.prediction)


_OF_MEASURE = {"every": "history_every", "frames": "keep_frames"}
"""Options of the training that the table `measure` gives."""


def _prediction(solution: Solution) -> dict[str, Any]:
    certificate = solution.certificate
    return {
        "status": solution.status.name,
        "message": solution.status.message,
        "loss": solution.loss,
        "mean_cosine": solution.geometry.mean_cosine(),
        "critical_bias_decay": solution.problem.critical_bias_decay(),
        "certificate": {
            "kind": certificate.kind,
            "gap": certificate.gap,
            "lower_bound": certificate.lower_bound,
            "holds": certificate.holds,
        },
    }
