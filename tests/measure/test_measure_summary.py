"""The summary says what the numbers say."""

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


def test_levels_without_collapse_are_what_random_features_have() -> None:
    """The levels that values are set beside, by simulation."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(K), 23)
    found = [ec.measure.collapse(rng.standard_normal((len(labels), D)), labels) for _ in range(60)]
    assert np.mean([f.nc1_trace_ratio for f in found if f.nc1_trace_ratio]) == pytest.approx(110 / 4, rel=0.1)
    random = np.mean([f.nc2_etf for f in found if f.nc2_etf])
    text = found[0].summary()
    assert "about 27" in text or "about 28" in text
    level = float(text.split("random ones would be ")[1].split(".\n")[0].split(". ")[0])
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
