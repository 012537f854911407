"""Results as tables and files, of one real study of networks and theory; and files that a study keeps."""

from pathlib import Path

import numpy as np
import pandas
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from encollapse.report.figures import excess_parts
from encollapse.report.tables import excess_table
from encollapse.study.families import families
from encollapse.study.resolve import encoding_of
from encollapse.study.study import parse

TOML = """
name = "tables"
title = "Tables"
[defaults]
dataset = { name = "digits", counts = 5, holdout = 0.1 }
weight_decay = 5e-3
relative_threshold = 0.3
epochs = 3
[[runs]]
encoding = { name = "label-smoothing", options = { smoothing = [0.1, 0.2] } }
model = ["ufm", { name = "mlp", options = { width = 17, depth = 1 } }]
bias_decay = [0.5, inf]
train = { finish = 4 }
measure = { every = 2, frames = true, convention = "zhu2021" }
[[runs]]
encoding = "one-hot"
bias_decay = 0
dataset = { name = "digits", counts = 9999 }
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ec.study.Results:
    study = parse(TOML, "tables.toml", origin="tables.toml")
    return ec.study.run(study, out=tmp_path_factory.mktemp("tables"), executor="inline", progress=False)


def test_theory_and_network_stand_side_by_side(results: ec.study.Results) -> None:
    frame = results.to_frame()
    assert len(frame) == 9
    theory = frame[frame["model.name"] == "ufm"]
    network = frame[(frame["model.name"] == "mlp") & (frame["status"] == "done")]
    assert len(theory) == len(network) == 4
    assert theory["gram_error"].max() < 1e-12
    assert theory["nc1_trace_ratio"].max() < 1e-20
    assert (network["gram_error"] > 1e-6).all()
    assert theory["seconds"].notna().all()
    keys = ["encoding.options.smoothing", "bias_decay"]
    pairs = theory.merge(network, on=keys, suffixes=("_theory", "_network"))
    np.testing.assert_allclose(pairs["predicted_loss_theory"], pairs["predicted_loss_network"], rtol=1e-10)


def test_a_recipe_has_its_decay_time_and_the_parts_of_its_excess_in_the_table(tmp_path: Path) -> None:
    text = """
name = "short"
title = "Short recipes"
[defaults]
dataset = { name = "digits", counts = 7 }
encoding = "one-hot"
weight_decay = 5e-2
bias_decay = 5e-2
train = { recipe = "sgd-cosine", batch_size = 35, learning_rate = 0.1, schedule = "constant" }
[[runs]]
model = { name = "mlp", options = { width = 17, depth = 1, tail = "batch-norm" } }
epochs = [3, 6]
[[runs]]
model = { name = "mlp", options = { width = 17, depth = 1, tail = "linear" } }
epochs = 3
[[runs]]
train = { recipe = "adamw-cosine", loss = "cross_entropy" }
epochs = 2
"""
    study = parse(text, "short.toml", origin="short.toml")
    results = ec.study.run(study, out=tmp_path, executor="inline", progress=False)
    assert [result.error for result in results.failed] == []
    frame = results.to_frame()
    assert frame["prediction_kind"][:3].tolist() == ["minimum", "minimum", "given activations"]
    np.testing.assert_allclose(frame["decay_time"][:3], [3 * 2 * 5e-2, 6 * 2 * 5e-2, 3 * 2 * 5e-2])
    parts = frame[["excess_unbalanced", "excess_within", "excess_between"]].sum(axis=1)
    np.testing.assert_allclose(parts[:3], frame["excess"][:3], rtol=1e-9)
    assert (frame["distance"][:3] <= frame["guarantee"][:3]).all()
    assert frame["excess"].isna().tolist() == [False, False, False, True]

    members = families(results.done)
    (drawn,) = excess_parts(members)
    assert [row["guarantee"] for row in drawn.rows] == frame["guarantee"][:2].tolist()
    assert [row["excess_within"] for row in drawn.rows] == frame["excess_within"][:2].tolist()
    table = excess_table(members)
    assert table is not None
    assert "no network violates" in table.caption
    assert [group.size for group in table.groups] == [3]


def test_rows_hold_settings_metrics_errors_and_failures(results: ec.study.Results) -> None:
    frame = results.to_frame().set_index("trial")
    assert frame.index.is_unique
    for result in results.done:
        row = frame.loc[result.id]
        assert row["bias_decay"] == result.settings["bias_decay"]
        assert row["encoding.options.smoothing"] == result.settings["encoding"]["options"]["smoothing"]
        assert row["nc2_etf"] == result.record["collapse"]["nc2_etf"]
        assert row["gram_error"] == result.record["comparison"]["gram_error"]
        assert row["seconds"] == result.row.seconds
        if result.settings["model"] == "mlp":
            assert row["convention"] == "zhu2021"
            assert row["model.options.width"] == 17
            assert row["test_accuracy"] == result.record["test_accuracy"]
    (failure,) = results.failed
    assert "fewer than 9999" in str(frame["error"][failure.id])
    assert frame["gram_error"].isna()[failure.id]


def test_history_has_a_row_for_each_look_of_each_network(results: ec.study.Results) -> None:
    history = results.history_frame()
    networks = [result for result in results.done if result.settings["model"] == "mlp"]
    assert set(history["trial"]) == {result.id for result in networks}
    for result in networks:
        mine = history[history["trial"] == result.id]
        assert mine["epoch"].tolist() == [0, 2, 3, 5, 7]
        assert mine["epoch"].tolist() == result.frames()["epoch"].tolist()
        assert mine["loss"].iloc[-1] == pytest.approx(result.record["loss"])


def test_frames_end_where_the_measurement_is(results: ec.study.Results) -> None:
    for result in results.done:
        frames = result.frames()
        if result.settings["model"] == "ufm":
            assert frames == {}
            continue
        means = frames["class_means"]
        assert means.dtype == np.float32
        assert means.shape == (5, 64, 10)
        _, measured = result.geometries()
        np.testing.assert_allclose(means[-1].T @ means[-1], measured.feature_gram, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_exported_tables_come_back(results: ec.study.Results, tmp_path: Path, kind: str) -> None:
    trials, history = results.export(tmp_path, format=kind)
    assert [path.name for path in (trials, history)] == [f"trials.{kind}", f"history.{kind}"]
    read = pandas.read_csv if kind == "csv" else pandas.read_parquet
    back, wanted = read(trials), results.to_frame()
    assert back.columns.tolist() == wanted.columns.tolist()
    for name in ("trial", "bias_decay", "gram_error", "nc1_pinv", "encoding.options.smoothing"):
        assert back[name].equals(wanted[name]) or np.allclose(back[name], wanted[name], equal_nan=True)
    assert len(read(history)) == len(results.history_frame())


def test_other_formats_are_refused(results: ec.study.Results, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="format: expected one of 'parquet', 'csv', got 'xlsx'"):
        results.export(tmp_path, format="xlsx")


def test_a_convention_changes_what_it_should_only(results: ec.study.Results) -> None:
    plain = parse(TOML.replace(', convention = "zhu2021"', ""), "tables.toml", origin="tables.toml")
    result = next(r for r in results.done if r.settings["model"] == "mlp")
    same = {k: v for k, v in result.settings.items() if k != "measure"}
    other = next(t for t in plain.trials if {k: v for k, v in t.settings.items() if k != "measure"} == same)
    assert other.id != result.id
    assert result.record["collapse"]["convention"] == "zhu2021"
    # On balanced data zhu2021 agrees with the default in everything.
    last = result.history()[-1]
    for name in ("nc1_pinv", "nc2_etf", "nc3_self_duality"):
        assert result.record["collapse"][name] == pytest.approx(last[name], rel=1e-3)


def test_a_study_keeps_the_encoding_files_that_it_was_run_with(tmp_path: Path) -> None:
    code = ec.encodings.random(10, 7, seed=3)
    code.save(tmp_path / "my.json")
    text = TOML.partition("[[runs]]")[0] + '[[runs]]\nencoding = { file = "my.json" }\nmodel = "ufm"\nbias_decay = 1\n'
    (tmp_path / "mine.toml").write_text(text)
    first = ec.study.run(tmp_path / "mine.toml", out=tmp_path / "out", executor="inline", progress=False)
    (tmp_path / "my.json").unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    again = ec.study.open(tmp_path / "moved")
    assert [result.id for result in again.done] == [result.id for result in first.done]
    np.testing.assert_array_equal(encoding_of(again.done[0].settings, np.full(10, 7)).codewords, code.codewords)
