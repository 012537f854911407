"""Files that are not what they should be, and places that cannot be written: named, in one line, before long work."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import encollapse as ec
from encollapse import cli
from encollapse._internal import files
from encollapse.errors import EncollapseError, WriteError

DECAYS = ["--weight-decay", "5e-3", "--feature-decay", "2e-3"]
PREDICT = ["predict", "-e", "one-hot", "--counts", "5,3", *DECAYS]
DESIGN = ["design", "--counts", "5,3", *DECAYS, "--target"]
TRAIN = ["train", "digits", "-e", "one-hot", *DECAYS]
MEASURE = ["measure", "h.npy", "--labels", "y.npy"]

Capture = pytest.CaptureFixture[str]
Refusal = Callable[..., tuple[str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    np.save("h.npy", np.random.default_rng(0).standard_normal((7, 3)))
    np.save("y.npy", np.arange(7) % 2)
    np.savez("two.npz", a=np.eye(2), b=np.eye(2))
    Path("a-file").write_text("not an array")
    Path("text.npy").write_text("not an array")
    Path("folder.json").mkdir()
    yield tmp_path
    assert Path("a-file").read_text() == "not an array"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*PREDICT, "-e", "folder.json"], "folder.json: Is a directory"),
        ([*PREDICT, "-e", "two.npz"], "holds no array 'record'"),
        ([*PREDICT, "-e", "random"], "with 4 classes, for example -O code_dim=6"),
        ([*DESIGN, "no.npy", "-o", "c.json"], "target: there is no file 'no.npy'"),
        ([*DESIGN, "two.npz", "-o", "c.json"], "target: two.npz holds several arrays"),
        ([*MEASURE, "--weight", "no.npy"], "weight: there is no file 'no.npy'"),
        ([*MEASURE, "--weight", "h.npy", "--bias", "b.txt"], "bias: expected a file ending in .npy"),
        ([*MEASURE, "-O", "smoothing=0.1"], "option: is for an encoding, and none was given"),
        (["measure", "text.npy", "--labels", "y.npy"], "text.npy: cannot be read as .npy: it is no file"),
        ([*TRAIN, "--classifier", "no.npy"], "classifier: there is no file 'no.npy'"),
    ],
)
def test_files_that_cannot_be_read_are_bad_usage(refusal: Refusal, arguments: list[str], message: str) -> None:
    assert message in " ".join(refusal(*arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*PREDICT, "--path", "-o", "a-file/x.svg"], "a-file/x.svg: cannot be written ('a-file' is a file)"),
        ([*DESIGN, "simplex", "-o", "a-file/c.json"], "a-file/c.json: cannot be written ('a-file' is a file)"),
        ([*DESIGN, "simplex", "-o", "folder.json"], "folder.json: cannot be written (Is a directory)"),
        ([*MEASURE, "--html", "a-file/x.html"], "a-file: cannot be written ('a-file' is a file)"),
        ([*TRAIN, "--out", "a-file/run"], "a-file/run: cannot be written ('a-file' is a file)"),
    ],
)
def test_places_that_cannot_be_written_are_named(refusal: Refusal, arguments: list[str], message: str) -> None:
    error, advice = refusal(*arguments, code=1)
    assert message in error
    assert "give another place" in advice


def test_the_place_is_looked_at_before_the_work(
    monkeypatch: pytest.MonkeyPatch, refusal: Refusal, capsys: Capture
) -> None:
    def work(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr("encollapse.train.fitting.fit", work)
    monkeypatch.setattr("encollapse.measure.measure_shards", work)
    refusal(*TRAIN, "--out", "a-file", code=1)
    refusal(*MEASURE, "--html", "a-file/x.html", code=1)
    for arguments in ([*TRAIN, "--out", "new"], [*MEASURE, "--html", "new/x.html"]):
        assert cli.run(arguments) == 1
        assert "AssertionError: the work was begun" in capsys.readouterr().err


def test_a_full_disk_is_named_and_leaves_nothing() -> None:
    with (
        pytest.raises(WriteError, match=r"x\.txt: cannot be written \(No space left on device\)") as caught,
        files.atomic(Path("x.txt")),
        Path("/dev/full").open("w") as full,
    ):
        full.write("x")
    assert caught.value.strerror == "No space left on device"
    assert not [path for path in Path().iterdir() if "x.txt" in path.name]


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000 + "b", "a\0b", "\ud800"])
def test_names_that_no_file_can_have_are_files_that_are_not_there(name: str) -> None:
    reading: list[tuple[Callable[..., Any], str]] = [
        (ec.measure.measure_shards, ".npy"),
        (ec.measure.load_array, ".npz"),
        (lambda path: ec.measure.measure_shards("h.npy", path), ".npy"),
        (lambda path: ec.measure.measure_checkpoints(path, torch.nn.Linear(3, 2), []), ".pt"),
        (ec.encodings.Encoding.load, ".json"),
        (ec.measure.ClassMoments.load, ".safetensors"),
        (ec.data.load, ".npz"),
        (ec.study.load, ".toml"),
        (ec.train.load, ""),
    ]
    for read, ending in reading:
        with pytest.raises((FileNotFoundError, EncollapseError)):
            read(name + ending)
    writing: list[tuple[Callable[..., Any], str]] = [
        (ec.encodings.one_hot(3).save, ".npz"),
        (ec.measure.ClassMoments(3, 2).save, ".safetensors"),
        (files.folder, ""),
    ]
    for write, ending in writing:
        with pytest.raises(WriteError, match="cannot be written"):
            write(name + ending)
