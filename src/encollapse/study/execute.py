"""One trial from settings to outcome. Runs in a worker: everything in and out can be pickled."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from encollapse.geometry import ClassGeometry
from encollapse.study.resolve import dataset_of, encoding_of, feature_decay_of
from encollapse.study.trials import plain
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
        record, predicted, measured = _train(settings)
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


def _train(settings: Mapping[str, Any]) -> tuple[dict[str, Any], ClassGeometry | None, ClassGeometry]:
    from encollapse import train

    dataset = dataset_of(settings)
    encoding = encoding_of(settings, dataset.num_classes)
    num_samples = int(dataset.counts.sum())
    feature_decay = feature_decay_of(settings, dataset.num_classes, num_samples)
    optional = {"epochs": settings["epochs"]} if "epochs" in settings else {}
    run = train.fit(
        dataset,
        encoding,
        model=settings["model"],
        features=settings["features"],
        weight_decay=settings["weight_decay"],
        feature_decay=feature_decay,
        bias_decay=settings["bias_decay"],
        seed=settings["seed"],
        progress=False,
        **optional,
        **settings.get("train", {}),
    )
    c = math.sqrt(num_samples * settings["weight_decay"] * feature_decay)
    record = run.to_dict() | {
        "classes": dataset.classes,
        "counts": dataset.counts,
        "feature_decay": feature_decay,
        "threshold_c": c,
        "threshold_t": c * math.sqrt(dataset.num_classes),
        "label_mean": encoding.mean(dataset.counts / num_samples),
        "mean_cosine": run.collapse.geometry.mean_cosine(),
        "converged": run.converged,
        "prediction": None if run.prediction is None else _prediction(run.prediction),
    }
    predicted = None if run.prediction is None else run.prediction.geometry
    return plain(record), predicted, run.collapse.geometry


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
