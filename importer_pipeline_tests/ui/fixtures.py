"""Fixtures of the scenarios: one world, one Dagster, one browser; and a picture of each failed scenario.

A plugin of pytest, not a conftest.py: plain pytest would load that, and a library that only `make test-ui` installs.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from importer_pipeline_tests.support.stage import Stage
from importer_pipeline_tests.ui.browser import chromium, new_page
from importer_pipeline_tests.ui.screens import Ui
from importer_pipeline_tests.ui.served import LOG, dagster_served

BY_HAND = "acme"
"""The client whose windows are launched by hand."""

SYNCED = "globex"
"""The client that is synced twice."""

TERMINATED = "initech"
"""The client whose sync is terminated."""

REFUSED, REVOKED = "hooli", "umbrella"
"""The client of which a contact is refused, and the one whose key is revoked."""

_CONTACTS = {BY_HAND: 8_000, SYNCED: 30_000, TERMINATED: 100_000, REFUSED: 300, REVOKED: 300}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="session")
def stage(folder: Path) -> Iterator[Stage]:
    stage = Stage(folder)
    for client, contacts in _CONTACTS.items():
        stage.add(client, contacts=contacts)
    with stage:
        yield stage


@pytest.fixture(scope="session")
def dagster_url(stage: Stage, folder: Path) -> Iterator[str]:
    with dagster_served(stage.write(), folder=folder) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with new_page(browser) as page:
        yield page


@pytest.fixture
def ui(page: Page, dagster_url: str) -> Ui:
    return Ui(page, dagster_url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the page's text and the path of Dagster's log to the report of a failed scenario."""
    report = yield
    page, folder = item.funcargs.get("page"), item.funcargs.get("folder")
    if report.when == "call" and report.failed and isinstance(page, Page) and isinstance(folder, Path):
        picture = folder / f"{item.name}.png"
        page.screenshot(path=picture)
        report.sections.append(("The browser's picture", f"{picture}, at {page.url}"))
        report.sections.append(("Dagster's log", str(folder / LOG)))
    return report
