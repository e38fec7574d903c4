"""Two syncs never work on one Mailchimp account at once, and the busy account holds nobody else up."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer_pipeline.importing import account_identity
from importer_pipeline.locks import AccountLocks, default_folder
from importer_pipeline_tests.runs import full_sync
from importer_pipeline_tests.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    for name in ("acme", "globex", "hooli"):
        stage.add(name)
    with stage:
        yield stage


def test_a_busy_account_is_imported_after_the_free_ones_as_soon_as_it_is_free(stage: Stage) -> None:
    clients = stage.load()
    busy = account_identity(clients.clients[0])
    locks = AccountLocks(default_folder())
    assert locks.take([busy]) == {busy}

    def release_once_the_others_are_in() -> None:
        while stage.missing("globex") or stage.missing("hooli"):
            time.sleep(0.02)
        time.sleep(0.5)  # So that the run finds nothing else to do, and says so.
        locks.release(busy)

    threading.Thread(target=release_once_the_others_are_in, daemon=True).start()
    ran = full_sync(clients)
    assert ran.success
    assert len(ran.materialized) == 3
    assert ran.materialized[-1] == "acme/newsletter/contacts"
    assert any(told.text == "waiting for other syncs of the Mailchimp accounts of acme" for told in ran.told)


def test_after_a_sync_its_accounts_are_free(stage: Stage) -> None:
    clients = stage.load()
    full_sync(clients)
    accounts = {account_identity(client) for client in clients.clients}
    locks = AccountLocks(default_folder())
    assert locks.take(accounts) == accounts
    locks.release_all()
