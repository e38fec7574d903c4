"""Chromium without a window, as installed on the system. It reaches only this machine.

Stays out: the pages (see `screens`).
"""

import shutil
from collections.abc import Generator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

TIMEOUT_SECONDS = 60.0
"""Maximum wait for a page: a run waits some seconds in the queue, and as long for a process."""

_COMMAND = "chromium"
_WIDTH, _HEIGHT = 1400, 900
# Playwright itself turns off updates, extensions and the like. Chromium's remaining own requests find no host.
_ALONE = ("--disable-sync", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


class ChromiumMissing(Exception):
    """There is no browser."""


def chromium_path() -> str:
    """Return the path of Chromium.

    Raises:
        ChromiumMissing: it is not installed.
    """
    path = shutil.which(_COMMAND)
    if path is None:
        raise ChromiumMissing(f"there is no `{_COMMAND}` on PATH. Remedy: apt-get install {_COMMAND}")
    return path


@contextmanager
def chromium() -> Generator[Browser]:
    """Run a browser while the `with` block runs."""
    expect.set_options(timeout=TIMEOUT_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=_ALONE)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Browser) -> Generator[Page]:
    """Open a page without what others have typed and chosen, which Dagster's UI keeps in the browser."""
    context = browser.new_context(viewport={"width": _WIDTH, "height": _HEIGHT})
    context.set_default_timeout(TIMEOUT_SECONDS * 1000)
    try:
        yield context.new_page()
    finally:
        context.close()
