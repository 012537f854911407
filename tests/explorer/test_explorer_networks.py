"""Trained networks of a study over the theory, in a real browser."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encollapse.explorer import serving
from encollapse.study.store.arrays import load_arrays
from encollapse.study.store.sqlite import Store
from explorer.conftest import Visit
from reference.study_folder import study_of, write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser
from explorer.page import gram, query_of, until


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
    assert "kept no class means" in page.locator("#epoch-note").inner_text()
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


def test_the_samples_of_a_network_close_in_on_their_means(browser: "Browser", tmp_path: Path) -> None:
    study = study_of()
    store = write_folder(tmp_path / "runs", study)
    trial = study.trials[0]
    generator = np.random.default_rng(5)
    means, away = np.eye(7, 5), generator.standard_normal((100, 7))
    labels = np.tile(np.arange(5, dtype=np.int32), 20)
    spreads = (0.4, 0.1, 0.005)
    arrays = load_arrays(store.arrays_path(trial.id)) | {
        "frames.epoch": np.arange(3),
        "frames.class_means": np.stack([means] * 3).astype(np.float32),
        "frames.weight": np.stack([means.T] * 3).astype(np.float32),
        "frames.samples": np.stack([means.T[labels] + s * away for s in spreads]).astype(np.float32),
        "frames.sample_labels": np.stack([labels] * 3),
    }
    store.keep(
        store.rows()[trial.id], [{"epoch": e, "nc1_trace_ratio": 7 * s**2} for e, s in enumerate(spreads)], arrays
    )
    painted = []
    with serving(tmp_path / "runs") as address:
        one = Visit(browser, address)
        page = one.open(f"?view=runs&run={trial.id}")
        page.wait_for_selector("#epochs:not([hidden])")
        assert "same samples" in page.locator("#samples-note").inner_text()
        page.locator("#epoch").focus()
        page.keyboard.press("Home")
        for _ in spreads:
            painted.append(page.evaluate(PAINTED))
            page.keyboard.press("ArrowRight")
        assert page.locator("#epoch-note").inner_text() == "epoch 2, NC1 1.75 × 10⁻⁴".replace(" ×", "\xa0×").replace(
            "× ", "×\xa0"
        )
        one.shot("runs-samples")
        one.close()
    assert one.faults == []
    assert painted == sorted(painted, reverse=True)
    assert painted[0] > 1.2 * painted[-1]


# How many pixels of the picture of the classes hold color.
PAINTED = """(() => { const canvas = document.getElementById('training');
const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
copy.drawImage(canvas, 0, 0); const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
let painted = 0; for (let i = 3; i < data.length; i += 4) if (data[i] > 60) painted += 1; return painted; })()"""


def test_files_outside_the_study_are_never_served(visit: Visit) -> None:
    page = visit.open()
    found = page.evaluate(
        """async () => Promise.all(['/static/../api/server.py', '/static/%2e%2e/api/server.py', '/etc/passwd',
        '/api/runs/..%2f..%2fetc%2fpasswd', '/api/runs/%2fetc%2fpasswd'].map(async p => (await fetch(p)).status))"""
    )
    assert set(found) == {404}
    visit.faults.clear()  # the browser notes each 404 in the console


def test_indices_in_the_names_of_networks_are_set_and_a_phone_names_the_slider(
    browser: "Browser", tmp_path: Path
) -> None:
    text = """name = "decays"
title = "t"
[[runs]]
dataset = "digits"
encoding = "one-hot"
weight_decay = [1e-3, 5e-3]
relative_threshold = 0.3
bias_decay = [0, 1]
"""
    write_folder(tmp_path / "runs", study_of(text))
    with serving(tmp_path / "runs") as address:
        phone = Visit(browser, address, viewport={"width": 390, "height": 844})
        page = phone.open("?view=runs")
        page.wait_for_selector("#trials [role=option]")
        names = page.locator("#trials h3")
        assert names.count() == 2
        assert names.locator("sub").all_inner_texts() == ["W", "W"]
        assert "_" not in "".join(names.all_inner_texts())
        for view, label in (("explore", "label[for=bias_decay_slider]"), ("dynamics", "label[for=time]")):
            page.locator(f"#tab-{view}").click()
            assert page.locator(label).is_visible(), view
        phone.close()
    assert phone.faults == []
