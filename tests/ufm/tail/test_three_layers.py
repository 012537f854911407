"""Tails of three linear layers: against training of the explicit layers, and at rest by the slope of the fit."""

import math
from typing import Any

import numpy as np
import pytest

import encollapse as ec
from reference.tail_reference import gram_error, sample, train_tail


@pytest.mark.parametrize("bias_decay", [0.0, 0.3])
def test_three_layers_are_stationary_above_their_bound(bias_decay: float) -> None:
    labels, activations = sample(3, 29, 5)
    encoding = ec.encodings.one_hot(3)
    problem = ec.ufm.TailProblem(
        encoding, labels, activations, weight_decay=0.02, inner_decay=(0.01, 0.03), bias_decay=bias_decay, layers=3
    )
    solution = ec.ufm.solve(problem)
    trained = train_tail(encoding.codewords[:, labels], activations, (0.01, 0.03, 0.02), bias_decay, "mse", starts=4)
    assert solution.certificate.kind == "stationary"
    assert solution.certificate.holds
    assert 0.5 * solution.loss < solution.certificate.lower_bound < solution.loss
    assert solution.loss == pytest.approx(trained.loss, rel=1e-9)
    assert gram_error(trained.features, solution.features()) < 1e-5
    weight = solution.parameters()[0]
    np.testing.assert_allclose(weight @ weight.T, trained.weight @ trained.weight.T, atol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_three_layers_come_to_rest_over_activations_of_very_different_sizes(loss: str) -> None:
    """First-order descent on the layers is far from rest after thousands of steps; the judge is the slope of the fit.

    At rest ``-∇ = κ r U Σ^{r-1} Vᵀ`` on the range of G, with ``r = 2/3``.
    """
    labels, activations = sample(3, 41, 13)
    activations = activations * 30.0 / (1.0 + np.arange(13)) ** 2
    encoding, decay = ec.encodings.one_hot(3), 1e-4
    problem = ec.ufm.TailProblem(
        encoding, labels, activations, weight_decay=decay, inner_decay=decay, bias_decay=0.01, layers=3, loss=loss
    )
    solution: Any = ec.ufm.solve(problem)
    assert solution.status is ec.ufm.Status.STATIONARY
    outputs = activations @ solution.matrix.T + solution.bias
    targets = encoding.codewords.T[labels]
    if loss == "cross_entropy":
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs = powers / powers.sum(axis=1, keepdims=True)
    slope = (targets - outputs).T @ activations / len(labels)
    left, singular, right = np.linalg.svd(solution.matrix, full_matrices=False)
    kept = singular > 1e-8 * singular[0]
    wanted = decay * singular[kept] ** (-1 / 3)
    np.testing.assert_allclose(left[:, kept].T @ slope @ right[kept].T, np.diag(wanted), atol=2e-5 * wanted.max())


@pytest.mark.slow
@pytest.mark.parametrize("bias_decay", [0.0, math.inf])
def test_three_layers_under_cross_entropy(bias_decay: float) -> None:
    labels, activations = sample(5, 37, 11)
    encoding = ec.encodings.one_hot(5)
    problem = ec.ufm.TailProblem(
        encoding,
        labels,
        activations,
        weight_decay=0.02,
        inner_decay=(0.01, 0.03),
        bias_decay=bias_decay,
        loss="cross_entropy",
        layers=3,
    )
    solution = ec.ufm.solve(problem)
    trained = train_tail(
        encoding.codewords[:, labels], activations, (0.01, 0.03, 0.02), bias_decay, "cross_entropy", starts=3
    )
    assert solution.certificate.kind == "stationary"
    assert solution.certificate.holds
    assert solution.certificate.lower_bound < solution.loss <= trained.loss * (1 + 1e-9)
