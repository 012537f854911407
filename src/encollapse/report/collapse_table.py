"""The table of collapse metrics by encoding and bias decay, seeds taken together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encollapse._internal.format import number_label, short
from encollapse.report.families import Family
from encollapse.report.figures.choice import common_decays
from encollapse.report.tables import Cell, Group, Table
from encollapse.study.results import TrialResult

_COLUMNS = (
    ("nc1_trace_ratio", "NC1", "tr Σ_W / tr Σ_B"),
    ("nc2_etf", "NC2 simplex", "centered means against a simplex frame"),
    ("shape_error", "NC2 predicted", "uncentered means against the frame predicted for the encoding"),
    ("nc3_self_duality", "NC3", "classifier against centered means"),
    ("nc4_agreement", "NC4", "share of the training samples that the nearest class mean decides alike"),
    ("test_nc4_agreement", "NC4 test", "the same on the hold-out"),
    ("label_centering", "|W μ + b − ē|", "centering of the labels"),
    ("bias_to_label_mean", "|b − ē|", "distance of the bias from the label mean"),
    ("accuracy", "accuracy", "on the training set, nearest codeword"),
    ("test_accuracy", "test accuracy", "on the hold-out"),
)
_SHARES = ("nc4_agreement", "test_nc4_agreement", "accuracy", "test_accuracy")
_DECAYS = 3


def collapse_table(members: Sequence[Family]) -> Table | None:
    """Means over seeds with their standard deviation; None where the records hold no metrics."""
    trials = [result for family in members for result in family.trials]
    known = [c for c in _COLUMNS if any(result.record.value(c[0]) is not None for result in trials)]
    if not any(name == "nc1_trace_ratio" for name, *_ in known):
        return None
    decays = common_decays(members, _DECAYS)
    groups = []
    for family in members:
        lines = [(decay, family.at(decay)) for decay in decays if family.at(decay)]
        rows = tuple(
            (Cell(number_label(decay)), Cell(str(len(own))), *(Cell(_cell(own, name)) for name, *_ in known))
            for decay, own in lines
        )
        if rows:
            groups.append(Group(family.label, rows))
    columns = (("λ_b", "bias decay"), ("seeds", ""), *((head, meaning) for _, head, meaning in known))
    caption = "Collapse by encoding and bias decay: mean over seeds ± standard deviation where there are several."
    return Table(columns, tuple(groups), caption)


def _cell(trials: Sequence[TrialResult], name: str) -> str:
    values = [v for result in trials if (v := result.record.value(name)) is not None]
    if not values:
        return "–"
    if name in _SHARES:
        mean = f"{100 * np.mean(values):.2f} %"
        return mean if len(values) < 2 else f"{mean[:-2]} ± {100 * np.std(values, ddof=1):.2f} %"
    mean = short(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {short(float(np.std(values, ddof=1)))}"
