"""Clients in trouble: what the status asset, its checks and the quarantine show of them."""

import re

from playwright.sync_api import Page, expect

from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.support.stage import Stage, in_order
from importer_pipeline_tests.ui.fixtures import REFUSED, REVOKED
from importer_pipeline_tests.ui.screens import Ui


def test_checks_and_quarantine_name_the_clients_in_trouble(ui: Ui, stage: Stage, page: Page, dagster_url: str) -> None:
    served = stage.clients[REFUSED]
    served.target.refusals = (Refusal.of_ids({in_order(served.lists[0])[0].id}, Manner.REJECT),)
    config = {"clients": [REFUSED, REVOKED]}
    ui.launch("full_sync", {"ops": {"import_contacts": {"config": config}}}).expect_end("Failure")
    stage.clients[REVOKED].account.secrets.clear()
    ui.launch("incremental_sync", {"ops": {"import_changes": {"config": config}}}).expect_end("Failure")

    page.goto(f"{dagster_url}/assets/sync_status?view=checks&checkDetail=keys_accepted")
    expect(page.get_by_text(f"not those of {REVOKED}/newsletter (KeyRefused)")).to_be_visible()
    page.goto(f"{dagster_url}/assets/{REVOKED}/newsletter/contacts?view=checks&checkDetail=up_to_date")
    expect(page.get_by_text(re.compile("^failing .Mailchimp refuses the key")).first).to_be_visible()
    page.goto(f"{dagster_url}/assets/quarantine?view=partitions")
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    expect(page.get_by_title(f"{REFUSED}/newsletter/contact_windows/0", exact=True)).to_be_visible()
