"""How fast the explorer answers in a real browser: the slider to the repainted page, and the first paint.

    python benchmarks/explorer_speed.py [--repeats 40]

The clock starts when the slider's event is dispatched and stops after the frame in which everything was drawn: the
frame, both Gram matrices, the singular values, the numbers and the table. Chromium without a window and without a GPU.
"""

import argparse
import statistics
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from encollapse.explorer import serving
from encollapse.explorer.screenshot import browser_path

SETTINGS = {
    "one-hot, balanced": "",
    "one-hot, long tail": "&counts=longtail",
    "random codes, long tail": "&counts=longtail&encoding=random&option.code_dim={}",
}
CASES = [
    (name, classes, f"?classes={classes}&feature_decay=1e-6" + more.format(classes), limit)
    for classes, limit in ((20, 100), (100, 300))
    for name, more in SETTINGS.items()
]

MOVE = """async (position) => {
  const slider = document.getElementById("bias_decay_slider");
  const done = new Promise((resolve) =>
    document.addEventListener("painted", (event) => event.detail === "picture" && resolve(performance.now())));
  const start = performance.now();
  slider.value = position;
  slider.dispatchEvent(new Event("input"));
  return (await done) - start;
}"""

FIRST = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def visit(browser: Browser, address: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    page.goto(address)
    page.wait_for_selector("#number-loss:not(:empty)")
    page.wait_for_selector("#present[aria-valuenow]")
    page.wait_for_timeout(800)
    return page


def sweep(pages: list[Page], repeats: int) -> list[float]:
    """Milliseconds of moves of the slider, the pages in turn."""
    times = []
    for i in range(repeats):
        for page in pages:
            times.append(float(page.evaluate(MOVE, 250 + (i * 13) % 600)))
            page.wait_for_timeout(60)
    return times[len(pages) * 3 :]  # the first moves compile the page's code


def line(name: str, classes: int, times: list[float], limit: float) -> str:
    ordered = sorted(times)
    high = ordered[int(0.9 * len(ordered))]
    verdict = "" if statistics.median(times) <= limit else "  TOO SLOW"
    return f"{name:<28}{classes:>5}{statistics.median(times):>9.0f}{high:>9.0f}{limit:>9.0f}{verdict}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    with serving() as address, sync_playwright() as playwright:
        launch: dict[str, Any] = {"executable_path": browser_path(), "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**launch)
        print(f"{'slider to repainted page':<28}{'K':>5}{'median':>9}{'90 %':>9}{'limit':>9}   milliseconds")
        first = []
        for name, classes, query, limit in CASES:
            page = visit(browser, address + query)
            first.append(float(page.evaluate(FIRST)))
            print(line(name, classes, sweep([page], repeats), limit), flush=True)
            page.context.close()
        pages = [visit(browser, address + query) for _, classes, query, _ in CASES if classes == 20]
        print(line("three users in turn", 20, sweep(pages, repeats // 3), 100))
        print(f"{'first contentful paint':<28}{'':>5}{statistics.median(first):>9.0f}{max(first):>9.0f}{3000:>9}")
        browser.close()


if __name__ == "__main__":
    main()
