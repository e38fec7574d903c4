"""The screens of Dagster's UI in the scenarios: a user's actions there, and what they show.

Elements are found by what is visible: labels, texts, the colour of a partition's dot.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import yaml
from playwright.sync_api import Locator, Page, expect

from importer_pipeline_tests.ui.browser import TIMEOUT_SECONDS

_COUNT = re.compile(r"^(Failed|Materialized|Materializing|Missing) \((\d+)\)$")
_ENDED = re.compile(r"^(Success|Failure|Canceled)$")
_LOOK_EVERY_MILLISECONDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of windows of an audience by status, as the UI shows them.

    Attributes:
        failed: red ones.
        materialized: green ones.
        materializing: blue ones: planned by a run that is under way.
        missing: grey ones.
    """

    failed: int
    materialized: int
    materializing: int
    missing: int


class RunScreen:
    """The open page of a run."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.wait_for_url("**/runs/*")
        self.url = page.url

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.url.rpartition("/")[2]

    def expect_end(self, status: str, *, within_seconds: float = TIMEOUT_SECONDS) -> None:
        """Wait until the run has ended with this status, as shown beside the run's id."""
        ended = self._page.get_by_text(_ENDED).first
        expect(ended).to_be_visible(timeout=within_seconds * 1000)
        expect(ended).to_have_text(status)

    def terminate(self) -> None:
        """Terminate the run, and confirm it."""
        self._page.get_by_role("button", name="Terminate").click()
        self._page.get_by_role("dialog").get_by_role("button", name="Terminate 1 run").click()


class WindowsScreen:
    """The open page of the partitions of an audience's `contact_windows`."""

    def __init__(self, page: Page) -> None:
        self._page = page
        expect(self._page.get_by_text(_COUNT)).to_have_count(4)

    def counts(self) -> Counts:
        """Return the numbers of windows by status."""
        # All at once: the page may be redrawn between two looks.
        shown = [_COUNT.fullmatch(text) for text in self._page.get_by_text(_COUNT).all_inner_texts()]
        return Counts(**{match[1].lower(): int(match[2]) for match in shown if match})

    def wait_for(self, wanted: Callable[[Counts], bool]) -> Counts:
        """Wait until so many windows have a status, and return their number."""
        until = time.monotonic() + TIMEOUT_SECONDS
        while not wanted(counts := self.counts()):
            assert time.monotonic() < until, f"after {TIMEOUT_SECONDS:.0f} s: {counts}"
            self._page.wait_for_timeout(_LOOK_EVERY_MILLISECONDS)
        return counts

    def expect_colour(self, colour: str, *windows: str) -> None:
        """Wait until the dots of these windows have that colour: green, red, blue or gray."""
        for window in windows:
            expect(self._dot(window)).to_have_attribute("style", re.compile(f"background:.*{colour}"))

    def materialize(self, *windows: str) -> None:
        """Choose these windows in the dialog "Materialize…", and launch them."""
        self._page.get_by_role("button", name="Materialize…").click()
        dialog = self._page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
        dialog.get_by_text("Select a partition or create one").click()
        for window in windows:
            shown = self._page.get_by_text(window, exact=True)
            self._page.get_by_role("menuitem").filter(has=shown).click()
        self._page.keyboard.press("Escape")
        dialog.get_by_role("button", name="Launch").click()
        expect(dialog).to_be_hidden()

    def select(self, window: str) -> None:
        """Show the details of this window."""
        self._name(window).click()
        expect(self._page.get_by_text("No partition selected")).to_be_hidden()

    def _name(self, window: str) -> Locator:
        return self._page.get_by_title(window, exact=True)

    def _dot(self, window: str) -> Locator:
        return self._name(window).locator("xpath=../following-sibling::div")


class Ui:
    """Dagster's UI.

    Args:
        page: the browser's page.
        url: the URL of the UI.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url

    def launch(self, job: str, config: Mapping[str, Any]) -> RunScreen:
        """Launch a job with this run config from its launchpad."""
        self._page.goto(f"{self._url}/locations/importer_pipeline/jobs/{quote(job)}/playground")
        # Until the defaults have been filled in, they would overwrite the typed text.
        expect(self._page.get_by_text("All defaults expanded")).to_be_visible()
        self._page.locator(".CodeMirror").click()
        self._page.keyboard.press("ControlOrMeta+a")
        self._page.keyboard.insert_text(yaml.safe_dump(dict(config), default_flow_style=True, width=10_000))
        self._page.get_by_role("button", name="Launch Run").click()
        return RunScreen(self._page)

    def windows(self, client: str, audience: str = "newsletter") -> WindowsScreen:
        """Open the windows of an audience."""
        self._page.goto(f"{self._url}/assets/{client}/{audience}/contact_windows?view=partitions")
        return WindowsScreen(self._page)

    def expect_contacts_from(self, run: RunScreen, client: str, audience: str = "newsletter") -> None:
        """Open the events of an audience's `contacts`, and wait until there is one of this run."""
        self._page.goto(f"{self._url}/assets/{client}/{audience}/contacts?view=events")
        expect(self._page.get_by_role("link", name=run.run_id[:8]).first).to_be_visible()

    def back_to(self, run: RunScreen) -> RunScreen:
        """Open the page of a run again."""
        self._page.goto(run.url)
        return RunScreen(self._page)
