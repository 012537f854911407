"""Study folders made from the exact minimizer: what a report is given, without any training."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

import encollapse as ec
from encollapse._internal.typing import IntArray
from encollapse.geometry import ClassGeometry
from encollapse.geometry.arrays import Arrays, to_arrays
from encollapse.study.execution.trial import now
from encollapse.study.record import PredictionRecord, TrialRecord
from encollapse.study.resolve import problem_of
from encollapse.study.store.sqlite import Store, StoredTrial
from encollapse.study.study import Study, parse
from encollapse.study.trials import Trial

TOML = """
name = "made-up"
title = "A study of <b>five</b> classes"
description = "Does λ_b matter?"
[defaults]
dataset = "digits"
weight_decay = 5e-3
relative_threshold = 0.3
[[runs]]
encoding = "one-hot"
bias_decay = [0, 0.1, 0.42857142857142855, 1, 10, inf]
seeds = [0, 1]
[[runs]]
encoding = ["simplex", { name = "random", options = { code_dim = 3 } }]
bias_decay = [0, inf]
"""

COUNTS = (13, 13, 13, 13, 13)


def study_of(text: str = TOML) -> Study:
    """Parse a study file given as text."""
    return parse(text, "made-up.toml", origin="made-up.toml")


def write_folder(path: Path, study: Study, *, noise: float = 1e-3, counts: tuple[int, ...] = COUNTS) -> Store:
    """Store every trial of `study` as done: its measurement is the exact minimizer with `noise` added."""
    store = Store(path)
    store.create()
    store.write_definition(study.name, study.definition())
    for index, trial in enumerate(study.trials):
        row, arrays = _done(trial, noise * (index + 1), np.array(counts), index)
        store.keep(row, [], arrays)
    return store


def without_digests(store: Store) -> None:
    """Make of a folder what the release before digests wrote: layout 2."""
    with closing(sqlite3.connect(store.file)) as database, database:
        for table, column in (("study", "digest"), ("trials", "digest"), ("trials", "files")):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("PRAGMA user_version = 2")


def failed(trial: Trial, error: str) -> StoredTrial:
    """Make the row of a trial that raised."""
    return StoredTrial(trial.id, trial.settings, "failed", None, error, 0.5, now(), now(), {"encollapse": "0"})


def _done(trial: Trial, noise: float, counts: IntArray, seed: int) -> tuple[StoredTrial, Arrays]:
    problem = problem_of(trial.settings, counts)
    solution = ec.ufm.solve(problem)
    generator = np.random.default_rng(seed)
    weight, means, bias = (
        x + noise * generator.standard_normal(x.shape) * np.abs(x).max()
        for x in solution.parameters(max(7, solution.rank))
    )
    measured = ClassGeometry(
        feature_gram=means.T @ means,
        counts=counts,
        classifier_gram=weight @ weight.T,
        class_outputs=weight @ means,
        bias=bias,
    )
    arrays = to_arrays(solution.geometry, "predicted") | to_arrays(measured, "measured")
    record = TrialRecord(
        dataset="digits",
        settings={"model": "mlp", "seed": trial.settings["seed"]},
        comparison=ec.compare(solution.geometry, measured).to_dict(),
        classes=tuple(range(len(counts))),
        counts=tuple(counts.tolist()),
        feature_decay=problem.feature_decay,
        threshold_c=problem.threshold,
        threshold_t=problem.threshold * float(np.sqrt(len(counts))),
        label_mean=tuple(problem.mean_codeword.tolist()),
        mean_cosine=measured.mean_cosine(),
        loss=solution.loss,
        stationarity=1e-4,
        relative_excess=1e-5,
        converged=True,
        prediction=PredictionRecord.of(solution),
    )
    row = StoredTrial(trial.id, trial.settings, "done", record, None, 1.5, now(), now(), {"encollapse": "0"})
    return row, arrays
