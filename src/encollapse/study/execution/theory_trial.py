"""A trial without a network: the exact minimizer of the unrestricted feature model, measured like one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from encollapse.data import Dataset
from encollapse.encodings import Encoding
from encollapse.geometry import ClassGeometry, compare
from encollapse.geometry.arrays import Arrays
from encollapse.study.record import TrialRecord
from encollapse.study.trials import THEORY
from encollapse.ufm import Problem, Solution, solve


@dataclass(frozen=True, eq=False)
class TrialOutcome:
    """What a trial found: its own part of the record, the encoding, geometries, prediction, history and arrays."""

    record: TrialRecord
    encoding: Encoding
    measured: ClassGeometry
    predicted: ClassGeometry | None
    prediction: Solution | None
    history: list[dict[str, Any]] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)


def minimize(problem: Problem, dataset: Dataset) -> TrialOutcome:
    """Solve for the minimizer and measure the collapse of its features, every sample at its class mean.

    Of the data only the class counts enter. The values of the metrics are those that a network would have that
    has collapsed completely. The comparison shows how exact the measurement is.

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
    record = TrialRecord(
        settings={
            "weight_decay": problem.weight_decay,
            "feature_decay": problem.feature_decay,
            "bias_decay": problem.bias_decay,
            "model": THEORY,
            "features": problem.features,
        },
        status=solution.status.name,
        message=solution.status.message,
        converged=True,
        loss=solution.loss,
        predicted_loss=solution.loss,
        relative_excess=0.0,
        prediction_note="The exact minimizer itself, without a network.",
        missing=dict.fromkeys(("stationarity", "test_accuracy", "test_nc4_agreement"), "nothing was trained"),
        seconds=time.perf_counter() - clock,
        collapse=measured.to_dict(),
        comparison=None if comparison is None else comparison.to_dict(),
    )
    return TrialOutcome(record, problem.encoding, measured.geometry, solution.geometry, solution)
