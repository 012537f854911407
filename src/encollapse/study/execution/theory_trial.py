"""A trial without a network: the exact minimizer of the unrestricted feature model, measured like one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.geometry import ClassGeometry, compare
from encollapse.study.store.arrays import Arrays
from encollapse.study.trials import THEORY
from encollapse.ufm import Problem, Solution, solve


@dataclass(frozen=True, eq=False)
class TrialOutcome:
    """The record of a trial, its encoding, what was measured, the prediction if there is one, and further arrays."""

    record: dict[str, Any]
    encoding: Encoding
    measured: ClassGeometry
    predicted: ClassGeometry | None
    prediction: Solution | None
    arrays: Arrays = field(default_factory=dict)


def minimize(problem: Problem, dataset: Dataset) -> TrialOutcome:
    """Solve for the minimizer and measure the collapse of its features, every sample at its class mean.

    Of the data only the class counts enter. The values of the metrics are those that a network would have that
    has collapsed completely; the comparison shows how exact the measurement is.

    Raises
    ------
    SolverError
        If the solver does not reach its certificate.
    """
    from encollapse.measure import collapse

    clock = time.perf_counter()
    solution = solve(problem)
    weight, means, bias = solution.parameters()
    measured = collapse(
        np.repeat(means.T, dataset.counts, axis=0),
        np.repeat(np.arange(problem.num_classes), dataset.counts),
        weight=weight,
        bias=bias,
        encoding=problem.encoding,
        num_classes=problem.num_classes,
    )
    comparison = compare(solution.geometry, measured.geometry) if solution.unique else None
    settings = {
        "weight_decay": problem.weight_decay,
        "feature_decay": problem.feature_decay,
        "bias_decay": problem.bias_decay,
        "model": THEORY,
        "features": problem.features,
    }
    record = {
        "dataset": dataset.name,
        "data": dict(dataset.provenance),
        "encoding": problem.encoding.name,
        "settings": settings,
        "status": solution.status.name,
        "message": solution.status.message,
        "converged": True,
        "stationarity": None,
        "loss": solution.loss,
        "predicted_loss": solution.loss,
        "prediction_kind": "minimum",
        "prediction_note": "The exact minimizer itself, without a network.",
        "relative_excess": 0.0,
        "test_accuracy": None,
        "test_nc4_agreement": None,
        "test_balanced_accuracy": None,
        "test_minority_accuracy": None,
        "seconds": time.perf_counter() - clock,
        "missing": dict.fromkeys(("stationarity", "test_accuracy", "test_nc4_agreement"), "nothing was trained"),
        "collapse": measured.to_dict(),
        "comparison": None if comparison is None else comparison.to_dict(),
        "history": [],
    }
    return TrialOutcome(record, problem.encoding, measured.geometry, solution.geometry, solution)
