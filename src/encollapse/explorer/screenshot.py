"""A picture of the page, taken in a browser without a window."""

from __future__ import annotations

import shutil
from pathlib import Path

from encollapse._internal import files
from encollapse.errors import MissingDependencyError
from encollapse.explorer.launch import serving

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SIZE = {"width": 1280, "height": 720}
_STATE = "?classes=7&bias_decay=0.7"


def browser_path() -> str | None:
    """Path of an installed Chromium, or None where there is none."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def still(path: str | Path, folder: str | Path | None = None) -> Path:
    """Write a picture of the explorer to a ``.png`` file, which appears whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file.
    folder : str or Path, optional
        Folder of a study's results, which are laid over the theory.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        If `path` does not end in ``.png``.
    MissingDependencyError
        If Playwright or Chromium is not installed.

    Examples
    --------
    >>> import encollapse as ec
    >>> ec.explorer.still("explorer.png").name  # doctest: +SKIP
    'explorer.png'
    """
    target = files.with_suffix(path, "path", (".png",))
    chromium = browser_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingDependencyError("a still needs Playwright; install it with: pip install playwright") from None
    if chromium is None:
        raise MissingDependencyError("a still needs Chromium; install it with: apt-get install chromium")
    with serving(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": _SIZE["width"], "height": _SIZE["height"]},
            device_scale_factor=1.5,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.goto(address + _STATE)
        page.wait_for_selector("#present[aria-valuenow]")
        page.wait_for_selector("#plot-line .main-svg")
        page.wait_for_timeout(600)
        with files.atomic(target) as temporary:
            temporary.write_bytes(page.screenshot(animations="disabled"))
        browser.close()
    return target
