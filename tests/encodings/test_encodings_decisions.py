"""Decisions between soft codewords: the least divergence, in decoding, in measurement and on a hold-out alike."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax

import encollapse as ec
from encollapse.errors import ArgumentError

Array = NDArray[np.float64]


def soft(seed: int, num_classes: int, code_dim: int) -> ec.encodings.Encoding:
    """Distributions of very different entropy."""
    rng = np.random.default_rng(seed)
    columns = [rng.dirichlet(np.full(code_dim, size)) for size in np.geomspace(0.3, 30, num_classes)]
    return ec.encodings.Encoding(np.stack(columns, axis=1))


def least_divergence(encoding: ec.encodings.Encoding, outputs: Array) -> list[int]:
    return [int(np.argmin([rel_entr(e, softmax(o)).sum() for e in encoding.codewords.T])) for o in outputs]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.1, 1.0, 10.0]))
def test_logits_go_to_the_codeword_of_least_divergence(seed: int, size: float) -> None:
    outputs = size * np.random.default_rng(seed).standard_normal((17, 5))
    for encoding in (soft(seed, 7, 5), ec.encodings.one_hot(5), ec.encodings.label_smoothing(5, 0.3)):
        decided = encoding.decode(outputs, loss="cross_entropy")
        assert decided.tolist() == least_divergence(encoding, outputs)
        shifted = encoding.decode(outputs + 3.7, loss="cross_entropy")
        np.testing.assert_array_equal(shifted, decided)


def test_outputs_that_fit_a_codeword_are_decoded_to_it_where_neither_norm_nor_loss_would() -> None:
    encoding = ec.encodings.Encoding(np.array([[0.9, 0.1], [1.0, 0.0], [0.4, 0.6]]).T)
    fit = np.log(encoding.codewords.T + 1e-12)
    assert encoding.decode(fit, loss="cross_entropy").tolist() == [0, 1, 2]
    losses = -log_softmax(fit, axis=1) @ encoding.codewords
    assert losses.argmin(axis=1).tolist() != [0, 1, 2]
    assert encoding.decode(fit).tolist() != [0, 1, 2]


def test_codewords_that_are_no_distributions_decide_nothing_under_cross_entropy() -> None:
    for encoding in (ec.encodings.simplex(5), ec.encodings.one_vs_rest(5), ec.encodings.scaled_one_hot(5, on=2)):
        with pytest.raises(ArgumentError, match=r"loss: .* no distributions"):
            encoding.decode(np.zeros((2, encoding.code_dim)), loss="cross_entropy")
    with pytest.raises(ArgumentError, match=r"loss: expected one of"):
        soft(0, 3, 2).decode(np.zeros((2, 2)), loss="hinge")


def test_a_trained_network_is_scored_by_that_rule_everywhere() -> None:
    data = ec.data.load("digits", counts=11, holdout=13 / 24, seed=7)
    assert data.test is not None
    encoding = soft(2, 10, 4)
    decays: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1e-3}
    run = ec.train.fit(data, encoding, loss="cross_entropy", epochs=6, finish=0, progress=False, **decays)
    for split, found in ((data.train, run.collapse.accuracy), (data.test, run.test_accuracy)):
        with torch.no_grad():
            inputs = torch.tensor(split.inputs)
            features = run.model.features(inputs).double().numpy()
            outputs = run.model(inputs).double().numpy()
        right = np.mean(least_divergence(encoding, outputs) == split.labels)
        assert found == pytest.approx(right, abs=1e-12)
        head: dict[str, Any] = {"weight": run.head.weight.detach(), "bias": run.head.bias.detach()}
        measured = ec.measure.collapse(features, split.labels, **head, encoding=encoding, loss="cross_entropy")
        assert measured.accuracy == pytest.approx(right, abs=1e-12)
        assert right != pytest.approx(np.mean(encoding.decode(outputs) == split.labels), abs=1e-3)
