"""Arrays from files, and plain errors for what is none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from encollapse.errors import ArgumentError, ArgumentTypeError, FileFormatError
from encollapse.measure import load_array, load_features, load_labels

FEATURES = np.random.default_rng(0).standard_normal((11, 7)).astype(np.float32)
LABELS = np.arange(11) % 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "h.npy", FEATURES)
    np.save(tmp_path / "y.npy", LABELS)
    np.savez(tmp_path / "one.npz", anything=FEATURES)
    np.savez(tmp_path / "two.npz", h=FEATURES, y=LABELS)
    np.savez(tmp_path / "none.npz")
    save_file({"h": torch.from_numpy(FEATURES).bfloat16(), "y": torch.from_numpy(LABELS)}, tmp_path / "two.safetensors")
    save_file({"h": torch.from_numpy(FEATURES)}, tmp_path / "one.safetensors")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", h=np.array([{}], dtype=object))
    for suffix in ("npy", "npz", "safetensors"):
        (tmp_path / f"text.{suffix}").write_text("not an array at all")
        (tmp_path / f"empty.{suffix}").write_bytes(b"")
    (tmp_path / "archive.npy").write_bytes((tmp_path / "one.npz").read_bytes())
    (tmp_path / "array.npz").write_bytes((tmp_path / "h.npy").read_bytes())
    return tmp_path


def test_features_and_labels_come_back(folder: Path) -> None:
    np.testing.assert_array_equal(load_features(folder / "h.npy"), FEATURES)
    np.testing.assert_array_equal(load_features(str(folder / "one.npz")), FEATURES)
    np.testing.assert_array_equal(load_features(folder / "two.npz", "h"), FEATURES)
    np.testing.assert_array_equal(load_array(folder / "one.safetensors"), FEATURES)
    narrow = load_features(folder / "two.safetensors", "h")
    assert torch.equal(narrow, torch.from_numpy(FEATURES).bfloat16())
    for path, key in (("y.npy", None), ("two.npz", "y"), ("two.safetensors", "y")):
        labels = load_labels(folder / path, key)
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, LABELS)


BAD: list[tuple[str, str | None, type[Exception], str]] = [
    ("h.csv", None, ArgumentError, r"path.*\.npy or \.npz or \.safetensors"),
    ("absent.npy", None, FileNotFoundError, "absent.npy"),
    ("h.npy", "h", ArgumentError, "key.*single array"),
    ("two.npz", None, ArgumentError, "key.*several arrays.*'h', 'y'"),
    ("two.safetensors", "z", ArgumentError, "key.*no array 'z'.*'h', 'y'"),
    ("none.npz", None, FileFormatError, "holds no array"),
    ("objects.npy", None, FileFormatError, "Python objects"),
    ("objects.npz", None, FileFormatError, "Python objects"),
    ("text.npy", None, FileFormatError, "cannot be read as .npy"),
    ("text.npz", None, FileFormatError, "cannot be read as .npz"),
    ("text.safetensors", None, FileFormatError, "cannot be read as .safetensors"),
    ("empty.npy", None, FileFormatError, "cannot be read as .npy"),
    ("empty.npz", None, FileFormatError, "cannot be read as .npz"),
    ("empty.safetensors", None, FileFormatError, "cannot be read as .safetensors"),
    ("archive.npy", None, FileFormatError, "rename it to .npz"),
    ("array.npz", None, FileFormatError, "not an .npz archive"),
]


@pytest.mark.parametrize(("name", "key", "kind", "text"), BAD)
def test_bad_files(folder: Path, name: str, key: str | None, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        load_array(folder / name, key)


def test_wrong_kinds_of_array(folder: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"y\.npy.*int64"):
        load_features(folder / "y.npy")
    with pytest.raises(ArgumentTypeError, match=r"h\.npy.*float32"):
        load_labels(folder / "h.npy")


def test_without_torch_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import encollapse; encollapse.measure"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingDependencyError" in result.stderr
    assert "pip install 'encollapse[torch]'" in result.stderr
