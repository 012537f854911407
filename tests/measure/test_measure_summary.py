"""The summary says what the numbers say."""

import re

import numpy as np
import pytest
import torch

import encollapse as ec

K, D = 5, 11


def measured(
    spread: float, means: np.ndarray | None = None, sizes: int | list[int] = 23, *, classifier: bool = True
) -> ec.measure.Collapse:
    labels = np.repeat(np.arange(K), sizes)
    centers = np.eye(K, D) if means is None else means
    features = centers[labels] + spread * np.random.default_rng(0).standard_normal((len(labels), D))
    weight = centers - centers.mean(axis=0)
    bias = -0.5 * np.square(centers - centers.mean(axis=0)).sum(axis=1) - weight @ centers.mean(axis=0)
    return ec.measure.collapse(
        features, labels, weight=weight if classifier else None, bias=bias if classifier else None
    )


def test_three_degrees_of_collapse() -> None:
    done, partly, nothing = (measured(spread).summary().splitlines() for spread in (1e-4, 0.15, 3.0))
    assert done[0] == "Collapsed."
    assert all(": done." in line for line in done[1:5])
    assert partly[0] == "Collapse is under way."
    assert "Spread (NC1): under way" in partly[1]
    assert nothing[0] == "Not collapsed."
    assert "Spread (NC1): not" in nothing[1]
    assert "Frame (NC2): done" not in nothing[2]


def test_large_numbers_have_all_digits_before_the_point() -> None:
    """1655 samples of five classes: (1655 - 5) / (5 - 1) = 412.5 without collapse."""
    assert "have about 412 times." in measured(1e-4, sizes=331).summary().replace("\n", " ")


def test_a_spread_above_one_is_so_many_times_that_between_the_means() -> None:
    text = measured(3.0).summary()
    assert re.search(r"spread within the classes is [1-9]\d* times that between them", text), text


def test_levels_without_collapse_are_what_random_features_have() -> None:
    """The levels that values are set beside, by simulation."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(K), 23)
    found = [ec.measure.collapse(rng.standard_normal((len(labels), D)), labels) for _ in range(60)]
    assert np.mean([f.nc1_trace_ratio for f in found if f.nc1_trace_ratio]) == pytest.approx(110 / 4, rel=0.1)
    random = np.mean([f.nc2_etf for f in found if f.nc2_etf])
    text = found[0].summary()
    assert "about 27" in text or "about 28" in text
    level = float(text.split("Random ones would be ")[1].split(".\n")[0].split(". ")[0])
    assert level == pytest.approx(random, rel=0.15)


def test_the_frame_that_is_nearest_and_the_worst_class_are_named() -> None:
    means = np.eye(K, D)
    means[3] = 0.6 * means[3] + 0.4 * means[1]
    text = measured(1e-3, means).summary()
    assert "nearest to an orthogonal frame" in text
    assert "Closest pair: classes 1 and 3" in text
    assert "class 3" in text.split("Least collapsed")[1] or "class 1" in text.split("Least collapsed")[1]
    centered = np.eye(K, D) - np.eye(K, D).mean(axis=0)
    assert "nearest to a simplex" in measured(1e-3, centered).summary()


def test_a_prediction_is_set_beside_the_means() -> None:
    encoding = ec.encodings.one_hot(K)
    problem = ec.ufm.Problem(encoding, [7, 11, 13, 17, 29], weight_decay=1e-2, feature_decay=1e-2, bias_decay=1.0)
    solution = ec.ufm.solve(problem)
    _, means, _ = solution.parameters(feature_dim=D)
    found = measured(1e-5, means.T, [7, 11, 13, 17, 29])
    assert "Prediction: reached." in found.summary(solution)
    assert "Prediction: reached." in found.summary(solution.geometry)
    assert "different numbers of samples" in found.summary()
    other = measured(1e-5, np.eye(K, D) - np.eye(K, D).mean(axis=0), [7, 11, 13, 17, 29])
    assert "Prediction: not reached." in other.summary(solution)


def of_means(means: np.ndarray, weight: np.ndarray, per_class: int = 23, spread: float = 1e-4) -> ec.measure.Collapse:
    labels = np.repeat(np.arange(len(means)), per_class)
    noise = np.random.default_rng(0).standard_normal((len(labels), means.shape[1]))
    return ec.measure.collapse(means[labels] + spread * noise, labels, weight=weight)


def test_features_that_collapsed_under_the_classifier_of_another_network_are_told() -> None:
    means = np.eye(K, D) - np.eye(K, D).mean(axis=0)
    for weight in (np.roll(means, 1, axis=0), -means, np.random.default_rng(3).standard_normal((K, D))):
        text = of_means(means, weight).summary()
        assert text.startswith("The features have collapsed, and the classifier does not decide by them.")
        assert "Check that weight, bias and labels are of this network" in text.splitlines()[-1]
    assert "Check that" not in of_means(means, means).summary()
    untrained = of_means(means, -means, per_class=2, spread=9.0)  # two samples are nearest to their own mean
    assert untrained.ncc_accuracy == 1.0
    assert "Check that" not in untrained.summary()


def test_classes_that_share_a_mean_are_no_complete_collapse() -> None:
    means = np.eye(K, D) - np.eye(K, D).mean(axis=0)
    means[3] = means[1]
    for spread in (1e-4, 0.0):
        lines = of_means(means, means, spread=spread).summary().splitlines()
        assert lines[0] == "Collapsed to fewer classes: 2 of 5 share their mean with another."
        assert "Closest pair: classes 1 and 3" in lines[-2]
        assert "nearest_pairs()" in lines[-1]


def test_the_exact_minimum_of_one_hot_labels_has_collapsed() -> None:
    """The rows of its classifier are the class means, which have a mean of their own."""
    encoding = ec.encodings.one_hot(K)
    problem = ec.ufm.Problem(encoding, 23, weight_decay=1e-2, feature_decay=1e-2, bias_decay=1.0)
    weight, means, bias = ec.ufm.solve(problem).parameters(feature_dim=D)
    found = ec.measure.collapse(means.T[np.arange(115) % K], np.arange(115) % K, weight=weight, bias=bias)
    assert found.nc3_self_duality is not None
    assert found.nc3_self_duality > 0.1  # about the centered means
    assert found.summary().startswith("Collapsed.")
    assert "From the means as they are it is" in found.summary()


def test_what_cannot_be_otherwise_is_no_achievement() -> None:
    rng = np.random.default_rng(1)
    two = of_means(np.zeros((2, D)), rng.standard_normal((2, D)), spread=1.0).summary()
    assert two.startswith("Not collapsed.")
    assert "Frame (NC2): two classes always have one" in two
    means = rng.standard_normal((1, D))
    pair = of_means(np.concatenate([means, -means]), np.concatenate([means, -means])).summary()
    assert pair.startswith("Collapsed.\n")
    single = of_means(rng.standard_normal((K, D)), np.eye(K, D), per_class=1).summary()
    assert "Spread (NC1): none can be seen, as every class has a single sample." in single
    many = rng.standard_normal((60, 4))
    crowd = of_means(many, many).summary()
    assert "no simplex of 60 classes fits into 4 dimensions" in crowd
    level = float(crowd.split("from one, and ")[1].split(" is the least")[0])
    gram = many @ np.linalg.inv(many.T @ many) @ many.T  # of a tight frame, which comes nearest
    simplex = np.eye(60) - 1 / 60
    assert level <= np.linalg.norm(gram / np.linalg.norm(gram) - simplex / np.linalg.norm(simplex))
    assert level == pytest.approx(np.sqrt(2 - 2 * np.sqrt(4 / 59)), abs=0.05)


def test_random_features_have_reached_nothing() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(10), 20)
    for _ in range(20):
        weight = rng.standard_normal((10, 64))
        text = ec.measure.collapse(rng.standard_normal((200, 64)), labels, weight=weight).summary()
        assert text.startswith("Not collapsed.")
        assert "under way" not in text
        assert ": done" not in text


def test_print_begins_with_the_summary_and_names_the_classifier() -> None:
    found = measured(1e-3, classifier=False)
    assert str(found).startswith(found.summary())
    assert "give weight and bias" in found.summary()
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, D), torch.nn.ReLU(), torch.nn.Linear(D, K))
    model = ec.measure.measure_model(network, [(torch.randn(40, 3), torch.arange(40) % K)])
    assert "classifier: '2' (Linear), 5 outputs of dimension 11" in str(model)


@pytest.mark.parametrize("features", [np.ones((4, 3)), np.full((4, 3), 1e200), np.zeros((4, 3))])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]])
def test_there_is_a_summary_where_nothing_has_a_value(features: np.ndarray, labels: list[int]) -> None:
    found = ec.measure.collapse(features, labels)
    assert found.summary()
    assert str(found)
