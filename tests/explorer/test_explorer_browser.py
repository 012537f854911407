"""The page in a real browser: every control against the library, moving, looks."""

import math
import re
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import encollapse as ec
from encollapse.encodings.registry import ENCODINGS
from explorer.conftest import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser
from explorer.page import expect, gram, number, problem_of, query_of, settle, until


def test_the_first_picture_is_the_solution_and_nothing_leaves_the_machine(visit: Visit) -> None:
    page = visit.open()
    first = problem_of(ec.encodings.one_hot(3))
    settle(page, expect(first))
    assert page.locator("#verdict").inner_text() == "global minimum, proved"
    assert page.locator("#frame-note").inner_text() == "These three directions hold 100 % of the squared length."
    until(page, f"document.getElementById('critical-note').textContent.includes('{first.critical_bias_decay():.4g}')")
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 3000
    assert visit.elsewhere == []


def test_every_control_changes_what_it_should(visit: Visit) -> None:
    page = visit.open()

    def fill(name: str, text: str) -> None:
        page.locator(f"#{name}").fill(text)

    page.locator("#hold").uncheck()
    fill("classes", "5")
    five = ec.encodings.one_hot(5)
    settle(page, expect(problem_of(five)))
    fill("bias_decay", "0.25")
    settle(page, expect(problem_of(five, bias_decay=0.25)))
    page.locator("#bias_decay_slider").evaluate("s => { s.value = 1000; s.dispatchEvent(new Event('input')); }")
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
    for name, entry in ENCODINGS.items():
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
    page.get_by_role("button", name="centered", exact=True).click()
    page.wait_for_timeout(500)
    assert np.allclose(gram(page), solved.geometry.feature_gram_centered, atol=1e-9)
    assert query_of(page)["quantity"] == "products"
    page.get_by_role("button", name="leading three").click()
    assert query_of(page)["axes"] == "leading"


def test_dragging_the_line_and_the_keyboard_move_the_bias_decay(visit: Visit) -> None:
    page = visit.open("?classes=10")
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
    assert page.locator("#play").get_attribute("aria-label") == "Pause the sweep of the bias decay"
    until(page, "document.getElementById('bias_decay').value === '∞'")
    until(page, "document.getElementById('play').getAttribute('aria-label').startsWith('Play')")
    settle(page, expect(problem_of(ec.encodings.one_hot(4), bias_decay=math.inf)))
    lively.close()
    assert lively.faults == []


def test_more_classes_learn_as_much_while_t_is_held(visit: Visit) -> None:
    page = visit.open("?classes=10&bias_decay=inf")
    settle(page, expect(problem_of(bias_decay=math.inf)))
    held = number(page, "t")
    page.locator("#classes").fill("50")
    # t² = K N λ_W λ_H with N = 100 K: both decays fall to a fifth.
    fewer = problem_of(ec.encodings.one_hot(50), weight_decay=1e-3, feature_decay=3.6e-4, bias_decay=math.inf)
    settle(page, expect(fewer))
    assert number(page, "t") == pytest.approx(held, rel=1e-3)
    assert query_of(page)["weight_decay"] == "0.001"


def test_t_is_kept_when_the_bias_decay_moves_before_the_answer(visit: Visit) -> None:
    page = visit.open("?classes=10")
    settle(page, expect(problem_of()))
    page.evaluate("""() => {
      for (const [name, value] of [["classes", 30], ["classes", 50], ["bias_decay", 1000]]) {
        const slider = document.getElementById(`${name}_slider`);
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
      }
    }""")
    # t² = K N λ_W λ_H with N = 100 K: both decays fall to a fifth.
    fewer = {"weight_decay": 1e-3, "feature_decay": 3.6e-4, "bias_decay": math.inf}
    settle(page, expect(problem_of(ec.encodings.one_hot(50), **fewer)))


def test_t_is_kept_when_the_design_gets_more_classes(visit: Visit) -> None:
    page = visit.open("?view=design&classes=10")
    until(page, "document.getElementById('number-t')?.textContent")
    held = number(page, "t")
    page.locator("#classes").fill("50")
    until(page, "document.getElementById('plot-target').data?.[0].z.length === 50")
    assert number(page, "t") == pytest.approx(held, rel=1e-3)
    assert page.locator("#weight_decay").input_value() == "0.001"


def test_many_minimizers_are_said_where_angles_would_be_noise(visit: Visit) -> None:
    page = visit.open("?classes=10&feature_dim=2&bias_decay=0")
    until(page, "document.getElementById('number-mean_cosine')?.textContent === 'not unique'")
    assert "many minimizers" in page.locator("#frame-note").inner_text()
    until(page, "document.getElementById('critical-note').textContent.includes('many minimizers')")
    mean = page.evaluate("document.getElementById('plot-line').data[2].y.filter(y => y !== null).length")
    assert mean == 0


def test_a_picture_of_other_settings_is_marked(visit: Visit) -> None:
    page = visit.open("?classes=5")
    settle(page, expect(problem_of(ec.encodings.one_hot(5))))
    assert page.locator("#stale").is_hidden()
    page.locator("#weight_decay").fill("-1")
    until(page, "document.body.dataset.stale === 'refused'")
    assert page.locator("#stale").is_visible()
    page.locator("#weight_decay").fill("0.005")
    until(page, "document.body.dataset.stale === undefined")


def test_a_stopped_server_is_said_where_its_message_stands(browser: "Browser", address: str) -> None:
    alone = Visit(browser, address)
    page = alone.open("?classes=5")
    page.route("**/api/**", lambda route: route.abort())
    page.locator("#weight_decay").fill("0.01")
    until(page, "document.body.dataset.stale === 'refused'")
    assert page.locator("#error-address").is_visible()
    assert page.locator("#stale").inner_text().endswith("See the message at the top of the page.")
    alone.close()


def test_an_encoding_without_a_mean_cosine_says_why(visit: Visit) -> None:
    """Without a bias the first class of a thermometer code, whose codeword is zero, has a zero class mean."""
    page = visit.open("?classes=5&bias_decay=inf&beside=ordinal")
    until(page, "document.getElementById('beside-name').textContent === 'ordinal: a class mean is zero'")


def test_nothing_is_saved_where_nothing_is_drawn(visit: Visit) -> None:
    page = visit.open("?view=runs")
    until(page, "document.getElementById('epoch-note').textContent.includes('kept no class means')")
    assert page.get_by_role("button", name="Save the picture: Classes over the epochs").is_hidden()
    assert page.get_by_role("button", name="Save the picture: Measured").is_visible()


def test_the_design_view_shows_the_numbers_of_the_design(visit: Visit) -> None:
    page = visit.open("?classes=5&view=design&target=orthogonal&bias_decay=0.5")
    until(page, "document.getElementById('number-mean_cosine')?.textContent === '0'")
    page.locator("#tab-explore").click()
    one_hot = problem_of(ec.encodings.one_hot(5), bias_decay=0.5)
    settle(page, expect(one_hot))
    mean = ec.ufm.solve(one_hot).geometry.mean_cosine()
    assert mean < -0.01
    assert number(page, "mean_cosine") == pytest.approx(mean, abs=1e-3)


def test_three_directions_have_three_ticks(visit: Visit) -> None:
    page = visit.open("?classes=3&bias_decay=inf")
    page.wait_for_selector("#plot-spectrum .xtick")
    ticks = page.locator("#plot-spectrum .xtick text").all_text_contents()
    assert ticks == sorted(set(ticks))


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


def test_the_tour_leads_through_the_page(visit: Visit) -> None:
    page = visit.open("?classes=5&bias_decay=0.7")
    page.locator("#tour-start").click()
    titles, views = [], []
    for _ in range(8):
        page.wait_for_selector("#tour:not([hidden])")
        titles.append(page.locator("#tour-title").inner_text())
        views.append(page.evaluate("document.body.dataset.view"))
        page.locator("#tour-next").click()
    assert len(set(titles)) == 8
    assert views == ["explore"] * 5 + ["dynamics", "design", "runs"]
    page.wait_for_selector("#tour", state="hidden")
    settle(page, expect(problem_of(ec.encodings.one_hot(5), bias_decay=0.7)))
    assert page.locator("#bias_decay").input_value() == "0.7"


def test_one_decay_behind_a_batch_norm_sets_the_others(visit: Visit) -> None:
    page = visit.open("?classes=5&weight_decay=0.01&samples=60")
    page.locator("#recipe").select_option("batch-norm")
    # N = 300 samples: the decay of gains and offsets prices the features by λ/N.
    law = problem_of(ec.encodings.one_hot(5), 60, weight_decay=1e-2, feature_decay=3.333e-5, bias_decay=1e-2)
    settle(page, expect(law))
    assert page.locator("#feature_decay").is_disabled()
    assert "λ/N = 3.333e-05" in page.locator("#law").inner_text()
    assert "simplex" in page.locator("#law").inner_text()


def test_two_encodings_turn_together(visit: Visit) -> None:
    page = visit.open("?classes=5&bias_decay=inf&beside=simplex")
    page.wait_for_selector("#beside-part:not([hidden])")
    simplex = ec.ufm.solve(problem_of(ec.encodings.simplex(5), bias_decay=math.inf)).geometry.mean_cosine()
    assert page.locator("#beside-name").inner_text() == f"simplex: mean cosine −{abs(simplex):.4g}"
    before = page.locator("#beside-frame").screenshot()
    page.locator("#frame").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(100)
    assert page.locator("#beside-frame").screenshot() != before


def test_pictures_are_saved_and_fill_the_screen(visit: Visit) -> None:
    page = visit.open("?classes=3")
    for name, file in (("The frame", "the-frame.png"), ("What is learned", "what-is-learned.svg")):
        with page.expect_download() as caught:
            page.get_by_role("button", name=f"Save the picture: {name}").click()
        assert caught.value.suggested_filename == file
        assert caught.value.path().stat().st_size > 1000
    page.get_by_role("button", name="Full screen: The frame").click()
    until(page, "document.fullscreenElement?.id === 'panel-frame'")
    page.get_by_role("button", name="Full screen: The frame").click()
    until(page, "document.fullscreenElement === null")


def test_a_saved_picture_has_the_color_of_its_panel_and_both_encodings(browser: "Browser", address: str) -> None:
    """On a white slide the light ink of the dark theme would be invisible without its ground."""
    dark = Visit(browser, address, color_scheme="dark")
    page = dark.open("?classes=3&beside=simplex")
    page.wait_for_selector("#beside-part:not([hidden])")
    page.wait_for_timeout(300)
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save the picture: The frame").click()
    saved = plt.imread(caught.value.path())
    widths = page.evaluate("['frame', 'beside-frame'].map((id) => document.getElementById(id).width)")
    assert saved.shape[1] == sum(widths)
    ground = page.evaluate("getComputedStyle(document.getElementById('panel-frame')).backgroundColor")
    color = [int(part) / 255 for part in re.findall(r"\d+", ground)]
    assert saved[-1, -1] == pytest.approx([*color, 1.0], abs=0.005)
    right = saved[:, widths[0] :, :3]
    assert np.abs(right - color).max() > 0.3
    with page.expect_download() as caught:
        page.get_by_role("button", name="Save the picture: What is learned").click()
    assert ground in caught.value.path().read_text(encoding="utf-8")
    dark.close()
    assert dark.faults == []


def test_the_sweep_begins_again_while_it_loops(browser: "Browser", address: str) -> None:
    lively = Visit(browser, address, reduced_motion="no-preference")
    page = lively.open("?classes=3&bias_decay=900")
    page.locator("#speed").select_option("2")
    page.locator("#loop").click()
    page.locator("#play").click()
    until(page, "Number(document.getElementById('bias_decay_slider').value) < 500")
    page.locator("#play").click()
    lively.close()
    assert lively.faults == []


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
    ("width", "height", "scheme"), [(1280, 720, "light"), (1280, 720, "dark"), (390, 844, "light"), (390, 844, "dark")]
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
