"""What axe-core finds on the pages: nothing serious, in either theme."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import encollapse as ec
from explorer.conftest import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCHEMES = ("light", "dark")
K, D = 3, 5


def looks() -> ModuleType:
    """The command that looks at every page of the built documentation."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "docs_pages.py"
    spec = importlib.util.spec_from_file_location("docs_pages", path)
    assert spec is not None
    assert spec.loader is not None
    command = importlib.util.module_from_spec(spec)
    sys.modules["docs_pages"] = command
    spec.loader.exec_module(command)
    return command


LOOKS = looks()


def serious(page: "Page") -> list[str]:
    found: list[str] = LOOKS.serious(page)
    return found


def test_a_page_that_shuts_people_out_is_found(browser: "Browser") -> None:
    page = browser.new_page()
    page.set_content("<html lang=en><title>T</title><main><button></button><p style='color:#aaa'>faint</p></main>")
    found = serious(page)
    page.close()
    assert {line.split()[0] for line in found} == {"button-name", "color-contrast"}


HEAD = "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>T</title><main>"


def test_what_is_wrong_with_a_page_of_the_documentation_is_found(browser: "Browser", tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(
        f"{HEAD}<h1 id=top>T</h1><code>:cite:`a`</code><a href='bad.html#here'>to the other page</a></main>"
    )
    (tmp_path / "bad.html").write_text(
        f"{HEAD}<h1 id=here>T</h1><p style='width:700px'>As :cite:t:`he2016` says</p><a href='good.html#gone'>there</a>"
        "<a href='none.html'>elsewhere</a></main>"
    )
    context = browser.new_context(viewport={"width": 390, "height": 900})
    page = context.new_page()
    found = {name: LOOKS.look(page, (tmp_path / name).as_uri()) for name in ("good.html", "bad.html")}
    context.close()
    assert found["good.html"] == []
    assert [line.split(":")[0] for line in found["bad.html"]] == ["wider than the window", "markup in the text"]
    assert set(LOOKS.broken(tmp_path)) == {("bad.html", "good.html#gone"), ("bad.html", "none.html")}
    assert LOOKS.pages(tmp_path) == ["bad", "good"]
    assert LOOKS.pages(tmp_path, ["oo"]) == ["good"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("query", "drawn"),
    [
        ("?classes=5", "#plot-spectrum .xtick"),
        ("?view=design&classes=5", "#plot-reached .xtick"),
        ("?view=runs", "#trials [role=option]"),
    ],
)
def test_views_of_the_explorer(browser: "Browser", address: str, scheme: Any, query: str, drawn: str) -> None:
    one = Visit(browser, address, color_scheme=scheme)
    one.page.goto(address + query)
    one.page.wait_for_selector(drawn, state="attached")
    found = serious(one.page)
    one.close()
    assert found == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, study_folder: Path) -> list[Path]:
    """The pages that the package writes: an exported frame, the report of a study, a diagnosis."""
    folder = tmp_path_factory.mktemp("pages")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(D, 7), nn.ReLU(), nn.Linear(7, K))
    data = TensorDataset(torch.randn(33, D), torch.arange(33) % K)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=1e-3)
    diagnosis = ec.diagnose(network, DataLoader(data, batch_size=11), optimizer, loss=nn.CrossEntropyLoss())
    return [
        ec.explorer.export(folder / "frame.html", "classes=3"),
        ec.report.report(study_folder),
        diagnosis.to_html(folder / "diagnosis.html"),
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_that_are_written(browser: "Browser", written: list[Path], scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme, offline=True, reduced_motion="reduce")
    page = context.new_page()
    found = {}
    for path in written:
        page.goto(path.as_uri())
        found[path.name] = serious(page)
    context.close()
    assert found == {path.name: [] for path in written}


@pytest.mark.parametrize("width", [1024, 2560])
def test_cards_hold_what_they_show(browser: "Browser", address: str, width: int) -> None:
    one = Visit(browser, address, viewport={"width": width, "height": 1200})
    page = one.open("?classes=10&counts=longtail&beside=simplex")
    page.wait_for_selector("#plot-spectrum .xtick", state="attached")
    # A card is as wide as its place, no content sticks out, and neighbors do not overlap.
    outside = page.evaluate(
        """() => [...document.querySelectorAll('#view-explore > .panel')].flatMap((panel) => {
          const box = panel.getBoundingClientRect();
          return [...panel.querySelectorAll('header, header *, footer, footer *, canvas, .plot, td, p')]
            .filter((part) => part.offsetParent && part.getBoundingClientRect().width > 0)
            .filter((part) => {
              const its = part.getBoundingClientRect();
              return its.right > box.right + 1 || its.bottom > box.bottom + 1 || its.left < box.left - 1;
            })
            .map((part) => `${panel.id}: ${part.tagName} ${part.id || part.className}`);
        })"""
    )
    outside += page.evaluate(
        "[...document.querySelectorAll('.strip, .strip *')].filter((part) => part.getBoundingClientRect().right > "
        "innerWidth + 1).map((part) => `strip: ${part.tagName} ${part.id}`)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.getElementById('bias_decay_slider').clientWidth") > 200
    used = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.panel')].map((p) => p.getBoundingClientRect().right))"
    )
    one.shot(f"explore-{width}", whole=True)
    one.close()
    assert outside == []
    assert used > width - 40
