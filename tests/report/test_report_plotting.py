"""One call to draw: axes in and out, what is drawn is what the results hold, and tables in print and notebooks."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.report import study_report
from encollapse.report.charts import Chart, Line, Panel, Scale
from encollapse.report.charts.paper import figure_of
from encollapse.report.fact_formats import Facts, html, latex
from encollapse.report.figures import against_settings, gram_encodings
from encollapse.report.figures.values import diagnosis_chart
from encollapse.report.plotting import WIDTHS, fitted
from encollapse.report.study_report import sections
from encollapse.report.style import looks
from encollapse.report.summary import what_varies
from encollapse.study.families import families
from reference.study_folder import study_of
from reference.study_records import write_full_folder

COUNTS = (11, 7, 5, 3, 2)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def solution() -> ec.ufm.Solution:
    problem = ec.ufm.Problem("one-hot", COUNTS, weight_decay=5e-3, feature_decay=2e-3, bias_decay=0.3)
    return ec.ufm.solve(problem)


@pytest.fixture(scope="module")
def collapse(solution: ec.ufm.Solution) -> ec.measure.Collapse:
    weight, means, bias = solution.parameters(7)
    labels = np.repeat(np.arange(5), COUNTS)
    features = means.T[labels] + 1e-2 * np.random.default_rng(3).standard_normal((len(labels), 7))
    return ec.measure.collapse(features, labels, weight=weight, bias=bias, encoding="one-hot")


@pytest.fixture(scope="module")
def values(solution: ec.ufm.Solution, collapse: ec.measure.Collapse) -> dict[str, Any]:
    return {
        "Encoding": ec.encodings.random(5, 3),
        "Solution": solution,
        "ClassGeometry": collapse.geometry,
        "BiasPath": ec.ufm.bias_path(solution.problem, [0.0, 0.1, 0.3, 1.0, np.inf]),
        "Collapse": collapse,
        "Comparison": ec.compare(solution, collapse),
        "Plan": ec.study.plan(ec.study.load("digits-transition"), workers=2),
    }


NAMES = ("Encoding", "Solution", "ClassGeometry", "BiasPath", "Collapse", "Comparison", "Plan")


@pytest.mark.parametrize("name", NAMES)
def test_each_result_is_drawn_into_axes_or_a_figure_and_shows_a_table(name: str, values: dict[str, Any]) -> None:
    x = values[name]
    drawn = x.plot()
    assert isinstance(drawn, Axes if name in ("Encoding", "Comparison", "Plan") else Figure)
    axes = Figure().subplots()
    assert ec.plot(x, ax=axes) is axes
    assert axes.lines or axes.images
    text, table = str(x), x._repr_html_()
    assert "<table>" in table
    assert text != repr(x)
    assert "object at 0x" not in text + table
    assert table.count("<tr>") == table.count("</tr>") > 1
    assert x.to_latex().count(r"\\") > 1


def test_matrices_hold_the_numbers_of_the_results(values: dict[str, Any]) -> None:
    encoding, solution, geometry = (values[name] for name in ("Encoding", "Solution", "ClassGeometry"))
    np.testing.assert_allclose(encoding.plot().images[0].get_array(), encoding.codewords.T @ encoding.codewords)
    cosines, spectrum = solution.plot().axes[:2]
    means = solution.parameters(7)[1]
    unit = means / np.linalg.norm(means, axis=0)
    np.testing.assert_allclose(cosines.images[0].get_array(), unit.T @ unit, atol=1e-9)
    np.testing.assert_allclose(spectrum.lines[0].get_ydata(), solution.singular_values)
    norms = geometry.plot(panels=["norms"])
    np.testing.assert_allclose(norms.lines[0].get_ydata(), np.sqrt(np.diag(geometry.feature_gram)))


def test_errors_and_metrics_stand_where_their_values_are(values: dict[str, Any]) -> None:
    comparison, collapse, path = (values[name] for name in ("Comparison", "Collapse", "BiasPath"))
    shown = comparison.plot().lines[0].get_xdata()
    np.testing.assert_allclose(shown, [row.value for row in comparison.rows if row.value])
    metrics = collapse.plot(panels=[0])
    assert metrics.lines[0].get_xdata()[0] == collapse.nc1_trace_ratio
    (curve,) = [line for line in path.plot().axes[0].lines if len(line.get_ydata()) == 3]
    np.testing.assert_allclose(curve.get_ydata(), path.mean_cosine[1:4])  # 0 and ∞ stand beyond the breaks


def test_axes_are_as_many_as_panels(solution: ec.ufm.Solution) -> None:
    both = Figure().subplots(1, 2)
    assert solution.plot(ax=both) is both
    assert both[0].images
    assert both[1].lines
    with pytest.raises(ArgumentError, match="as many as there are panels, 2, got 3"):
        solution.plot(ax=Figure().subplots(1, 3))
    with pytest.raises(ArgumentTypeError, match="expected matplotlib Axes"):
        solution.plot(ax=7)


def test_a_paper_figure_has_the_width_of_its_column_and_text_that_is_text(
    values: dict[str, Any], tmp_path: Path
) -> None:
    drawn = values["BiasPath"].plot(style="paper", width="one", out=tmp_path / "path.svg")
    assert drawn.get_figwidth() == 3.35
    assert len(drawn.axes) == 2
    assert {label.get_fontsize() for label in drawn.axes[0].get_xticklabels()} == {7.0}
    assert values["Solution"].plot(style="paper").get_figwidth() == 6.9
    source = (tmp_path / "path.svg").read_text()
    assert "mean cosine of class means</text>" in source
    assert "<path id=" not in "".join(re.findall(r"<g id=\"text_1\">.*?</g>", source, re.DOTALL))
    drawn.savefig(tmp_path / "path.pdf")  # by matplotlib itself, whatever its style
    assert b"/FontFile2" in (tmp_path / "path.pdf").read_bytes()  # TrueType, which can be searched
    assert (tmp_path / "path.csv").read_text().startswith("bias_decay,mean_cosine,bias_norm\n0.0,")


def test_panels_are_chosen_by_place_or_name_and_mistakes_are_named(solution: ec.ufm.Solution) -> None:
    assert solution.plot(panels=["outputs"]).get_title(loc="left").startswith("outputs")
    assert solution.plot(panels=[-1]).lines
    with pytest.raises(ArgumentError, match="there is no 'bias'; there are 'predicted cosines', 'outputs"):
        solution.plot(panels=["bias"])
    with pytest.raises(ArgumentError, match="style: expected"):
        solution.plot(style="poster")
    with pytest.raises(ArgumentTypeError, match=r"expected one of Encoding, .*, Results, got int"):
        ec.plot(3)
    with pytest.raises(ArgumentError, match="expected a run with frames"):
        ec.plot(solution, animate=True)


SWEEP = """
name = "sweep"
title = "Widths"
[defaults]
dataset = "digits"
weight_decay = 5e-3
feature_decay = 1e-3
bias_decay = 0
[[runs]]
encoding = ["one-hot", "simplex"]
model = { name = "mlp", options = { width = [32, 64, 256] } }
seeds = [0, 1]
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> ec.study.Results:
    path = tmp_path_factory.mktemp("sweep")
    write_full_folder(path, study_of(SWEEP))
    return ec.study.open(path)


def test_a_sweep_is_drawn_against_what_it_varies(sweep: ec.study.Results) -> None:
    figure = sweep.plot()
    (error,) = [axes for axes in figure.axes if axes.get_ylabel() == "relative Gram error"]
    assert [label.get_text() for label in error.get_xticklabels()] == ["32", "64", "256"]
    one_hot = [r for r in sweep.done if r.settings["encoding"]["name"] == "one-hot"]
    marks = next(line for line in error.lines if line.get_linestyle() == "None")
    for width, shown in zip((32, 64, 256), marks.get_ydata(), strict=True):
        own = [r.record.value("gram_error") or 0.0 for r in one_hot if r.settings["model_options"]["width"] == width]
        assert shown == pytest.approx(np.mean(own), rel=1e-12)


def test_a_sweep_of_theory_alone_has_no_empty_panel_and_speaks_of_minimizers(tmp_path: Path) -> None:
    """The NC1 of a minimizer is exactly 0, for which a logarithmic axis has no place."""
    text = """
name = "theory"
title = "Decays"
[[runs]]
model = "ufm"
dataset = { name = "digits", per_class = 7 }
encoding = "one-hot"
weight_decay = [1e-3, 5e-3]
feature_decay = 1e-4
bias_decay = 0.1
"""
    study = study_of(text)
    results = ec.study.run(study, out=tmp_path, executor="inline", progress=False)
    (drawing,) = against_settings(families(results.done))
    labels = [panel.y.label for panel in drawing.chart.panels]
    assert "mean cosine of class means" in labels
    assert not any(label.startswith("NC1") for label in labels)
    assert drawing.caption.startswith("Exact minimizers against weight decay λ_W")
    page = ec.report.report(results).read_text(encoding="utf-8")
    assert page.count('class="plate"') == page.count('tabindex="0" aria-label')  # they scroll, so keys must reach them


def test_the_report_of_a_sweep_speaks_of_what_it_varies(sweep: ec.study.Results) -> None:
    made = {section.title: section for section in sections(sweep, families(sweep.done), None)}
    assert next(iter(made)) == "Against width"
    assert "The bias regularization" not in made  # it has one value
    captions = " ".join(drawing.caption for section in made.values() for drawing in section.drawings)
    assert "one row for each width and encoding" in captions
    assert "one row an encoding" not in captions
    assert what_varies(sweep)[0] == ("width", "32, 64, 256")  # and not {'width': 32}, ...
    dynamics = made["Along the training"]
    shown = [len(drawing.chart.panels) for drawing in dynamics.drawings]
    assert max(shown) <= 9
    names = [drawing.name for drawing in dynamics.folded]
    assert "dynamics-all" in names or "dynamics-all-2" in names


def test_a_sweep_over_two_numbers_titles_its_matrices_apart(tmp_path: Path) -> None:
    """Nine settings of which the figure of matrices shows seven: it says so, no title runs into the next."""
    grid = SWEEP.replace('["one-hot", "simplex"]', '"one-hot"').replace("weight_decay = 5e-3", "")
    write_full_folder(tmp_path, study_of(f"{grid}weight_decay = [1e-3, 5e-3, 2e-2]\n"))
    results = ec.study.open(tmp_path)
    members = families(results.done)
    (drawing,) = gram_encodings(members)
    assert "for 7 of 9 choices of width and weight decay λ_W" in drawing.caption
    figure = drawing.figure
    figure.canvas.draw()
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.title.get_text()]
    assert len(titles) == 7
    assert all(one.x1 < other.x0 for one, other in pairwise(sorted(titles, key=lambda box: box.x0)))
    first = study_report._settings(results, members, None)
    assert first.title == "Against width and weight decay λ_W"
    page = study_report._page(results, members, [replace(first, drawings=[], tables=[])])
    assert "<h2>Against width and weight decay λ<sub>W</sub></h2>" in page


def test_results_print_a_row_for_each_family_and_draw_the_figure_asked_for(sweep: ec.study.Results) -> None:
    lines = str(sweep).splitlines()
    assert sum("mlp (width=" in line for line in lines) == 6
    first = [r for r in sweep.done if r.settings["model_options"]["width"] == 32][:2]
    mean = np.mean([r.record.value("nc1_trace_ratio") for r in first])
    assert f"{mean:.1e}".replace("e-0", "e-") in lines[4]
    assert len(sweep.plot(figure="collapse", panels=["NC3"]).lines) > 0
    with pytest.raises(ArgumentError, match="figure: expected"):
        sweep.plot(figure="pie")
    with pytest.raises(ArgumentError, match="the results hold no data for transition"):
        sweep.plot(figure="transition")


def test_a_run_draws_its_history_and_films_its_frames(tmp_path: Path) -> None:
    small = ec.data.load("digits", counts=5, seed=0)
    run = ec.train.fit(
        small, "one-hot", weight_decay=5e-3, feature_decay=1e-2, epochs=3, finish=0, keep_frames=True, history_every=1
    )
    curve = run.plot(panels=["accuracy"]).lines[-1]
    assert curve.get_ydata().tolist() == [row["accuracy"] for row in run.history]
    film = run.plot(animate=True)
    film.save(tmp_path / "film.gif", writer="pillow")
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF8")
    assert "Linear(" not in str(run) + run._repr_html_()  # the network itself is no part of its table
    assert f"{100 * (run.collapse.accuracy or 0.0):.2f} %" in str(run)
    assert f"mean cosine      {run.collapse.geometry.mean_cosine():.4f}".replace("-", "−") in str(run)


def test_series_are_told_apart_by_dashes_too() -> None:
    assert [look.dash for look in looks(5)] == ["solid", "dashed", "dotted", "dashdot", "solid"]


def test_colors_that_are_one_to_a_deuteranope_have_another_marker_and_another_dash() -> None:
    """Colors as seen without the middle cones (Machado et al. 2009), as distances in CIE Lab."""
    seen = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]])
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    colors = np.array([to_rgb(look.color) for look in looks(7)])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ seen.T, 0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089]
    roots = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * roots[:, 1], 500 * (roots[:, 0] - roots[:, 1]), 200 * (roots[:, 1] - roots[:, 2])], axis=1)
    near = [(one, other) for one, other in combinations(range(7), 2) if np.linalg.norm(lab[one] - lab[other]) < 30]
    assert (2, 3) in near  # green and purple
    for one, other in near:
        assert looks(7)[one].marker != looks(7)[other].marker
        assert looks(7)[one].dash != looks(7)[other].dash


def test_a_part_of_a_quantity_is_indented_and_a_power_has_no_leading_zero() -> None:
    found = Facts(heads=("quantity", "value"), rows=[("excess", "1.30e-02"), ("  within classes", "2.08679e-05")])
    assert r"\quad within classes & $2.08679 \times 10^{-5}$ \\" in latex(found)
    assert "&emsp;within classes</td>" in html(found)


def test_text_of_a_diagnosis_stays_on_the_paper(solution: ec.ufm.Solution, collapse: ec.measure.Collapse) -> None:
    excess = SimpleNamespace(total=0.1259, lower_bound=0.1917, unbalanced=0.0120, within=0.0819, between=0.0320)
    chart = diagnosis_chart(SimpleNamespace(collapse=collapse, prediction=solution, excess=excess))
    figure = figure_of(fitted(chart, WIDTHS["two"]), make=plt.figure, print_size=True)
    figure.canvas.draw()
    boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    assert len(boxes) == len(figure.axes)
    assert all(figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 for box in boxes)


def test_names_of_frames_stand_within_axes_that_no_layout_makes_room_around(values: dict[str, Any]) -> None:
    plain, laid_out = plt.subplots(1, 2), plt.subplots(1, 2, layout="constrained")
    for figure, axes in (plain, laid_out):
        values["BiasPath"].plot(ax=axes)
        figure.canvas.draw()
    for figure, axes in (plain, laid_out):
        names = [text for text in axes[0].texts if "frame" in text.get_text()]
        assert len(names) == 2
        inside = [text.get_window_extent().x1 <= axes[0].bbox.x1 for text in names]
        assert all(inside) is (figure is plain[0])
        assert all(text.get_window_extent().x1 <= axes[1].bbox.x0 for text in names)


def test_a_figure_of_one_column_fits_its_page(values: dict[str, Any]) -> None:
    """Nothing is cut at its sides, and many panels are no taller than a printed page."""
    long = ec.study.plan(ec.study.load("digits-accuracy"), workers=2)  # names of up to 54 characters
    for value in (values["Plan"], long, values["Comparison"], values["Collapse"]):
        drawn = ec.plot(value, style="paper", width="one")
        figure = drawn if isinstance(drawn, Figure) else drawn.figure
        figure.canvas.draw()
        boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
        assert all(figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 for box in boxes)
        assert figure.axes[0].bbox.width > 0.4 * figure.bbox.width
    steps = [{"epoch": i, **{f"metric {j}": 2.0**-i for j in range(11)}} for i in range(5)]
    scales = Scale("passes"), Scale("", "log")
    panels = [
        Panel(*scales, [Line([row["epoch"] for row in steps], [row[name] for row in steps], "#000000")], name)
        for name in steps[0]
        if name != "epoch"
    ]
    tall = fitted(Chart("history", "", panels, steps, columns=4, height=1.75), WIDTHS["one"])
    assert tall.columns == 1
    assert tall.height * len(panels) <= 9.0


def test_a_film_has_a_legend_of_what_moved_only(tmp_path: Path) -> None:
    """Colors of the drift are those of no metric, and without a drift there is no legend."""
    torch.manual_seed(0)
    first = torch.nn.Linear(6, 7)
    network = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Linear(7, 3))
    inputs, labels = torch.randn(30, 6), torch.arange(30) % 3
    for step in range(2):
        torch.save(network.state_dict(), tmp_path / f"step-{step}.pt")
        with torch.no_grad():
            first.weight += 0.1 * torch.randn(7, 6)
    films = [
        ec.measure.measure_checkpoints(paths, lambda: network, [(inputs, labels)], progress=False)
        for paths in ([tmp_path / "step-0.pt"], [tmp_path / "step-0.pt", tmp_path / "step-1.pt"])
    ]
    single, film = (one.drawing().chart for one in films)
    assert not single.keys
    named = {key.color for key in film.keys}
    assert len(named) == 2
    for panel in film.panels:
        drift = panel.title.startswith(("class means", "span", "features"))
        assert {mark.color for mark in panel.marks} <= named if drift else not {m.color for m in panel.marks} & named


def test_latex_is_a_tabular_with_numbers_as_powers(values: dict[str, Any]) -> None:
    text = values["Comparison"].to_latex()
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\n")
    error = values["Comparison"].gram_error
    digits, exponent = f"{error:.1e}".split("e")
    assert rf"gram error & ${digits} \times 10^{{{int(exponent)}}}$ \\" in text
    assert not re.search(r"(?<!\\)[_%&#](?![ &{])", text.replace(" & ", ""))


@pytest.mark.parametrize("name", ["encoding", "geometry", "solution", "collapse"])
def test_a_color_bar_is_no_taller_than_the_matrices_beside_it(name: str, solution: Any, collapse: Any) -> None:
    shown = {"encoding": ec.encodings.one_hot(4), "geometry": solution.geometry, "solution": solution}
    ec.plot((shown | {"collapse": collapse})[name])
    figure = plt.gcf()
    figure.canvas.draw()
    (bar,) = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    boxes = [axes.get_position() for axes in figure.axes if axes.get_images()]
    low, high, own = min(box.y0 for box in boxes), max(box.y1 for box in boxes), bar.get_position()
    assert low - 1e-9 <= own.y0 < own.y1 <= high + 1e-9
