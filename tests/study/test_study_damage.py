"""Folders that a disk, a hand or another program has changed: said and run again, never read as if nothing were."""

import json
import shlex
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli
from encollapse.errors import ArgumentError, EncollapseError, EncollapseWarning, FileFormatError
from encollapse.study.store.sqlite import Store
from encollapse.study.study import Study
from reference.study_folder import study_of, without_digests, write_folder

TOML = """
name = "made-up"
title = "In theory"
[defaults]
dataset = { name = "digits", counts = 7 }
model = "ufm"
weight_decay = 5e-3
relative_threshold = 0.3
[[runs]]
encoding = "one-hot"
bias_decay = [0, inf]
"""


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Store, Study]:
    """A finished study of two trials."""
    study = study_of(TOML)
    ec.study.run(study, out=tmp_path / "out", executor="inline", progress=False)
    return Store(tmp_path / "out"), study


def edit(store: Store, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(store.file)) as database, database:
        database.execute(statement, values)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def numbers(results: ec.study.Results) -> dict[str, Any]:
    """Everything that was found, in a form that can be compared."""
    return {
        result.id: (
            replace(result.record, seconds=None),
            result.history(),
            [None if g is None else g.feature_gram.tolist() for g in result.geometries()],
        )
        for result in results.done
    }


def in_the_record(store: Store, trial: str) -> None:
    (text,) = sqlite3.connect(store.file).execute("SELECT record FROM trials WHERE id = ?", (trial,)).fetchone()
    edit(store, "UPDATE trials SET record = ? WHERE id = ?", text.replace('"loss":0.', '"loss":1.'), trial)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


ROWS: dict[str, Callable[[Store, str], object]] = {
    "a digit of the record": in_the_record,
    "no JSON": lambda store, trial: edit(store, "UPDATE trials SET record = '{' WHERE id = ?", trial),
    "no text": lambda store, trial: edit(store, "UPDATE trials SET finished = x'ff00' WHERE id = ?", trial),
}
FILES: dict[str, Callable[[Store, str], object]] = {
    "a bit of a number": lambda store, trial: flip(store.arrays_path(trial), -3),
    "a bit of the header": lambda store, trial: flip(store.arrays_path(trial), 30),
    "half a file": lambda store, trial: halved(store.arrays_path(trial)),
    "another history": lambda store, trial: store.history_path(trial).write_text('[\n{"epoch": 1}\n]\n'),
}


@pytest.mark.parametrize("kind", [*ROWS, *FILES])
def test_a_damaged_trial_is_said_and_run_again(folder: tuple[Store, Study], kind: str) -> None:
    store, study = folder
    wanted = numbers(ec.study.open(store.path))
    damaged, other = (trial.id for trial in study.trials)
    (ROWS | FILES)[kind](store, damaged)
    opened = {result.id: result for result in ec.study.open(store.path).trials}
    if kind in ROWS:
        assert opened[damaged].row.status == "lost"
        assert f"results.sqlite: the row of trial {damaged} is damaged" in opened[damaged].reason
    else:
        with pytest.raises(FileFormatError, match=rf"{damaged}\.(json|safetensors): .*its digest"):
            opened[damaged].geometries(), opened[damaged].history()
    assert opened[other].history() == []
    with pytest.warns(EncollapseWarning, match=rf"1 stored trials are damaged.* {damaged} \("):
        again = ec.study.run(study, out=store.path, executor="inline", progress=False)
    assert numbers(again) == wanted
    assert {result.id: result.row for result in again.done}[other] == opened[other].row


@pytest.mark.parametrize("damage", [*FILES.values(), lambda store, trial: store.arrays_path(trial).unlink()])
def test_what_is_said_of_a_damaged_file_runs_that_trial_again(
    tmp_path: Path, damage: Callable[[Store, str], object]
) -> None:
    file = tmp_path / "a study.toml"
    file.write_text(TOML, encoding="utf-8")
    first = ec.study.run(file, out=tmp_path / "out", executor="inline", progress=False)
    result, other = first.done
    damage(Store(first.path), result.id)
    with pytest.raises((FileFormatError, FileNotFoundError)) as caught:
        result.geometries(), result.history()
    said = str(caught.value)
    assert f"the trial {result.id} ({result.label})" in said
    if isinstance(caught.value, FileFormatError):
        assert "delete the file" in said
        Path(said.partition(": ")[0]).unlink()
    _, *words = shlex.split(said.rpartition(": ")[2])
    assert cli.run([*words, "--executor", "inline"]) == 0
    again = ec.study.open(first.path)
    assert numbers(again) == numbers(first)
    # The clock time of an end has whole seconds, which two runs of a short trial can share.
    assert [r.row.seconds == old.row.seconds for r, old in zip(again.done, first.done, strict=True)] == [False, True]
    assert other.geometries()


def test_a_study_of_damaged_rows_still_has_a_page(folder: tuple[Store, Study]) -> None:
    store, _ = folder
    edit(store, "UPDATE trials SET seconds = seconds + 1")
    page = ec.report.report(store.path).read_text(encoding="utf-8")
    assert page.count(" is damaged (") >= 2  # in words and in the table of failures


def test_a_definition_that_is_damaged_is_named_and_written_again(folder: tuple[Store, Study]) -> None:
    store, study = folder
    edit(store, "UPDATE study SET name = 'nade-up', definition = replace(definition, 'one-hot', 'one-hop')")
    with pytest.raises(FileFormatError, match=r"results\.sqlite: the study in it is damaged"):
        ec.study.open(store.path)
    assert len(ec.study.run(study, out=store.path, executor="inline", progress=False).done) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("driver.lock", b"garbage, and more of it than a header has " * 9, r"driver\.lock: not the lock of a driver"),
        ("driver.lock", None, r"driver\.lock: cannot be written"),
        ("driver.txt", None, r"driver\.txt: cannot be written"),
        ("results.sqlite", None, r"results\.sqlite: cannot be written"),
        ("results.sqlite", b"\xff" * 999, r"results\.sqlite: not a results file of encollapse"),
        ("begun.txt", None, r"begun\.txt: cannot be written"),
        ("trials", b"", r"trials.*: cannot be written"),
    ],
)
def test_what_is_in_the_way_is_named(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EncollapseError, match=said):
        ec.study.run(study_of(TOML), out=tmp_path, executor="inline", progress=False)


def test_folders_where_files_of_a_trial_belong_are_named(folder: tuple[Store, Study]) -> None:
    store, study = folder
    for path in (store.arrays_path(study.trials[0].id), store.history_path(study.trials[0].id)):
        path.unlink()
        path.mkdir()
    result = ec.study.open(store.path).done[0]
    for read, name in ((result.geometries, r"\.safetensors"), (result.history, r"\.json")):
        with pytest.raises(FileFormatError, match=f"{name}: not what a trial wrote"):
            read()
    with pytest.warns(EncollapseWarning), pytest.raises(EncollapseError, match=r"\.safetensors: cannot be written"):
        ec.study.run(study, out=store.path, executor="inline", progress=False)


def test_the_copy_of_an_encoding_is_written_again_from_its_original(tmp_path: Path) -> None:
    original = ec.encodings.label_smoothing(10, 0.1).save(tmp_path / "mine.json")
    file = tmp_path / "mine.toml"
    file.write_text(TOML.replace('"one-hot"', '{ file = "mine.json" }'), encoding="utf-8")
    first = ec.study.run(file, out=tmp_path / "out", executor="inline", progress=False)
    (copy,) = (tmp_path / "out" / "encodings").iterdir()
    copy.write_bytes(copy.read_bytes()[:50])
    edit(Store(first.path), "DELETE FROM trials WHERE id = ?", first.done[0].id)
    with pytest.raises(FileFormatError, match=r"encodings/.*\.json: this copy of an encoding is damaged"):
        ec.study.run(first.study, out=tmp_path / "out", executor="inline", progress=False)
    again = ec.study.run(file, out=tmp_path / "out", executor="inline", progress=False)
    assert copy.read_bytes() == original.read_bytes()
    assert numbers(again) == numbers(first)


def test_folders_of_the_release_before_digests_are_read_and_continued(tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path, study)
    before = numbers(ec.study.open(tmp_path))
    without_digests(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = ec.study.open(tmp_path)
        assert numbers(opened) == before
        again = ec.study.run(study, out=tmp_path, executor="inline", progress=False)
    assert [result.row for result in again.done] == [result.row for result in opened.done]
    store.keep(store.rows()[study.trials[0].id])  # the columns are there now
    assert set(store.rows()[study.trials[0].id].files) == {"arrays", "history"}


def test_a_folder_that_is_renamed_while_its_study_runs_gets_no_second_one(tmp_path: Path) -> None:
    study, store = study_of(TOML), Store(tmp_path / "out")
    moved = tmp_path / "moved"
    with store.driver_lock():
        store.create()
        store.write_definition(study.name, study.definition())
        store.path.rename(moved)
        row = write_folder(tmp_path / "other", study, counts=(7,) * 10).rows()[study.trials[0].id]
        for call in (partial(store.keep, row), partial(store.begin, row.id)):
            with pytest.raises(EncollapseError, match=r"out: the folder was renamed or removed while its study ran"):
                call()
        with pytest.raises(EncollapseError, match=r"out.*results\.sqlite"):
            store.write_definition(study.name, study.definition())
    assert not store.path.exists()
    assert len(ec.study.run(study, out=moved, executor="inline", progress=False).done) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [("a" * 300, "too long for the system"), ("/".join(["a" * 99] * 6), "SQLite opens 500"), ("a\0b", "null byte")],
)
def test_paths_that_are_too_long_are_refused_with_the_reason(path: str, said: str, tmp_path: Path) -> None:
    for call in (ec.study.open, lambda out: ec.study.run(study_of(TOML), out=out, progress=False)):
        with pytest.raises(ArgumentError, match=rf"out: .*{said}"):
            call(tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_a_bit_of_a_checkpoint_or_of_moments_does_not_change_numbers_without_a_word(tmp_path: Path) -> None:
    data, state, kept = ec.data.load("digits", counts=5), tmp_path / "state.safetensors", tmp_path / "m.safetensors"

    def trained() -> float:
        return ec.train.fit(
            data, "one-hot", weight_decay=5e-3, feature_decay=1e-2, bias_decay=0.3, epochs=1, finish=2,
            checkpoint=state, checkpoint_seconds=0.0, keep_checkpoint=True, progress=False,
        ).loss  # fmt: skip

    moments = ec.measure.ClassMoments(5, 7)
    moments.update(np.random.default_rng(0).standard_normal((30, 7)), np.arange(30) % 5)
    moments.save(kept)
    trained()
    for path, read in ((state, trained), (kept, lambda: ec.measure.ClassMoments.load(kept))):
        whole = path.read_bytes()
        for at in (-5, -900, int(whole.find(b"sha256")), whole.find(b'":"', whole.find(b"sha256")) + 5):
            flip(path, at)
            with pytest.raises(FileFormatError, match=rf"{path.name}: not (the state|a file of class moments).*"):
                read()
            path.write_bytes(whole)
        read()


def test_moments_of_the_release_before_digests_are_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    moments = ec.measure.ClassMoments(5, 7)
    moments.update(np.random.default_rng(0).standard_normal((30, 7)), np.arange(30) % 5)
    path = moments.save(tmp_path / "m.safetensors")
    save_file(load_file(path), path, metadata={"format": "encollapse.moments", "version": "2"})
    again = ec.measure.ClassMoments.load(path)
    assert all((again.state_dict()[name] == value).all() for name, value in moments.state_dict().items())
    assert json.dumps(again.collapse().to_dict()) == json.dumps(moments.collapse().to_dict())
