"""`python -m importer_pipeline_tests.ui.pictures_of_trouble FOLDER`: pictures of clients in trouble, for the documentation.

Eight clients, after some hourly runs: the key of one is revoked, two have refused contacts.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, expect

from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.stage import Stage, in_order
from importer_pipeline_tests.ui.browser import ChromiumMissing, chromium, new_page
from importer_pipeline_tests.ui.pictures import shoot
from importer_pipeline_tests.ui.screens import Ui
from importer_pipeline_tests.ui.served import dagster_served

_CLIENTS = ("acme", "globex", "hooli", "initech", "umbrella", "vandelay", "waystar", "wonka")
_CONTACTS = 400
_REFUSED = ("globex", "umbrella")
_REVOKED = "initech"
_SHOWN = "acme"


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures. The exit code is 1 if there is no browser."""
    parser = argparse.ArgumentParser(prog="pictures_of_trouble", description="Pictures of clients in trouble.")
    parser.add_argument("folder", type=Path, help="where they go")
    into: Path = parser.parse_args(arguments).folder
    # As in `__main__`: Dagster is ended by SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="importer-pictures-") as made:
        stage, folder = Stage(Path(made)), Path(made)
        for client in _CLIENTS:
            stage.add(client, contacts=_CONTACTS)
        try:
            with (
                stage,
                chromium() as browser,
                dagster_served(stage.write(), folder=folder) as url,
                new_page(browser) as page,
            ):
                get_into_trouble(Ui(page, url), stage)
                _take(page, url=url, into=into)
        except ChromiumMissing as error:
            print(f"pictures_of_trouble: {error}", file=sys.stderr)
            return 1
    return 0


def get_into_trouble(ui: Ui, stage: Stage) -> None:
    """Let two full syncs and some hourly runs go by, with more in trouble each time."""
    ui.launch("full_sync", {}).expect_end("Success")
    ui.launch("incremental_sync", {}).expect_end("Success")
    for client in _REFUSED:
        served = stage.clients[client]
        refused = {member.id for member in in_order(served.lists[0])[:2]}
        served.target.refusals = (Refusal.of_ids(refused, Manner.REJECT),)
    ui.launch("full_sync", {"ops": {"import_contacts": {"config": {"clients": list(_REFUSED)}}}}).expect_end("Failure")
    ui.launch("incremental_sync", {}).expect_end("Success")
    stage.clients[_REVOKED].account.secrets.clear()
    ui.launch("incremental_sync", {}).expect_end("Failure")
    ui.launch("incremental_sync", {}).expect_end("Success")


def _take(page: Page, *, url: str, into: Path) -> None:
    page.goto(f"{url}/locations/importer_pipeline/asset-groups/{_SHOWN}/lineage")
    expect(page.get_by_text("contact_windows").first).to_be_visible()
    expect(page.get_by_text("Loading...")).to_have_count(0)
    shoot(page, into / "lineage.png")
    page.goto(f"{url}/assets/sync_status?view=overview")
    page.get_by_text("Plots").click()
    shoot(page, into / "status.png")
    page.goto(f"{url}/assets/sync_status?view=checks&checkDetail=keys_accepted")
    expect(page.get_by_text(f"not those of {_REVOKED}/newsletter")).to_be_visible()
    shoot(page, into / "checks.png")
    page.goto(f"{url}/assets/quarantine?view=partitions")
    page.get_by_title(f"{_REFUSED[0]}/newsletter/contact_windows/0", exact=True).click()
    expect(page.get_by_text("No partition selected")).to_be_hidden()
    page.mouse.move(0, 0)
    shoot(page, into / "quarantine.png")
    page.goto(f"{url}/automation")
    expect(page.get_by_text("At 7 minutes past the hour").first).to_be_visible()
    shoot(page, into / "schedules.png")


if __name__ == "__main__":
    sys.exit(main())
