"""The report: what it must hold, that it asks nothing of the network, and that its data are the records'."""

import csv
import math
import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.study.store.sqlite import Store
from reference.study_folder import COUNTS, failed, study_of, write_folder

HEAD = 'name = "made-up"\ntitle = "t"\n[defaults]\ndataset = "digits"\nweight_decay = 5e-3\nrelative_threshold = 0.3\n'


class Page(HTMLParser):
    """Collects what a browser would fetch, every identifier, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.used: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "srcset", "data", "poster", "action") or (name == "href" and tag == "link"):
                self.fetched.append(value or "")
            if name in ("href", "xlink:href"):
                self.links.append(value or "")
        assert tag not in ("script", "iframe", "object", "embed")

    def handle_data(self, data: str) -> None:
        self.text += data


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study")
    write_folder(path, study_of())
    ec.report.report(path)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(folder / "report" / "index.html")


def test_the_page_holds_every_part(page: Page, folder: Path) -> None:
    for heading in ("What was asked", "What was found", "Every comparison", "Evidence for the predictions"):
        assert f"<h2>{heading}</h2>" in page.source
    assert page.source.count("<svg") == 7
    assert "16 networks were trained" in page.text
    assert f"encollapse study made-up.toml --out {folder.name}" in page.text
    assert "Worst row by Gram error: " in page.text
    assert "seeds = [0, 1]" in page.text  # the study file itself


def test_the_page_asks_nothing_of_the_network(page: Page) -> None:
    assert page.fetched == []
    outside = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert outside
    assert all(re.fullmatch(r"[a-z0-9-]+\.(png|svg|pdf|csv)|interactive\.html#[a-z0-9-]+", link) for link in outside)
    for found in re.findall(r"url\(([^)]*)\)|@import", page.source):
        assert found.startswith("#")


def test_identifiers_in_the_page_are_unique_and_lead_somewhere(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    targets = {link[1:] for link in page.links if link.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", page.source))
    assert targets <= set(page.ids)


def test_text_of_the_study_is_escaped(page: Page) -> None:
    assert "A study of <b>five</b> classes" not in page.source
    assert "A study of &lt;b&gt;five&lt;/b&gt; classes" in page.source
    assert "Does λ<sub>b</sub> matter?" in page.source


def test_every_figure_comes_as_svg_png_and_csv(folder: Path) -> None:
    report = folder / "report"
    for name in ("transition", "gram-matrices", "bias", "errors"):
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (report / f"{name}.svg").read_text().lstrip().startswith("<?xml")
        assert read_csv(report / f"{name}.csv")


def test_transition_data_are_those_of_the_records_and_of_the_theory(folder: Path) -> None:
    rows = read_csv(folder / "report" / "transition.csv")
    measured = {
        (row["encoding"], float(row["bias_decay"]), int(row["seed"])): float(row["mean_cosine"])
        for row in rows
        if row["kind"] == "measured"
    }
    results = ec.study.open(folder)
    assert len(measured) == len(results.done)
    for result in results.done:
        label = result.settings["encoding"]["name"] + (" (code_dim=3)" if "random" in result.label else "")
        assert measured[label, result.settings["bias_decay"], result.settings["seed"]] == result.record["mean_cosine"]
    # One-hot, balanced, closed form: theory.md, section 2, with a = 1/√K and c = t a.
    one_hot = {
        float(row["bias_decay"]): float(row["mean_cosine"])
        for row in rows
        if row["kind"] == "predicted" and row["encoding"] == "one-hot"
    }
    k, t = len(COUNTS), 0.3
    assert {0.0, math.inf} <= set(one_hot)
    for decay, cosine in one_hot.items():
        beta = 1.0 if math.isinf(decay) else decay / (1 + decay)
        s = max(1 - t / beta, 0.0) if beta else 0.0
        sigma = 1 - t
        assert cosine == pytest.approx((s - sigma) / (s + (k - 1) * sigma), abs=1e-9)


def test_gram_data_are_the_stored_geometries(folder: Path) -> None:
    rows = read_csv(folder / "report" / "gram-matrices.csv")
    geometries = {result.id: result.geometries() for result in ec.study.open(folder).done}
    assert {row["kind"] for row in rows} == {"predicted", "measured"}
    for row in rows:
        geometry = geometries[row["trial"]][0 if row["kind"] == "predicted" else 1]
        assert geometry is not None
        assert float(row["inner_product"]) == geometry.feature_gram[int(row["class_1"]), int(row["class_2"])]
    shown = {float(row["bias_decay"]) for row in rows}
    assert {0.0, 3 / 7, math.inf} <= shown  # both ends and the critical point


def test_bias_data_leave_out_centered_encodings(folder: Path) -> None:
    rows = read_csv(folder / "report" / "bias.csv")
    assert {row["encoding"] for row in rows} == {"one-hot", "random (code_dim=3)"}
    free = [row for row in rows if row["kind"] == "predicted" and float(row["bias_decay"]) == 0]
    for row in free:  # at λ_b = 0 the bias is the label mean
        assert float(row["bias_norm"]) == pytest.approx(float(row["label_mean_norm"]), rel=1e-9)


def test_the_largest_error_of_each_column_is_marked(page: Page, folder: Path) -> None:
    results = ec.study.open(folder)
    marked = re.findall(r'<td class="worst">([^<]*)</td>', page.source)
    names = [name for name in results.done[0].record["comparison"] if name not in ("missing", "notes")]
    values = [max(r.comparison_error(name) or 0.0 for r in results.done) for name in names]
    assert sorted(f"{value:.1e}" for value in values) == sorted(f"{float(text):.1e}" for text in marked)


def test_a_study_without_a_grid_leaves_sections_out(tmp_path: Path) -> None:
    study = study_of(HEAD + '[[runs]]\nencoding = ["one-hot", "simplex"]\nbias_decay = 0.1\n')
    write_folder(tmp_path, study)
    page = Page(ec.report.report(tmp_path, out=tmp_path / "elsewhere"))
    assert page.ids.count("transition") == page.ids.count("bias") == 0
    assert page.ids.count("gram-encodings") == page.ids.count("errors") == 1
    assert "The bias regularization" not in page.source  # it has one value
    assert not (tmp_path / "elsewhere" / "transition.csv").exists()


def test_failed_and_missing_trials_are_listed(tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path, study)
    store.keep(failed(study.trials[0], "Traceback\nValueError: <script>alert(1)</script>"))
    with sqlite3.connect(store.file) as connection:
        connection.execute("DELETE FROM trials WHERE id = ?", (study.trials[1].id,))
    page = Page(ec.report.report(tmp_path))
    assert {"failed", "missing"} <= set(page.ids)
    assert "ValueError: <script>alert(1)</script>" in page.text
    assert "<script>" not in page.source
    assert "1 trial failed and is listed below. 1 trial of the study has not run yet." in page.text


def test_a_study_that_failed_altogether_still_has_a_page(tmp_path: Path) -> None:
    study = study_of(HEAD + '[[runs]]\nencoding = "one-hot"\nbias_decay = 0.1\n')
    store = Store(tmp_path)
    store.create()
    store.write_definition(study.name, study.definition())
    with pytest.raises(ArgumentError, match=r"no trial in .* has finished; run the study first"):
        ec.report.report(tmp_path)
    store.keep(failed(study.trials[0], "Traceback\nOSError: gone"))
    page = Page(ec.report.report(tmp_path))
    assert "OSError: gone" in page.text
    assert "<svg" not in page.source


def test_a_total_collapse_is_a_result(tmp_path: Path) -> None:
    study = study_of(HEAD.replace("0.3", "2.0") + '[[runs]]\nencoding = "one-hot"\nbias_decay = [0, inf]\n')
    write_folder(tmp_path, study)
    page = Page(ec.report.report(tmp_path))
    assert "2 networks were trained" in page.text


def test_imbalanced_data_have_a_report(tmp_path: Path) -> None:
    study = study_of(HEAD + '[[runs]]\nencoding = "one-hot"\nbias_decay = [0, 0.2, inf]\n')
    write_folder(tmp_path, study, counts=(31, 17, 7, 3, 2))
    rows = read_csv(ec.report.report(tmp_path).parent / "transition.csv")
    assert np.isfinite([float(row["mean_cosine"]) for row in rows if row["kind"] == "predicted"]).all()


def test_a_study_of_theory_alone_has_a_report(tmp_path: Path) -> None:
    lines = 'model = "ufm"\n[[runs]]\nencoding = ["one-hot", "simplex"]\nbias_decay = [0, 0.1, inf]\n'
    study = study_of(HEAD.replace('"digits"', '{ name = "digits", per_class = 7 }') + lines)
    results = ec.study.run(study, out=tmp_path, executor="inline", progress=False)
    errors = [result.comparison_error("gram_error") for result in results.done]
    assert all(error is not None and error < 1e-12 for error in errors)  # nothing that a figure of errors would show
    page = ec.report.report(results)
    assert page.exists()
    assert not (page.parent / "errors.csv").exists()
    assert (page.parent / "scatter.csv").exists()
    text = Page(page).text
    assert "6 exact minimizers of the unrestricted feature model were found" in text
    assert "networks were trained" not in text
    assert "no network was trained" in text
    for words in ("trained network", "networks", "a network,", "trainings"):  # whatever else the page says of what ran
        assert words not in text.replace("no network was trained", "").replace("measured as a network is", ""), words
    assert "Open marks: exact minimizers" in text
    assert "measured on the exact minimizer" in text
    assert "Every exact minimizer against its prediction" in text
    times = text[text.index("Times") :]
    assert "trials" in times
    for figure in ("collapse", "decisions", "error-map"):  # of networks, and there are none
        assert not (page.parent / f"{figure}.csv").exists()
    curves = [read_csv(page.parent / f"{name}.csv") for name in ("transition", "bias")]
    grids = [{row["bias_decay"] for row in rows if row["encoding"] == "one-hot"} for rows in curves]
    assert grids[0] == grids[1]  # one path for both


def test_a_study_of_networks_and_of_theory_names_both(tmp_path: Path) -> None:
    lines = '[[runs]]\nencoding = "one-hot"\nbias_decay = [0, 0.1, inf]\nmodel = ["mlp", "ufm"]\n'
    write_folder(tmp_path, study_of(HEAD + lines))
    text = Page(ec.report.report(tmp_path)).text
    assert "Open marks: trained networks and exact minimizers" in text
    assert "Every trained network or exact minimizer against its prediction" in text
