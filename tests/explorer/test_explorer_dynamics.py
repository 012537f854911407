"""The dynamics view: the path against laws of gradient flow, its limits, and the page in a real browser."""

import contextlib
import io
import json
import math
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import encollapse as ec
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.problem import problem
from encollapse.explorer.state.state import State
from encollapse.explorer.views import snippets
from encollapse.explorer.views.bias_path import SupersededError
from encollapse.explorer.views.dynamics import dynamics, growth_rates
from explorer.conftest import Visit
from explorer.page import query_of, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SMALL = State(classes=3, counts="longtail", imbalance=5.0, view="dynamics")


@pytest.mark.parametrize(("bias_decay", "weight_decay"), [(0.0, 5e-3), (0.3, 2e-3), (math.inf, 9e-2)])
def test_growth_rates_are_those_of_the_linearized_layers(bias_decay: float, weight_decay: float) -> None:
    stated = problem(State(classes=4, counts="longtail", bias_decay=bias_decay, weight_decay=weight_decay))
    found = growth_rates(stated)
    assert found is not None
    share = stated.counts / stated.counts.sum()
    bias = np.zeros(4) if math.isinf(bias_decay) else share / (1 + bias_decay)  # minimizes the loss of W = M = 0
    # -∂F/∂(W, M') linear in (W, M'), one column of feature space: [[-λ_W I, S], [Sᵀ, -λ_H I]].
    pull = (np.eye(4) - bias[:, None]) * share / np.sqrt(stated.counts)
    block = np.block([[-weight_decay * np.eye(4), pull], [pull.T, -1.8e-3 * np.eye(4)]])
    assert np.allclose(found, np.linalg.eigvalsh(block)[::-1][:4], atol=1e-12)
    offered = np.linalg.svd((np.eye(4) - bias[:, None]) * np.sqrt(share), compute_uv=False)
    assert ((found > 0) == (offered > stated.threshold)).all()


def test_the_path_obeys_the_laws_of_gradient_flow() -> None:
    small = State(classes=3, counts="longtail", weight_decay=2e-3, feature_decay=2e-3, start_scale=1e-4, start_seed=3)
    large = dynamics(replace(small, start_scale=0.3))
    # Equal decays λ: WᵀW - M'M'ᵀ shrinks as exp(-2λt), and nothing else happens to it.
    conserved = np.array(large["conserved"])
    early = conserved > 0.02 * conserved[0]
    assert early.sum() > 20
    assert np.allclose(conserved[early], conserved[0] * np.exp(-4e-3 * np.array(large["time"])[early]), rtol=1e-4)
    found = dynamics(small)
    time = np.array(found["time"])
    # The strongest direction first grows at twice its rate, as a product of two layers that both do.
    first = np.array(found["singular_values"][0])
    linear = (first > 30 * first[0]) & (first < 1e-3 * found["final"][0])
    slope = np.polyfit(time[linear], np.log(first[linear]), 1)[0]
    assert slope == pytest.approx(2 * found["growth"][0], rel=0.02)
    # Directions are learned one after another, and the path ends at the certified minimum.
    assert found["half"] == sorted(found["half"])
    excess = np.array(found["excess"])
    assert found["whole"]
    assert abs(excess[-1]) < 1e-8 * found["minimum"]
    assert np.allclose(np.array(found["singular_values"])[:, -1], found["final"], atol=1e-4)
    assert found["balance"][-1] < 1e-3


def test_the_end_has_the_rate_of_the_hessian() -> None:
    found = dynamics(SMALL)
    time, excess = np.array(found["time"]), np.array(found["excess"])
    tail = (excess > 1e-9 * found["minimum"]) & (excess < 1e-6 * found["minimum"])
    assert tail.sum() >= 3
    assert np.polyfit(time[tail], np.log(excess[tail]), 1)[0] == pytest.approx(-2 * found["rate"], rel=0.02)


def test_pictures_keep_their_directions_and_their_scale() -> None:
    found = dynamics(SMALL)
    frames = np.array([frame["means"] for frame in found["frames"]])
    chosen = [0, 40, 80, len(frames) - 1]
    flow = ec.ufm.flow(problem(SMALL), np.array(found["time"])[chosen], feature_dim=3, scale=0.01)
    longest = np.linalg.norm(flow.class_means[-1], axis=0).max()
    for means, drawn in zip(flow.class_means, frames[chosen], strict=True):
        # Three classes lie in three dimensions: one rotation, and one scale, for the whole path.
        assert np.allclose(drawn @ drawn.T, means.T @ means / longest**2, atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"classes": 13}, "classes"),
        ({"depth": 2}, "depth"),
        ({"features": "relu"}, "features"),
        ({"encoding": "error-correcting", "options": (("code_dim", "25"),)}, "encoding"),
    ],
)
def test_what_is_not_followed_is_refused_beside_the_control(changes: dict[str, object], field: str) -> None:
    with pytest.raises(FieldError) as refused:
        dynamics(State(**changes))  # type: ignore[arg-type]
    assert refused.value.field == field


def test_work_is_dropped_once_nobody_waits_and_cut_off_in_time() -> None:
    asked = iter([True, True, False])
    with pytest.raises(SupersededError):
        dynamics(SMALL, lambda: next(asked))
    assert next(asked, "none left") == "none left"
    cut = dynamics(SMALL, seconds=0.0)
    assert not cut["whole"]
    assert len(cut["time"]) == len(cut["frames"]) == 10


@pytest.mark.parametrize("changes", [{"weight_decay": 1.0}, {"bias_decay": 0.42857142857142855}, {"feature_dim": 2}])
def test_flat_and_empty_minima_have_a_path(changes: dict[str, float]) -> None:
    found = dynamics(State(classes=10 if "bias_decay" in changes else 4, **changes))  # type: ignore[arg-type]
    assert abs(found["excess"][-1]) < 1e-6 * found["minimum"]
    assert np.isfinite([frame["means"] for frame in found["frames"]]).all()
    if "bias_decay" in changes:  # at the critical point the Hessian has a zero
        assert found["rate"] is None


def test_a_copied_script_follows_the_same_flow() -> None:
    printed, scope = io.StringIO(), dict[str, ec.ufm.Flow]()
    with contextlib.redirect_stdout(printed):
        exec(snippets.python(SMALL), scope)
    found = dynamics(SMALL)
    assert scope["flow"].losses[0] == pytest.approx(found["loss"][0], rel=1e-12)
    assert scope["flow"].losses[-1] == pytest.approx(found["minimum"], rel=1e-8)


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        ({"classes": "3", "start_scale": "0"}, {}, 200, "start_scale"),
        ({"classes": "3", "start_seed": "-1"}, {}, 200, "start_seed"),
        ({"classes": "13"}, {}, 200, "up to 12 classes"),
        (None, {}, 400, "cannot be read"),
        ({"classes": "3"}, {"Origin": "https://evil.example"}, 403, "other pages"),
        ({"classes": "3"}, {"Content-Type": "text/plain"}, 415, "application/json"),
    ],
)
def test_requests_are_checked(
    address: str, body: dict[str, str] | None, headers: dict[str, str], status: int, words: str
) -> None:
    content = b"{" if body is None else json.dumps({"client": "a", "order": 1, "values": body}).encode()
    request = urllib.request.Request(
        address + "api/dynamics", content, headers={"Content-Type": "application/json"} | headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        found = error.code, error.read().decode()
    assert found[0] == status
    assert words in found[1]


def test_the_page_moves_along_the_path(visit: Visit) -> None:
    page = visit.open("?classes=3&counts=longtail&imbalance=5")
    page.locator("#tab-dynamics").click()
    until(page, "document.getElementById('plot-modes').data?.length === 3")
    assert page.locator("#flow-now-learned").inner_text() == "3 of 3"
    drawn = np.array(page.evaluate("document.getElementById('plot-modes').data.map(t => Array.from(t.y))"))
    times = page.evaluate("Array.from(document.getElementById('plot-modes').data[0].x)")
    flow = ec.ufm.flow(problem(SMALL), times[::30], feature_dim=3, scale=0.01)
    assert np.allclose(drawn[:, ::30].T, flow.singular_values, atol=1e-6)
    page.locator("#time").focus()
    page.keyboard.press("Home")
    assert page.locator("#time-value").inner_text() == "t = 0"
    assert page.locator("#flow-now-learned").inner_text() == "0 of 3"
    page.locator("#start_seed").fill("7")
    page.locator("#start_seed").press("Enter")
    until(page, "location.search.includes('start_seed=7')")
    assert query_of(page)["view"] == "dynamics"
    page.locator("#classes").fill("13")
    until(page, "!document.getElementById('error-classes').hidden")
    assert "up to 12 classes" in page.locator("#error-classes").inner_text()
    assert page.locator("#stale").is_visible()
    page.locator("#classes").fill("3")
    until(page, "document.getElementById('stale').hidden")
    visit.shot("dynamics")


def test_the_path_plays_to_its_end_and_begins_again(browser: "Browser", address: str) -> None:
    lively = Visit(browser, address, reduced_motion="no-preference")
    page = lively.open("?view=dynamics&classes=2")
    until(page, "document.getElementById('plot-excess').data?.length === 2")
    page.locator("#time-speed").select_option("2")
    page.locator("#time-loop").click()
    page.locator("#time").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    last = int(page.locator("#time").get_attribute("max") or 0)
    page.locator("#time-play").click()
    assert page.locator("#time-play").get_attribute("aria-label") == "Pause the training"
    until(page, f"Number(document.getElementById('time').value) < {last // 2}")
    page.locator("#time-play").click()
    assert page.locator("#time-play").get_attribute("aria-label") == "Play: follow the training in time"
    lively.close()
    assert lively.faults == []
