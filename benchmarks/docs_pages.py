"""Every page of the built documentation, looked at as readers see it: in light, in dark and on a phone.

    make docs
    python benchmarks/docs_pages.py [--only NAME ...] [--api] [--shots FOLDER]

It lists what axe-core calls serious or critical, pages that are wider than a phone, links and names of this package
that lead nowhere, code and formulas that a laptop does not show whole, and markup that reached the reader, such as
``:cite:``. It ends with status 1 if there is any. With ``--shots`` the pictures are kept, to be looked at. The pages of
single functions are alike, so only ``--api`` opens all of them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe

from encollapse.explorer.screenshot import browser_path

if TYPE_CHECKING:
    from playwright.sync_api import Page

BUILT = Path(__file__).resolve().parents[1] / "docs" / "_build" / "html"

VIEWS: dict[str, tuple[int, Any]] = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}
"""Width in pixels and color scheme of each look."""

FEW_API = ("api/index", "api/generated/encollapse.ufm.Problem", "api/generated/encollapse.measure.collapse")
"""Pages of the API that stand for the others: the index, a class, a function."""

RAW = re.compile(
    r":cite:[pt]|\{cite:[pt]\}|\{doc\}|\{func\}|:(?:func|class|math|doc|ref|attr|meth):`|\\begin\{|\$\$|\$\\"
)
"""Markup that should have become text."""

PATIENCE = 300_000
"""Milliseconds that a page may take on a busy machine."""

SOON = 300
"""Milliseconds after which a page whose formulas are set has its final shape."""


def serious(page: Page) -> list[str]:
    """Rule, place and reason of every finding that keeps somebody from using the page."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']} at {node['target']}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """What sticks out of the window to the right, where the page as a whole has to be pushed sideways for it."""
    wide: list[str] = page.evaluate(
        """() => {
          const room = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= room + 1) return [];
          const all = [...document.querySelectorAll('body *')];
          const out = all.filter((e) => e.getBoundingClientRect().right > room + 1);
          return out.filter((e) => !out.some((other) => other !== e && e.contains(other)))
            .slice(0, 5).map((e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`);
        }"""
    )
    return [f"wider than the window: {what}" for what in wide]


def raw(page: Page) -> list[str]:
    """Markup in the text of a page, code left out."""
    text = page.evaluate(
        """() => {
          const copy = (document.querySelector('article') ?? document.body).cloneNode(true);
          copy.querySelectorAll('pre, code, mjx-container, .math, script, style').forEach((e) => e.remove());
          return copy.textContent;
        }"""
    )
    return [f"markup in the text: {match[0]}" for match in RAW.finditer(text)]


def cut(page: Page) -> list[str]:
    """Code and formulas of which a window for a desk shows only a part, until they are pushed sideways."""
    if page.viewport_size is None or page.viewport_size["width"] < VIEWS["light"][0]:
        return []
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('article pre, article mjx-container')]
          .filter((e) => e.scrollWidth > e.clientWidth + 2 && getComputedStyle(e).overflowX !== 'visible')
          .map((e) => `${e.scrollWidth - e.clientWidth} px: `
            + e.textContent.trim().split('\\n').reduce((a, b) => (a.length > b.length ? a : b)).slice(0, 70))"""
    )
    return [f"wider than its column: {what}" for what in found]


class Links(HTMLParser):
    """The addresses that a page links to, the places that links can lead to, and names that were to be links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.names: list[str] = []
        self._inside = 0
        self._name: str | None = None
        self.feed(text)

    def handle_endtag(self, tag: str) -> None:
        self._inside -= tag == "a"
        if tag == "code" and self._name is not None:
            self.names += [self._name] * self._name.startswith("encollapse.")
            self._name = None

    def handle_data(self, data: str) -> None:
        if self._name is not None:
            self._name += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside += tag == "a"
        if tag == "code" and "xref" in given.get("class", "") and not self._inside:
            self._name = ""
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


def broken(folder: Path) -> Iterator[tuple[str, str]]:
    """Pages of a folder, each with a link that leads to no file or to no place of its page, or a name without one."""
    read = {path: Links(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    for path, page in read.items():
        yield from ((str(path.relative_to(folder)), name) for name in page.names)
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            places = read[target].places if target in read else None
            there = target.is_file() if places is None or not parts.fragment else unquote(parts.fragment) in places
            if not there:
                yield str(path.relative_to(folder)), link


def look(page: Page, address: str, shot: Path | None = None) -> list[str]:
    """Open a page, wait for its formulas, and say what is wrong with it."""
    page.goto(address)
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.wait_for_timeout(SOON)
    if shot is not None:
        page.screenshot(path=shot, full_page=True)
    return [*serious(page), *too_wide(page), *cut(page), *raw(page)]


def pages(folder: Path, only: Sequence[str] = (), *, api: bool = False) -> list[str]:
    """Names of the pages to open."""
    names = [str(path.relative_to(folder).with_suffix("")) for path in sorted(folder.rglob("*.html"))]
    apart = ("_modules", "_static", "_downloads", "genindex", "search", "gallery/sg_", "sg_")
    names = [name for name in names if not name.startswith(apart)]
    if only:
        return [name for name in names if any(part in name for part in only)]
    return [name for name in names if api or name in FEW_API or not name.startswith("api/")]


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--html", type=Path, default=BUILT, help="folder of the built pages")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="open the pages whose name contains one of these"
    )
    parser.add_argument("--api", action="store_true", help="open the page of every function and class too")
    parser.add_argument("--shots", type=Path, help="folder for a picture of every page in every view")
    given = parser.parse_args()
    folder = given.html.resolve()
    found = [f"{name}: link to nowhere: {link}" for name, link in broken(folder)]
    print(*found, sep="\n", flush=True)
    names = pages(folder, given.only, api=given.api)
    if given.shots is not None:
        given.shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        for view, (width, scheme) in VIEWS.items():
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", offline=True
            )
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            for name in names:
                shot = None if given.shots is None else given.shots / f"{name.replace('/', '-')}-{view}.png"
                said = look(page, (folder / f"{name}.html").as_uri(), shot)
                found += said
                print(*(f"{name} in {view}: {what}" for what in said), sep="\n", end="\n" * bool(said), flush=True)
            context.close()
        browser.close()
    print(f"{len(names)} pages in {len(VIEWS)} views, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
