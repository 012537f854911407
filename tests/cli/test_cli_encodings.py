"""``encollapse encodings``: the catalog, and one of them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse import cli

Capture = pytest.CaptureFixture[str]
Answer = Callable[..., Any]


def test_one_encoding_is_shown(answer: Answer, capsys: Capture, tmp_path: Path) -> None:
    found = answer("encodings", "simplex", "--classes", "5")
    assert (found["num_classes"], found["code_dim"], found["rank"], found["rank_centered"]) == (5, 4, 4, 4)
    assert found["mean_norm"] == pytest.approx(0.0, abs=1e-12)
    assert np.array(found["cosines"])[0, 1:] == pytest.approx([-0.25] * 4)
    assert found["least_distance"] == pytest.approx(math.sqrt(2.5))
    path = ec.encodings.Encoding([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]]).save(tmp_path / "own.json")
    own = answer("encodings", str(path))
    assert own["closest"] == [0, 2]
    assert own["least_distance"] == 3.0
    assert own["cosines"][0][2] is None  # the third codeword is zero
    assert cli.run(["encodings", "circular", "--classes", "7"]) == 0
    printed = capsys.readouterr().out
    assert "7 codewords of length 2" in printed
    assert cli.run(["encodings", "circle"]) == 2


def test_encodings_are_listed_with_what_they_need(answer: Answer, capsys: Capture) -> None:
    found = {entry["name"]: entry for entry in answer("encodings")}
    assert tuple(found) == ec.encodings.names()
    assert found["random"]["needs"] == ["code_dim"]
    for name, entry in found.items():
        example = entry["example"]
        made = ec.encodings.by_name(name, example["num_classes"], **example["options"])
        assert made.num_classes == example["num_classes"]
    assert cli.run(["encodings"]) == 0
    assert "--option code_dim=6" in capsys.readouterr().out


@pytest.mark.parametrize("name", ec.encodings.names())
def test_every_encoding_is_shown_with_what_its_example_needs(name: str, answer: Answer, capsys: Capture) -> None:
    assert cli.run(["encodings", name, "--classes", "7"]) == 0
    assert "Gram matrix" in capsys.readouterr().out
    needed = next(entry["needs"] for entry in answer("encodings") if entry["name"] == name)
    shown = answer("encodings", name, "--classes", "7")
    assert [option.partition("=")[0] for option in shown["example_options"]] == needed


def test_a_given_option_is_no_example(answer: Answer) -> None:
    shown = answer("encodings", "spherical", "--classes", "7", "-O", "code_dim=5")
    assert (shown["code_dim"], shown["example_options"]) == (5, [])
