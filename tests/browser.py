"""A real browser for the pages that people see: Debian's Chromium, driven by playwright over its pipe.

`browser` is a browser of its own per test; `.ci/run` installs Chromium where it is missing. Use it in a test module by
importing the fixture: `from tests.browser import browser  # noqa: F401`.
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

#: Names of Chromium's binary: Debian's, Ubuntu's, and upstream's.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: As root there is no sandbox; nothing of it may ask the network for anything by itself.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")
#: Milliseconds that only end a failing test, on a machine that is busy with others.
PATIENCE = 60_000

MISSING = "Chromium is missing: `apt-get install chromium`, or name one in COUNTERSIGN_CHROMIUM"


def chromium() -> str:
    """The browser's path: COUNTERSIGN_CHROMIUM, else the first that is installed. Fails the test when there is none."""
    named = os.environ.get("COUNTERSIGN_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found or not Path(found).exists():
        pytest.fail(MISSING)
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A running Chromium, without any profile of earlier tests."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS), timeout=PATIENCE)
        try:
            yield running
        finally:
            await running.close()


class Watched:
    """A page, and whatever went wrong in it: violations of its security policy, errors, dialogs, requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        #: What the console said: Chromium reports each violation of a Content-Security-Policy there.
        self.console: list[str] = []
        #: Dialogs and errors of scripts: proof that something of a stranger ran.
        self.ran: list[str] = []
        #: URLs of all requests.
        self.requests: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.ran.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

        async def dismiss(dialog: object) -> None:
            self.ran.append(f"dialog: {dialog}")
            await dialog.dismiss()  # type: ignore[attr-defined]

        page.on("dialog", dismiss)


async def watched(browser: Browser, *, scripts: bool = True, width: int = 900, height: int = 1200) -> Watched:
    """A new page in a context of its own; with `scripts=False` as a browser that runs none."""
    context = await browser.new_context(java_script_enabled=scripts, viewport={"width": width, "height": height})
    return Watched(await context.new_page())
