"""What a user types, pastes, draws or hands on by the address, hostile input included."""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import encollapse as ec
from explorer.conftest import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser
from explorer.page import expect, gram, problem_of, query_of, settle, until


def test_an_own_matrix_by_pasting_and_loading(visit: Visit) -> None:
    page = visit.open("?feature_decay=1e-4")
    page.locator("#hold").uncheck()
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
    page.locator("#hold").uncheck()
    page.locator("#encoding").select_option("label-smoothing")
    page.locator("[id='option.smoothing']").fill("0.3")
    page.locator("#classes").fill("7")
    page.locator("#bias_decay").fill("inf")
    wanted = expect(problem_of(ec.encodings.label_smoothing(7, 0.3), bias_decay=math.inf))
    settle(page, wanted)
    query = query_of(page)
    assert query == {"encoding": "label-smoothing", "option.smoothing": "0.3", "classes": "7", "bias_decay": "inf"}
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
            ec.encodings.Encoding(made["codewords"]), [100, 100, 10, 10], feature_decay=1e-5, bias_decay=math.inf
        )
    )
    assert np.allclose(solved.geometry.cosines(), gram(page, "plot-target"), atol=1e-7)
    visit.shot("design")
    page.locator("#design-explore").click()
    visit.drawn()
    page.wait_for_timeout(400)
    assert np.allclose(gram(page), gram(page, "plot-target"), atol=1e-6)
    page.go_back()
