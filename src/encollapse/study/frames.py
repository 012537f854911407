"""Results as tables: a row a trial, a row a look, and files of both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encollapse._internal import checks, files
from encollapse.errors import MissingDependencyError
from encollapse.geometry.comparison import MEANINGS
from encollapse.study.execution.trial import reason_of
from encollapse.study.trials import dataset_label, encoding_label, model_label

if TYPE_CHECKING:
    import pandas

    from encollapse.study.results import TrialResult

FORMATS = ("parquet", "csv")

_OF_RECORD = (
    "feature_decay",
    "threshold_c",
    "threshold_t",
    "converged",
    "stationarity",
    "loss",
    "predicted_loss",
    "relative_excess",
    "prediction_kind",
    "test_accuracy",
    "test_nc4_agreement",
    "test_balanced_accuracy",
    "test_minority_accuracy",
)
_NO_METRIC = ("num_classes", "counts", "provenance", "missing")


def trial_row(result: TrialResult) -> dict[str, Any]:
    """A stored trial as one row: what it is called, its settings, how it ended, and every value that was found."""
    settings, row = result.settings, result.row
    values: dict[str, Any] = {
        "trial": result.id,
        "status": row.status,
        "dataset": dataset_label(settings),
        "model": model_label(settings),
        "encoding": encoding_label(settings),
        **_flat({key: value for key, value in settings.items() if not key.startswith("model")}),
        **_flat({"model": {"name": settings["model"], "options": settings.get("model_options", {})}}),
        "attempts": row.attempts,
        "started": row.started,
        "finished": row.finished,
        "seconds": row.seconds,
        "error": reason_of(row.error) or None,
    }
    if not result.done:
        return values
    record = result.record
    prediction = record["prediction"] or {}
    certificate = prediction.get("certificate", {})
    values |= {name: number(record.get(name)) for name in _OF_RECORD}
    values |= {name: result.comparison_error(name) for name in MEANINGS}
    values |= {
        "critical_bias_decay": number(prediction.get("critical_bias_decay")),
        "mean_cosine_predicted": prediction.get("mean_cosine"),
        "mean_cosine_measured": record["mean_cosine"],
        "certificate_kind": certificate.get("kind"),
        "certificate_gap": number(certificate.get("gap")),
        "certificate_holds": certificate.get("holds"),
    }
    collapse = record.get("collapse", {})
    return values | {name: number(value) for name, value in collapse.items() if name not in _NO_METRIC}


def history_rows(results: Iterable[TrialResult]) -> list[dict[str, Any]]:
    """Every row of every history, with the trial that it belongs to."""
    return [
        {"trial": result.id, **{name: number(value) for name, value in look.items()}}
        for result in results
        for look in result.history()
    ]


def number(value: Any) -> Any:
    """The value, with an infinity that JSON kept as text as a number again."""
    return {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value


def write(frame: pandas.DataFrame, path: Path, format: str) -> Path:  # noqa: A002
    """Write a table to a file ending in its format, which appears whole or not at all.

    Raises
    ------
    ArgumentError
        If the format is not one of :data:`FORMATS`.
    MissingDependencyError
        If Parquet is asked for and pyarrow is not installed.
    """
    checks.choice(format, "format", FORMATS)
    target = path.with_name(f"{path.name}.{format}")
    writers: dict[str, Callable[[Path], Any]] = {
        "csv": lambda file: frame.to_csv(file, index=False),
        "parquet": lambda file: frame.to_parquet(file, index=False),
    }
    with files.atomic(target) as temporary:
        try:
            writers[format](temporary)
        except ImportError:
            raise MissingDependencyError(
                "format='parquet' needs pyarrow, which is not installed: pip install 'encollapse[parquet]'"
            ) from None
    return target


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name; a list is JSON text, so that a column has one type."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{key}"] = json.dumps(value)
        else:
            flat[f"{prefix}{key}"] = value
    return flat
