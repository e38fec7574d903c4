"""Real threads and real HTTP: connections as the server counts them, and an end to every run, whatever goes wrong."""

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import pytest

from importer_pipeline.clients.collection import Audience, Client, fingerprint
from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.outcomes import AudienceDone, Outcome, Progress, WindowFailed, WindowImported
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.engine.sync import Sync
from importer_pipeline.errors import KeyRefused, LocksLost, QuarantineWindow, TriesUsedUp
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.mailchimp.client import MailchimpClient, MailchimpLimits
from importer_pipeline.records.contacts import Contact, RecordMapping
from importer_pipeline.runner.workers import AudienceEndpoints, Workers, as_importer_error
from importer_pipeline.sandbox.faults import Fault, FaultPlan, Latency
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline.target.client import TargetClient, TargetLimits
from importer_pipeline_tests.support.stage import Stage, once

PAGING = Paging(page_size=30)
SECONDS = 10
"""After which a test does not wait any more for what must happen at once."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two clients on a served sandbox: acme with some 70 windows in two audiences, globex with one window."""
    stage = Stage(tmp_path)
    stage.add("acme", contacts=700, audiences=2)
    stage.add("globex", contacts=20)
    with stage:
        yield stage


class WatchedMapping(RecordMapping):
    """A mapping that makes a call before it maps a page: what a test has to know or to break there."""

    before: Callable[[], None]

    @classmethod
    def around(cls, mapping: RecordMapping, before: Callable[[], None]) -> "WatchedMapping":
        """The mapping, with the call."""
        watched = cls(**{field.name: getattr(mapping, field.name) for field in fields(mapping)})
        object.__setattr__(watched, "before", before)
        return watched

    def contacts(self, members: Sequence[dict[str, Any]]) -> tuple[list[Contact], Counter[str]]:
        """As the mapping does, after the call."""
        self.before()
        return RecordMapping.contacts(self, members)


def lines(client: Client, audience: Audience, before: Callable[[], None] | None = None) -> AudienceEndpoints:
    settings, mapping = client.mailchimp, audience.record_mapping()
    return AudienceEndpoints(
        account=MailchimpClient(settings.credentials(), base_url=settings.base_url, limits=MailchimpLimits()),
        list_id=audience.list_id,
        mapping=WatchedMapping.around(mapping, before) if before and isinstance(mapping, RecordMapping) else mapping,
        target=TargetClient(client.target.url, client.target.read_key(), limits=TargetLimits()),
    )


def plan(client: Client, audience: Audience, *, connections: int) -> AudiencePlan:
    return AudiencePlan(
        name=AudienceName(client.name, audience.name),
        account=client.account,
        account_connections=connections,
        target=f"{client.target.url}#{client.name}",
        fingerprint=fingerprint(client, audience),
        scope=SnapshotScope(earlier=None, wanted=None),
        quarantined=frozenset(),
    )


def workers(
    stage: Stage,
    *,
    of: str = "",
    connections: int = 10,
    limits: SyncLimits | None = None,
    before: dict[str, Callable[[], None]] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Workers:
    """Workers for the clients, or for one of them; before a page of an audience is mapped, a call may be made."""
    every = [entry for entry in stage.load().select([], []) if entry[0].name.startswith(of)]
    sync = Sync(
        [plan(client, audience, connections=connections) for client, audience in every],
        paging=PAGING,
        limits=limits or SyncLimits(retries=0),
        limiters=LimiterRegistry(),
        rng=Random(1),
        epoch_offset_seconds=time.time() - time.monotonic(),
    )
    calls = before or {}
    return Workers(
        sync,
        {
            (name := AudienceName(client.name, audience.name)): lines(client, audience, calls.get(str(name)))
            for client, audience in every
        },
        check,
    )


def outcomes(running: Workers) -> list[Outcome]:
    return [outcome for several in running.run() for outcome in several]


def done(all_outcomes: list[Outcome]) -> dict[str, AudienceDone]:
    ends = [outcome for outcome in all_outcomes if isinstance(outcome, AudienceDone)]
    return {str(end.name): end for end in ends}


def latency(stage: Stage, client: str, seconds: float) -> None:
    stage.clients[client].account.fault_plan = FaultPlan(latency=Latency.fixed(seconds))


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """The threads that a test starts end soon after it."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("importer-"):
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.mark.usefixtures("no_thread_is_left")
def test_threads_bring_all_contacts_to_the_target_and_end(stage: Stage) -> None:
    running = workers(stage)
    ends = done(outcomes(running))
    assert {name: end.complete for name, end in ends.items()} == {
        "acme/newsletter": True,
        "acme/customers": True,
        "globex/newsletter": True,
    }
    assert stage.missing("acme") == stage.missing("globex") == set()
    assert running.progress == Progress(contacts=1420, accepted=1420, audiences=3, open_audiences=0)


def test_an_account_sees_ten_connections_and_never_more(stage: Stage) -> None:
    latency(stage, "acme", 0.1)
    outcomes(workers(stage, of="acme"))
    figures = stage.clients["acme"].account.traffic.figures(time.time())
    assert figures.refused_429 == 0
    assert figures.peak_in_progress == 10


def test_an_account_never_exceeds_its_connections(stage: Stage) -> None:
    latency(stage, "acme", 0.005)
    outcomes(workers(stage, of="acme", connections=3))
    assert stage.clients["acme"].account.traffic.figures(time.time()).peak_in_progress == 3


def test_a_connection_is_free_while_a_page_is_being_mapped(stage: Stage) -> None:
    """With one connection, the page of the one audience is mapped only once the other audience's request has been mapped."""
    other_came, met = threading.Event(), list[bool]()

    def wait_for_the_other() -> None:
        met.append(other_came.wait(SECONDS))

    before = {"acme/newsletter": wait_for_the_other, "acme/customers": other_came.set}
    running = workers(stage, of="acme", connections=1, before=before)
    assert all(end.complete for end in done(outcomes(running)).values())
    assert set(met) == {True}
    assert stage.clients["acme"].account.traffic.figures(time.time()).peak_in_progress == 1


def test_free_connections_are_used_while_the_caller_is_busy(stage: Stage) -> None:
    latency(stage, "acme", 0.02)
    caller_is_busy, other_came = threading.Event(), threading.Event()

    def wait_for_the_other() -> None:
        if caller_is_busy.is_set():
            other_came.wait(SECONDS)

    def come() -> None:
        if caller_is_busy.is_set():
            other_came.set()

    before = {"acme/newsletter": wait_for_the_other, "acme/customers": come}
    for _ in workers(stage, of="acme", connections=1, before=before).run():
        caller_is_busy.set()
        assert other_came.wait(SECONDS)


@pytest.mark.usefixtures("no_thread_is_left")
def test_a_defect_in_the_engine_ends_the_run(stage: Stage) -> None:
    running = workers(stage, of="globex")
    running._endpoints = {}  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(KeyError):
        outcomes(running)


@pytest.mark.usefixtures("no_thread_is_left")
def test_threads_that_are_let_go_end(stage: Stage) -> None:
    latency(stage, "acme", 0.2)
    running = workers(stage)
    for _ in running.run():
        break
    running.end()
    assert stage.missing("acme")


class Barrier:
    """In a target: once it is shut, the next post stands still with all that the sandbox has to answer, until it is opened."""

    def __init__(self, client: SandboxClient) -> None:
        client.target.refusals = (Refusal(manner=Manner.COUNT, refuses=self._stand_still),)
        self._shut, self._reached, self._opened = threading.Event(), threading.Event(), threading.Event()

    @property
    def holds(self) -> bool:
        """Return whether what it has stopped still stands."""
        return self._reached.is_set() and not self._opened.is_set()

    def shut(self) -> None:
        """Let nothing pass, and wait until something would."""
        self._shut.set()
        assert self._reached.wait(SECONDS)

    def open(self) -> None:
        """Let all pass."""
        self._opened.set()

    def _stand_still(self, _: TargetRecord) -> bool:
        if self._shut.is_set():
            self._reached.set()
            self._opened.wait(SECONDS)
            self._opened.set()
        return False


@pytest.fixture
def stopped(stage: Stage) -> tuple[Workers, Barrier]:
    """Workers in the middle of a sync, whose caller has left the loop, and who wait for what is on the wire."""
    latency(stage, "acme", 0.005)
    barrier = Barrier(stage.clients["acme"])
    running = workers(stage, of="acme", connections=1, limits=SyncLimits(retries=0, post_records=30))
    for several in running.run():
        if several:
            break
    barrier.shut()
    return running, barrier


@pytest.mark.usefixtures("no_thread_is_left")
def test_leave_waits_for_requests_in_flight(stage: Stage, stopped: tuple[Workers, Barrier]) -> None:
    """It returns their outcomes and starts nothing new."""
    running, barrier = stopped
    answered, told = len(stage.sandbox.answered), list[Outcome]()
    leaving = threading.Thread(target=lambda: told.extend(running.leave(timeout_seconds=SECONDS)))
    leaving.start()
    leaving.join(0.2)
    assert leaving.is_alive()
    barrier.open()
    leaving.join(SECONDS)
    assert any(isinstance(outcome, WindowImported) for outcome in told)
    assert not any(isinstance(outcome, WindowFailed) for outcome in told)
    most_on_the_wire = 1 + SyncLimits().target_posts
    assert len(stage.sandbox.answered) - answered <= most_on_the_wire
    assert stage.missing("acme")


@pytest.mark.usefixtures("no_thread_is_left")
def test_who_leaves_does_not_wait_longer_than_his_patience(stopped: tuple[Workers, Barrier]) -> None:
    running, barrier = stopped
    running.leave(timeout_seconds=0.05)
    assert barrier.holds
    barrier.open()


def test_leave_before_the_start_returns_nothing(stage: Stage) -> None:
    assert workers(stage).leave(timeout_seconds=SECONDS) == []
    assert stage.sandbox.answered == []


def test_an_unexpected_exception_fails_its_window(stage: Stage) -> None:
    """Its text, which may hold data, is not shown."""
    pages = list[int]()

    def fail_at_the_fifth() -> None:
        pages.append(len(pages))
        if len(pages) == 5:
            raise ValueError("leaf.7@example.com is odd")

    running = workers(stage, connections=1, before={"acme/newsletter": fail_at_the_fifth})
    all_outcomes = outcomes(running)
    (failed,) = [outcome for outcome in all_outcomes if isinstance(outcome, WindowFailed)]
    assert str(failed.name) == "acme/newsletter"
    assert isinstance(failed.error, QuarantineWindow)
    assert str(failed.error).startswith("an unexpected ValueError at test_workers.py:")
    assert "leaf" not in str(failed.error)
    ends = done(all_outcomes)
    assert ends["acme/newsletter"].parts.failed == (failed.window,)
    assert ends["acme/customers"].complete
    assert ends["globex/newsletter"].complete


def test_an_error_of_mailchimp_reaches_the_engine(stage: Stage) -> None:
    running = workers(stage)
    stage.clients["globex"].account.secrets.clear()
    ends = done(outcomes(running))
    assert isinstance(ends["globex/newsletter"].error, KeyRefused)
    assert ends["acme/newsletter"].complete


def test_an_error_of_the_target_reaches_the_engine(stage: Stage) -> None:
    stage.clients["globex"].target.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
    ends = done(outcomes(workers(stage)))
    assert isinstance(ends["globex/newsletter"].error, TriesUsedUp)
    assert ends["acme/newsletter"].complete


def test_a_request_that_rests_is_made_when_it_is_due(stage: Stage) -> None:
    rule = once(lambda _: True, Fault.ERROR_500)
    stage.clients["globex"].target.fault_plan = FaultPlan(rules=(rule,))
    running = workers(stage, of="globex", limits=SyncLimits(retries=1, first_pause_seconds=0.1))
    assert done(outcomes(running))["globex/newsletter"].complete
    # Two pages, one of them twice.
    assert stage.clients["globex"].target.traffic.figures(time.time()).requests == {"POST /record": 3}


def test_earlier_objects_are_frozen_only_during_a_run(stage: Stage) -> None:
    """The garbage collector ignores what was in memory before the run."""
    gc.unfreeze()  # What other tests have loaded.
    frozen = [gc.get_freeze_count() > 0 for _ in workers(stage, of="globex").run()]
    assert all(frozen)
    assert gc.get_freeze_count() == 0


def test_what_was_frozen_before_a_run_stays_frozen(stage: Stage) -> None:
    """Otherwise, the collector goes through all definitions as the process ends, which takes half a second."""
    gc.freeze()
    try:
        outcomes(workers(stage, of="globex"))
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_few_outcomes_wait_for_others_and_the_end_for_none(stage: Stage) -> None:
    """What is recorded at once costs little more than one of it."""
    latency(stage, "acme", 0.01)
    began = time.monotonic()
    handed_over = [len(several) for several in workers(stage, connections=2).run()]
    seconds = time.monotonic() - began
    assert sum(handed_over) > 70
    assert len(handed_over) <= 2 + seconds / 0.5


def test_an_error_of_ours_stays_itself() -> None:
    error = KeyRefused("HTTP 401")
    assert as_importer_error(error) is error


def test_no_request_is_sent_once_the_locks_are_lost(stage: Stage) -> None:
    def lost_after_three() -> None:
        if len(stage.sandbox.answered) >= 3:
            raise LocksLost("the locks are gone")

    for name in ("acme", "globex"):
        stage.add(name, contacts=2000)
    running = workers(stage, check=lost_after_three)
    with pytest.raises(LocksLost):
        outcomes(running)
    running.leave(timeout_seconds=10)
    # Those that were asked for at the same moment as the third are answered.
    assert 3 <= len(stage.sandbox.answered) <= 3 + 20
    answered = len(stage.sandbox.answered)
    running.end()
    assert len(stage.sandbox.answered) == answered
