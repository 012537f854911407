"""Sections of a report: what each figure shows is what the records hold, and none appears without data."""

import csv
import json
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.report import figures
from encollapse.report.charts import Heat, Points
from encollapse.report.figures import collapse_dots, error_maps, error_overview, weight_decay_dots
from encollapse.report.figures.against import against_settings
from encollapse.report.figures.rows import row_sheets
from encollapse.report.style import house_style, looks
from encollapse.report.varied_settings import varied
from encollapse.study.families import families
from encollapse.study.results import TrialResult
from encollapse.study.trials import Trial
from reference.study_folder import study_of
from reference.study_records import write_full_folder

TEXT = """
name = "made-up"
title = "Decays and encodings"
[defaults]
dataset = "digits"
weight_decay = 5e-3
relative_threshold = 0.3
[[runs]]
encoding = ["one-hot", "simplex"]
bias_decay = [0, 0.3, inf]
seeds = [0, 1, 2]
"""

COUNTS = (31, 17, 7, 3, 2)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@dataclass(frozen=True)
class Renamed(TrialResult):
    """A trial whose classes are those of another in a new order."""

    source: TrialResult
    turned: list[int]

    def geometries(self) -> tuple[ec.ClassGeometry | None, ec.ClassGeometry]:
        predicted, measured = (self._turned(g) for g in self.source.geometries() if g is not None)
        return predicted, measured

    def _turned(self, geometry: ec.ClassGeometry) -> ec.ClassGeometry:
        gram = geometry.feature_gram[np.ix_(self.turned, self.turned)]
        return ec.ClassGeometry(gram, [COUNTS[k] for k in self.turned])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full")
    write_full_folder(path, study_of(TEXT), counts=COUNTS)
    ec.report.report(path)
    return path


def test_metrics_and_decisions_are_those_of_the_records(folder: Path) -> None:
    results = {(r.label, r.settings["seed"]): r for r in ec.study.open(folder).done}
    assert len(results) == 18
    for name, quantities in (("collapse", ["nc2_etf", "label_centering"]), ("decisions", ["test_accuracy"])):
        rows = read_csv(folder / "report" / f"{name}.csv")
        for quantity in quantities:
            shown = sorted(float(row["value"]) for row in rows if row["quantity"] == quantity)
            held = [r.record.value(quantity) or 0.0 for r in results.values()]
            assert shown == sorted(held)


def test_dynamics_hold_every_look_of_the_lines_shown(folder: Path) -> None:
    rows = read_csv(folder / "report" / "dynamics.csv")
    for result in ec.study.open(folder).done:
        own = [row for row in rows if row["trial"] == result.id]
        if own:
            assert [float(row["nc2_etf"]) for row in own] == [look["nc2_etf"] for look in result.history()]
    assert {row["phase"] for row in rows} == {"start", "adam", "lbfgs"}


def test_imbalance_shows_norms_of_the_stored_means(folder: Path) -> None:
    geometries = {r.id: r.geometries()[1] for r in ec.study.open(folder).done}
    rows = read_csv(folder / "report" / "imbalance.csv")
    assert {int(row["count"]) for row in rows} == set(COUNTS)
    for row in rows:
        gram, k = geometries[row["trial"]].feature_gram, int(row["class"])
        assert float(row["norm_measured"]) == pytest.approx(np.sqrt(gram[k, k]), rel=1e-12)
        others = [np.sqrt(gram[k, k] + gram[l, l] - 2 * gram[k, l]) for l in range(len(gram)) if l != k]  # noqa: E741
        assert float(row["nearest_measured"]) == pytest.approx(min(others), rel=1e-9)


def test_accuracies_of_rare_classes_are_those_of_the_records(folder: Path) -> None:
    rows = read_csv(folder / "report" / "rare-accuracy.csv")
    done = ec.study.open(folder).done
    for quantity in ("test_minority_accuracy", "test_balanced_accuracy"):
        shown = sorted(float(row["value"]) for row in rows if row["quantity"] == quantity)
        assert shown == sorted(r.record[quantity] for r in done)


def test_nearly_balanced_classes_are_not_called_rare(tmp_path: Path) -> None:
    write_full_folder(tmp_path, study_of(TEXT), counts=(31, 29, 23, 19, 17))
    members = families(ec.study.open(tmp_path).done)
    assert figures.imbalance(members) == []
    assert figures.rare_dots(members) == []
    assert figures.decision_dots(members) != []


def test_classes_that_change_places_with_the_seed_are_compared_by_their_size(folder: Path) -> None:
    (first, *_) = families(ec.study.open(folder).done)
    one, other = first.at(0.0)[:2]
    turned = [4, 2, 0, 1, 3]  # the same trial with its classes renamed
    record = replace(one.record, counts=tuple(COUNTS[k] for k in turned))
    row = replace(other.row, record=record)
    again = Renamed(other.trial, row, other.arrays_path, other.history_path, one, turned)
    (alone,) = figures.imbalance(families([one]))
    (both,) = figures.imbalance(families([one, again]))
    for panel, wanted in zip(both.chart.panels, alone.chart.panels, strict=True):
        (points,), (expected,) = ([m for m in p.marks if isinstance(m, Points)] for p in (panel, wanted))
        np.testing.assert_allclose(points.y, expected.y, rtol=1e-12)


def test_training_options_are_named_only_where_nothing_else_tells_families_apart(folder: Path) -> None:
    done = ec.study.open(folder).done[:1]

    def labels(*trains: dict[str, object], **other: object) -> list[str]:
        trials = [Trial({**done[0].settings, "train": train, "seed": i}) for i, train in enumerate(trains)]
        if other:
            trials[1] = Trial({**trials[1].settings, **other})
        return [family.label for family in families([replace(done[0], trial=t) for t in trials])]

    assert labels({}, {"loss": "cross_entropy"}) == ["one-hot", "one-hot · cross entropy"]
    assert labels({"finish": 0}, {"loss": "mse", "finish": 3}) == ["one-hot", "one-hot · mse"]
    assert labels({}, {"finish": 0}, relative_threshold=0.1) == ["one-hot · t = 0.3", "one-hot · t = 0.1"]


def test_titles_of_rare_classes_say_what_differs_and_are_whole(tmp_path: Path) -> None:
    text = """
name = "rare"
title = "Rare classes"
[defaults]
dataset = { name = "digits", imbalance = { kind = "exponential", ratio = 10 } }
model = "mlp"
encoding = { name = "label-smoothing", options = { smoothing = 0.1 } }
weight_decay = 5e-3
bias_decay = [0, inf]
[[runs]]
relative_threshold = [0.1, 0.2, 0.3]
train = { loss = ["mse", "cross_entropy"] }
[[runs]]
relative_threshold = [0.1, 0.2]
encoding = "one-hot"
"""
    write_full_folder(tmp_path, study_of(text), counts=COUNTS)
    same, mixed = figures.imbalance(families(ec.study.open(tmp_path).done))
    for drawing in (same, mixed):
        titles = [axes.get_title(loc="left") for axes in drawing.figure.axes[: drawing.chart.columns]]
        assert len(set(titles)) == drawing.chart.columns
        assert not any("…" in title for title in titles)
        assert any("smoothing" in title for title in titles) == (drawing is mixed)
    assert "label-smoothing (smoothing=0.1)" in same.caption


def test_the_scatter_pairs_entries_of_both_geometries(folder: Path) -> None:
    rows = read_csv(folder / "report" / "scatter.csv")
    result = ec.study.open(folder).done[0]
    predicted, measured = result.geometries()
    assert predicted is not None
    pairs = np.triu_indices(len(COUNTS), 1)
    own = [row for row in rows if row["trial"] == result.id and row["quantity"] == "cosine"]
    assert [float(row["predicted"]) for row in own] == predicted.cosines()[pairs].tolist()
    assert [float(row["measured"]) for row in own] == measured.cosines()[pairs].tolist()


def test_the_interactive_page_stands_alone_and_plotly_accepts_its_charts(folder: Path) -> None:
    report = folder / "report"
    source = (report / "interactive.html").read_text()
    assert re.findall(r'<script[^>]* src="([^"]*)"', source) == ["plotly.min.js"]
    assert (report / "plotly.min.js").stat().st_size > 1_000_000
    assert "http" not in source.replace("http-equiv", "")
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', source, re.DOTALL)
    assert found is not None
    charts = json.loads(found.group(1))
    assert {path.stem for path in report.glob("*.png")} == set(charts)
    for chart in charts.values():
        plotly.graph_objects.Figure(data=chart["data"], layout=chart["layout"])


def test_the_page_is_of_sane_size_and_says_what_varies(folder: Path) -> None:
    source = (folder / "report" / "index.html").read_text()
    assert len(source) < 3_000_000
    assert source.index("What was varied") < source.index("The bias regularization")
    assert "<td>18</td>" not in source
    assert "Wall time of the trials" in source


def test_axes_of_the_error_map_are_chosen(folder: Path) -> None:
    done = ec.study.open(folder).done
    made = error_maps(done, ("bias_decay", "encoding"))
    assert {row["bias_decay"] for drawing in made for row in drawing.rows} == {"0", "0.3", "∞"}
    (heat,) = made[0].chart.panels[0].marks
    assert isinstance(heat, Heat)
    largest = max(r.comparison_error("gram_error") or 0.0 for r in done if r.label.startswith(done[0].label[:-1]))
    assert heat.values[0, 0] == largest
    with pytest.raises(ArgumentError, match="does not vary 'epochs'; it varies: 'bias_decay', 'encoding'"):
        error_maps(done, ("epochs", "encoding"))
    with pytest.raises(ArgumentError, match="two different parameters"):
        error_maps(done, ("encoding", "encoding"))


def test_kinds_of_training_that_share_no_panel_share_sheets_and_axes(tmp_path: Path) -> None:
    decays = ", ".join(f"{1e-3 * (1 + i):g}" for i in range(19))
    text = f"""
name = "kinds"
title = "Many kinds"
[defaults]
dataset = "digits"
relative_threshold = 0.3
bias_decay = 0.1
weight_decay = 5e-3
encoding = "one-hot"
[[runs]]
weight_decay = [{decays}]
[[runs]]
encoding = "simplex"
[[runs]]
train = {{ batch_size = [32, 128] }}
"""
    write_full_folder(tmp_path, study_of(text), counts=COUNTS)
    members = families(ec.study.open(tmp_path).done)
    assert len(members) == 22
    assert [len(sheet.members) for sheet in row_sheets(members)] == [11, 11]
    assert row_sheets(members)[0].names[:3] == ["λ_W = 0.001", "λ_W = 0.002", "λ_W = 0.003"]
    found = {drawing.name: drawing for drawing in against_settings(members)}
    assert {row["at"] for row in found["against-train-batch-size"].rows} == {32, 64, 128}  # 64 is the default


def test_names_of_many_kinds_leave_room_for_the_panels(tmp_path: Path) -> None:
    """What all rows of a sheet share is said once, and what is left is wrapped; no name is cut by the edge."""
    tails = ", ".join(
        f"{{ name = 'mlp', options = {{ tail = '{tail}', width = {width}, depth = 2 }} }}"
        for tail in ("batch-norm", "batch-norm-relu")
        for width in (32, 64, 128)
    )
    text = f"""
name = "recipes"
title = "Many recipes"
[defaults]
dataset = {{ name = "digits", imbalance = {{ kind = "exponential", ratio = 10 }} }}
weight_decay = 5e-3
bias_decay = 5e-3
encoding = {{ name = "label-smoothing", options = {{ smoothing = 0.1 }} }}
train = {{ recipe = "sgd-cosine", learning_rate = 0.1 }}
[[runs]]
model = [{tails}]
train = {{ loss = ["mse", "cross_entropy"] }}
epochs = [3, 7]
[[runs]]
model = {{ name = "mlp", options = {{ tail = "batch-norm", width = 32, depth = 2 }} }}
encoding = "one-hot"
train = {{ recipe = "adam-cosine", batch_size = [32, 128] }}
"""
    write_full_folder(tmp_path, study_of(text), counts=COUNTS)
    members = families(ec.study.open(tmp_path).done)
    sheets = row_sheets(members)
    assert [len(sheet.names) for sheet in sheets] == [13, 13]
    assert all(len(set(sheet.names)) == len(sheet.names) for sheet in sheets)
    assert sheets[0].names[0] == "mlp (tail=batch-norm, width=32), mse, 3 epochs"
    for drawing in (collapse_dots(members)[0], error_overview(members)[0]):
        figure = drawing.figure
        for axes in figure.axes:
            assert axes.get_position().width > 0.15
            boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
            assert all(box.x0 >= 0 for box in boxes)
            assert all(one.y0 > other.y0 for one, other in pairwise(boxes))


def test_a_study_that_is_no_grid_has_no_map_unless_it_is_asked_for(folder: Path) -> None:
    done, diagonal = ec.study.open(folder).done, [(5, 0.0), (7, 1.0), (11, 3.0)]
    own = {"seed": 0, "encoding": done[0].settings["encoding"]}
    kinds = [own | {"epochs": epochs, "bias_decay": decay} for epochs, decay in diagonal]
    sparse = [replace(r, trial=Trial({**r.settings, **kind})) for r, kind in zip(done, kinds, strict=False)]
    assert error_maps(sparse) == []
    assert len(error_maps(sparse, ("epochs", "bias_decay"))) == 1


def test_kinds_of_decay_are_told_apart(folder: Path) -> None:
    done = ec.study.open(folder).done
    assert weight_decay_dots(families(done)) == []  # one kind: nothing to compare
    plain = [replace(r, trial=Trial({**r.settings, "train": {"decay": "plain"}})) for r in done[:3]]
    (drawing,) = weight_decay_dots(families([*done[:3], *plain]))
    shown = {(row["decay"], row["quantity"], row["seed"]): row["value"] for row in drawing.rows}
    for result in done[:3]:
        for kind in ("ufm", "plain"):
            assert shown[kind, "gram_error", result.settings["seed"]] == result.comparison_error("gram_error")
    bent = [replace(r, trial=Trial({**r.settings, "features": "relu"})) for r in [*done[:3], *plain]]
    (drawing,) = weight_decay_dots(families([*done[:3], *plain, *bent]))
    assert [panel.title for panel in drawing.chart.panels] == ["linear features", "features behind a ReLU"]


def test_parameters_that_vary_are_named_with_their_values() -> None:
    found = {p.key: p.values for p in varied(trial.settings for trial in study_of(TEXT).trials)}
    assert found["bias_decay"] == ("0", "0.3", "∞")
    assert found["encoding"] == ("one-hot", "simplex")
    assert found["seed"] == ("0", "1", "2")
    assert "weight_decay" not in found


def test_looks_differ_and_the_style_leaves_nothing_behind() -> None:
    import matplotlib as mpl

    assert len({(look.color, look.marker, look.dash) for look in looks(28)}) == 28
    before = mpl.rcParams["axes.linewidth"]
    with house_style():
        assert mpl.rcParams["axes.linewidth"] != before
    assert mpl.rcParams["axes.linewidth"] == before
