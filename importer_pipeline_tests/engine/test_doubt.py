"""What the engine doubts before it believes it, and how it reads around what Mailchimp can't send."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.engine.audience_plan import AudiencePlan, HoursScope, SnapshotScope
from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import (
    AccountDown,
    AddressBlocked,
    ClocksDisagree,
    ImporterError,
    MemberUnreadable,
    TimeUsedUp,
    TooSlow,
    TriesUsedUp,
    TurnedAway,
    Unavailable,
)
from importer_pipeline.listing.coverage import PageShape
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline_tests.support.factories import NOW, Cut, Engine, page_of, plan, requested, snapshot

DOWN = Unavailable("HTTP 500", remedy="wait")
SLOW = TooSlow("HTTP 504")
AWAY = TurnedAway("HTTP 403")
FIRST = int(NOW) - int(NOW) % HOUR_SECONDS - 3 * HOUR_SECONDS
"""Of three hours that are over."""

Answer = Callable[[Engine, Fetch], Page | ImporterError | None]
"""What Mailchimp makes of a request; None for what it holds."""


def read(engine: Engine, answer: Answer, *, most: int = 3_000) -> int:
    """Carry all requests out until the sync is finished; returns how many went to Mailchimp."""
    fetches, waiting = 0, list[Fetch | Post | Probe]()
    for _ in range(10 * most):
        waiting += engine.take_all()
        if engine.sync.finished:
            return fetches
        if not waiting:
            engine.wait()
            continue
        request = waiting.pop(0)
        if not isinstance(request, Fetch):
            engine.carry_out(request)
            continue
        fetches += 1
        assert fetches <= most, "no end to it"
        answered = answer(engine, request)
        if isinstance(answered, ImporterError):
            engine.fail(request, answered)
        else:
            engine.bring(request, answered)
    raise AssertionError("the engine does not come to an end")


def nothing_else(_engine: Engine, _fetch: Fetch) -> None:
    """What Mailchimp holds, always."""


def listed(engine: Engine, fetch: Fetch) -> Cut:
    name = fetch.audience.plan.name
    return engine.listings[name.client, name.audience, fetch.archived].cut(fetch.request)


def unreadable(*ids: str, error: ImporterError = DOWN) -> Answer:
    """Each page with one of these contacts fails."""

    def answer(engine: Engine, fetch: Fetch) -> ImporterError | None:
        return None if fetch.archived or not set(listed(engine, fetch).ids) & set(ids) else error

    return answer


def engine_of(seconds: Iterable[int], plan_: AudiencePlan | None = None, **settings: object) -> Engine:
    engine = Engine(plan_ or plan(), limits=SyncLimits(**settings))  # pyright: ignore[reportArgumentType]
    engine.holds(seconds)
    engine.holds((), archived=True)
    return engine


def hours() -> AudiencePlan:
    return replace(plan(), scope=HoursScope(first=FIRST, last=None, chain_from="a snapshot", known=frozenset()))


def all_but(engine: Engine, *ids: str) -> bool:
    sent = set(engine.sent.get(("acme", "news"), ()))
    return sent == set(engine.listings["acme", "news", False].seconds) - set(ids)


@pytest.mark.parametrize("bad", ["0", "17", "39"], ids=["first", "middle", "last"])
def test_one_unreadable_contact_of_a_snapshot_costs_one(bad: str) -> None:
    engine = engine_of(range(100, 4100, 100))
    read(engine, unreadable(bad))
    done = engine.outcomes.done["acme/news"]
    assert all_but(engine, bad)
    assert list(engine.outcomes.refused.values()) == [[""]]
    assert done.complete
    assert done.totals.refused == 1


@pytest.mark.parametrize("bad", ["0", "17", "39"], ids=["first", "middle", "last"])
def test_one_unreadable_contact_of_an_hour_costs_one(bad: str) -> None:
    engine = engine_of(range(FIRST + 100, FIRST + 8100, 200), hours())
    read(engine, unreadable(bad))
    done = engine.outcomes.done["acme/news"]
    assert all_but(engine, bad)
    assert done.complete
    hour = (FIRST + 100 + 200 * int(bad)) // HOUR_SECONDS
    assert [(key[-5:-3], ids) for key, ids in engine.outcomes.refused.items()] == [(f"{hour % 24:02}", [""])]


def test_an_unreadable_contact_is_named_by_its_id_if_known() -> None:
    engine = engine_of(range(100, 1100, 100))
    read(engine, unreadable("3", error=MemberUnreadable("no object", contact_id="abc")))
    assert list(engine.outcomes.refused.values()) == [["abc"]]


def test_unreadable_contacts_leave_the_others_of_their_second() -> None:
    engine = engine_of([100, 200, *[300] * 20, 400, 500])
    read(engine, unreadable("7", "8"))
    assert all_but(engine, "7", "8")
    assert list(engine.outcomes.refused.values()) == [["", ""]]


def test_too_many_unreadable_contacts_of_a_second_fail_it() -> None:
    engine = engine_of([100, *[300] * 20, 400], failures_in_a_row=1_000)
    read(engine, unreadable(*(str(number) for number in range(1, 14))))
    done = engine.outcomes.done["acme/news"]
    assert isinstance(done.error, TriesUsedUp)
    assert all(str(number) in engine.sent["acme", "news"] for number in (0, 21))


@given(st.integers(0, 10_000))
def test_all_but_the_unreadable_is_sent_whatever_is_bad(seed: int) -> None:
    rng = Random(seed)
    seconds = [rng.randint(1, rng.choice((5, 50, 5_000))) for _ in range(rng.randint(1, 40))]
    engine = engine_of(seconds, failures_in_a_row=1_000)
    bad = {str(rng.randrange(len(seconds))) for _ in range(rng.randint(1, 3))}
    kinds: list[ImporterError] = [DOWN, MemberUnreadable("no object", contact_id="")]
    read(engine, unreadable(*bad, error=rng.choice(kinds)))
    done = engine.outcomes.done["acme/news"]
    assert all_but(engine, *bad)
    assert done.complete
    assert sum(len(ids) for ids in engine.outcomes.refused.values()) == len(bad)


@pytest.mark.parametrize("deepest", [6, 20, 30])
def test_what_deep_offsets_do_not_lead_to_is_read_by_time(deepest: int) -> None:
    engine = engine_of(range(100, 5100, 100))

    def answer(_: Engine, fetch: Fetch) -> ImporterError | None:
        return SLOW if requested(fetch).offset >= deepest else None

    read(engine, answer)
    assert all_but(engine)
    assert engine.outcomes.done["acme/news"].complete


@pytest.mark.parametrize("too_many", [1, 25, 900])
def test_a_total_that_is_too_large_leaves_one_window(too_many: int) -> None:
    engine = engine_of(range(100, 5100, 100))

    def answer(engine: Engine, fetch: Fetch) -> Page:
        return page_of(grown(listed(engine, fetch), fetch, by=0 if fetch.archived else too_many), server_time=int(NOW))

    read(engine, answer)
    done = engine.outcomes.done["acme/news"]
    assert all_but(engine)
    assert len(done.parts.failed) == 1
    assert "can't be read whole" in str(done.error)


def grown(cut: Cut, fetch: Fetch, *, by: int) -> Cut:
    """The page with a total that is too large."""
    shape = cut.shape
    total = shape.total + by
    expected = max(0, min(requested(fetch).count, total - requested(fetch).offset))
    return cut._replace(shape=replace(shape, total=total, is_short=shape.length < expected))


@pytest.mark.parametrize("too_many", [2, 900])
def test_a_total_that_is_too_large_leaves_only_the_last_hour(too_many: int) -> None:
    engine = engine_of(range(FIRST + 100, FIRST + 10_000, 100), hours())

    def answer(engine: Engine, fetch: Fetch) -> Page:
        cut = grown(listed(engine, fetch), fetch, by=0 if fetch.archived else too_many)
        return page_of(cut, server_time=int(engine.now))

    # Nothing is requested behind a first page without contacts: else, each empty second takes hundreds of requests.
    assert read(engine, answer, most=4_000) < 460 + 4 * too_many
    done = engine.outcomes.done["acme/news"]
    assert all_but(engine)
    assert done.parts.left == 0
    assert len(done.parts.failed) == 1


def test_a_listing_that_is_empty_all_at_once_is_asked_for_again() -> None:
    scope = SnapshotScope(earlier=None, wanted=None, last=snapshot(total=40, archived_total=0))
    engine = engine_of(range(100, 4100, 100), replace(plan(), scope=scope))
    empty = Cut(PageShape(length=0, first=0, last=0, total=0), [])
    told: list[int] = []

    def answer(_: Engine, fetch: Fetch) -> Page | None:
        told.append(requested(fetch).offset)
        return page_of(empty, server_time=int(NOW)) if len(told) <= 2 else None

    read(engine, answer)
    assert all_but(engine)


def test_a_listing_that_stays_empty_is_believed() -> None:
    scope = SnapshotScope(earlier=None, wanted=None, last=snapshot(total=40, archived_total=0))
    engine = engine_of((), replace(plan(), scope=scope))
    assert read(engine, nothing_else) == 7
    assert engine.outcomes.done["acme/news"].complete


@pytest.mark.parametrize("off", [365 * 86_400, -365 * 86_400, 901, -901])
def test_a_clock_that_lies_for_ever_stops_its_account(off: int) -> None:
    engine = Engine(plan(), plan(client="other"))
    engine.holds((), archived=True)

    def answer(engine: Engine, fetch: Fetch) -> Page | None:
        lies = fetch.audience.plan.name.client == "acme"
        return engine.page(fetch, server_time=int(engine.now) + off) if lies else None

    read(engine, answer)
    error = engine.outcomes.done["acme/news"].error
    assert isinstance(error, ClocksDisagree)
    assert "expected Mailchimp's clock near 1970-01-12T13:4" in str(error)
    assert engine.outcomes.snapshots.keys() == {"other/news"}
    assert engine.outcomes.done["other/news"].complete


def test_one_answer_of_a_clock_that_lies_is_asked_for_again() -> None:
    engine = engine_of(range(100, 4100, 100))
    lies = iter([366 * 86_400])

    def answer(engine: Engine, fetch: Fetch) -> Page | None:
        off = next(lies, 0)
        return engine.page(fetch, server_time=int(engine.now) + off)

    read(engine, answer)
    assert all_but(engine)
    assert engine.outcomes.snapshots["acme/news"].before < engine.now


def test_an_address_that_is_blocked_costs_a_handful_of_requests() -> None:
    engine = Engine(*(plan(client=f"client{number:03}") for number in range(500)))
    assert read(engine, lambda _engine, _fetch: AWAY) <= 10
    assert {type(done.error) for done in engine.outcomes.done.values()} == {AddressBlocked}
    assert len({str(done.error) for done in engine.outcomes.done.values()}) == 1
    assert engine.outcomes.failed == {}


def test_an_account_that_is_turned_away_alone_stops_alone() -> None:
    engine = Engine(*(plan(client=f"client{number}") for number in range(5)))
    read(engine, lambda _engine, fetch: AWAY if fetch.audience.plan.name.client == "client3" else None)
    errors = {name: done.error for name, done in engine.outcomes.done.items()}
    assert isinstance(errors.pop("client3/news"), AccountDown)
    assert set(errors.values()) == {None}
    assert engine.outcomes.failed == {}


def test_a_block_that_passes_leaves_nothing() -> None:
    engine = Engine(plan(client="one"), plan(client="two"))
    read(engine, lambda engine, _fetch: AWAY if engine.now < NOW + 30 else None)
    assert all(done.complete for done in engine.outcomes.done.values())


def test_a_run_that_has_used_up_its_time_leaves_the_rest() -> None:
    engine = engine_of(range(100, 4100, 100), run_seconds=600.0)
    fetch = engine.fetch()
    engine.now += 600
    engine.take_all()
    engine.fail(fetch, DOWN)
    done = engine.outcomes.done["acme/news"]
    assert isinstance(done.error, TimeUsedUp)
    assert "10 minutes" in str(done.error)
    assert engine.outcomes.failed == {}


def test_an_audience_that_stalls_is_left_and_the_others_go_on() -> None:
    engine = Engine(plan(), plan(client="other"), limits=SyncLimits(stall_seconds=600.0))
    fetches = {fetch.audience.plan.name.client: fetch for fetch in engine.fetches()}
    engine.bring(fetches["other"])
    engine.now += 661
    taken = engine.take_all()
    engine.fail(fetches["acme"], SLOW)
    assert isinstance(engine.outcomes.done["acme/news"].error, TimeUsedUp)
    assert not isinstance(engine.rest(taken).done["other/news"].error, TriesUsedUp)


def test_batches_queued_for_a_target_are_left_at_the_time_limit() -> None:
    engine = engine_of(range(100, 4100, 100), run_seconds=60.0)
    engine.bring(engine.fetch())
    for request in engine.take_all():
        if isinstance(request, Fetch):
            engine.bring(request)
        else:
            engine.fail(request, DOWN)
    engine.now += 60
    for request in engine.take_all():
        engine.fail(request, DOWN)
    assert isinstance(engine.outcomes.done["acme/news"].error, TimeUsedUp)
    assert engine.sent == {}
    assert {type(error) for error in engine.outcomes.failed.values()} <= {TimeUsedUp}
