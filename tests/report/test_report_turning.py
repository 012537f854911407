"""Where figures and tables say that the frame turns: the critical value, or the practical one of imbalanced classes."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import encollapse as ec
from encollapse.report import figures
from encollapse.report.charts import Points, Rule
from encollapse.report.charts.chart import Chart
from encollapse.report.tables import certificate_table
from encollapse.study.families import families
from encollapse.ufm.path import transition_grid
from reference.study_folder import study_of, write_folder

BALANCED = ec.ufm.Problem(ec.encodings.one_hot(4), 30, weight_decay=5e-3, feature_decay=1e-3)
IMBALANCED = ec.ufm.Problem(ec.encodings.one_hot(4), [40, 30, 30, 20], weight_decay=5e-3, feature_decay=1e-3)
T = math.sqrt(4 * 120 * 5e-3 * 1e-3)


def carried(problem: ec.ufm.Problem, bias_decay: float) -> float:
    """What the features carry of the mean label, ``1 - |Z u - ē|/|ē|``, from the class outputs."""
    solution = ec.ufm.solve(replace(problem, bias_decay=bias_decay))
    priors = np.asarray(problem.counts) / np.sum(problem.counts)
    mean = problem.encoding.codewords @ priors
    return 1 - float(np.linalg.norm(np.asarray(solution.geometry.class_outputs) @ priors - mean) / np.linalg.norm(mean))


def marked(chart: Chart) -> list[tuple[float, str]]:
    """The vertical lines of every panel, with their names."""
    marks = [mark for panel in chart.panels for mark in panel.marks]
    return [(mark.value, mark.name) for mark in marks if isinstance(mark, Rule) and not mark.across]


def chart_of(problem: ec.ufm.Problem) -> Chart:
    chart = figures.path_figure(problem).chart
    assert chart is not None
    return chart


def test_a_balanced_path_marks_the_critical_value() -> None:
    chart = chart_of(BALANCED)
    (first, name), *others = marked(chart)
    assert first == pytest.approx(T / (1 - T))
    assert name.startswith("λ_b* = ")
    assert {value for value, _ in others} == {first}
    assert "the critical value, above which the class means turn" in chart.caption


def test_an_imbalanced_path_marks_the_practical_value_and_says_so() -> None:
    assert IMBALANCED.critical_bias_decay() == 0
    chart = chart_of(IMBALANCED)
    values = {value for value, _ in marked(chart)}
    assert values == {IMBALANCED.practical_bias_decay()}
    assert marked(chart)[0][1].startswith("λ_b at 10 % = ")
    assert "carry a tenth" in chart.caption
    # The mark is where it claims to be: the features carry a tenth of what they carry without a bias.
    (value,) = values
    assert carried(IMBALANCED, value) == pytest.approx(0.1 * carried(IMBALANCED, math.inf), rel=1e-6)
    # And its diamond is on the curve.
    for panel in chart.panels:
        diamonds = [mark for mark in panel.marks if isinstance(mark, Points) and mark.marker == "D"]
        assert [mark.x for mark in diamonds] == [[value]]
    cosine = ec.ufm.solve(replace(IMBALANCED, bias_decay=value)).geometry.mean_cosine()
    (height,) = (mark.y[0] for mark in chart.panels[0].marks if isinstance(mark, Points))
    assert height == pytest.approx(cosine)


def test_no_table_of_an_imbalanced_path_calls_zero_critical() -> None:
    path = ec.ufm.bias_path(IMBALANCED, transition_grid(IMBALANCED.turning_point()[0]))
    text = str(path)
    lines = [line for line in text.splitlines() if "practical" in line]
    value = IMBALANCED.practical_bias_decay()
    assert value is not None
    assert float(lines[0].split()[0]) == pytest.approx(value, rel=1e-3)
    assert "critical" not in text.replace("The critical value itself is 0", "")
    assert "The critical value itself is 0" in " ".join(text.split())
    balanced = str(ec.ufm.bias_path(BALANCED, transition_grid(BALANCED.turning_point()[0])))
    assert sum("critical" in line for line in balanced.splitlines()) == 1
    assert "practical" not in balanced
    without = str(ec.ufm.bias_path(IMBALANCED, [0.0, 1.0]))
    assert "critical" not in without
    assert "practical" not in without


STUDY = """
name = "imbalanced"
title = "Rare classes"
[defaults]
dataset = { name = "digits", counts = [20, 13, 13, 13, 6] }
weight_decay = 5e-3
relative_threshold = 0.3
[[runs]]
encoding = "one-hot"
bias_decay = [0, 0.1, 1, inf]
"""


def test_the_figure_of_an_imbalanced_study_marks_the_practical_value(tmp_path: Path) -> None:
    write_folder(tmp_path, study_of(STUDY), counts=(20, 13, 13, 13, 6))
    members = families(ec.study.open(tmp_path).done)
    (family,) = members
    (drawing,) = figures.transition(members)
    assert family.problem is not None
    expected = family.problem.practical_bias_decay()
    assert [value for value, _ in marked(drawing.chart)] == [expected]
    assert marked(drawing.chart)[0][1].startswith("λ_b at 10 %")
    assert "a tenth of what they carry without a bias" in drawing.chart.caption
    table = certificate_table(members)
    assert table is not None
    assert "λ_b* = 0 means that every bias decay above 0 turns the class means" in table.caption
