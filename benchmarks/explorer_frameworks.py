"""The same page made with NiceGUI, against the explorer: why the explorer is written on Starlette.

    pip install nicegui && python benchmarks/explorer_frameworks.py [--repeats 25]

Both solve the same problem (one-hot, long tail) at every move of a slider and draw two Gram matrices, the singular
values and the table of metrics with plotly; the explorer also draws the frame and the numbers. The clock runs from the
slider's event to the frame after the last chart was drawn.
"""

import argparse
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from encollapse.explorer import serving
from encollapse.explorer.launch import listen
from encollapse.explorer.screenshot import browser_path
from encollapse.explorer.state.state import State
from encollapse.explorer.views import bias_path as transition
from encollapse.explorer.views import solution as picture
from reference.packed import unpacked

MOVE = """async (own) => {
  const slider = document.querySelector(own ? "#bias_decay_slider" : ".q-slider [tabindex]");
  const charts = [...document.querySelectorAll(".js-plotly-plot")].filter((c) => c.id !== "plot-line");
  const until = own
    ? new Promise((r) => document.addEventListener("painted", (e) => e.detail === "picture" && r()))
    : Promise.all(charts.map((c) => new Promise((r) => c.once("plotly_afterplot", r))));
  const start = performance.now();
  if (own) {
    slider.value = Number(slider.value) + 7;
    slider.dispatchEvent(new Event("input"));
  } else {
    slider.focus();
    slider.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", keyCode: 39, bubbles: true }));
  }
  await until;
  await new Promise((r) => requestAnimationFrame(() => setTimeout(r, 0)));
  return performance.now() - start;
}"""

LOADED = """() => [performance.getEntriesByName("first-contentful-paint")[0].startTime,
  performance.getEntriesByType("resource").reduce((sum, e) => sum + e.decodedBodySize, 0) / 1e6]"""


def state_of(classes: int) -> State:
    return State(classes=classes, counts="longtail", feature_decay=1e-6, bias_decay=0.01)


def nicegui_page(port: int) -> None:
    """Serve the page; runs in a process of its own."""
    from nicegui import run, ui

    def chart(kind: str, values: Any) -> dict[str, Any]:
        return {
            "data": [{"type": "heatmap", "z": values} if kind == "heatmap" else {"type": "bar", "y": values}],
            "layout": {"margin": {"l": 30, "r": 10, "t": 10, "b": 30}, "width": 320, "height": 260},
        }

    async def page(classes: int = 20) -> None:
        found = picture.picture(state_of(classes))
        with ui.row():
            features = ui.plotly(chart("heatmap", unpacked(found["features"]).tolist()))
            classifier = ui.plotly(chart("heatmap", unpacked(found["classifier"]).tolist()))
            learned = ui.plotly(chart("bar", found["spectrum"]["learned"]))
        table = ui.table(rows=found["metrics"], columns=[{"name": n, "label": n, "field": n} for n in ("name", "text")])

        async def move(event: Any) -> None:
            decay = transition.decay_at(int(event.value))
            drawn = await run.io_bound(picture.picture, replace(state_of(classes), bias_decay=decay))
            if drawn is None:
                return
            features.update_figure(chart("heatmap", unpacked(drawn["features"]).tolist()))
            classifier.update_figure(chart("heatmap", unpacked(drawn["classifier"]).tolist()))
            learned.update_figure(chart("bar", drawn["spectrum"]["learned"]))
            table.rows = drawn["metrics"]

        ui.slider(min=0, max=1000, step=7, value=300, on_change=move).props("label-always")

    ui.page("/")(page)
    ui.run(port=port, show=False, reload=False, host="127.0.0.1")


def measure(browser: Browser, address: str, own: bool, repeats: int) -> tuple[float, float, float]:
    page: Page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    page.goto(address)
    page.wait_for_selector(".js-plotly-plot .main-svg")
    page.wait_for_timeout(2000)
    times = []
    for _ in range(repeats + 3):
        times.append(float(page.evaluate(MOVE, own)))
        page.wait_for_timeout(80)
    paint, size = page.evaluate(LOADED)
    page.context.close()
    return statistics.median(times[3:]), float(paint), float(size)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        nicegui_page(arguments.serve)
        return
    with listen(None) as free:
        port = free.getsockname()[1]
    other = f"http://127.0.0.1:{port}/"
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(port)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(other, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        with serving() as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
            print(f"{'':<12}{'K':>5}{'move, ms':>10}{'first paint, ms':>17}{'page, MB':>10}")
            for classes in (20, 100):
                query = f"?classes={classes}&counts=longtail&feature_decay=1e-6&bias_decay=0.01"
                for name, place, own in (
                    ("explorer", address + query, True),
                    ("NiceGUI", f"{other}?classes={classes}", False),
                ):
                    move, paint, size = measure(browser, place, own, arguments.repeats)
                    print(f"{name:<12}{classes:>5}{move:>10.0f}{paint:>17.0f}{size:>10.1f}", flush=True)
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=10)


if __name__ in ("__main__", "__mp_main__"):
    main()
