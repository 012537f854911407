"""What is known by name, and what is said about it before it is loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from reference.fresh_interpreter import loaded


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("digits", True),
        ("fashion-mnist", True),
        ("gaussian-mixture", True),
        ("openml:letter", True),
        ("openml:", False),
        ("some/where.npz", True),
        ("some/where.parquet", True),
        ("some/where.txt", False),
        ("cifar10", False),
        (3, False),
        (None, False),
    ],
)
def test_recognized_says_whether_load_would_know(name: Any, answer: bool) -> None:
    assert ec.data.recognized(name) is answer


def test_folders_are_recognized_where_they_are(tmp_path: Path) -> None:
    assert ec.data.recognized(tmp_path)
    assert not ec.data.recognized(tmp_path / "absent")


def test_descriptions_tell_what_is_there(tmp_path: Path) -> None:
    digits = ec.data.describe("digits")
    assert str(digits) == "digits: handwritten digits of scikit-learn; 1797 samples, 10 classes, inputs (1, 8, 8)"
    assert (digits.available, digits.options) == (True, ())
    assert "separation" in ec.data.describe("gaussian-mixture").options
    inputs, labels = np.eye(7, 3), np.arange(7) % 2
    np.savez(tmp_path / "x.npz", inputs=inputs, labels=labels, test_inputs=inputs[:2], test_labels=labels[:2])
    assert "7 + 2 test samples, 2 classes, inputs (3,)" in str(ec.data.describe(tmp_path / "x.npz"))


def test_names_cost_no_framework() -> None:
    code = (
        "import encollapse as ec\n"
        "ec.data.recognized('digits'), ec.data.names(), [str(ec.data.describe(n)) for n in ec.data.names()]"
    )
    assert loaded(code, "torch", "sklearn", "pandas", "pyarrow", "mlxtend") == []


def test_names_in_british_spelling_still_work_and_say_their_new_name() -> None:
    for old, new in (("recognised", "recognized"), ("standardised", "standardized")):
        with pytest.warns(ec.errors.EncollapseWarning, match=new):
            assert getattr(ec.data, old) is getattr(ec.data, new)
    with pytest.warns(ec.errors.EncollapseWarning, match="standardize"):
        british = ec.data.load("gaussian-mixture", dim=3, num_classes=5, standardise=True)
    american = ec.data.load("gaussian-mixture", dim=3, num_classes=5, standardize=True)
    np.testing.assert_array_equal(british.train.inputs, american.train.inputs)
    assert british.provenance == american.provenance
    with pytest.raises(AttributeError, match="normalised"):
        getattr(ec.data, "normalised")  # noqa: B009
