"""Property tests draw the same examples everywhere and always; ``make fuzz`` draws new ones. One browser shows pages.

What a fuzz round finds becomes an ``@example`` of its test, and so part of the suite.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A loaded machine is slow, which is no fault of the code: no deadlines.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("repeatable"), derandomize=False, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium. Where it is not installed tests skip and say so; in CI they must not."""
    from encollapse.explorer.screenshot import browser_path

    path = browser_path()
    if path is None:
        reason = "chromium is not installed; `make test` installs it where apt-get is at hand"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> "Iterator[Browser]":
    """One browser for all tests of a process: two at a time cannot be."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield made
        made.close()
