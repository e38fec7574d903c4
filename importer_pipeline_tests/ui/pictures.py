"""`python -m importer_pipeline_tests.ui.pictures FOLDER`: pictures of a sync that is under way, for the documentation.

Five clients: two are imported, three are being synced, and one window, launched by hand, has failed.
"""

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect

from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline_tests.support.stage import Stage
from importer_pipeline_tests.ui.browser import ChromiumMissing, chromium, new_page
from importer_pipeline_tests.ui.screens import Ui
from importer_pipeline_tests.ui.served import dagster_served

_CLIENTS = {"acme": 24_000, "globex": 8_000, "hooli": 40_000, "initech": 4_000, "umbrella": 32_000}
_IN = "globex"
_SHOWN = "acme"
_FAILING = "1980"
_SELECTED = "16830"
_PROGRESS = 'key:"*/contact_windows" or key:"*/contacts"'
"""The assets that a full sync fills: with all others, half of the clients would be below the picture."""
_UNDRAWN = re.compile(r"^Loading\.\.\.$|^- partitions$|fetching statuses")
_SLOW = FaultPlan(latency=Latency.fixed(3.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures. The exit code is 1 if there is no browser."""
    parser = argparse.ArgumentParser(prog="pictures", description="Pictures of Dagster's UI in the middle of a sync.")
    parser.add_argument("folder", type=Path, help="where they go")
    into: Path = parser.parse_args(arguments).folder
    # As in `__main__`: Dagster is ended by SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="importer-pictures-") as folder, _stage(Path(folder)) as stage:
        try:
            with (
                chromium() as browser,
                dagster_served(stage.write(), folder=Path(folder)) as url,
                new_page(browser) as page,
            ):
                _take(page, Ui(page, url), stage, url=url, into=into)
        except ChromiumMissing as error:
            print(f"pictures: {error}", file=sys.stderr)
            return 1
    return 0


def _stage(folder: Path) -> Stage:
    stage = Stage(folder)
    for client, contacts in _CLIENTS.items():
        stage.add(client, contacts=contacts)
    return stage


def _take(page: Page, ui: Ui, stage: Stage, *, url: str, into: Path) -> None:
    _let_a_window_fail(ui, stage)
    for client in (_SHOWN, "hooli", "umbrella"):
        stage.clients[client].account.fault_plan = _SLOW
    ui.launch("full_sync", {"resources": {"mailchimp": {"config": {"max_connections": 6}}}})
    windows = ui.windows(_SHOWN)
    windows.wait_for(lambda counts: counts.materialized > counts.missing)
    windows.select(_SELECTED)
    shoot(page, into / "windows.png")
    page.goto(f"{url}/assets?asset-selection={quote(_PROGRESS)}")
    shoot(page, into / "catalog.png")
    page.goto(f"{url}/asset-groups")
    shoot(page, into / "graph.png")
    page.goto(f"{url}/assets/{_IN}/newsletter/contacts")
    shoot(page, into / "contacts.png")


def _let_a_window_fail(ui: Ui, stage: Stage) -> None:
    secrets = stage.clients[_SHOWN].account.secrets
    ui.launch("plan_windows", {}).expect_end("Success")
    # A page that keeps failing would take minutes: it is read around, down to the single contact.
    keys = set(secrets)
    secrets.clear()
    windows = ui.windows(_SHOWN)
    windows.materialize(_FAILING)
    windows.expect_colour("red", _FAILING)
    secrets |= keys


def shoot(page: Page, path: Path) -> None:
    """Take a picture once the page is drawn."""
    # Drawing is not announced: numbers and states arrive one after the other.
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(4000)
    expect(page.get_by_text(_UNDRAWN)).to_have_count(0)
    page.screenshot(path=path)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
