"""The hourly run beside a first full sync of an unsynced audience: nobody waits for it."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.locking import account_locks
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.runner.importing import account_identity
from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.support.newsletter import Newsletter, newsletter_of_before
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.runs import Ran, full_sync, logged, run_config

UNSYNCED = "globex"
CONTACTS = 60_000


@pytest.fixture
def news(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newsletter]:
    """Return one that has been synced in full, some hours ago by Mailchimp's clock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with newsletter_of_before(tmp_path, instance) as newsletter:
        assert newsletter.full_sync(page_size=1000).success
        yield newsletter


def unsynced_client(news: Newsletter, *, contacts: int) -> SandboxClient:
    """Add a client that was never synced, with the same clock as the other's."""
    globex = news.stage.add(UNSYNCED, contacts=0)
    globex.account.clock_offset_seconds = news.account.clock_offset_seconds
    now = globex.account.now()
    globex.lists[0].fill(contacts, changed_between=(now - 3 * HOUR_SECONDS, now - 2 * HOUR_SECONDS), seed=1)
    news.clients = news.stage.load()
    return globex


@contextmanager
def first_sync(news: Newsletter, globex: SandboxClient) -> Generator[Future[Ran]]:
    """Run what `hourly_first_sync` starts in another thread, with slow pages while the block runs."""
    globex.account.fault_plan = FaultPlan(latency=Latency.fixed(2.0))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(full_sync, news.clients, run_config(newcomers_only=True), instance=news.instance)
        try:
            until(lambda: bool(news.stage.sandbox.asked_about(globex.lists[0].list_id)))
            yield running
        finally:
            globex.account.fault_plan = FaultPlan()


def test_other_hours_are_imported_during_a_first_full_sync(news: Newsletter) -> None:
    """While an unsynced audience gets its full sync, the hour of the others is imported in the same tick."""
    globex = unsynced_client(news, contacts=CONTACTS)
    news.change(0, 1)
    news.let_hours_pass(2)
    with first_sync(news, globex) as running:
        ran = news.incremental_sync(newcomers=False, busy_patience_seconds=0)
        assert not running.done()
    assert (ran.success, news.missing) == (True, set())
    assert ran.partitions(news.CHANGES)[-1] == news.hour()
    assert running.result().success
    assert news.stage.missing(UNSYNCED) == set()


def test_an_account_that_is_free_within_a_minute_is_waited_for(news: Newsletter) -> None:
    news.change(0)
    news.let_hours_pass(2)
    locks = account_locks(news.instance)
    assert locks.take([account_identity(client) for client in news.clients.clients])
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(news.incremental_sync)
        until(lambda: bool(logged(news.instance, "waiting for other syncs of the Mailchimp accounts of acme")))
        locks.release_all()
        ran = running.result()
    assert (ran.success, news.missing) == (True, set())
    assert not ran.said("left to a later run")


def test_an_account_that_stays_busy_is_skipped_and_named(news: Newsletter) -> None:
    """The last line of the log names its client."""
    news.change(0)
    news.let_hours_pass(2)
    locks = account_locks(news.instance)
    assert locks.take([account_identity(client) for client in news.clients.clients])
    ran = news.incremental_sync(busy_patience_seconds=0.1)
    locks.release_all()
    last = [line.text for line in ran.log if "contacts accepted" in line.text]
    assert (ran.success, last) == (True, ["contacts accepted: 0; left to a later run: acme"])
