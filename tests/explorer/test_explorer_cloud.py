"""Samples in the frame: a linear tail that is the page's problem where the samples agree."""

import numpy as np
import pytest

import encollapse as ec
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.state import State
from encollapse.explorer.views.cloud import cloud
from encollapse.explorer.views.solution import picture


def test_without_spread_the_tail_is_the_problem_of_the_page() -> None:
    state = State(classes=5, counts="longtail", samples=35, imbalance=5.0, bias_decay=0.2, spread=1e-9)
    found = cloud(state)
    counts = np.maximum(1, np.rint(np.geomspace(35, 7, 5))).astype(int)
    problem = ec.ufm.Problem(ec.encodings.one_hot(5), counts, weight_decay=5e-3, feature_decay=1.8e-3, bias_decay=0.2)
    assert found is not None
    assert np.allclose(found.means.T @ found.means, ec.ufm.solve(problem).geometry.feature_gram, atol=1e-7)
    assert found.nc1 < 1e-14


def test_samples_scatter_more_the_more_their_activations_do() -> None:
    spreads = (0.1, 0.3, 0.9)
    clouds = [cloud(State(classes=3, samples=53, spread=spread)) for spread in spreads]
    ratios = [found.nc1 for found in clouds if found is not None]
    assert len(ratios) == 3
    assert ratios == sorted(ratios)
    for found in clouds:
        assert found is not None
        between = found.means - found.means.mean(axis=1, keepdims=True)
        scatter = found.samples - found.means.T[found.labels]
        # The first forty samples of a class stand for all 53 of it.
        drawn = (scatter**2).sum() / len(scatter) / ((between**2).sum() / 3)
        assert drawn == pytest.approx(found.nc1, rel=0.3)


def test_the_picture_holds_samples_at_the_scale_of_the_means() -> None:
    drawn = picture(State(classes=3, spread=0.2))["frame"]
    means, samples, of = (np.array(drawn[name]) for name in ("means", "samples", "of"))
    for k in range(3):
        assert np.linalg.norm(samples[of == k].mean(axis=0) - means[k]) < 0.1
    assert "samples" not in picture(State(classes=3))["frame"]


@pytest.mark.parametrize(
    "changes", [{"loss": "cross_entropy"}, {"classes": 13}, {"samples": 10**6}, {"feature_dim": 2}]
)
def test_what_is_not_solved_is_refused_beside_the_control(changes: dict[str, object]) -> None:
    with pytest.raises(FieldError) as refused:
        cloud(State(spread=0.5, **changes))  # type: ignore[arg-type]
    assert refused.value.field == "spread"
