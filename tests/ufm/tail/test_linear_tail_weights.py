"""Linear tails under losses weighted by class: against explicit layers, and against repeated samples."""

import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import EncollapseError
from reference.tail_reference import encoding_for, gram_error, sample, train_tail

WEIGHTS = np.array([0.2, 3.0, 0.7, 11.0, 1.3])


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(("bias_decay", "inner_bias_decay"), [(0.0, math.inf), (0.3, 0.2), (math.inf, math.inf)])
def test_weights_of_classes_are_factors_of_their_losses(loss: str, bias_decay: float, inner_bias_decay: float) -> None:
    encoding = encoding_for(5, 3, loss)
    labels, activations = sample(5, 41, 7)
    settings: dict[str, Any] = {"bias_decay": bias_decay, "loss": loss, "inner_bias_decay": inner_bias_decay}
    problem = ec.ufm.TailProblem(
        encoding, labels, activations, weight_decay=0.03, inner_decay=0.05, class_weights=WEIGHTS, **settings
    )
    solution = ec.ufm.solve(problem)
    trained = train_tail(encoding.codewords[:, labels], activations, (0.05, 0.03), **settings, factors=WEIGHTS[labels])
    assert solution.certificate.holds
    assert solution.loss == pytest.approx(trained.loss, rel=1e-8)
    assert solution.certificate.lower_bound <= trained.loss * (1 + 1e-12)
    assert problem.objective(solution.matrix, solution.bias) == pytest.approx(solution.loss, rel=1e-12)
    assert gram_error(trained.features, solution.features()) < 1e-3
    assert solution.geometry.provenance["class_weights"] == WEIGHTS.tolist()


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("bias_decay", [0.0, 0.3, math.inf])
def test_a_class_of_twice_the_weight_is_one_of_twice_the_samples(loss: str, bias_decay: float) -> None:
    labels, activations = sample(5, 43, 7)
    encoding, times = ec.encodings.one_hot(5), np.array([1, 2, 1, 3, 2])
    more = np.repeat(np.arange(43), times[labels])
    share = len(more) / len(labels)
    weighted, repeated = (
        ec.ufm.solve(
            ec.ufm.TailProblem(
                encoding, labels[rows], activations[rows], loss=loss, weight_decay=0.03, inner_decay=0.05,
                bias_decay=bias_decay, class_weights=weights,
            )
        )
        for rows, weights in ((np.arange(43), times / share), (more, None))
    )  # fmt: skip
    assert weighted.loss == pytest.approx(repeated.loss, rel=1e-8)
    np.testing.assert_allclose(weighted.matrix, repeated.matrix, atol=1e-4 * np.abs(repeated.matrix).max())


def test_excess_under_weights_of_classes_is_that_of_their_objective() -> None:
    labels, activations = sample(5, 43, 7)
    problem = ec.ufm.TailProblem(
        ec.encodings.one_hot(5), labels, activations, weight_decay=0.03, inner_decay=0.05, bias_decay=0.2,
        loss="cross_entropy", class_weights=WEIGHTS,
    )  # fmt: skip
    generator = np.random.default_rng(1)
    inner, weight, bias = (generator.standard_normal(shape) for shape in ((11, 7), (5, 11), (5,)))
    found = ec.ufm.excess(problem, activations @ inner.T, labels, weight, bias, inner=inner)
    outputs = activations @ inner.T @ weight.T + bias
    losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(43), labels]
    squares = 0.05 * np.sum(inner**2) + 0.03 * np.sum(weight**2) + 0.2 * np.sum(bias**2)
    assert found.loss == pytest.approx(float(np.mean(WEIGHTS[labels] * losses)) + 0.5 * squares, rel=1e-12)
    assert found.distance is not None
    assert 0 < found.distance <= found.guarantee


@pytest.mark.parametrize(
    ("weights", "said"),
    [([1.0, 2.0], "class_weights: expected shape"), ([1.0, 0.0, 1.0, 1.0, 1.0], "class_weights: every weight must be")],
)
def test_weights_of_classes_that_are_none_are_refused(weights: list[float], said: str) -> None:
    labels, activations = sample(5, 43, 7)
    settings: dict[str, Any] = {"weight_decay": 0.03, "inner_decay": 0.05}
    with pytest.raises(EncollapseError, match=said):
        ec.ufm.TailProblem(ec.encodings.one_hot(5), labels, activations, class_weights=weights, **settings)
    with pytest.raises(EncollapseError, match="class_weights: with layers=3"):
        ec.ufm.TailProblem(ec.encodings.one_hot(5), labels, activations, class_weights=WEIGHTS, layers=3, **settings)
