"""The page without a server: what it shows is the path, and what it says of its accuracy holds."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from explorer.page import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_interpolated_cosines_are_as_close_as_the_page_says(tmp_path: Path) -> None:
    page = ec.explorer.export(tmp_path / "frame.html", "classes=5&counts=longtail&imbalance=7&feature_decay=1e-4")
    data = data_of(page)
    said = re.search(r"at most ([\d.e-]+) from the exact one", page.read_text(encoding="utf-8"))
    assert said
    assert float(said[1]) <= 1e-3
    counts = np.maximum(1, np.rint(np.geomspace(100, 14, 5))).astype(int)
    problem = ec.ufm.Problem(ec.encodings.one_hot(5), counts, weight_decay=5e-3, feature_decay=1e-4)
    nodes, upper = data["nodes"], np.triu_indices(5, 1)
    rng = np.random.default_rng(3)
    for i in rng.choice(np.arange(1, len(nodes) - 2), 7, replace=False):
        (left, right), share = nodes[i : i + 2], rng.uniform()
        position = left["position"] + share * (right["position"] - left["position"])
        decay = data["lowest"] * (data["highest"] / data["lowest"]) ** ((position - 1) / 998)
        exact = ec.ufm.solve(problem.with_bias_decay(decay)).geometry.cosines()[upper]
        drawn = (1 - share) * np.array(left["cosines"]) + share * np.array(right["cosines"])
        # Halfway is where an interpolated parabola is furthest off; the rounding of the file comes on top.
        assert np.abs(exact - drawn).max() <= 1.5 * float(said[1]) + 1e-4


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("classes=61", "at most 60 classes"),
        ("weight_decay=-1", "weight_decay"),
        ("classes=10&feature_dim=2", "several geometries"),
        ("nonsense=1", "no setting"),
        ("counts=typed&typed=1,2&classes=3", "expected 3 numbers"),
    ],
)
def test_what_cannot_be_a_page_is_refused_by_name(tmp_path: Path, address: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        ec.explorer.export(tmp_path / "frame.html", address)
    assert not list(tmp_path.iterdir())


def test_the_page_turns_without_a_server(browser: "Browser", tmp_path: Path) -> None:
    page = ec.explorer.export(tmp_path / "frame.html", "http://127.0.0.1:1/?classes=3&bias_decay=inf")
    context = browser.new_context(offline=True, reduced_motion="reduce")
    shown = context.new_page()
    faults: list[str] = []
    asked: list[str] = []
    shown.on("pageerror", lambda error: faults.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(page.as_uri())
    until(shown, "document.documentElement.dataset.ready === '1'")
    assert shown.locator("#bias_decay").inner_text() == "∞"
    assert shown.locator("#glance dd").first.inner_text() == "0"
    shown.locator("#position").fill("0")
    assert float(shown.locator("#glance dd").first.inner_text().replace("−", "-")) == -0.5
    shown.locator("#play").click()
    until(shown, "document.getElementById('bias_decay').textContent === '∞'", 20)
    assert shown.locator("#play").get_attribute("aria-label") == "Play: sweep the bias decay"
    context.close()
    assert faults == []
    assert asked == [page.as_uri()]


def test_the_page_is_used_by_the_keyboard_alone_and_its_matrix_holds_numbers(
    browser: "Browser", tmp_path: Path
) -> None:
    page = ec.explorer.export(tmp_path / "frame.html", "classes=3")
    context = browser.new_context(offline=True, reduced_motion="reduce", viewport={"width": 1280, "height": 800})
    shown = context.new_page()
    shown.goto(page.as_uri())
    until(shown, "document.documentElement.dataset.ready === '1'")
    keys = shown.keyboard
    focused = "document.activeElement.id"
    for name in ("theme", "play", "position", "frame"):
        keys.press("Tab")
        assert shown.evaluate(focused) == name
    before = shown.locator("#frame").screenshot()
    keys.press("ArrowLeft")
    until(shown, "true")
    assert shown.locator("#frame").screenshot() != before
    keys.press("Shift+Tab")
    keys.press("End")
    assert shown.locator("#bias_decay").inner_text() == "∞"
    assert shown.locator("#position").get_attribute("aria-valuetext") == "λ_b = ∞"
    keys.press("Home")
    assert shown.locator("#bias_decay").inner_text() == "0"
    # The middle of a cell of three classes has ink on its color: the cosine -0.5 in digits.
    colors = shown.evaluate(
        """() => {
          const canvas = document.getElementById('gram'), ratio = canvas.width / canvas.clientWidth;
          const side = Math.min(canvas.width, canvas.height), left = (canvas.width - side) / 2;
          const from = [left + side / 2 - 12 * ratio, side / 6 - 6 * ratio];
          const found = canvas.getContext('2d').getImageData(...from, 24 * ratio, 12 * ratio).data;
          const seen = new Set();
          for (let i = 0; i < found.length; i += 4) seen.add(`${found[i]},${found[i + 1]},${found[i + 2]}`);
          return seen.size;
        }"""
    )
    context.close()
    assert colors > 1
