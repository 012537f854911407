"""The identity of a trial: what it depends on, and what it does not."""

import math
import random
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import encollapse as ec
from encollapse.errors import EncollapseWarning, FileFormatError
from encollapse.study.resolve import dataset_of, encoding_of
from encollapse.study.spec.file_digests import require_model
from encollapse.study.study import Study, parse
from encollapse.study.trials import Trial, canonical_json, parse_settings
from reference.study_folder import without_digests, write_folder
from reference.study_text import DEFAULTS, HEAD, RUN, study


def shuffled(value: Any, generator: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        generator.shuffle(items)
        return {k: shuffled(v, generator) for k, v in items}
    return value


@given(st.randoms(use_true_random=False))
def test_identity_does_not_depend_on_the_order_of_keys(generator: random.Random) -> None:
    settings = ec.study.load("digits-accuracy").trials[-1].settings
    assert Trial(shuffled(settings, generator)).id == Trial(settings).id


def test_identity_tells_every_trial_apart_and_survives_storage() -> None:
    trials = ec.study.load("digits-accuracy").trials
    assert len({trial.id for trial in trials}) == len(trials)
    for trial in trials:
        assert Trial(parse_settings(canonical_json(trial.settings))).id == trial.id
        assert parse_settings(canonical_json(trial.settings)) == trial.settings


def test_writing_a_number_in_another_way_is_the_same_trial() -> None:
    one = study(HEAD + DEFAULTS + RUN + "bias_decay = 1\n").trials[0]
    two = study(HEAD + DEFAULTS + RUN + "bias_decay = [1.0e0]\nmodel = 'mlp'\n").trials[0]
    assert one.id == two.id


def test_definition_round_trip() -> None:
    made = ec.study.load("digits-transition")
    again = Study.from_definition(made.definition())
    assert again == made
    with pytest.raises(FileFormatError, match="run it again"):
        Study.from_definition({"name": "a"})


def test_an_encoding_file_is_known_by_its_content(tmp_path: Path) -> None:
    def ids() -> list[str]:
        return [trial.id for trial in ec.study.load(tmp_path / "a.toml").trials]

    (tmp_path / "a.toml").write_text(HEAD + DEFAULTS + '[[runs]]\nencoding = { file = "my.json" }\n')
    code = ec.encodings.random(10, 7, seed=3)
    code.save(tmp_path / "my.json")
    (first,) = ids()
    settings = ec.study.load(tmp_path / "a.toml").trials[0].settings
    np.testing.assert_array_equal(encoding_of(settings, np.full(10, 7)).codewords, code.codewords)
    (tmp_path / "deeper").mkdir()
    for name in ("a.toml", "my.json"):
        (tmp_path / "deeper" / name).write_bytes((tmp_path / name).read_bytes())
    assert ec.study.load(tmp_path / "deeper" / "a.toml").trials[0].id == first
    ec.encodings.random(10, 7, seed=4).save(tmp_path / "my.json")
    assert ids() != [first]
    with pytest.raises(FileFormatError, match=r"my\.json: changed while the study was running"):
        encoding_of(settings, np.full(10, 7))


def test_a_data_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        HEAD + DEFAULTS.replace('"digits"', '"mine.npz"') + '[[runs]]\nencoding = "one-hot"\n'
    )
    ids = []
    for shift in (0.0, 1.0):
        np.savez(tmp_path / "mine.npz", inputs=np.eye(6) + shift, labels=np.arange(6) % 3)
        trial = ec.study.load(tmp_path / "a.toml").trials[0]
        assert dataset_of(trial.settings).counts.tolist() == [2, 2, 2]
        ids.append(trial.id)
    assert ids[0] != ids[1]


def test_a_folder_of_data_may_lie_beside_the_study_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    np.savez(folder / "data.npz", inputs=np.eye(6), labels=np.arange(6) % 3)
    (tmp_path / "a.toml").write_text(HEAD + DEFAULTS.replace('"digits"', '"mine"') + '[[runs]]\nencoding = "one-hot"\n')
    settings = ec.study.load(tmp_path / "a.toml").trials[0].settings
    assert settings["dataset"]["file"] == str(folder)


def test_a_folder_is_known_by_the_files_that_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "a.toml").write_text(HEAD + DEFAULTS.replace('"digits"', '"mine"') + '[[runs]]\nencoding = "one-hot"\n')

    def trial() -> Trial:
        return ec.study.load(tmp_path / "a.toml").trials[0]

    np.save(folder / "labels.npy", np.arange(6) % 3)
    np.save(folder / "inputs.npy", np.eye(6))
    first = trial()
    dataset_of(first.settings)
    (folder / "notes.txt").write_text("not data")
    (folder / "runs").mkdir()
    assert trial().id == first.id
    np.save(folder / "inputs.npy", 2 * np.eye(6))
    second = trial()
    with pytest.raises(FileFormatError, match="mine: changed while the study was running"):
        dataset_of(first.settings)
    np.save(folder / "test_inputs.npy", np.eye(6))
    assert len({first.id, second.id, trial().id}) == 3


def test_labels_of_an_array_file_lie_beside_the_study_file_and_count(tmp_path: Path) -> None:
    table = '{ name = "x.npy", options = { labels = "y.npy" } }'
    (tmp_path / "a.toml").write_text(HEAD + DEFAULTS.replace('"digits"', table) + '[[runs]]\nencoding = "one-hot"\n')
    np.save(tmp_path / "x.npy", np.eye(6))
    ids = []
    for labels in ([0, 1, 2, 0, 1, 2], [0, 1, 1, 0, 0, 1]):
        np.save(tmp_path / "y.npy", labels)
        trial = ec.study.load(tmp_path / "a.toml").trials[0]
        assert dataset_of(trial.settings).counts.tolist() == np.bincount(labels).tolist()
        ids.append(trial.id)
    assert ids[0] != ids[1]
    (tmp_path / "y.npy").unlink()
    with pytest.raises(FileFormatError, match=r"dataset: there is no file '.*y\.npy'"):
        ec.study.load(tmp_path / "a.toml")


def test_a_network_from_a_file_is_known_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = HEAD + DEFAULTS + '[[runs]]\nencoding = "one-hot"\nmodel = "net.py:Net"\n'

    def trial() -> Trial:
        return study(text).trials[0]

    nowhere = trial().id
    source = tmp_path / "net.py"
    source.write_text("Net = 3\n")
    first = trial()
    assert "model_content" not in str(Trial(first.settings).label)
    require_model(first.settings)
    source.write_text("Net = 4  # another\n")
    assert len({nowhere, first.id, trial().id}) == 3
    with pytest.raises(FileFormatError, match=r"net\.py:Net: a file that the network names changed"):
        require_model(first.settings)


FORMER = """
name = "old"
title = "An old study"
[defaults]
dataset = { name = "digits", per_class = 20, standardise = true }
weight_decay = 5e-3
threshold = 0.3
bias_decay = [0.1, inf]
[[runs]]
model = "ufm"
encoding = "one-hot"
[[runs]]
model = { name = "mlp", options = { width = 16, depth = 1, normalisation = "batch" } }
encoding = "simplex"
epochs = 1
train = { finish = 2, feature_dim = 16 }
"""
HALF_FORMER = FORMER.replace("ise =", "ize =").replace("isation", "ization")
FORMER_IDS = ["b20bd4921b1e49fc", "69a3fc9b071be428", "5c0e598b8c71602c", "636ece0cad81a00d"]
"""What the release that had these keys called the trials."""


def test_keys_by_a_former_name_are_read_with_a_warning_and_make_the_same_trials() -> None:
    with pytest.warns(EncollapseWarning) as told:
        old = parse(FORMER, "old.toml", origin="old.toml")
    said = {str(warning.message) for warning in told}
    assert said == {
        "study file: threshold is called relative_threshold today; rename the key",
        "study file: standardise is called standardize today; rename the key",
        "study file: normalisation is called normalization today; rename the key",
    }
    today = HALF_FORMER.replace("threshold", "relative_threshold")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = parse(today, "new.toml", origin="new.toml")
    assert [trial.settings for trial in old.trials] == [trial.settings for trial in new.trials]
    assert [trial.id for trial in new.trials] == FORMER_IDS
    assert new.trials[2].settings["relative_threshold"] == 0.3
    assert new.trials[2].settings["dataset"]["standardize"] is True
    assert new.trials[2].settings["model_options"]["normalization"] == "batch"


def test_axes_by_a_former_name_advance_together() -> None:
    text = HALF_FORMER.replace("threshold = 0.3", "threshold = [0.2, 0.3]\nzip = ['threshold', 'bias_decay']")
    with pytest.warns(EncollapseWarning, match="relative_threshold"):
        made = parse(text, "old.toml", origin="old.toml")
    found = [(trial.settings["relative_threshold"], trial.settings["bias_decay"]) for trial in made.trials]
    assert found == [(0.2, 0.1), (0.3, math.inf)] * 2


def test_errors_name_the_line_of_a_key_by_its_former_name() -> None:
    with (
        pytest.warns(EncollapseWarning, match="relative_threshold"),
        pytest.raises(FileFormatError, match=r"^old\.toml:7: \[defaults\]: threshold: expected a number above 0"),
    ):
        parse(HALF_FORMER.replace("threshold = 0.3", "threshold = -1"), "old.toml", origin="old.toml")


def test_a_folder_of_a_former_release_resumes_without_running_anything_again(tmp_path: Path) -> None:
    with pytest.warns(EncollapseWarning):
        study = parse(FORMER, "old.toml", origin="old.toml")
    store = write_folder(tmp_path, study, counts=(20,) * 10)
    names = {"relative_threshold": "threshold", "standardize": "standardise", "normalization": "normalisation"}

    def former(text: str) -> str:
        for new, old in names.items():
            text = text.replace(new, old)
        return text

    without_digests(store)
    with sqlite3.connect(store.file) as database:  # as the former release wrote it
        for trial_id, settings in database.execute("SELECT id, settings FROM trials").fetchall():
            database.execute("UPDATE trials SET settings = ? WHERE id = ?", (former(settings), trial_id))
        (definition,) = database.execute("SELECT definition FROM study").fetchone()
        database.execute("UPDATE study SET definition = ?", (former(definition),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = ec.study.open(tmp_path)
    assert [result.id for result in opened.done] == FORMER_IDS
    assert not opened.missing
    before = {result.id: result.row for result in opened.done}
    again = ec.study.run(study, out=tmp_path, executor="inline", progress=False)
    assert {result.id: result.row for result in again.done} == before
    assert not again.missing
