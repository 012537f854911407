"""The page in a real browser: every control against the library, the address, hostile input, looks."""

import json
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

import encollapse as ec
from encollapse.encodings.catalogue import CATALOGUE
from encollapse.present.explorer import serving
from encollapse.study.artefacts import load_arrays
from encollapse.study.store import Store
from explore.conftest import Visit
from reference.study_folder import study_of, write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def expect(problem: ec.ufm.Problem) -> dict[str, Any]:
    """What the page should show, from the library called directly."""
    solved = ec.ufm.solve(problem, throw=False)
    return {
        "loss": solved.loss,
        "cosines": solved.geometry.cosines(),
        "bias": float(np.linalg.norm(solved.bias)),
    }


def problem_of(encoding: Any = None, counts: Any = 100, **changes: Any) -> ec.ufm.Problem:
    settings: dict[str, Any] = {"weight_decay": 5e-3, "feature_decay": 1.8e-3, "bias_decay": 1.0}
    return ec.ufm.Problem(encoding or ec.encodings.one_hot(10), counts, **(settings | changes))


def number(page: "Page", name: str) -> float:
    """A number at a glance, as it is written."""
    text = (
        page.locator(f"#number-{name}")
        .inner_text()
        .replace("\N{MINUS SIGN}", "-")
        .replace("\N{NO-BREAK SPACE}", "")
    )
    times = re.fullmatch(r"(-?[\d.]+)×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    if times:
        return float(times[1]) * 10.0 ** int(times[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    return math.nan if text in ("–", "none") else float(text.replace("∞", "inf"))


def gram(page: "Page", chart: str = "plot-features") -> np.ndarray:
    """The matrix that a chart shows."""
    rows = page.evaluate(
        f"(document.getElementById('{chart}').data?.[0]?.z ?? []).map(row => Array.from(row))"
    )
    return np.array(rows, dtype=np.float64)


def settle(page: "Page", wanted: dict[str, Any]) -> None:
    """Wait until the page shows the wanted solution, and compare it."""
    deadline = time.monotonic() + 8
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


def until(page: "Page", condition: str, seconds: float = 12) -> None:
    """Wait for a condition; the page's own policy forbids the evaluation that Playwright's waiting uses."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def query_of(page: "Page") -> dict[str, str]:
    page.wait_for_timeout(350)
    parts = urlsplit(page.url)
    return dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))


def test_the_first_picture_is_the_solution_and_nothing_leaves_the_machine(visit: Visit) -> None:
    page = visit.open()
    settle(page, expect(problem_of()))
    assert page.locator("#verdict").inner_text() == "global minimum, proved"
    until(page, "document.getElementById('critical-note').textContent.includes('0.4286')")
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 3000
    assert visit.elsewhere == []


def test_every_control_changes_what_it_should(visit: Visit) -> None:
    page = visit.open()

    def fill(name: str, text: str) -> None:
        page.locator(f"#{name}").fill(text)

    fill("classes", "5")
    five = ec.encodings.one_hot(5)
    settle(page, expect(problem_of(five)))
    fill("bias_decay", "0.25")
    settle(page, expect(problem_of(five, bias_decay=0.25)))
    page.locator("#bias_decay_slider").evaluate(
        "s => { s.value = 1000; s.dispatchEvent(new Event('input')); }"
    )
    settle(page, expect(problem_of(five, bias_decay=math.inf)))
    page.locator("#bias_decay_slider").evaluate("s => { s.value = 0; s.dispatchEvent(new Event('input')); }")
    settle(page, expect(problem_of(five, bias_decay=0.0)))
    fill("bias_decay", "2")
    fill("weight_decay", "0.002")
    changes: dict[str, Any] = {"bias_decay": 2.0, "weight_decay": 2e-3}
    settle(page, expect(problem_of(five, **changes)))
    fill("feature_decay", "0.0001")
    changes["feature_decay"] = 1e-4
    settle(page, expect(problem_of(five, **changes)))
    fill("samples", "64")
    settle(page, expect(problem_of(five, 64, **changes)))
    page.locator("#counts").select_option("step")
    fill("imbalance", "8")
    settle(page, expect(problem_of(five, [64, 64, 64, 8, 8], **changes)))
    page.locator("#counts").select_option("longtail")
    fill("imbalance", "16")
    settle(page, expect(problem_of(five, [64, 32, 16, 8, 4], **changes)))
    page.locator("#counts").select_option("typed")
    fill("typed", "50, 40, 30, 20, 10")
    counts = [50, 40, 30, 20, 10]
    settle(page, expect(problem_of(five, counts, **changes)))
    page.locator("#depth").fill("2")
    settle(page, expect(problem_of(five, counts, depth=2, **changes)))
    page.locator("#depth").fill("1")
    page.locator("#features").select_option("relu")
    settle(page, expect(problem_of(five, counts, features="relu", **changes)))
    page.locator("#features").select_option("linear")
    page.locator("#loss").select_option("cross_entropy")
    settle(page, expect(problem_of(five, counts, loss="cross_entropy", **changes)))
    page.locator("#loss").select_option("mse")
    fill("feature_dim", "3")
    fill("bias_decay", "0")
    changes["bias_decay"] = 0.0
    settle(page, expect(problem_of(five, counts, feature_dim=3, **changes)))


def test_every_encoding_is_on_offer(visit: Visit) -> None:
    page = visit.open("?classes=6&feature_decay=1e-5")
    for name, entry in CATALOGUE.items():
        page.locator("#encoding").select_option(name)
        made = ec.encodings.by_name(name, 6, **entry.example_for(6))
        settle(page, expect(problem_of(made, feature_decay=1e-5)))
        assert page.locator("#encoding-summary").inner_text()
    page.locator("#encoding").select_option("label-smoothing")
    page.locator("[id='option.smoothing']").fill("0.4")
    settle(page, expect(problem_of(ec.encodings.label_smoothing(6, 0.4), feature_decay=1e-5)))


def test_views_of_the_gram_matrices(visit: Visit) -> None:
    page = visit.open("?classes=5&counts=longtail&feature_decay=1e-5")
    solved = ec.ufm.solve(problem_of(ec.encodings.one_hot(5), [100, 56, 32, 18, 10], feature_decay=1e-5))
    page.get_by_role("button", name="products").click()
    until(page, "document.getElementById('plot-features').data?.[0].zmax != 1")
    assert np.allclose(gram(page), solved.geometry.feature_gram, atol=1e-9)
    assert np.allclose(gram(page, "plot-classifier"), np.asarray(solved.geometry.classifier_gram), atol=1e-9)
    page.get_by_role("button", name="centred", exact=True).click()
    page.wait_for_timeout(500)
    assert np.allclose(gram(page), solved.geometry.feature_gram_centered, atol=1e-9)
    assert query_of(page)["quantity"] == "products"
    page.get_by_role("button", name="leading three").click()
    assert query_of(page)["axes"] == "leading"


def test_an_own_matrix_by_pasting_and_loading(visit: Visit) -> None:
    page = visit.open("?feature_decay=1e-4")
    page.locator("#encoding").select_option("own")
    page.locator("#matrix").fill("1 0 0.5\n0 1 -2")
    own = ec.encodings.Encoding(np.array([[1, 0, 0.5], [0, 1, -2]]))
    settle(page, expect(problem_of(own, feature_decay=1e-4)))
    assert page.locator("#classes").is_disabled()
    page.locator("#matrix_file").set_input_files(
        {"name": "c.csv", "mimeType": "text/csv", "buffer": b"3,0,0,1\n0,2,0,1\n0,0,1,1\n"}
    )
    loaded = ec.encodings.Encoding(np.array([[3, 0, 0, 1], [0, 2, 0, 1], [0, 0, 1, 1.0]]))
    settle(page, expect(problem_of(loaded, feature_decay=1e-4)))
    page.wait_for_timeout(400)
    page.reload()
    visit.drawn()
    settle(page, expect(problem_of(loaded, feature_decay=1e-4)))


def test_a_state_survives_reload_and_travels_in_the_address(visit: Visit, browser: "Browser") -> None:
    page = visit.open()
    page.locator("#encoding").select_option("label-smoothing")
    page.locator("[id='option.smoothing']").fill("0.3")
    page.locator("#classes").fill("7")
    page.locator("#bias_decay").fill("inf")
    wanted = expect(problem_of(ec.encodings.label_smoothing(7, 0.3), bias_decay=math.inf))
    settle(page, wanted)
    query = query_of(page)
    assert query == {
        "encoding": "label-smoothing",
        "option.smoothing": "0.3",
        "classes": "7",
        "bias_decay": "inf",
    }
    page.reload()
    visit.drawn()
    settle(page, wanted)
    assert page.locator("#bias_decay").input_value() == "∞"
    assert page.locator("[id='option.smoothing']").input_value() == "0.3"
    other = Visit(browser, visit.address)
    other.page.goto(page.url)
    other.drawn()
    settle(other.page, wanted)
    assert query_of(other.page) == query
    other.close()


HOSTILE = [
    ("bias_decay", "nan"),
    ("bias_decay", "-3"),
    ("bias_decay", "<script>window.broken=1</script>"),
    ("weight_decay", "0"),
    ("feature_decay", "1e999"),
    ("classes", "100000000"),
    ("classes", "/etc/passwd"),
    ("samples", "1.5"),
    ("feature_dim", "-1"),
]


def test_what_cannot_be_used_is_said_beside_the_field_and_the_picture_stays(visit: Visit) -> None:
    page = visit.open("?classes=4")
    good = expect(problem_of(ec.encodings.one_hot(4)))
    settle(page, good)
    for name, text in HOSTILE:
        kept = page.locator(f"#{name}").input_value()
        page.locator(f"#{name}").fill(text)
        message = page.locator(f"#error-{name}")
        message.wait_for(state="visible")
        assert message.inner_text()
        assert page.locator(f"#{name}").get_attribute("aria-invalid") == "true"
        assert np.allclose(gram(page), good["cosines"], atol=1e-9)
        page.locator(f"#{name}").fill(kept)
        message.wait_for(state="hidden")
    assert query_of(page) == {"classes": "4"}
    assert page.evaluate("window.broken") is None


def test_hostile_matrices_are_refused_with_a_message(visit: Visit) -> None:
    page = visit.open("?encoding=own#matrix=1,0,0;0,1,0")
    page.wait_for_selector("#matrix")
    before = gram(page)
    for text in ("1 2\nnan 4", "<img src=x onerror=window.broken=1>", "/etc/passwd", "1 2\n3", "1 " * 60_000):
        page.locator("#matrix").fill(text)
        page.locator("#error-matrix").wait_for(state="visible")
        page.wait_for_timeout(250)
        assert page.locator("#error-matrix").inner_text()
        assert np.array_equal(gram(page), before)
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 10000), }".ljust(117) + "\n"
    declared = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    for name, content in (("big.npy", declared), ("evil.pkl", b"\x80\x04."), ("huge.csv", b"1," * 10**6)):
        page.locator("#matrix_file").set_input_files(
            {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        )
        page.locator("#error-matrix").wait_for(state="visible")
        page.wait_for_timeout(150)
        assert np.array_equal(gram(page), before)
    page.locator("#matrix").evaluate(
        "(field) => { const data = new DataTransfer(); data.setData('text', '1 '.repeat(2e6));"
        "field.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})); }"
    )
    assert "4000000 characters" in page.locator("#error-matrix").inner_text()
    assert page.evaluate("window.broken") is None


def test_a_hostile_address_falls_back_and_says_so(visit: Visit) -> None:
    page = visit.open("?classes=1e9&encoding=%3Cscript%3E&bias_decay=nan&nonsense=%3Cb%3E&weight_decay=0.004")
    settle(page, expect(problem_of(weight_decay=0.004)))
    for name in ("classes", "encoding", "bias_decay", "address"):
        assert page.locator(f"#error-{name}").is_visible()
    assert page.locator("#error-address b").count() == 0


def test_a_message_in_a_folded_drawer_is_said_at_the_top_too(browser: "Browser", address: str) -> None:
    phone = Visit(browser, address, viewport={"width": 390, "height": 844})
    page = phone.open("?classes=1e9")
    assert page.locator("#classes").is_hidden()
    assert "whole number" in page.locator("#error-address").inner_text()
    phone.close()
    assert phone.faults == []


def test_dragging_the_line_and_the_keyboard_move_the_bias_decay(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_selector("#present[aria-valuenow]")
    box = page.locator("#present").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] - 120, box["y"] + 60, steps=6)
    page.mouse.up()
    page.wait_for_timeout(300)
    dragged = float(query_of(page)["bias_decay"])
    assert 1e-4 < dragged < 0.4
    settle(page, expect(problem_of(bias_decay=dragged)))
    page.locator("#present").focus()
    page.keyboard.press("End")
    settle(page, expect(problem_of(bias_decay=math.inf)))
    page.locator("#bias_decay_slider").focus()
    page.keyboard.press("Home")
    settle(page, expect(problem_of(bias_decay=0.0)))
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert query_of(page)["bias_decay"] == "0.0001"


def test_play_sweeps_to_the_end(browser: "Browser", address: str) -> None:
    lively = Visit(browser, address, reduced_motion="no-preference")
    page = lively.open("?classes=4&bias_decay=100")
    page.locator("#play").click()
    until(page, "document.getElementById('bias_decay').value === '∞'")
    until(page, "document.getElementById('play').getAttribute('aria-pressed') === 'false'")
    settle(page, expect(problem_of(ec.encodings.one_hot(4), bias_decay=math.inf)))
    lively.close()
    assert lively.faults == []


def test_three_users_at_once_do_not_disturb_each_other(browser: "Browser", address: str) -> None:
    visits = [Visit(browser, address) for _ in range(3)]
    wanted = []
    for i, one in enumerate(visits):
        one.open(f"?classes={3 + i}")
    for step in range(3):
        for i, one in enumerate(visits):
            one.page.locator("#bias_decay").fill(str(0.5 + step + i))
    for i, one in enumerate(visits):
        wanted.append(expect(problem_of(ec.encodings.one_hot(3 + i), bias_decay=2.5 + i)))
        settle(one.page, wanted[i])
        one.close()
        assert one.faults == []


def test_copies_are_what_the_page_shows(visit: Visit) -> None:
    page = visit.open("?classes=5&bias_decay=inf&feature_decay=1e-4")
    page.locator("#copy-open").click()
    page.wait_for_selector("#snippet:not(:empty)")
    scope: dict[str, Any] = {}
    exec(page.locator("#snippet").inner_text(), scope)
    wanted = expect(problem_of(ec.encodings.one_hot(5), bias_decay=math.inf, feature_decay=1e-4))
    assert scope["solution"].loss == pytest.approx(wanted["loss"])
    page.locator("[data-snippet=command]").click()
    assert page.locator("#snippet").inner_text().startswith("encollapse predict -e one-hot --classes 5")
    page.locator("#copy-now").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("encollapse predict")
    with page.expect_download() as download:
        page.locator("#encoding-save").click()
    assert json.loads(download.value.path().read_text())["family"] == "affine-one-hot"
    visit.shot("copy")


def test_a_geometry_is_drawn_designed_and_saved(visit: Visit) -> None:
    page = visit.open("?view=design&classes=4&counts=step&feature_decay=1e-5&bias_decay=inf")
    page.wait_for_selector("#design-words:not(:empty)")
    wanted = ec.simplex_etf_gram(4)
    assert np.allclose(gram(page, "plot-target"), wanted, atol=1e-9)
    assert np.allclose(gram(page, "plot-reached"), wanted, atol=1e-7)
    page.locator("#plot-target").focus()
    page.keyboard.press("+")
    until(page, "document.getElementById('target').value === 'similarity'")
    until(page, "Math.abs(document.getElementById('plot-target').data?.[0].z[0][1] - (-0.23)) < 0.01")
    cell = page.evaluate(
        "(() => { const chart = document.getElementById('plot-target'), box = chart.getBoundingClientRect();"
        "const { xaxis: x, yaxis: y } = chart._fullLayout;"
        "return [box.left + x._offset + x.l2p(2), box.top + y._offset + y.l2p(0)]; })()"
    )
    page.mouse.move(*cell)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_timeout(500)
    assert gram(page, "plot-target")[0, 2] == pytest.approx(0.5, abs=0.05)
    page.locator("#target").select_option("hierarchy")
    page.locator("#tree").fill('[["cat", "dog"], ["car", "truck"]]')
    until(page, "document.getElementById('plot-target').layout.xaxis.ticktext[0] === 'cat'")
    assert gram(page, "plot-target")[0, 1] == pytest.approx(0.5)
    assert np.allclose(gram(page, "plot-reached"), gram(page, "plot-target"), atol=1e-7)
    with page.expect_download() as download:
        page.locator("#design-save").click()
    made = json.loads(download.value.path().read_text())
    assert made["classes"] == ["cat", "dog", "car", "truck"]
    solved = ec.ufm.solve(
        problem_of(
            ec.encodings.Encoding(made["codewords"]),
            [100, 100, 10, 10],
            feature_decay=1e-5,
            bias_decay=math.inf,
        )
    )
    assert np.allclose(solved.geometry.cosines(), gram(page, "plot-target"), atol=1e-7)
    visit.shot("design")
    page.locator("#design-explore").click()
    visit.drawn()
    page.wait_for_timeout(400)
    assert np.allclose(gram(page), gram(page, "plot-target"), atol=1e-6)
    page.go_back()


def test_trained_networks_over_the_theory(visit: Visit) -> None:
    page = visit.open("?view=runs")
    page.wait_for_selector("#trials [role=option]")
    options = page.locator("#trials [role=option]")
    assert options.count() == 16
    until(page, "document.getElementById('plot-overlay').data?.length >= 5")
    options.nth(3).click()
    page.wait_for_selector("#run-settings tr")
    page.wait_for_timeout(300)
    assert options.nth(3).get_attribute("aria-selected") == "true"
    assert np.allclose(gram(page, "plot-measured"), gram(page, "plot-predicted"), atol=0.2)
    assert "not kept" in page.locator("#epoch-note").inner_text()
    visit.shot("runs")
    chosen = query_of(page)["run"]
    page.reload()
    page.wait_for_selector("#run-settings tr")
    assert query_of(page)["run"] == chosen
    page.locator("#run-explore").click()
    visit.drawn()
    until(page, "document.getElementById('plot-line').data?.length > 4")
    assert query_of(page)["typed" if "typed" in page.url else "samples"] == "13"


def test_a_click_on_a_point_chooses_the_network(visit: Visit) -> None:
    page = visit.open("?view=runs")
    page.wait_for_selector("#run-settings tr")
    until(page, "document.getElementById('plot-overlay').data?.length >= 5")
    x, y, wanted = page.evaluate(
        "(() => { const chart = document.getElementById('plot-overlay'), box = chart.getBoundingClientRect();"
        "const { xaxis, yaxis } = chart._fullLayout; const dots = chart.data.find(t => t.mode === 'markers');"
        "const at = dots.customdata.length - 3;"
        "return [box.left + xaxis._offset + xaxis.l2p(dots.x[at]), box.top + yaxis._offset + yaxis.l2p(dots.y[at]),"
        "dots.customdata[at]]; })()"
    )
    page.mouse.move(x - 30, y)
    page.wait_for_timeout(150)  # plotly looks under the pointer at most ten times a second
    page.mouse.move(x, y, steps=4)
    page.wait_for_timeout(250)
    page.mouse.click(x, y)
    page.wait_for_timeout(400)
    chosen = page.locator("#trials [aria-selected=true]").get_attribute("data-id")
    # Two seeds at one bias decay lie on top of each other, so either may be hit.
    decays = {trial.id: trial.settings["bias_decay"] for trial in study_of().trials}
    assert decays[str(chosen)] == decays[wanted]


def test_networks_appear_while_their_study_is_running(browser: "Browser", tmp_path: Path) -> None:
    study = study_of()
    whole = write_folder(tmp_path / "whole", study)
    store = Store(tmp_path / "runs")
    store.create()
    store.write_definition(study.name, study.definition())
    first, second = study.trials[2], study.trials[3]
    rows = whole.rows()
    store.keep(rows[first.id], [], load_arrays(whole.arrays_path(first.id)))
    with serving(tmp_path / "runs") as address:
        one = Visit(browser, address)
        page = one.open("?view=runs")
        page.wait_for_selector("#trials [role=option]")
        assert page.locator("#trials [role=option]").count() == 1
        assert "15 to come" in page.locator("#study-progress").inner_text()
        store.keep(rows[second.id], [], load_arrays(whole.arrays_path(second.id)))
        until(page, "document.querySelectorAll('#trials [role=option]').length === 2")
        assert "2 trained" in page.locator("#study-progress").inner_text()
        one.close()
    assert one.faults == []


def test_files_outside_the_study_are_never_served(visit: Visit) -> None:
    page = visit.open()
    found = page.evaluate(
        """async () => Promise.all(['/static/../server.py', '/static/%2e%2e/server.py', '/etc/passwd',
        '/api/runs/..%2f..%2fetc%2fpasswd', '/api/runs/%2fetc%2fpasswd'].map(async p => (await fetch(p)).status))"""
    )
    assert set(found) == {404}
    visit.faults.clear()  # the browser notes each 404 in the console


def test_the_tour_leads_through_the_page(visit: Visit) -> None:
    page = visit.open("?classes=5")
    page.locator("#tour-start").click()
    titles = []
    for _ in range(5):
        page.wait_for_selector("#tour:not([hidden])")
        titles.append(page.locator("#tour-title").inner_text())
        page.locator("#tour-next").click()
    assert len(set(titles)) == 5
    page.wait_for_selector("#tour", state="hidden")


def test_tooltips_open_on_focus_with_formula_and_reference(visit: Visit) -> None:
    page = visit.open()
    page.locator("[data-tip=critical]").first.focus()
    page.wait_for_selector("#tip:not([hidden])")
    words = page.locator("#tip").inner_text()
    assert "t/(1 − t)" in words
    assert "Massion" in words
    page.keyboard.press("Escape")
    page.wait_for_selector("#tip", state="hidden")


def test_the_keyboard_reaches_every_control_in_order(visit: Visit) -> None:
    page = visit.open()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
    wanted = [
        "encoding",
        "classes",
        "counts",
        "weight_decay",
        "loss",
        "play",
        "bias_decay_slider",
        "bias_decay",
        "frame",
        "present",
    ]
    places = [seen.index(name) for name in wanted]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [(1280, 720, "light"), (1280, 720, "dark"), (390, 844, "light"), (390, 844, "dark")],
)
def test_it_fits_the_window(browser: "Browser", address: str, width: int, height: int, scheme: Any) -> None:
    one = Visit(browser, address, viewport={"width": width, "height": height}, color_scheme=scheme)
    page = one.open("?classes=6&bias_decay=0.7")
    page.wait_for_selector("#present[aria-valuenow]")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    for name in ("panel-frame", "panel-line", "panel-features"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    if width > 1000:
        box = page.locator("#panel-spectrum").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height
    one.shot(f"explore-{width}-{scheme}", whole=width < 1000)
    one.close()
    assert one.faults == []
