"""One trial from settings to outcome. Runs in a worker: everything in and out can be pickled."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from encollapse.geometry import ClassGeometry
from encollapse.study.resolve import dataset_of, encoding_of, feature_decay_of
from encollapse.study.trials import plain
from encollapse.study.versions import installed


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


def _train(settings: Mapping[str, Any]) -> tuple[dict[str, Any], ClassGeometry, ClassGeometry]:
    from encollapse import train

    dataset = dataset_of(settings)
    num_samples = int(dataset.counts.sum())
    optional = {"epochs": settings["epochs"]} if "epochs" in settings else {}
    run = train.fit(
        dataset,
        encoding_of(settings, dataset.num_classes),
        model=settings["model"],
        features=settings["features"],
        weight_decay=settings["weight_decay"],
        feature_decay=feature_decay_of(settings, dataset.num_classes, num_samples),
        bias_decay=settings["bias_decay"],
        seed=settings["seed"],
        progress=False,
        **optional,
        **settings.get("train", {}),
    )
    predicted, measured = run.prediction.geometry, run.collapse.geometry
    problem = run.prediction.problem
    certificate = run.prediction.certificate
    record = {
        "settings": run.settings,
        "classes": dataset.classes,
        "counts": dataset.counts,
        "feature_decay": problem.feature_decay,
        "threshold_c": problem.threshold,
        "threshold_t": problem.threshold * np.sqrt(problem.num_classes),
        "critical_bias_decay": problem.critical_bias_decay(),
        "label_mean": problem.mean_codeword,
        "prediction": {
            "status": run.prediction.status.name.lower(),
            "message": run.prediction.status.message,
            "loss": run.prediction.loss,
            "mean_cosine": predicted.mean_cosine(),
            "certificate": {
                "kind": certificate.kind,
                "gap": certificate.gap,
                "lower_bound": certificate.lower_bound,
                "holds": certificate.holds,
            },
        },
        "measurement": {"mean_cosine": measured.mean_cosine(), **run.collapse.to_dict()},
        "comparison": run.comparison.to_dict(),
        "training": {
            "loss": run.loss,
            "relative_excess": run.relative_excess,
            "stationarity": run.stationarity,
            "converged": run.converged,
            "seconds": run.seconds,
        },
        "history": run.history,
    }
    return plain(record), predicted, measured
