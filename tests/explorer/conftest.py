"""A server, and a page that notes what should never happen."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from encollapse.explorer import serving
from reference.study_folder import study_of, write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ARTEFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "explorer"


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "runs"
    write_folder(folder, study_of())
    return folder


@pytest.fixture(scope="session")
def address(study_folder: Path) -> Iterator[str]:
    """Address of an explorer that serves a study folder."""
    with serving(study_folder) as found:
        yield found


_CONTEXTS: dict[str, "BrowserContext"] = {}


def context_of(browser: "Browser", settings: dict[str, Any]) -> "BrowserContext":
    """A browser context for these settings; visits share it, and with it the compiled code of plotly."""
    key = repr(settings)
    if key not in _CONTEXTS:
        _CONTEXTS[key] = browser.new_context(**settings)
    return _CONTEXTS[key]


class Visit:
    """A page, with what it did wrong."""

    def __init__(self, browser: "Browser", address: str, **settings: Any) -> None:
        chosen: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}, "reduced_motion": "reduce"} | settings
        context = context_of(browser, chosen)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.address = address
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda m: self.faults.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(url)

    def close(self) -> None:
        """Close the page."""
        self.page.close()

    def open(self, query: str = "") -> "Page":
        """Open the page in a state and wait until it is drawn."""
        self.page.goto(self.address + query)
        self.page.wait_for_selector("html[data-ready]")
        if "view=" not in query:
            self.drawn()
        return self.page

    def drawn(self) -> None:
        """Wait until the numbers are there."""
        self.page.wait_for_selector("#number-loss:not(:empty)", state="attached")

    def shot(self, name: str, *, whole: bool = False) -> None:
        """Keep a screenshot among the artifacts."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        print(f"screenshot: {path}")


@pytest.fixture
def visit(browser: "Browser", address: str) -> Iterator[Visit]:
    made = Visit(browser, address)
    yield made
    made.close()
    assert made.faults == []
    assert made.elsewhere == []
