"""OpenML, and what becomes of the columns of a table."""

import gzip
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.data import tables
from encollapse.errors import ArgumentError, ArgumentTypeError, DownloadError

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0])


def cached_openml(home: Path, number: int) -> None:
    """The cache that scikit-learn would have made, from the answers of OpenML that its own tests bring along."""
    spec = importlib.util.find_spec(f"sklearn.datasets.tests.data.openml.id_{number}")
    if spec is None or spec.origin is None:
        pytest.skip("this scikit-learn comes without its test data")
    folder = Path(spec.origin).parent
    cache = home / "openml" / "openml.org"
    targets = {
        f"api-v1-jd-{number}": f"api/v1/json/data/{number}",
        f"api-v1-jdf-{number}": f"api/v1/json/data/features/{number}",
        f"api-v1-jdq-{number}": f"api/v1/json/data/qualities/{number}",
        "api-v1-jdl-dn-iris-l-2-s-act-": "api/v1/json/data/list/data_name/iris/limit/2/status/active",
    }
    for source, target in targets.items():
        if (folder / f"{source}.json.gz").is_file():
            (cache / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"{source}.json.gz", f"{cache / target}.gz")
    import json

    described = json.loads(gzip.decompress((folder / f"api-v1-jd-{number}.json.gz").read_bytes()))
    place = cache / described["data_set_description"]["url"].split("org/", 1)[1]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / f"data-v1-dl-{described['data_set_description']['file_id']}.arff.gz", f"{place}.gz")


def test_openml_tables_come_from_the_cache_and_are_standardized(tmp_path: Path) -> None:
    cached_openml(tmp_path, 61)
    iris = ec.data.load("openml:61", folder=tmp_path)
    assert iris.classes == ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
    assert iris.counts.tolist() == [50, 50, 50]
    assert iris.train.inputs.shape == (150, 4)
    np.testing.assert_allclose(iris.train.inputs.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(iris.train.inputs.std(0), 1, atol=1e-5)
    assert "standardized" in iris.provenance["inputs"]
    from sklearn.datasets import load_iris

    raw = ec.data.load("openml:61", folder=tmp_path, standardize=False, per_class=49)
    # Fisher's measurements, of which the copies differ in a few entries.
    assert raw.train.inputs.mean() == pytest.approx(load_iris().data.mean(), rel=1e-2)
    assert raw.counts.tolist() == [49, 49, 49]


def test_openml_gaps_are_refused_dropped_or_filled(tmp_path: Path) -> None:
    cached_openml(tmp_path, 40945)
    with pytest.raises(ArgumentError, match=r"missing: .* samples have no '.*'; give missing='drop'"):
        ec.data.load("openml:40945", folder=tmp_path)
    titanic = ec.data.load("openml:40945", folder=tmp_path, missing="mean")
    assert titanic.num_classes == 2
    assert "gaps filled with the mean; " in titanic.provenance["inputs"]
    with pytest.raises(ArgumentError, match="missing: every sample has a gap"):
        ec.data.load("openml:40945", folder=tmp_path, missing="drop")


def offline() -> bool:
    import socket

    try:
        socket.getaddrinfo("www.openml.org", 443)
    except OSError:
        return True
    return False


@pytest.mark.skipif(not offline(), reason="needs a machine without internet")
def test_without_a_network_openml_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"openml:iris: OpenML cannot be reached.*; connect to the internet, or"):
        ec.data.load("openml:iris", folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"missing": "guess"}, "missing"),
        ({"image": [2, 3]}, "image"),
        ({"image": [1, 0, 3]}, "image"),
        ({"folder": 3}, "folder"),
    ],
)
def test_options_of_openml_are_checked_before_anything_is_fetched(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match=words):
        ec.data.load("openml:iris", **options)


def test_tables_become_numbers_column_by_column() -> None:
    import pandas as pd

    table = pd.DataFrame({"a": [1, None, 3.0], "b": ["x", "y", None], "c": [True, False, True], "d": [5, 7, 9]})
    numbers, rows, note = tables.numbers_of(table, "mean")
    # a with its mean in the gap; b as x, y, missing; c as 0 and 1; d.
    np.testing.assert_array_equal(numbers, [[1, 1, 0, 0, 1, 5], [2, 0, 1, 0, 0, 7], [3, 0, 0, 1, 1, 9]])
    assert rows.tolist() == [0, 1, 2]
    assert note == "gaps filled with the mean; 1 columns of categories spread over columns of 0 and 1"
    numbers, rows, note = tables.numbers_of(table, "drop")
    np.testing.assert_array_equal(numbers, [[1, 1, 1, 5]])
    assert rows.tolist() == [0]
    assert note.startswith("2 incomplete samples dropped")


@pytest.mark.parametrize(
    ("labels", "numbers", "classes"),
    [
        ([2, 0, 1, 2], [2, 0, 1, 2], ()),
        (["10", "9", "10", "2"], [2, 1, 2, 0], ("2", "9", "10")),
        ([1.0, 3.0, 1.0], [0, 1, 0], ("1", "3")),
        ([4, 7, 4], [0, 1, 0], ("4", "7")),
        ([b"no", b"yes", b"no"], [0, 1, 0], ("no", "yes")),
        ([True, False, True], [1, 0, 1], ("False", "True")),
    ],
)
def test_labels_of_any_kind_are_numbered_in_order(
    labels: list[Any], numbers: list[int], classes: tuple[str, ...]
) -> None:
    found, names = tables.classes_of(labels)
    assert (found.tolist(), names) == (numbers, classes)


def test_missing_labels_are_refused() -> None:
    with pytest.raises(ArgumentError, match="sample 1 has none"):
        tables.classes_of(np.array(["a", None, "b"], object))
    with pytest.raises(ArgumentError, match="sample 2 has none"):
        tables.classes_of([1.5, 2.0, np.nan])


def test_images_are_told_from_tables_by_their_bytes() -> None:
    pixels = RNG.integers(0, 256, (5, 3 * 15 * 15)).astype(float)
    assert tables.image_shape(pixels) == (3, 15, 15)
    assert tables.image_shape(pixels[:, : 14 * 14]) == (1, 14, 14)
    for other in (pixels[:, :13], pixels[:, : 13 * 13], pixels + 0.5, pixels - 1, pixels % 11):
        assert tables.image_shape(other) is None


def test_standardizing_goes_by_the_training_samples_and_by_channels() -> None:
    images = RNG.standard_normal((7, 3, 5, 2)) * np.array([1, 10, 100])[:, None, None] + 3
    images[:, 1] = 4.5
    train, test = tables.standardized(ec.data.Split(images, LABELS), ec.data.Split(2 * images, LABELS))
    assert test is not None
    np.testing.assert_allclose(train.inputs[:, [0, 2]].mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(train.inputs[:, [0, 2]].std((0, 2, 3)), 1, atol=1e-6)
    assert not train.inputs[:, 1].any()
    mean, spread = images[:, 0].mean(), images[:, 0].std()
    np.testing.assert_allclose(test.inputs[:, 0], (2 * images[:, 0] - mean) / spread, rtol=1e-4, atol=1e-5)
