"""Pictures keep what they show when their panel or the frame changes its size."""

import pytest

from explorer.conftest import Visit
from explorer.page import until

EDGES = """() => {
  const canvas = document.getElementById("frame").cloneNode();
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(document.getElementById("frame"), 0, 0);
  const row = (y) => [...context.getImageData(0, y, canvas.width, 1).data].some((value) => value > 0);
  return row(0) || row(canvas.height - 1);
}"""

OFF = """() => {
  const { xaxis, _size } = document.getElementById("plot-line")._fullLayout;
  const { left, height } = document.getElementById("present").style;
  return Math.abs(parseFloat(left) - xaxis._offset - xaxis.l2p(1)) + Math.abs(parseFloat(height) - _size.h);
}"""


# The chart is drawn in the size that its panel has, of which the widest is the whole screen.
FITTED = """(({ _fullLayout, clientWidth }) => Math.abs(_fullLayout.width - clientWidth) < 1 && (clientWidth > 1000) ===
(document.fullscreenElement !== null))(document.getElementById("plot-line"))"""


@pytest.mark.parametrize("state", ["encoding=circular&classes=7&counts=longtail&bias_decay=0.333", "classes=3"])
def test_no_class_mean_is_cut_from_the_frame(visit: Visit, state: str) -> None:
    page = visit.open(f"?{state}")
    page.locator("#frame").focus()
    for key in ["ArrowLeft"] * 6 + ["ArrowUp"] * 4:
        page.keyboard.press(key)
        assert not page.evaluate(EDGES)


def test_the_present_bias_decay_stays_on_its_chart_at_full_screen_and_after(visit: Visit) -> None:
    page = visit.open("?classes=4&bias_decay=inf")
    page.wait_for_selector("#present[aria-valuenow]")
    button = page.get_by_role("button", name="Full screen: Cosine and bias")
    button.click()
    until(page, f"document.fullscreenElement !== null && {FITTED}")
    until(page, f"({OFF})() < 1", 10)
    button.click()
    until(page, f"document.fullscreenElement === null && {FITTED}")
    until(page, f"({OFF})() < 1", 10)


def test_indices_are_set_below_letters_with_accents(visit: Visit) -> None:
    page = visit.open("?classes=4")
    meaning = page.locator("#metric-gnc2_log + td")
    assert meaning.inner_html().count("<sub>k</sub>") == 1
    assert "_" not in meaning.inner_text()
