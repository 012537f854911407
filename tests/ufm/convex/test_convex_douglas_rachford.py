"""The splitting method of the convex problem: against Newton's method, and alone where that is slow."""

import math

import numpy as np
import pytest

import encollapse as ec
from encollapse.ufm.convex import minimize as convex
from encollapse.ufm.convex.composite import Composite
from encollapse.ufm.convex.douglas_rachford import split
from encollapse.ufm.losses import LOSSES


def composite_of(encoding: ec.encodings.Encoding, counts: list[int], share: float, bias_decay: float) -> Composite:
    """The convex problem with the threshold at a share of the largest singular value of the labels."""
    priors = np.array(counts) / sum(counts)
    centered = encoding.codewords - encoding.mean(priors)[:, None]
    c = share * float(np.linalg.norm(centered * np.sqrt(priors), 2))
    problem = ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=1e-2,
        feature_decay=c**2 / sum(counts) / 1e-2,
        bias_decay=bias_decay,
        loss="cross_entropy",
    )
    return Composite(problem.structure.output_map, LOSSES["cross_entropy"], problem.threshold, bias_decay)


def soft(kind: str, q: int, k: int, seed: int) -> ec.encodings.Encoding:
    rng = np.random.default_rng(seed)
    if kind == "peaked":
        codewords = 3 * k * np.eye(q, k) + 2 * rng.random((q, k))
    elif kind == "spread":
        codewords = rng.dirichlet(np.full(q, 0.5), k).T
    else:
        codewords = rng.dirichlet(np.full(q, 0.3), 3).T @ rng.dirichlet(np.full(3, 0.5), k).T
    return ec.encodings.Encoding(codewords / codewords.sum(axis=0))


@pytest.mark.parametrize("bias_decay", [0.0, 1e-3, 0.1, 30.0, math.inf])
@pytest.mark.parametrize("kind", ["peaked", "spread", "low rank"])
@pytest.mark.parametrize(("q", "k"), [(7, 7), (11, 5), (3, 13)])
def test_it_ends_where_newton_steps_end(
    q: int, k: int, kind: str, bias_decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [int(n) for n in np.random.default_rng(5).integers(1, 50, k)]
    composite = composite_of(soft(kind, q, k, 3), counts, 0.1, bias_decay)
    (point, bias), taken = split(composite, 1e-10)
    loss, certificate = composite.certified(point, bias)
    assert certificate.relative_gap <= 1e-10
    assert taken < 200
    monkeypatch.setattr("encollapse.ufm.convex.douglas_rachford.ITERATIONS", 1)
    newton = convex.minimize_composite(composite)
    assert newton.certificate.holds
    assert loss == pytest.approx(newton.loss, rel=1e-8)
    np.testing.assert_allclose(point.matrix, newton.factors.matrix, atol=3e-5 * np.abs(point.matrix).max())
    np.testing.assert_allclose(bias, newton.bias, atol=1e-5 * max(1.0, float(np.abs(bias).max())))


@pytest.mark.parametrize("bias_decay", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("kind", ["peaked", "spread", "low rank"])
def test_many_dense_labels_need_no_newton_step(kind: str, bias_decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newton steps took minutes at a thousand classes: the splitting has to close the gap by itself."""

    def refused(*_: object) -> None:
        raise AssertionError("a Newton step was taken")

    monkeypatch.setattr(convex._Newton, "close", refused)
    k = 127
    counts = [int(n) for n in np.geomspace(300, 7, k)]
    composite = composite_of(soft(kind, k, k, 2), counts, 0.03, bias_decay)
    found = convex.minimize_composite(composite)
    assert found.certificate.relative_gap <= 1e-9
    assert found.iterations < 100


def test_a_start_near_the_minimum_saves_iterations() -> None:
    composite = composite_of(soft("spread", 17, 17, 7), [3] * 17, 0.05, 0.1)
    start, cold = split(composite, 1e-10)
    _, warm = split(composite, 1e-10, start)
    assert warm < cold
