"""From declared clients to a running import: what a client lacks is its own, and what clients share is counted once."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from importer_pipeline.clients.collection import Clients
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.outcomes import AudienceDone, Outcome, Progress, SnapshotKnown, WindowImported
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import SecretMissing, SnapshotUnusable, TimeUsedUp
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.locks.files import FileAccountLocks
from importer_pipeline.mailchimp.client import MailchimpLimits
from importer_pipeline.planning.quarantine import RetryRule
from importer_pipeline.planning.requests import EntrySelection, FirstSyncRequest, RetryRequest, WindowsRequest
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.runner.api_clients import ApiClients, connect_mailchimp, connect_target
from importer_pipeline.runner.importing import Import, ImportQueue, ImportSettings, Task, account_identity
from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline.target.client import TargetLimits
from importer_pipeline_tests.support.memory_history import MemoryHistory
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.stage import Declared, Stage

SETTINGS = ImportSettings(paging=Paging(page_size=30), limits=SyncLimits(retries=0))
APIS = ApiClients(
    mailchimp=partial(connect_mailchimp, limits=MailchimpLimits()),
    target=partial(connect_target, limits=TargetLimits()),
    limiters=LimiterRegistry(),
)
RULE = ResumeRule(within_seconds=86_400.0, restart=False)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two clients on a served sandbox."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=300, audiences=2)
    stage.add("globex", contacts=50)
    with stage:
        yield stage


def tasks(clients: Clients, *, wanted: frozenset[str] | None = None, rule: ResumeRule = RULE) -> list[Task]:
    """All audiences, and the same for each of them."""
    request = WindowsRequest(wanted=wanted, rule=rule)
    return [Task(client=client, audience=audience, request=request) for client, audience in clients.select([], [])]


def turns(clients: Clients, locks: FileAccountLocks) -> ImportQueue:
    return ImportQueue(tasks(clients), clients=clients, settings=SETTINGS, apis=APIS, locks=locks)


def prepared(
    stage: Stage,
    declared: dict[str, Declared] | None = None,
    *,
    history: MemoryHistory | None = None,
    wanted: frozenset[str] | None = None,
    rule: ResumeRule = RULE,
) -> Import:
    """An import of all audiences, with locks of its own."""
    clients = stage.load(declared)
    waiting = tasks(clients, wanted=wanted, rule=rule)
    locks = FileAccountLocks(stage.folder / "locks")
    running = ImportQueue(waiting, clients=clients, settings=SETTINGS, apis=APIS, locks=locks).next(
        history or MemoryHistory()
    )
    assert running is not None
    return running


def outcomes(running: Import) -> list[Outcome]:
    """Run it, and give all of it back."""
    with running:
        return [outcome for several in running.run() for outcome in several]


def done(running: Import) -> dict[str, AudienceDone]:
    """Run it; what became of the audiences."""
    ends = [outcome for outcome in outcomes(running) if isinstance(outcome, AudienceDone)]
    assert len(ends) == len({end.name for end in ends})
    return {str(end.name): end for end in ends}


def shared(stage: Stage, **most: int) -> dict[str, Declared]:
    """acme's two audiences as those of two clients on one account, each with its number of connections."""
    declared = stage.declared()
    whole = declared.pop("acme")
    targets = {name: {**whole["target"], "url": f"{whole['target']['url']}"} for name in most}
    for (name, connections), title in zip(most.items(), ("newsletter", "customers"), strict=True):
        declared[name] = {
            "mailchimp": {**whole["mailchimp"], "max_connections": connections},
            "target": targets[name],
            "audiences": {title: whole["audiences"][title]},
        }
    return declared


def test_all_audiences_are_imported_and_counted(stage: Stage) -> None:
    running = prepared(stage)
    assert running.progress == Progress(contacts=0, accepted=0, audiences=3, open_audiences=3)
    ends = done(running)
    assert all(end.complete for end in ends.values())
    assert set(ends) == {"acme/newsletter", "acme/customers", "globex/newsletter"}
    assert stage.missing("acme") == stage.missing("globex") == set()
    assert running.progress == Progress(contacts=650, accepted=650, audiences=3, open_audiences=0)


@pytest.mark.parametrize("side", ["mailchimp", "target"])
def test_a_missing_secret_stops_only_its_client(stage: Stage, side: str) -> None:
    """It is reported first."""
    declared = stage.declared()
    declared["acme"][side]["api_key"] = {"file": "/nowhere/secret"}
    running = prepared(stage, declared)
    with running:
        first, *_ = going = running.run()
    ends = {str(end.name): end for end in first if isinstance(end, AudienceDone)}
    assert set(ends) == {"acme/newsletter", "acme/customers"}
    for end in ends.values():
        assert isinstance(end.error, SecretMissing)
        assert not end.complete
        assert (end.snapshot, end.totals.requests, end.parts.total) == (None, 0, 0)
    assert list(going) == []
    assert stage.missing("globex") == set()
    assert stage.clients["acme"].target.records == {}
    assert running.progress == Progress(contacts=50, accepted=50, audiences=3, open_audiences=0)


def test_without_a_usable_secret_nothing_is_asked(stage: Stage) -> None:
    declared = {"acme": stage.declared()["acme"]}
    declared["acme"]["target"]["api_key"] = {"file": "/nowhere/secret"}
    assert set(done(prepared(stage, declared))) == {"acme/newsletter", "acme/customers"}
    assert stage.sandbox.answered == []


@pytest.mark.parametrize(("one", "two"), [(2, 10), (10, 2)])
def test_clients_on_one_account_share_the_lowest_limit(stage: Stage, one: int, two: int) -> None:
    """The lowest `max_connections` of any client on the account applies to all."""
    stage.clients["acme"].account.fault_plan = FaultPlan(latency=Latency.fixed(0.005))
    ends = done(prepared(stage, shared(stage, one=one, two=two)))
    assert all(end.complete for end in ends.values())
    assert stage.clients["acme"].account.traffic.figures(time.time()).peak_in_progress == 2


def test_an_account_is_locked_until_its_audiences_are_done(stage: Stage) -> None:
    longer, now = stage.clients["acme"].lists[1], int(time.time())
    longer.fill(900, changed_between=(now - 2000, now - 300), seed=1)
    clients, folder = stage.load(), stage.folder / "locks"
    identities = {client.name: account_identity(client) for client in clients.clients}
    running = turns(clients, FileAccountLocks(folder)).next(MemoryHistory())
    assert running is not None
    open_audiences = {"acme": 2, "globex": 1}
    with running:
        for outcomes in running.run():
            others = FileAccountLocks(folder)
            free = others.take(identities.values())
            others.release_all()
            assert free <= {identities[name] for name, count in open_audiences.items() if not count}
            for outcome in outcomes:
                if isinstance(outcome, AudienceDone):
                    open_audiences[outcome.name.client] -= 1
        others = FileAccountLocks(folder)
        assert others.take(identities.values()) == set(identities.values())
        others.release_all()


def test_an_account_that_is_done_keeps_no_connection_open(stage: Stage) -> None:
    port = int(stage.server.url.rpartition(":")[2])

    def ours() -> int:
        """Connections to the sandbox, of which this process has the other ends too."""
        return sum(bool(it.raddr) and it.raddr.port == port for it in psutil.Process().net_connections("tcp"))

    running = prepared(stage)
    with running:
        most = 0
        for _ in running.run():
            most = max(most, ours())
        assert most
        until(lambda: not ours())  # The sandbox closes its ends once it notices.


def test_an_import_that_is_left_early_gives_its_locks_back(stage: Stage) -> None:
    clients, folder = stage.load(), stage.folder / "locks"
    running = turns(clients, FileAccountLocks(folder)).next(MemoryHistory())
    assert running is not None
    with running:
        for _ in running.run():
            break
    others = FileAccountLocks(folder)
    identities = {account_identity(client) for client in clients.clients}
    assert others.take(identities) == identities
    others.release_all()


def test_free_accounts_have_their_turn_before_busy_ones(stage: Stage) -> None:
    clients, folder = stage.load(), stage.folder / "locks"
    busy = account_identity(clients.clients[0])
    others = FileAccountLocks(folder)
    others.take([busy])
    to_do = turns(clients, FileAccountLocks(folder))
    free = to_do.next(MemoryHistory())
    assert free is not None
    assert set(done(free)) == {"globex/newsletter"}
    assert [str(task.name) for task in to_do.waiting] == ["acme/newsletter", "acme/customers"]
    assert to_do.next(MemoryHistory()) is None
    others.release(busy)
    last = to_do.next(MemoryHistory())
    assert last is not None
    assert set(done(last)) == {"acme/newsletter", "acme/customers"}
    assert to_do.waiting == []


def retry(windows: WindowsRequest) -> RetryRequest:
    """Return a request for all due quarantine entries."""
    return RetryRequest(wanted=EntrySelection(refs=None, rule=RetryRule()), windows=windows)


def test_an_account_without_work_is_free_at_once(stage: Stage) -> None:
    clients, folder, windows = stage.load(), stage.folder / "locks", WindowsRequest(wanted=None, rule=RULE)
    identities = {client.name: account_identity(client) for client in clients.clients}
    to_do = [
        Task(client=client, audience=audience, request=retry(windows) if client.name == "globex" else windows)
        for client, audience in clients.select([], [])
    ]
    running = ImportQueue(to_do, clients=clients, settings=SETTINGS, apis=APIS, locks=FileAccountLocks(folder)).next(
        MemoryHistory()
    )
    assert running is not None
    others = FileAccountLocks(folder)
    assert others.take(identities.values()) == {identities["globex"]}
    others.release_all()
    assert set(done(running)) == {"acme/newsletter", "acme/customers"}


def test_a_first_sync_skips_accounts_already_synced(stage: Stage) -> None:
    history, clients, folder = MemoryHistory(), stage.load(), stage.folder / "locks"
    for outcome in outcomes(prepared(stage, acme(stage), history=history)):
        history.record(outcome)
    others = FileAccountLocks(folder)
    assert others.take([account_identity(client) for client in clients.clients if client.name == "acme"])
    request = FirstSyncRequest(windows=WindowsRequest(wanted=None, rule=RULE))
    to_do = [Task(client=client, audience=audience, request=request) for client, audience in clients.select([], [])]
    first = ImportQueue(to_do, clients=clients, settings=SETTINGS, apis=APIS, locks=FileAccountLocks(folder))
    running = first.next(history)
    assert running is not None
    assert first.waiting == []
    for outcome in outcomes(running):
        history.record(outcome)
    assert stage.missing("globex") == set()
    again = ImportQueue(to_do, clients=clients, settings=SETTINGS, apis=APIS, locks=FileAccountLocks(folder))
    assert (again.next(history), again.waiting) == (None, [])
    others.release_all()


def test_the_time_of_a_run_is_that_of_all_its_turns_together(stage: Stage) -> None:
    settings = replace(SETTINGS, limits=SyncLimits(retries=0, run_seconds=0.5))
    clients, others = stage.load(), FileAccountLocks(stage.folder / "locks")
    assert others.take([account_identity(client) for client in clients.clients if client.name == "globex"])
    locks = FileAccountLocks(stage.folder / "locks")
    to_do = ImportQueue(tasks(clients), clients=clients, settings=settings, apis=APIS, locks=locks)
    first = to_do.next(MemoryHistory())
    assert first is not None
    done(first)
    others.release_all()
    until(lambda: to_do.seconds_left < 0)
    asked, last = len(stage.sandbox.answered), to_do.next(MemoryHistory())
    assert last is not None
    (end,) = done(last).values()
    assert (str(end.name), type(end.error)) == ("globex/newsletter", TimeUsedUp)
    assert len(stage.sandbox.answered) == asked


def acme(stage: Stage) -> dict[str, Declared]:
    """That client alone."""
    return {"acme": stage.declared()["acme"]}


def interrupted(stage: Stage, *, windows: int) -> MemoryHistory:
    """Return the history of an import of acme that was ended after some windows."""
    history, told = MemoryHistory(), 0
    with prepared(stage, acme(stage), history=history) as running:
        for several in running.run():
            for outcome in several:
                told += isinstance(outcome, WindowImported)
                if told <= windows:
                    history.record(outcome)
            if told >= windows:
                break
        running.leave(timeout_seconds=10)
    return history


def test_an_import_resumes_where_an_earlier_one_ended(stage: Stage) -> None:
    history = interrupted(stage, windows=5)
    running = prepared(stage, acme(stage), history=history)
    assert any("resumes its snapshot of" in note for note in running.notes)
    asked_before = len(stage.sandbox.answered)
    told = outcomes(running)
    for outcome in told:
        history.record(outcome)
    latest = history.latest([AudienceName("acme", "newsletter"), AudienceName("acme", "customers")])
    assert all(snapshot.completed for snapshot in latest.values())
    assert stage.missing("acme") == set()
    requests = sum(request.path.endswith("/members") for request in stage.sandbox.answered[asked_before:])
    windows = sum(done.parts.total for done in told if isinstance(done, AudienceDone))
    assert 0 < requests <= windows - 5


def test_a_restart_takes_new_snapshots(stage: Stage) -> None:
    history = interrupted(stage, windows=5)
    running = prepared(stage, acme(stage), history=history, rule=ResumeRule(within_seconds=86_400.0, restart=True))
    assert running.notes
    assert all(note.endswith("takes a new snapshot: restart is set") for note in running.notes)
    names = list(history.latest([AudienceName("acme", "newsletter"), AudienceName("acme", "customers")]).values())
    new = {outcome.snapshot.id for outcome in outcomes(running) if isinstance(outcome, SnapshotKnown)}
    assert not new & {latest.snapshot.id for latest in names}


def test_unknown_windows_stop_only_their_audience(stage: Stage) -> None:
    """They are reported first."""
    history = MemoryHistory()
    clients = stage.load()
    planned = [task for task in tasks(clients, wanted=frozenset()) if task.client.name == "globex"]
    locks = FileAccountLocks(stage.folder / "locks")
    counting = ImportQueue(planned, clients=clients, settings=SETTINGS, apis=APIS, locks=locks).next(history)
    assert counting is not None
    for outcome in outcomes(counting):
        history.record(outcome)
    assert stage.clients["globex"].target.records == {}
    ends = done(prepared(stage, history=history, wanted=frozenset({"0"})))
    assert {name for name, end in ends.items() if isinstance(end.error, SnapshotUnusable)} == {
        "acme/newsletter",
        "acme/customers",
    }
    assert ends["globex/newsletter"].error is None
    assert len(stage.clients["globex"].target.records) == 30
    assert stage.clients["acme"].target.records == {}


def test_locks_are_held_while_requests_are_in_flight(stage: Stage) -> None:
    """An import that is left keeps them until its last request has ended."""
    stage.clients["acme"].account.fault_plan = FaultPlan(latency=Latency.fixed(0.3))
    clients, others = stage.load(), FileAccountLocks(stage.folder / "locks")
    identity = account_identity(clients.clients[0])
    running = turns(clients, FileAccountLocks(stage.folder / "locks")).next(MemoryHistory())
    assert running is not None
    with running:
        for _ in running.run():
            if stage.sandbox.answered:
                break
        running.leave(timeout_seconds=10)
        answered = len(stage.sandbox.answered)
        assert others.take([identity]) == set()
    assert others.take([identity]) == {identity}
    others.release_all()
    assert len(stage.sandbox.answered) == answered
    assert stage.clients["acme"].account.traffic.figures(time.time()).in_progress == 0
    assert stage.missing("acme")
