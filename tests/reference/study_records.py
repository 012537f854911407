"""Fuller records for made-up studies: metrics, histories and hold-out, as a training would have left them."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encollapse.data.imbalance import rare_classes
from encollapse.study.record import TrialRecord
from encollapse.study.store.arrays import load_arrays
from encollapse.study.store.sqlite import Store, StoredTrial
from encollapse.study.study import Study
from reference.study_folder import COUNTS, write_folder

METRICS = ("nc1_trace_ratio", "nc2_etf", "nc2_orthogonal", "nc3_self_duality", "label_centering", "bias_to_label_mean")


def write_full_folder(path: Path, study: Study, *, counts: tuple[int, ...] = COUNTS) -> Store:
    """Store every trial of `study` as done, with everything that a record can hold."""
    store = write_folder(path, study, noise=1e-4, counts=counts)
    for number, row in enumerate(store.rows().values()):
        record, history = _fuller(row, number)
        arrays = load_arrays(store.arrays_path(row.id))
        store.keep(dataclasses.replace(row, record=record), history, arrays)
    return store


def _fuller(row: StoredTrial, number: int) -> tuple[TrialRecord, list[dict[str, Any]]]:
    assert row.record is not None
    generator = np.random.default_rng(number)
    level = 10.0 ** generator.uniform(-4, -2)
    kind = row.settings.get("train", {}).get("decay", "ufm")
    record = row.record.to_dict()
    if kind != "ufm" and record["comparison"] is not None:
        record["comparison"] = {
            name: value * 200 if isinstance(value, float) else value for name, value in record["comparison"].items()
        }
    final = {name: level * (1 + place) for place, name in enumerate(METRICS)}
    record["collapse"] = final | {"accuracy": 1 - level, "nc4_agreement": 1 - level / 2, "floor": 1e-6}
    record["test_accuracy"] = 0.95 - level
    record["test_nc4_agreement"] = 0.97 - level
    record["test_balanced_accuracy"] = 0.91 - level
    record["test_minority_accuracy"] = 0.83 - level if rare_classes(np.array(record["counts"])).any() else None
    return TrialRecord.from_dict(record), [
        _look(epoch, final, record) for epoch in range(0, 60 + 10 * (number % 3), 10)
    ]


def _look(epoch: int, final: Mapping[str, float], record: Mapping[str, Any]) -> dict[str, Any]:
    left = math.exp(-epoch / 6)
    return {
        "epoch": epoch,
        "phase": "start" if epoch == 0 else "adam" if epoch <= 20 else "lbfgs",
        "loss": record["prediction"]["loss"] * (1 + 1e-5 + left),
        "mean_cosine": -0.1 + left,
        "accuracy": 1 - 0.9 * left,
    } | {name: value + left for name, value in final.items()}
