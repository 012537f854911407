"""Outputs halfway between codewords go to the lowest class, though centers and sums round."""

from fractions import Fraction

import numpy as np
import pytest

import encollapse as ec
from encollapse._internal.typing import FloatArray

ENCODINGS = [
    ec.encodings.ordinal(3),
    ec.encodings.ordinal(7),
    ec.encodings.error_correcting(3, 7),
    ec.encodings.error_correcting(7, 11),
    ec.encodings.one_vs_rest(5),
    ec.encodings.multi_label([{0, 2}, {1}, set(), {0, 1, 2}, {2}], 3),
]


def exact(encoding: ec.encodings.Encoding, output: FloatArray) -> int:
    """First class of least distance, in fractions."""
    distances = [
        sum((Fraction(float(o)) - Fraction(float(e))) ** 2 for o, e in zip(output, word, strict=True))
        for word in encoding.codewords.T
    ]
    return distances.index(min(distances))


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: f"{e.name}-{e.num_classes}")
def test_exact_ties_go_to_the_lowest_class(encoding: ec.encodings.Encoding) -> None:
    words = encoding.codewords
    k = encoding.num_classes
    outputs = np.array([0.5 * (words[:, i] + words[:, j]) for i in range(k) for j in range(k)])
    assert encoding.decode(outputs).tolist() == [exact(encoding, output) for output in outputs]


def test_the_ties_that_a_center_of_thirds_broke() -> None:
    assert ec.encodings.ordinal(3).decode([[0.5, 0.0]]).tolist() == [0]


@pytest.mark.parametrize("base", [ec.encodings.one_hot(5), ec.encodings.simplex(5)], ids=lambda e: e.name)
def test_ties_of_shifted_codewords_do_too(base: ec.encodings.Encoding) -> None:
    encoding = base.centered([0.3, 0.1, 0.2, 0.15, 0.25])
    words = encoding.codewords
    pairs = [(i, j) for i in range(5) for j in range(i, 5)]
    outputs = np.array([0.5 * (words[:, i] + words[:, j]) for i, j in pairs])
    assert encoding.decode(outputs).tolist() == [i for i, _ in pairs]


def test_what_is_nearer_by_more_than_rounding_still_wins() -> None:
    encoding = ec.encodings.Encoding(1.7e9 + 1e-4 * np.array([[0.0, 1.0, 2.0]]))
    assert encoding.decode(encoding.codewords.T + 2e-6).tolist() == [0, 1, 2]
    assert ec.encodings.ordinal(3).decode([[0.5 + 1e-12, 0.0]]).tolist() == [1]
