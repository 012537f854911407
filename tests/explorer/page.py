"""What stands on the page, what should stand there, and waiting for the one to become the other."""

import math
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

import encollapse as ec

if TYPE_CHECKING:
    from playwright.sync_api import Page


def expect(problem: ec.ufm.Problem) -> dict[str, Any]:
    """What the page should show, from the library called directly."""
    solved = ec.ufm.solve(problem, throw=False)
    return {"loss": solved.loss, "cosines": solved.geometry.cosines(), "bias": float(np.linalg.norm(solved.bias))}


def problem_of(encoding: Any = None, counts: Any = 100, **changes: Any) -> ec.ufm.Problem:
    settings: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1.8e-3, "bias_decay": 1.0}
    return ec.ufm.Problem(encoding or ec.encodings.one_hot(10), counts, **(settings | changes))


def number(page: "Page", name: str) -> float:
    """A number at a glance, as it is written."""
    text = page.locator(f"#number-{name}").inner_text().replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", "")
    times = re.fullmatch(r"(-?[\d.]+)×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    if times:
        return float(times[1]) * 10.0 ** int(times[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    return math.nan if text in ("–", "none") else float(text.replace("∞", "inf"))


def gram(page: "Page", chart: str = "plot-features") -> np.ndarray:
    """The matrix that a chart shows."""
    rows = page.evaluate(f"(document.getElementById('{chart}').data?.[0]?.z ?? []).map(row => Array.from(row))")
    return np.array(rows, dtype=np.float64)


def settle(page: "Page", wanted: dict[str, Any]) -> None:
    """Wait until the page shows the wanted solution, and compare it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not shows(page, wanted):
        page.wait_for_timeout(40)
    assert number(page, "loss") == pytest.approx(wanted["loss"], rel=2e-2)
    assert np.allclose(gram(page), wanted["cosines"], atol=1e-9, equal_nan=True)


def shows(page: "Page", wanted: dict[str, Any]) -> bool:
    """Whether the page has arrived at a solution; very small numbers are written with two digits."""
    drawn = gram(page)
    return (
        number(page, "loss") == pytest.approx(wanted["loss"], rel=2e-2)
        and drawn.shape == wanted["cosines"].shape
        and np.allclose(drawn, wanted["cosines"], atol=1e-9, equal_nan=True)
    )


def until(page: "Page", condition: str, seconds: float = 60) -> None:
    """Wait for a condition; the page's own policy forbids the evaluation that Playwright's waiting uses."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def query_of(page: "Page") -> dict[str, str]:
    page.wait_for_timeout(350)
    parts = urlsplit(page.url)
    return dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
