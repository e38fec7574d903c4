"""The Mailchimp side of the engine: tries and their pauses, what stops a client, whose turn it is, and clocks that are off."""

import cProfile
import re
from collections import Counter
from collections.abc import Iterable
from itertools import cycle

import pytest

from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry, ThrottlePolicy
from importer_pipeline.engine.outcomes import Progress
from importer_pipeline.engine.posting import Posting
from importer_pipeline.engine.posts import Post
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import (
    AccountBusy,
    AccountDown,
    BrokenAnswer,
    ImporterError,
    KeyRefused,
    ListNotFound,
    RequestRefused,
    TooManyRequests,
    TooSlow,
    TriesUsedUp,
    Unavailable,
)
from importer_pipeline.listing.coverage import Paging, TimeRange
from importer_pipeline.listing.snapshots import SnapshotProgress
from importer_pipeline_tests.support.factories import (
    NOW,
    SMALL,
    Engine,
    Listing,
    imported,
    page_of,
    plan,
    requested,
    snapshot,
)

DOWN = Unavailable("HTTP 500", remedy="wait")
BUSY = TooManyRequests("HTTP 429")
SLOW = TooSlow("HTTP 504")
NO_RETRIES = SyncLimits(retries=0)


def begun(*seconds: int, limits: SyncLimits | None = None, paging: Paging = SMALL) -> tuple[Engine, list[Fetch]]:
    """An engine whose first page is at the target, and the fetches that it then has on the wire."""
    engine = Engine(plan(), limits=limits, paging=paging)
    engine.holds(seconds)
    engine.bring(engine.fetch())
    taken = engine.take_all()
    for request in taken:
        if isinstance(request, Post):
            engine.accept(request)
    return engine, [request for request in taken if isinstance(request, Fetch)]


def fail_all(engine: Engine, fetches: Iterable[Fetch], error: ImporterError) -> list[Fetch]:
    """Every request fails from here on, until the sync is finished; those that there were, each a second after the other."""
    waiting, failed = list(fetches), list[Fetch]()
    while not engine.sync.finished:
        waiting += engine.fetches()
        if not waiting:
            engine.wait()
            continue
        engine.now += 1
        failed.append(waiting.pop(0))
        engine.fail(failed[-1], error)
    return failed


def test_all_contacts_of_an_audience_reach_the_target() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 30))
    engine.holds(range(1, 8), archived=True)
    done = engine.rest().done["acme/news"]
    assert done.complete
    assert set(engine.sent["acme", "news"]) == {str(number) for number in range(29)}
    assert (done.snapshot and (done.snapshot.total, done.snapshot.archived_total)) == (29, 7)
    assert set(engine.outcomes.windows) == {
        f"acme/news/{key}" for key in ("0", "4", "8", "12", "16", "20", "24", "28", "archived-0", "archived-4")
    }


BEFORE = int(NOW) - 65
COVERED = {"0": TimeRange(0, 5), "4": TimeRange(6, 8), "8": TimeRange(9, BEFORE), "archived-0": TimeRange(0, BEFORE)}
"""The windows of nine contacts, a second each from 1 on, and of no more than one page of archived ones."""


def test_a_refused_key_costs_a_client_one_request() -> None:
    engine = Engine(*(plan(f"list-{number}") for number in range(8)), plan(client="globex"))
    taken = [request for request in engine.take_all() if isinstance(request, Fetch)]
    assert sorted(fetch.audience.plan.name.client for fetch in taken) == ["acme", "globex"]
    (ours,) = [fetch for fetch in taken if fetch.audience.plan.name.client == "acme"]
    engine.fail(ours, KeyRefused("HTTP 401"))
    assert [request for request in engine.take_all() if isinstance(request, Fetch)] == []
    assert sum(isinstance(done.error, KeyRefused) for done in engine.outcomes.done.values()) == 8


def of_which_are_in(*known: str) -> SnapshotProgress:
    """A snapshot of these contacts that an earlier run has read in part."""
    return SnapshotProgress(snapshot=snapshot(before=BEFORE), windows={key: imported(COVERED[key]) for key in known})


def test_an_audience_that_goes_on_asks_for_what_is_not_in_alone() -> None:
    engine = Engine(plan(earlier=of_which_are_in("0", "8", "archived-0")))
    engine.holds(range(1, 10))
    fetch = engine.fetch()
    assert (fetch.key, requested(fetch).since, requested(fetch).before) == ("4", 5, 8)
    assert engine.take() is None
    done = engine.rest([fetch]).done["acme/news"]
    assert done.complete
    assert engine.sent["acme", "news"] == ["5", "6", "7"]
    assert engine.outcomes.windows.keys() == {"acme/news/4"}
    assert engine.sync.progress == Progress(contacts=11, accepted=11, audiences=1, open_audiences=0)


def test_an_imported_audience_needs_no_request_and_blocks_none() -> None:
    engine = Engine(plan("news", earlier=of_which_are_in(*COVERED)), plan("events"))
    fetch = engine.fetch()
    assert fetch.audience.plan.name.audience == "events"
    done = engine.outcomes.done["acme/news"]
    assert done.complete
    assert (done.totals.requests, done.totals.accepted, done.run.accepted, done.run.elapsed_seconds) == (
        4 * 3,
        4 * 5,
        0,
        0.0,
    )
    assert engine.sync.progress.open_audiences == 1


def test_an_imported_window_that_is_wanted_is_delivered_again() -> None:
    engine = Engine(plan(earlier=of_which_are_in(*COVERED), wanted=frozenset({"4"})))
    engine.holds(range(1, 10))
    done = engine.rest().done["acme/news"]
    assert done.complete
    assert engine.sent["acme", "news"] == ["5", "6", "7"]
    assert engine.outcomes.windows["acme/news/4"].imported == imported(
        TimeRange(6, 8), read=3, accepted=3, refused=0, requests=1
    )


def test_a_count_delivers_nothing_and_tells_the_snapshot() -> None:
    engine = Engine(plan(wanted=frozenset()))
    engine.holds(range(1, 30))
    engine.holds(range(1, 8), archived=True)
    counts = [engine.fetch()]
    engine.bring(counts[0])
    counts.append(engine.fetch())
    engine.bring(counts[1])
    assert [(fetch.archived, requested(fetch).offset, requested(fetch).count) for fetch in counts] == [
        (False, 0, 1),
        (True, 0, 1),
    ]
    assert engine.sync.finished
    assert engine.sent == {}
    assert engine.outcomes.windows == {}
    known, done = engine.outcomes.snapshots["acme/news"], engine.outcomes.done["acme/news"]
    assert (known.total, known.archived_total) == (29, 7)
    assert (done.parts.total, done.parts.left, done.error) == (len(known.keys), 10, None)


def test_a_count_is_repeated_if_mailchimps_clock_is_behind() -> None:
    engine = Engine(plan(wanted=frozenset()))
    engine.holds([1, 2])
    server_time = int(NOW) - 600
    for before in (int(NOW) - 65, server_time - 60):
        fetch = engine.fetch()
        assert (requested(fetch).before, requested(fetch).count) == (before, 1)
        engine.bring(fetch, engine.page(fetch, server_time=server_time))
    for _ in range(2):
        fetch = engine.fetch()
        engine.bring(fetch, engine.page(fetch, server_time=server_time))
    assert engine.outcomes.snapshots["acme/news"].before == server_time - 60


def test_each_snapshot_has_a_name_of_its_own() -> None:
    engines = [Engine(plan("news"), plan("events")) for _ in range(2)]
    names = {known.id for engine in engines for known in engine.rest().snapshots.values()}
    assert len(names) == 4


def test_a_stopped_client_leaves_windows_not_yet_requested() -> None:
    engine, fetches = begun(*range(1, 99))
    assert len(fetches) == 10
    revoked = KeyRefused("HTTP 401")
    for fetch in fetches:
        engine.fail(fetch, revoked)
    done = engine.outcomes.done["acme/news"]
    assert set(done.parts.failed) == {fetch.key for fetch in fetches if not fetch.archived}
    assert (done.parts.left, done.parts.total) == (15, 25)
    assert {key.rpartition("/")[2] for key in engine.outcomes.failed} == set(done.parts.failed)


def test_winding_down_only_delivers_what_has_been_read() -> None:
    engine, fetches = begun(*range(1, 99))
    read, *on_the_wire = reversed(fetches)
    engine.bring(read)
    engine.sync.wind_down()
    engine.accept(engine.post())
    for fetch in on_the_wire:
        engine.bring(fetch)
    for post in engine.posts():
        engine.accept(post)
    assert engine.take() is None
    assert {f"acme/news/{fetch.key}" for fetch in fetches if not fetch.archived} <= engine.outcomes.windows.keys()
    assert engine.outcomes.failed == {}
    assert not engine.sync.finished


def test_nothing_to_sync_is_finished_at_once() -> None:
    engine = Engine()
    assert engine.sync.finished
    assert engine.take() is None


def test_progress_never_counts_more_accepted_than_read() -> None:
    engine = Engine(plan("news"), plan("events"))
    engine.holds(range(1, 30))
    assert engine.sync.progress == Progress(contacts=0, accepted=0, audiences=2, open_audiences=2)
    engine.rest()
    assert engine.sync.progress == Progress(contacts=29, accepted=29, audiences=2, open_audiences=0)


def test_a_request_is_retried_three_times_after_growing_pauses() -> None:
    engine = Engine(plan(), limits=SyncLimits(first_pause_seconds=5.0))
    fetch, pauses = engine.fetch(), list[float]()
    for _ in range(3):
        engine.fail(fetch, DOWN)
        assert engine.take() is None
        pauses.append(engine.wait())
        assert engine.fetch() is fetch
    assert pauses == [5.0 * 1.125, 10.0 * 1.125, 20.0 * 1.125]
    engine.fail(fetch, DOWN)
    assert fetch.tries == 4
    assert engine.fetch() is not fetch


def test_a_page_that_fails_to_the_last_contact_fails_its_window() -> None:
    engine = Engine(plan(), limits=SyncLimits(failures_in_a_row=1000))
    while not engine.sync.finished:
        request = engine.take()
        if request is None:
            engine.wait()
        else:
            engine.fail(request, DOWN)
    done = engine.outcomes.done["acme/news"]
    assert isinstance(done.error, TriesUsedUp)
    assert str(done.error) == "HTTP 500, 2 times: wait"


def test_a_request_that_rests_holds_no_connection() -> None:
    engine, fetches = begun(*range(1, 60))
    assert len(fetches) == 10
    engine.fail(fetches[0], DOWN)
    assert len(engine.fetches()) == 1


def test_a_request_that_succeeds_after_a_failure_fails_no_window() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    engine.fail(engine.fetch(), BrokenAnswer("cut"))
    told = engine.rest()
    assert told.failed == {}
    assert told.windows["acme/news/0"].imported.requests == 2


def test_a_window_that_is_refused_for_good_is_not_tried_again() -> None:
    engine, fetches = begun(*range(1, 12))
    engine.fail(fetches[1], RequestRefused("HTTP 400"))
    assert engine.sync.next_timer is None
    done = engine.rest([fetches[0], *fetches[2:]]).done["acme/news"]
    assert done.parts.failed == ("8",)
    assert set(engine.sent["acme", "news"]) >= {str(number) for number in range(9)}


def test_a_429_uses_up_no_try() -> None:
    engine = Engine(plan())
    fetch = engine.fetch()
    for _ in range(8):
        engine.fail(fetch, BUSY)
        assert engine.take() is None
        engine.wait()
        assert engine.fetch() is fetch
    assert fetch.tries == 0
    done = engine.rest([fetch]).done["acme/news"]
    assert (done.complete, done.run.rate_limited) == (True, 8)


def test_after_a_429_there_is_one_connection_fewer() -> None:
    engine, fetches = begun(*range(1, 99))
    assert len(fetches) == 10
    engine.fail(fetches.pop(), BUSY)
    for fetch in fetches:
        engine.fail(fetch, RequestRefused("HTTP 400"))
    assert engine.take() is None
    engine.now += 2.0
    assert len(engine.fetches()) == 9


def test_an_account_is_given_up_after_five_minutes_of_only_429() -> None:
    engine = Engine(plan("news"), plan("events"), plan(client="other"))
    other = None
    while "acme/news" not in engine.outcomes.done:
        request = engine.take()
        if request is None:
            engine.wait()
        elif request.audience.plan.name.client == "other":
            other = request
        else:
            engine.fail(request, BUSY)
    assert 300 <= engine.now - NOW < 320
    error = engine.outcomes.done["acme/news"].error
    assert isinstance(error, AccountBusy)
    assert "only 429 for 5 minutes" in str(error)
    assert engine.outcomes.done["acme/events"].error is error
    assert other is not None
    assert engine.rest([other]).done["other/news"].complete


def test_an_account_is_given_up_after_three_failed_windows() -> None:
    engine, fetches = begun(*range(1, 60), limits=NO_RETRIES)
    fail_all(engine, fetches, DOWN)
    error = engine.outcomes.done["acme/news"].error
    assert isinstance(error, AccountDown)
    assert re.fullmatch(r"Mailchimp gave no answer [3-5] times in a row \(HTTP 500\): wait", str(error))


def test_pages_that_fail_for_what_they_hold_stop_no_account() -> None:
    engine, fetches = begun(*range(1, 60), limits=NO_RETRIES)
    waiting = list(fetches)
    while not engine.sync.finished:
        for request in engine.take_all():
            if isinstance(request, Fetch):
                waiting.append(request)
            elif isinstance(request, Post):
                engine.accept(request)
        if not waiting:
            engine.wait()
        elif (fetch := waiting.pop(0)).reading.is_probe or requested(fetch).before - requested(fetch).since == 1:
            engine.bring(fetch)
        else:
            engine.now += 1
            engine.fail(fetch, DOWN)
    error = engine.outcomes.done["acme/news"].error
    assert not isinstance(error, AccountDown), error


def test_an_account_down_without_a_remedy_is_to_be_retried_later() -> None:
    engine, fetches = begun(*range(1, 60), limits=NO_RETRIES)
    fail_all(engine, fetches, BrokenAnswer("cut"))
    assert "(cut): run it again when Mailchimp is back" in str(fetches[0].audience.stopped)


def test_an_answer_in_between_ends_a_row_of_failures() -> None:
    engine, fetches = begun(*range(1, 60), limits=NO_RETRIES)
    engine.bring(fetches.pop(0))
    engine.fail(fetches[0], DOWN)
    engine.fail(fetches[1], DOWN)
    engine.bring(fetches[2])
    engine.fail(fetches[3], DOWN)
    engine.fail(fetches[4], DOWN)
    assert engine.rest(fetches[5:]).done["acme/news"].complete


def test_failures_on_one_account_do_not_count_against_another() -> None:
    engine = Engine(*(plan(client=f"client{number}") for number in range(3)), limits=NO_RETRIES)
    fetches = engine.fetches()
    assert len(fetches) == 3
    for fetch in fetches:
        engine.fail(fetch, DOWN)
    assert not engine.outcomes.done
    assert all(done.complete for done in engine.rest().done.values())


def test_ten_requests_that_fail_at_one_moment_are_one_failure() -> None:
    engine, fetches = begun(*range(1, 60), limits=NO_RETRIES)
    for fetch in fetches:
        engine.now += 0.1
        engine.fail(fetch, DOWN)
    assert engine.rest().done["acme/news"].complete


def test_a_page_that_is_too_slow_is_halved_at_once() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 6))
    engine.fail(engine.fetch(), SLOW)
    low = engine.fetch()
    engine.bring(low)
    taken = engine.take_all()
    high = next(request for request in taken if isinstance(request, Fetch) and not request.archived)
    assert [(requested(half).offset, requested(half).count, half.tries) for half in (low, high)] == [
        (0, 4, 0),
        (2, 4, 0),
    ]
    assert engine.now == NOW
    engine.fail(high, RequestRefused("HTTP 400"))
    assert engine.rest([request for request in taken if request is not high]).done["acme/news"].parts.failed == ("0",)


def test_halves_of_a_page_bring_all_of_it() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 6))
    engine.fail(engine.fetch(), SLOW)
    assert engine.rest().done["acme/news"].complete
    assert set(engine.sent["acme", "news"]) == set("01234")


def test_a_slow_page_too_small_to_halve_is_retried() -> None:
    paging = Paging(page_size=5, overlap=2)
    engine = Engine(plan(), paging=paging)
    fetch = engine.fetch()
    for _ in range(3):
        engine.fail(fetch, SLOW)
        engine.wait()
        assert engine.fetch() is fetch


def test_an_account_too_slow_for_small_pages_is_given_up() -> None:
    engine = Engine(plan(), paging=Paging(page_size=40, overlap=2))
    engine.holds([1])
    counts = [requested(fetch).count for fetch in fail_all(engine, [], SLOW)]
    assert len(counts) <= 12
    assert isinstance(engine.outcomes.done["acme/news"].error, AccountDown)


def test_a_page_of_a_fifth_of_the_full_size_is_small() -> None:
    engine = Engine(plan(), paging=Paging(page_size=30, overlap=2))
    assert [requested(fetch).count for fetch in fail_all(engine, [], SLOW)][:6] == [30, 16, 9, 6, 4, 4]


def test_a_refused_key_stops_its_client_at_once_and_no_other() -> None:
    engine = Engine(plan("news"), plan("events"), plan(client="other"))
    fetches = {fetch.audience.plan.name.client: fetch for fetch in engine.fetches()}
    revoked = KeyRefused("HTTP 401")
    engine.fail(fetches["acme"], revoked)
    assert engine.outcomes.done["acme/news"].error is revoked
    assert engine.outcomes.done["acme/events"].error is revoked
    assert engine.take() is None
    assert engine.rest([fetches["other"]]).done["other/news"].complete


def test_an_unknown_list_stops_its_audience_not_its_client() -> None:
    engine = Engine(plan("news"), plan("events"))
    gone = ListNotFound("HTTP 404")
    engine.fail(engine.fetch(), gone)
    assert engine.outcomes.done["acme/news"].error is gone
    assert engine.rest().done["acme/events"].complete


def test_an_unknown_list_proves_that_the_account_answers() -> None:
    engine = Engine(*(plan(f"a{number}") for number in range(4)))
    (first,) = engine.fetches()
    engine.fail(first, ListNotFound("HTTP 404"))
    assert len(engine.fetches()) == 3


@pytest.mark.parametrize("error", [None, DOWN, BUSY, SLOW], ids=["page", "500", "429", "504"])
def test_what_comes_for_an_audience_that_is_stopped_ends_it(error: ImporterError | None) -> None:
    engine, fetches = begun(*range(1, 12))
    last = fetches.pop()
    revoked = KeyRefused("HTTP 401")
    for fetch in fetches:
        engine.fail(fetch, revoked)
    assert not engine.sync.finished
    if error is None:
        engine.bring(last)
    else:
        engine.fail(last, error)
    assert engine.sync.finished
    assert engine.outcomes.done["acme/news"].error is revoked
    assert engine.take() is None


def test_a_resting_request_of_a_stopped_client_is_not_sent() -> None:
    engine, fetches = begun(*range(1, 12))
    engine.fail(fetches.pop(), DOWN)
    revoked = KeyRefused("HTTP 401")
    for fetch in fetches:
        engine.fail(fetch, revoked)
    assert engine.sync.finished
    engine.wait()
    assert engine.take() is None


def test_clients_on_one_account_go_down_with_it() -> None:
    engine = Engine(
        plan(client="one", account="shared"),
        plan(client="two", account="shared"),
        limits=SyncLimits(retries=0, failures_in_a_row=1),
    )
    fail_all(engine, [engine.fetch()], DOWN)
    assert {type(done.error) for done in engine.outcomes.done.values()} == {AccountDown}
    assert set(engine.outcomes.done) == {"one/news", "two/news"}


def test_a_page_without_a_date_is_a_broken_answer() -> None:
    engine = Engine(plan(), limits=NO_RETRIES)
    while not engine.sync.finished:
        fetch = engine.take()
        if isinstance(fetch, Fetch):
            engine.now += 1
            engine.bring(fetch, page_of(Listing().cut(fetch.request), server_time=None))
        else:
            engine.wait()
    assert "expected a Date header" in str(engine.outcomes.done["acme/news"].error)


def test_a_snapshot_is_retaken_if_mailchimps_clock_is_behind() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    server_time = int(NOW) - 600
    first = engine.fetch()
    engine.bring(first, engine.page(first, server_time=server_time))
    second = engine.fetch()
    assert requested(second).before == server_time - 60
    engine.bring(second, engine.page(second, server_time=server_time))
    done = engine.rest().done["acme/news"]
    assert done.snapshot is not None
    assert done.snapshot.before == server_time - 60
    assert done.totals.requests == 4
    assert engine.sent["acme", "news"] == ["0", "1"]


def test_time_comes_from_the_offset_then_mailchimps_answers() -> None:
    engine = Engine(plan("news"), plan("events"), epoch_offset_seconds=5000.0)
    first = engine.fetch()
    assert requested(first).before == NOW + 5000 - 65
    engine.bring(first, engine.page(first, server_time=int(NOW) + 5030))
    engine.now += 10
    asks = {fetch.audience.plan.name.audience: requested(fetch).before for fetch in engine.fetches()}
    assert asks["events"] == NOW + 5030 + 10 - 65


def test_audiences_of_an_account_share_mailchimps_clock() -> None:
    engine = Engine(plan("news"), plan("events"))
    server_time = int(NOW) - 600
    first = engine.fetch()
    engine.bring(first, engine.page(first, server_time=server_time))
    asks = {fetch.audience.plan.name.audience: requested(fetch).before for fetch in engine.fetches()}
    assert asks == {"news": server_time - 60, "events": server_time - 65}


@pytest.mark.parametrize("error", [None, DOWN, BUSY, KeyRefused("HTTP 401")], ids=["page", "500", "429", "401"])
def test_an_answer_to_a_retaken_snapshot_is_ignored(error: ImporterError | None) -> None:
    engine = Engine(plan("news"), plan("events"))
    engine.holds(range(1, 6), "events")
    engine.bring(engine.fetch())
    fetches = {fetch.audience.plan.name.audience: fetch for fetch in engine.fetches()}
    engine.bring(fetches["news"])
    engine.fail(fetches["events"], SLOW)
    low, stale, *again = sorted(engine.fetches(), key=lambda fetch: fetch.archived)
    engine.bring(low, engine.page(low, server_time=int(NOW) + 600))
    if error is None:
        engine.bring(stale)
    else:
        engine.fail(stale, error)
    assert engine.outcomes.failed == {}
    assert engine.sent == {}
    done = engine.rest(again).done["acme/events"]
    assert done.complete
    assert done.snapshot is not None
    assert done.snapshot.before == NOW - 60
    assert set(engine.sent["acme", "events"]) == set("01234")


@pytest.mark.parametrize(("second", "expected"), [(-600, -665), (-598, -663), (0, -65), (400, -65)])
def test_a_new_account_is_asked_by_a_clock_that_two_agree_on(second: int, expected: int) -> None:
    """Where this machine's clock is off, the first pages of a thousand accounts would be read twice."""
    engine = Engine(*(plan(client=f"client{number}") for number in range(3)), limits=SyncLimits(connections=1))
    for ahead in (-600, second):
        fetch = engine.fetch()
        engine.bring(fetch, engine.page(fetch, server_time=int(NOW) + ahead))
        assert requested(fetch).before == int(NOW) - 65
    third = engine.fetch()
    assert third.audience.plan.name.client == "client2"
    assert requested(third).before == int(NOW) + expected


def test_a_hanging_account_holds_one_connection_until_it_answers() -> None:
    plans = [plan(client="hangs"), plan(client="fine")]
    engine = Engine(*plans, limits=SyncLimits(connections=5))
    engine.holds(range(1, 60), client="fine")
    hangs, fine = engine.fetches()
    assert hangs.audience.plan.name.client == "hangs"
    engine.bring(fine)
    taken = [request for request in engine.take_all() if isinstance(request, Fetch)]
    assert [fetch.audience.plan.name.client for fetch in taken] == ["fine"] * 4


def test_a_hundred_accounts_share_the_connections_of_the_process() -> None:
    engine = Engine(*(plan(client=f"client{number:03}") for number in range(100)), limits=SyncLimits(connections=30))
    for number in range(100):
        engine.holds(range(1, 40), client=f"client{number:03}")
    started = engine.fetches()
    assert len(started) == 3
    engine.now += 5
    first = [*started, *engine.fetches()]
    assert len({fetch.audience for fetch in first}) == len(first) == 30
    for fetch in first:
        engine.bring(fetch)
    second = [request for request in engine.take_all() if isinstance(request, Fetch)]
    assert len({fetch.audience for fetch in second}) == len(second) == 30
    assert not {fetch.audience for fetch in first} & {fetch.audience for fetch in second}


def test_audiences_of_one_account_take_turns() -> None:
    engine = Engine(plan("a"), plan("b"), plan("c"))
    for name in "abc":
        engine.holds(range(1, 60), name)
    engine.bring(engine.fetch())
    for request in engine.take_all():
        engine.carry_out(request)
    turns = [request.audience.plan.name.audience for request in engine.take_all() if isinstance(request, Fetch)]
    assert len(turns) == 10
    assert {turns.count(name) for name in "abc"} <= {2, 3, 4, 5}


def test_a_long_audience_keeps_its_connections_among_short_ones() -> None:
    """It takes longest, so it must not wait for its turn among hundreds. The short ones have the other half."""
    shorts = [f"short{number:02}" for number in range(60)]
    engine = Engine(plan(client="long"), *(plan(client=name) for name in shorts), limits=SyncLimits(connections=20))
    engine.holds(range(1, 200), client="long")
    for name in shorts:
        engine.holds(range(1, 8), client=name)
    first, *others = engine.fetches()
    engine.bring(first)
    engine.now += 5
    taken = [request for request in engine.take_all() if isinstance(request, Fetch)]
    clients = Counter(request.audience.plan.name.client for request in (*others, *taken))
    assert clients.total() == 20
    assert clients["long"] == 9


def test_many_clients_of_a_full_target_are_looked_at_once() -> None:
    """Each post makes some room, and looking through a thousand clients each time takes longer than the post."""
    clients = [f"client{number:02}" for number in range(60)]
    engine = Engine(*(plan(client=name, target="shared") for name in clients), limits=SyncLimits(undelivered_pages=1))
    for name in clients:
        engine.holds(range(1, 20), client=name)
    profile = cProfile.Profile()
    profile.runcall(engine.rest)
    assert len(engine.outcomes.done) == len(clients)
    looks = next(it.callcount for it in profile.getstats() if it.code is Posting.has_room.__code__)
    fetches = next(it.callcount for it in profile.getstats() if it.code is Engine.bring.__code__)
    assert looks < 3 * fetches


@pytest.mark.parametrize("connections", [1, 3, 10])
def test_requests_in_flight_never_exceed_an_accounts_limit(connections: int) -> None:
    engine = Engine(plan(connections=connections))
    engine.holds(range(1, 200))
    engine.bring(engine.fetch())
    assert len([request for request in engine.take_all() if isinstance(request, Fetch)]) == connections


def test_two_syncs_of_one_process_share_an_accounts_connections() -> None:
    limiters = LimiterRegistry()
    one, other = Engine(plan(), limiters=limiters), Engine(plan(), limiters=limiters)
    fetch = one.fetch()
    assert other.take() is None
    one.holds(range(1, 99))
    one.bring(fetch)
    assert len([request for request in one.take_all() if isinstance(request, Fetch)]) == 10
    assert other.take() is None
    assert 0 < other.wait() < 1  # Nothing of its own is on the wire that it could wait for: it looks again.
    assert other.take() is None


def test_the_patience_with_429s_is_that_of_the_limits() -> None:
    engine = Engine(plan(), limits=SyncLimits(throttling=ThrottlePolicy(pause_seconds=9.0, give_up_seconds=60.0)))
    engine.fail(fetch := engine.fetch(), BUSY)
    assert engine.wait() == 9.0
    assert engine.fetch() is fetch
    engine.now += 60
    engine.fail(fetch, BUSY)
    assert "for 1 minutes" in str(engine.outcomes.done["acme/news"].error)


def test_an_account_with_broken_answers_is_not_busy() -> None:
    """A broken answer had a connection, so the account does not answer with nothing but 429."""
    engine = Engine(plan(), limits=SyncLimits(failures_in_a_row=1000))
    engine.holds(range(1, 30))
    answers = cycle([BUSY, BUSY, BUSY, BrokenAnswer("a member makes no sense")])
    while engine.now < NOW + 1000 and not engine.sync.finished:
        request = engine.take()
        if isinstance(request, Fetch):
            engine.fail(request, next(answers))
        else:
            engine.wait()
    assert not any(isinstance(done.error, AccountBusy) for done in engine.outcomes.done.values())
