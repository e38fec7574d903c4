"""Two syncs never work on one Mailchimp account at once, and a busy account delays no other client."""

import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.names import POOL
from importer_pipeline.locks.files import FileAccountLocks, default_folder
from importer_pipeline.runner.importing import account_identity
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.runs import Ran, full_sync, logged, new_instance, run_config
from importer_pipeline_tests.support.stage import Stage

WAITING = "waiting for other syncs of the Mailchimp accounts of acme"


@contextmanager
def busy(clients: Clients, name: str) -> Generator[None]:
    """Lock that client's account for another sync while the block runs."""
    (account,) = [account_identity(client) for client in clients.clients if client.name == name]
    locks = FileAccountLocks(default_folder())
    until(lambda: locks.take([account]) == {account})  # Who waits for it has it for moments.
    try:
        yield
    finally:
        locks.release_all()


def events(instance: dg.DagsterInstance) -> int:
    """Count the events of all runs."""
    return sum(len(instance.all_logs(run.run_id)) for run in instance.get_runs())


def has_slot(instance: dg.DagsterInstance) -> bool:
    """Return whether any run has a pool slot, or is about to have one."""
    info = instance.event_log_storage.get_concurrency_info(POOL)
    return bool(info.claimed_slots or info.pending_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """A full sync of acme, whose account was locked at first, of globex, and of hooli, whose key is revoked.

    Attributes:
        stage: all the clients.
        ran: its result.
        meanwhile: a full sync of initech while it waited. The pool has one slot.
        asked: number of requests for each client by then.
    """

    stage: Stage
    ran: Ran
    meanwhile: Ran
    asked: dict[str, int]


def asked_about(stage: Stage) -> dict[str, int]:
    return {name: stage.sandbox.asked_about(client.lists[0].list_id) for name, client in stage.clients.items()}


@pytest.fixture(scope="module")
def waited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waited]:
    stage = Stage(tmp_path_factory.mktemp("waited"))
    for name in ("acme", "globex", "hooli", "initech"):
        stage.add(name)
    with stage, new_instance(tmp_path_factory) as instance, ThreadPoolExecutor(1) as threads:
        instance.event_log_storage.set_concurrency_slots(POOL, 1)
        clients = stage.load()
        stage.clients["hooli"].account.secrets.clear()
        with busy(clients, "acme"):
            config = run_config(clients=["acme", "globex", "hooli"])
            running = threads.submit(full_sync, clients, config, instance=instance)
            until(lambda: bool(logged(instance, WAITING)) and not has_slot(instance))
            asked = asked_about(stage)
            meanwhile = full_sync(clients, run_config(clients=["initech"]), instance=instance)
        yield Waited(stage=stage, ran=running.result(), meanwhile=meanwhile, asked=asked)


def test_a_busy_account_is_imported_last_once_it_is_free(waited: Waited) -> None:
    """It is imported after the free ones, as soon as its lock is released."""
    assert waited.ran.materialized == ["globex/newsletter/contacts", "acme/newsletter/contacts"]
    assert (waited.asked["acme"], waited.stage.missing("acme"), waited.stage.missing("globex")) == (0, set(), set())


def test_waiting_for_an_account_is_logged_once(waited: Waited) -> None:
    texts = [line.text for line in waited.ran.log]
    assert texts.count(WAITING) == 1
    assert sum("DAGSTER_HOME is not set" in text for text in texts) <= 1


def test_while_a_run_waits_another_has_its_pool_slot(waited: Waited) -> None:
    assert (waited.meanwhile.success, waited.meanwhile.materialized) == (True, ["initech/newsletter/contacts"])


def test_work_done_before_waiting_is_not_repeated(waited: Waited) -> None:
    asked = asked_about(waited.stage)
    assert (asked["globex"], asked["hooli"]) == (waited.asked["globex"], waited.asked["hooli"])
    assert sorted(waited.ran.partitions("globex/newsletter/contact_windows")) == ["0", "archived-0"]


def test_failures_before_waiting_are_reported_at_the_end(waited: Waited) -> None:
    heading, *lines = waited.ran.message.splitlines()
    assert (waited.ran.success, heading) == (False, "Incomplete: 1 of 3 audiences. Everything else is imported.")
    assert [line.split(":")[0] for line in lines] == ["- hooli/newsletter"]


def test_a_waiting_run_polls_every_second_and_writes_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, looks = Stage(tmp_path), list[float]()
    stage.add("acme")
    take = FileAccountLocks.take

    def counted(self: FileAccountLocks, accounts: Iterable[str]) -> set[str]:
        looks.append(time.monotonic())
        return take(self, accounts)

    monkeypatch.setattr(FileAccountLocks, "take", counted)
    with stage, new_instance(tmp_path_factory) as instance, ThreadPoolExecutor(1) as threads:
        clients = stage.load()
        with busy(clients, "acme"):
            running = threads.submit(full_sync, clients, run_config(), instance=instance)
            until(lambda: bool(logged(instance, WAITING)) and not has_slot(instance))
            written, looked = events(instance), len(looks)
            until(lambda: len(looks) >= looked + 5)
            assert events(instance) == written
        assert running.result().success
    assert stage.missing("acme") == set()


def test_a_run_waits_for_an_account_then_a_slot_and_frees_both(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = Stage(tmp_path)
    stage.add("acme")
    with stage, new_instance(tmp_path_factory) as instance, ThreadPoolExecutor(1) as threads:
        storage = instance.event_log_storage
        storage.set_concurrency_slots(POOL, 1)
        clients = stage.load()
        with busy(clients, "acme"):
            running = threads.submit(full_sync, clients, run_config(), instance=instance)
            until(lambda: bool(logged(instance, WAITING)) and not has_slot(instance))
            assert storage.claim_concurrency_slot(POOL, "another run", "a step").is_claimed
        until(lambda: len(storage.get_concurrency_info(POOL).pending_steps) == 2)
        # Whoever has a slot gets the account: no run without a slot keeps it.
        with busy(clients, "acme"):
            until(lambda: len(storage.get_concurrency_info(POOL).pending_steps) == 1)
        assert asked_about(stage)["acme"] == 0
        storage.free_concurrency_slot_for_step("another run", "a step")
        assert running.result().success
        assert not has_slot(instance)
        with busy(clients, "acme"):
            pass
    assert stage.missing("acme") == set()


def test_after_a_sync_its_accounts_are_unlocked(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for name in ("acme", "globex"):
        stage.add(name)
    with stage:
        clients = stage.load()
        full_sync(clients)
        accounts = {account_identity(client) for client in clients.clients}
        locks = FileAccountLocks(default_folder())
        assert locks.take(accounts) == accounts
        locks.release_all()
