"""From declared clients to a running import: what a client lacks is its own, and what clients share is counted once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer_pipeline.clients import Clients
from importer_pipeline.errors import SecretMissing
from importer_pipeline.importing import Import, ImportSettings, Turns, account_identity
from importer_pipeline.locks import AccountLocks
from importer_pipeline.outcomes import AudienceDone, Progress
from importer_pipeline.sandbox.faults import Latency, Unkindness
from importer_pipeline.services import SyncLimits
from importer_pipeline.windows import Paging
from importer_pipeline_tests.stage import Declared, Stage

SETTINGS = ImportSettings(paging=Paging(page_size=30), limits=SyncLimits(retries=0))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two clients on a served sandbox."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=300, audiences=2)
    stage.add("globex", contacts=50)
    with stage:
        yield stage


def turns(clients: Clients, locks: AccountLocks) -> Turns:
    return Turns(clients.select([], []), clients=clients, settings=SETTINGS, locks=locks)


def prepared(stage: Stage, declared: dict[str, Declared] | None = None) -> Import:
    """An import of all audiences, with locks of its own."""
    running = turns(stage.load(declared), AccountLocks(stage.folder / "locks")).next()
    assert running is not None
    return running


def done(running: Import) -> dict[str, AudienceDone]:
    """Run it; what became of the audiences."""
    ends = [outcome for outcomes in running.run() for outcome in outcomes if isinstance(outcome, AudienceDone)]
    assert len(ends) == len({(end.client, end.audience) for end in ends})
    return {f"{end.client}/{end.audience}": end for end in ends}


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
def test_a_missing_secret_is_told_first_and_stops_only_its_client(stage: Stage, side: str) -> None:
    declared = stage.declared()
    declared["acme"][side]["api_key"] = {"file": "/nowhere/secret"}
    running = prepared(stage, declared)
    first, *_ = going = running.run()
    ends = {f"{end.client}/{end.audience}": end for end in first if isinstance(end, AudienceDone)}
    assert set(ends) == {"acme/newsletter", "acme/customers"}
    for end in ends.values():
        assert isinstance(end.error, SecretMissing)
        assert not end.complete
        assert (end.snapshot, end.requests, end.windows) == (None, 0, 0)
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
def test_clients_on_one_account_share_the_least_number_of_connections_that_one_of_them_declares(
    stage: Stage, one: int, two: int
) -> None:
    stage.clients["acme"].account.unkindness = Unkindness(latency=Latency.fixed(0.005))
    ends = done(prepared(stage, shared(stage, one=one, two=two)))
    assert all(end.complete for end in ends.values())
    assert stage.clients["acme"].account.traffic.figures(time.time()).peak_in_progress == 2


def test_an_account_is_locked_until_all_of_its_audiences_are_done(stage: Stage) -> None:
    longer, now = stage.clients["acme"].lists[1], int(time.time())
    longer.fill(900, changed_between=(now - 2000, now - 300), seed=1)
    clients, folder = stage.load(), stage.folder / "locks"
    identities = {client.name: account_identity(client) for client in clients.clients}
    running = turns(clients, AccountLocks(folder)).next()
    assert running is not None
    open_audiences = {"acme": 2, "globex": 1}
    for outcomes in running.run():
        others = AccountLocks(folder)
        free = others.take(identities.values())
        others.release_all()
        assert free <= {identities[name] for name, count in open_audiences.items() if not count}
        for outcome in outcomes:
            if isinstance(outcome, AudienceDone):
                open_audiences[outcome.client] -= 1
    others = AccountLocks(folder)
    assert others.take(identities.values()) == set(identities.values())
    others.release_all()


def test_an_import_that_is_left_early_gives_its_locks_back(stage: Stage) -> None:
    clients, folder = stage.load(), stage.folder / "locks"
    running = turns(clients, AccountLocks(folder)).next()
    assert running is not None
    for _ in running.run():
        break
    others = AccountLocks(folder)
    identities = {account_identity(client) for client in clients.clients}
    assert others.take(identities) == identities
    others.release_all()


def test_free_accounts_have_their_turn_before_busy_ones(stage: Stage) -> None:
    clients, folder = stage.load(), stage.folder / "locks"
    busy = account_identity(clients.clients[0])
    others = AccountLocks(folder)
    others.take([busy])
    to_do = turns(clients, AccountLocks(folder))
    free = to_do.next()
    assert free is not None
    assert set(done(free)) == {"globex/newsletter"}
    assert [(client.name, audience.name) for client, audience in to_do.waiting] == [
        ("acme", "newsletter"),
        ("acme", "customers"),
    ]
    assert to_do.next() is None
    others.release(busy)
    last = to_do.next()
    assert last is not None
    assert set(done(last)) == {"acme/newsletter", "acme/customers"}
    assert to_do.waiting == []
