"""The target side of the engine: what waits, what is tried again, and what stops a client or a whole URL."""

from random import Random

import pytest

from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import (
    BrokenAnswer,
    ConnectionUnusable,
    ImporterError,
    IsolationGivenUp,
    KeyRefused,
    QuarantineWindow,
    RecordRefused,
    RecordsMostlyRefused,
    TargetDown,
    TargetKeyRefused,
    TargetMisplaced,
    TriesUsedUp,
    Unavailable,
)
from importer_pipeline.listing.coverage import Paging
from importer_pipeline.records.receipt import Receipt
from importer_pipeline_tests.support.factories import Engine, Listing, plan, unsendable

DOWN = Unavailable("the target can't answer now (HTTP 500)")
REFUSED = RecordRefused("the target refuses the batch (HTTP 422)", status=422)
REVOKED = TargetKeyRefused("the target refuses the key (HTTP 401)")
UNUSABLE = ConnectionUnusable("the proxy of this machine's environment can't be used")
NO_RETRIES = SyncLimits(retries=0)
URL = "https://shared.example.com"


def fail_all(engine: Engine, posts: list[Post], error: ImporterError) -> None:
    """Nothing that is posted, and no probe, gets another answer than this."""
    waiting = list[Post | Probe](posts)
    while not engine.sync.finished:
        for request in waiting:
            engine.fail(request, error)
        waiting.clear()
        for request in engine.take_all():
            if isinstance(request, Fetch):
                engine.bring(request)
            else:
                waiting.append(request)


def begun(*seconds: int, limits: SyncLimits | None = None) -> tuple[Engine, list[Post]]:
    """An engine to whose target nothing has been answered yet but one post, and the posts on the wire."""
    engine = Engine(plan(), limits=limits)
    engine.holds(seconds)
    posts = engine.posts_after_fetches()
    engine.accept(posts.pop(0))
    engine.now += 1.0
    return engine, [*posts, *engine.posts_after_fetches()]


def test_until_a_target_has_answered_it_gets_one_post() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 60))
    (post,) = engine.posts_after_fetches()
    engine.accept(post)
    assert len(engine.posts_after_fetches()) == 10


@pytest.mark.parametrize("most", [1, 4])
def test_posts_in_flight_never_exceed_a_targets_limit(most: int) -> None:
    _, posts = begun(*range(1, 60), limits=SyncLimits(target_posts=most))
    assert len(posts) == most


def test_two_syncs_of_one_process_share_a_targets_connections() -> None:
    limiters = LimiterRegistry()
    one, other = Engine(plan(), limiters=limiters), Engine(plan(account="other"), limiters=limiters)
    one.holds([1])
    other.holds([1])
    (post,) = one.posts_after_fetches()
    assert other.posts_after_fetches() == []
    one.accept(post)
    other.wait()
    assert len(other.posts_after_fetches()) == 1


def test_reading_pauses_at_the_limit_of_undelivered_pages() -> None:
    engine = Engine(plan(connections=4), limits=SyncLimits(undelivered_pages=3))
    engine.holds(range(1, 200))
    read, fetches = 0, [engine.fetch()]
    while fetches:
        for fetch in fetches:
            engine.bring(fetch)
            read += bool(engine.page(fetch).contacts)
        taken = engine.take_all()
        fetches = [request for request in taken if isinstance(request, Fetch)]
    assert 3 <= read <= 3 + 4  # Those that were on the wire already come on top.


def test_reading_goes_on_when_a_page_is_delivered() -> None:
    engine = Engine(plan(), limits=SyncLimits(undelivered_pages=1))
    engine.holds(range(1, 200))
    (post,) = engine.posts_after_fetches()
    assert engine.take() is None
    engine.accept(post)
    assert any(isinstance(request, Fetch) for request in engine.take_all())


def test_a_delivered_page_of_another_client_resumes_reading() -> None:
    engine = Engine(plan(client="a", target=URL), plan(client="b", target=URL), limits=SyncLimits(undelivered_pages=1))
    for client in "ab":
        engine.holds(range(1, 12), client=client)
    posts = engine.posts_after_fetches()
    while posts:
        engine.accept(posts.pop(0))
        posts.extend(engine.posts_after_fetches())
    assert all(done.complete for done in engine.outcomes.done.values())
    assert engine.sync.finished


def test_who_parks_before_a_finished_post_is_settled_is_called() -> None:
    engine = Engine(plan(client="a", target=URL), plan(client="b", target=URL), limits=SyncLimits(undelivered_pages=1))
    engine.holds(range(1, 7), client="a")
    first, other = engine.fetches()
    engine.fail(other, DOWN)
    engine.bring(first)
    (post, *fetches) = engine.take_all()
    assert (type(post), fetches) == (Post, [])
    engine.wait()
    assert engine.take() is None
    assert isinstance(post, Post)
    engine.sync.connection_freed(post, engine.now)
    assert engine.take() is None
    engine.sync.posted(post, Receipt(sent=6, accepted=6), engine.now)
    assert {request.audience.plan.name.client for request in engine.take_all()} == {"a", "b"}


def test_a_slow_target_does_not_hold_back_another() -> None:
    engine = Engine(plan(client="slow"), plan(client="fine"), limits=SyncLimits(undelivered_pages=1))
    for client in ("slow", "fine"):
        engine.holds(range(1, 30), client=client)
    slow = None
    while "fine/news" not in engine.outcomes.done:
        for request in engine.take_all():
            if isinstance(request, Post) and request.audience.plan.name.client == "slow":
                assert slow is None
                slow = request
            else:
                engine.carry_out(request)
    assert slow is not None
    assert engine.rest([slow]).done["slow/news"].complete


def test_targets_take_turns() -> None:
    engine = Engine(plan(client="a"), plan(client="b"), limits=SyncLimits(target_posts=3))
    for client in "ab":
        engine.holds(range(1, 60), client=client)
    for post in engine.posts_after_fetches():
        engine.accept(post)
    assert [post.audience.plan.name.client for post in engine.posts_after_fetches()] in (list("ababab"), list("bababa"))


def test_a_post_is_tried_three_times_more_after_pauses_that_grow() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    (post,) = engine.posts_after_fetches()
    pauses = list[float]()
    for _ in range(3):
        engine.fail(post, DOWN)
        assert engine.take() is None
        pauses.append(engine.wait())
        again = engine.post()
        assert again.batches == post.batches
        post = again
    assert pauses == [5.0 * 1.125, 10.0 * 1.125, 20.0 * 1.125]
    engine.fail(post, DOWN)
    assert engine.outcomes.failed == {}
    engine.fail(engine.probe(), DOWN)
    error = engine.outcomes.failed["acme/news/0"]
    assert isinstance(error, TriesUsedUp)
    assert (
        str(error)
        == "the target can't answer now (HTTP 500), 4 times: run it again when the target is back (https://acme.example.com)"
    )
    assert engine.sync.finished


def test_a_post_that_rests_holds_no_connection() -> None:
    engine, posts = begun(*range(1, 99), limits=SyncLimits(target_posts=2))
    engine.fail(posts[0], BrokenAnswer("cut"))
    engine.accept(posts[1])
    assert len(engine.posts_after_fetches()) == 2


def test_after_a_failure_posts_go_singly_until_one_is_accepted() -> None:
    engine, posts = begun(*range(1, 99), limits=SyncLimits(target_posts=3))
    for post in posts:
        engine.fail(post, DOWN)
    (post,) = engine.posts_after_fetches()
    engine.accept(post)
    assert len(engine.posts_after_fetches()) == 3


def test_a_post_that_succeeds_after_a_failure_fails_no_window() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    (post,) = engine.posts_after_fetches()
    engine.fail(post, DOWN)
    assert engine.rest().done["acme/news"].complete
    assert engine.sent["acme", "news"] == ["0", "1"]


def test_three_windows_failed_at_the_target_stop_a_client() -> None:
    engine, posts = begun(*range(1, 99), limits=NO_RETRIES)
    for post in posts[:3]:
        engine.fail(post, DOWN)
    assert engine.outcomes.failed == {}
    fail_all(engine, posts[3:], DOWN)
    error = engine.outcomes.done["acme/news"].error
    assert isinstance(error, TargetDown)
    assert str(error) == (
        "the target did not accept 3 consecutive windows (the target can't answer now (HTTP 500), 1 times): "
        "run it again when the target is back (https://acme.example.com)"
    )


def test_a_target_url_that_is_down_stops_only_its_clients() -> None:
    senders = ("a", "b", "c", "d", "e")
    engine = Engine(*(plan(client=name, target=URL) for name in senders), plan(client="other"), limits=NO_RETRIES)
    for name in (*senders, "other"):
        engine.holds([1], client=name)
    failed = list[str]()
    while not engine.sync.finished:
        for request in engine.take_all():
            if not isinstance(request, Fetch) and request.audience.plan.target == URL:
                failed += [request.audience.plan.name.client] if isinstance(request, Post) else []
                engine.fail(request, DOWN)
            else:
                engine.carry_out(request)
    assert len(set(failed)) == len(failed) == 3
    for client in set(senders) - set(failed):
        assert isinstance(engine.outcomes.done[f"{client}/news"].error, TargetDown)
    assert engine.outcomes.done["other/news"].complete


def test_failures_of_one_client_at_a_shared_url_stop_it_only() -> None:
    engine = Engine(plan(client="bad", target=URL), plan(client="fine", target=URL), limits=NO_RETRIES)
    for name in ("bad", "fine"):
        engine.holds(range(1, 60), client=name)
    failures = 0
    while not engine.sync.finished:
        for request in engine.take_all():
            if not isinstance(request, Fetch) and request.audience.plan.name.client == "bad":
                engine.fail(request, DOWN)
                failures += isinstance(request, Post)
            else:
                engine.carry_out(request)
    assert isinstance(engine.outcomes.done["bad/news"].error, TargetDown)
    assert failures >= 3
    assert engine.outcomes.done["fine/news"].complete


def test_a_success_in_between_ends_a_row_of_failures() -> None:
    engine = Engine(plan(), limits=NO_RETRIES)
    engine.holds(range(1, 99))
    fails = iter((DOWN, DOWN, None, DOWN, DOWN, None))
    while not engine.sync.finished:
        engine.now += 1.0
        request = engine.take()
        assert request is not None
        if isinstance(request, Post) and (error := next(fails, None)) is not None:
            engine.fail(request, error)
            engine.fail(engine.probe(), error)
        else:
            engine.carry_out(request)
    done = engine.outcomes.done["acme/news"]
    assert isinstance(done.error, TriesUsedUp)
    assert len(done.parts.failed) == 4


def test_a_refused_record_is_isolated_and_leaves_its_window_be() -> None:
    engine = Engine(plan())
    engine.holds([1, 2, 3, 4, 5])
    (post,) = engine.posts_after_fetches()
    engine.fail(post, REFUSED)
    while not engine.sync.finished:
        post = engine.post()
        ids = [contact.contact_id for contact in post.batch.contacts]
        engine.fail(post, REFUSED) if "3" in ids else engine.accept(post)
    assert engine.outcomes.refused == {"acme/news/0": ["3"]}
    window, done = engine.outcomes.windows["acme/news/0"].imported, engine.outcomes.done["acme/news"]
    assert (window.read, window.accepted, window.refused) == (4, 3, 1)  # Window 4 came first, and has the fifth, too.
    assert done.complete
    assert done.totals.refused == 1


def test_a_record_missing_in_the_targets_count_is_isolated() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    (post,) = engine.posts_after_fetches()
    engine.accept(post, accepted=1)
    for post in engine.posts_after_fetches():
        engine.accept(post, accepted=0 if post.batch.contacts[0].contact_id == "1" else None)
    assert engine.outcomes.refused == {"acme/news/0": ["1"]}


def test_a_4xx_proves_that_the_target_answers() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    (post,) = engine.posts_after_fetches()
    engine.fail(post, REFUSED)
    assert len(engine.posts_after_fetches()) == 2


def test_unsendable_contacts_are_imported_without_a_post() -> None:
    engine = Engine(plan())
    engine.holds([1, 2])
    fetch = engine.fetch()
    page = engine.page(fetch)
    page.contacts[:] = [unsendable("a"), unsendable("b")]
    engine.bring(fetch, page)
    assert engine.posts_after_fetches() == []
    assert engine.outcomes.refused == {"acme/news/0": ["a", "b"]}
    assert engine.outcomes.done["acme/news"].complete


def test_a_window_with_too_many_refused_records_fails_whole() -> None:
    engine, posts = begun(*range(1, 13), limits=SyncLimits(isolation_posts=2))
    engine.fail(posts.pop(0), REFUSED)
    halves = engine.posts_after_fetches()
    assert len(halves) == 2
    for half in halves:
        engine.fail(half, REFUSED)
    (error,) = engine.outcomes.failed.values()
    assert isinstance(error, IsolationGivenUp)
    done = engine.rest(posts).done["acme/news"]
    assert len(done.parts.failed) == 1
    assert done.error is error


def test_the_third_mostly_refused_window_stops_an_audience() -> None:
    engine, posts = begun(*range(1, 60), limits=SyncLimits(isolation_posts=0))
    for refused in (True, True, False, True, True):
        post = posts.pop(0)
        engine.fail(post, REFUSED) if refused else engine.accept(post)
        assert post.audience.stopped is None
    engine.fail(posts[0], REFUSED)
    assert isinstance(posts[0].audience.stopped, RecordsMostlyRefused)


def test_an_audience_with_all_windows_refused_is_stopped() -> None:
    engine = Engine(plan("news"), plan("events"), limits=SyncLimits(isolation_posts=0))
    engine.holds(range(1, 99))
    engine.holds(range(1, 9), "events")
    while not engine.sync.finished:
        for request in engine.take_all():
            if isinstance(request, Post) and request.audience.plan.name.audience == "news":
                engine.fail(request, REFUSED)
            else:
                engine.carry_out(request)
    error = engine.outcomes.done["acme/news"].error
    assert isinstance(error, RecordsMostlyRefused)
    assert str(error).startswith(
        "the target rejects most records of several consecutive windows (the target refuses the batch"
    )
    assert str(error).endswith("check the record mapping and target.url")
    assert engine.outcomes.done["acme/events"].complete


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(REVOKED, id="key refused"),
        pytest.param(TargetMisplaced("the target answers with a redirect (HTTP 301)"), id="redirect"),
    ],
)
def test_an_unusable_target_stops_its_client_and_drops_its_posts(error: ImporterError) -> None:
    engine = Engine(
        plan(client="acme", target=URL), plan(client="other", target=URL), limits=SyncLimits(target_posts=1)
    )
    for name in ("acme", "other"):
        engine.holds(range(1, 30), client=name)
    sent = list[type[object]]()
    while not engine.sync.finished:
        for request in engine.take_all():
            if not isinstance(request, Fetch) and request.audience.plan.name.client == "acme":
                sent.append(type(request))
                engine.fail(request, error)
            else:
                engine.carry_out(request)
    assert sent == [Post, Probe]
    done = engine.outcomes.done["acme/news"]
    assert done.error is error
    assert all(failure is error for failure in engine.outcomes.failed.values())
    assert engine.outcomes.done["other/news"].complete


def test_a_permanent_error_fails_only_its_window_at_once() -> None:
    engine, posts = begun(*range(1, 12))
    odd = QuarantineWindow("an unexpected ValueError")
    engine.fail(posts.pop(0), odd)
    assert engine.sync.next_timer is None
    done = engine.rest(posts).done["acme/news"]
    assert (done.error, len(done.parts.failed)) == (odd, 1)


def test_a_resting_post_of_a_stopped_client_is_not_sent() -> None:
    engine, posts = begun(*range(1, 12))
    engine.fail(posts[0], DOWN)
    engine.fail(posts[1], REVOKED)
    engine.fail(engine.probe(), REVOKED)
    engine.wait()
    assert engine.take() is None
    assert engine.sync.finished
    assert engine.outcomes.done["acme/news"].error is REVOKED


def test_a_failed_post_of_a_stopped_client_is_not_retried() -> None:
    engine, posts = begun(*range(1, 12), limits=SyncLimits(target_posts=2))
    engine.fail(posts[0], UNUSABLE)
    engine.fail(posts[1], DOWN)
    assert engine.sync.next_timer is None
    assert engine.sync.finished


def test_a_page_read_before_the_key_is_refused_is_delivered() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 30))
    engine.bring(engine.fetch())
    post, *fetches = engine.take_all()
    assert isinstance(post, Post)
    for fetch in fetches:
        engine.fail(fetch, KeyRefused("HTTP 401"))
    assert not engine.sync.finished
    engine.accept(post)
    assert "acme/news/0" in engine.outcomes.windows
    assert engine.sync.finished


@pytest.mark.parametrize("error", [None, DOWN, REFUSED], ids=["success", "500", "422"])
def test_what_comes_for_a_page_that_is_given_up_changes_nothing(error: ImporterError | None) -> None:
    engine = Engine(plan(), limits=SyncLimits(isolation_posts=2, target_posts=4))
    engine.holds([1, 2, 3, 4])
    (post,) = engine.posts_after_fetches()
    engine.fail(post, REFUSED)
    first, last = engine.posts_after_fetches()
    engine.fail(first, REFUSED)
    assert engine.take() is None
    failed = dict(engine.outcomes.failed)
    engine.accept(last) if error is None else engine.fail(last, error)
    assert engine.take() is None
    assert engine.outcomes.failed == failed
    assert engine.outcomes.done["acme/news"].parts.failed == ("0",)
    assert engine.outcomes.windows.keys() == {"acme/news/archived-0"}


def test_giving_up_a_page_drops_only_its_own_queued_posts() -> None:
    engine = Engine(plan(), limits=SyncLimits(isolation_posts=2, target_posts=1))
    engine.holds(range(1, 12))
    engine.bring(engine.fetch())
    post, *fetches = engine.take_all()
    engine.fail(post, REFUSED)
    half = engine.post()
    for fetch in fetches:
        engine.carry_out(fetch)
    engine.fail(half, REFUSED)
    done = engine.rest().done["acme/news"]
    assert done.parts.failed == ("0",)
    assert done.totals.accepted == len(set(engine.sent["acme", "news"])) == 7
    assert engine.outcomes.windows.keys() == {"acme/news/4", "acme/news/8", "acme/news/archived-0"}


def test_contacts_of_a_crowded_second_are_posted_once() -> None:
    engine = Engine(plan(), paging=Paging(page_size=6, overlap=2, rounds=50))
    engine.listings["acme", "news", False] = Listing([7] * 14, rng=Random(1))
    done = engine.rest().done["acme/news"]
    assert done.complete
    windows = 6 + 6 + 6 + 2
    assert done.totals.read == 14
    assert windows + 14 <= len(engine.sent["acme", "news"]) < done.totals.read + done.totals.read_again
    assert set(engine.sent["acme", "news"]) == {str(number) for number in range(14)}


def shared(*seconds: int, records: int = 1000, limits: SyncLimits | None = None) -> tuple[Engine, Post]:
    """An engine whose first post has been answered while the other pages came, and the next post, which holds these."""
    engine = Engine(plan(), limits=limits, post_records=records)
    engine.holds(seconds)
    (first,) = engine.posts_after_fetches()
    engine.accept(first)
    engine.now += 1.0
    return engine, engine.post()


def sizes(post: Post) -> list[int]:
    """How many contacts of each page a post holds."""
    return [len(pending.batch.contacts) for pending in post.batches]


def test_small_pages_of_an_audience_that_wait_go_out_together() -> None:
    engine, post = shared(*range(1, 15))
    assert sizes(post) == [2, 6, 6]
    assert len(post.batch.records) == 14
    assert engine.take() is None
    engine.accept(post)
    assert engine.outcomes.done["acme/news"].complete
    assert engine.outcomes.windows.keys() == {f"acme/news/{key}" for key in ("0", "4", "8", "12", "archived-0")}


@pytest.mark.parametrize(
    ("records", "posts"),
    [
        pytest.param(14, [[2, 6, 6]], id="just enough for all"),
        pytest.param(13, [[2, 6], [6]], id="one too few"),
        pytest.param(7, [[2], [6], [6]], id="too few for two"),
        pytest.param(5, [[2], [6], [6]], id="fewer than a page"),
    ],
)
def test_a_shared_post_holds_no_more_records_than_the_limits_say(records: int, posts: list[list[int]]) -> None:
    engine, post = shared(*range(1, 15), records=records)
    assert [sizes(one) for one in [post, *engine.posts()]] == posts


def test_audiences_share_no_post() -> None:
    engine = Engine(plan("news"), plan("events"), post_records=1000)
    for audience in ("news", "events"):
        engine.holds(range(1, 15), audience)
    (first,) = engine.posts_after_fetches()
    engine.accept(first)
    posts = engine.posts()
    assert len(posts) == 2
    for post in posts:
        assert {pending.page.fetch.audience for pending in post.batches} == {post.audience}
    assert engine.rest(posts).done.keys() == {"acme/news", "acme/events"}
    assert set(engine.sent["acme", "events"]) == {str(number) for number in range(14)}


@pytest.mark.parametrize("rejects", [False, True], ids=["by a lower number", "by a 4xx"])
def test_pages_of_a_post_not_accepted_whole_are_resent_alone(rejects: bool) -> None:
    engine, post = shared(*range(1, 15))

    def answer(post: Post) -> None:
        bad = sum(contact.contact_id == "12" for contact in post.batch.contacts)
        if not bad:
            engine.accept(post)
        elif rejects:
            engine.fail(post, REFUSED)
        else:
            engine.accept(post, accepted=len(post.batch.contacts) - bad)

    answer(post)
    posts = engine.posts()
    assert [sizes(one) for one in posts] == [[2], [6], [6]]
    while posts:
        answer(posts.pop())
        posts.extend(engine.posts())
    done = engine.outcomes.done["acme/news"]
    assert done.complete
    assert done.totals.refused == 1
    assert {contact_id for refused in engine.outcomes.refused.values() for contact_id in refused} == {"12"}
    assert set(engine.sent["acme", "news"]) == {str(number) for number in range(14)} - {"12"}


def test_a_page_that_must_go_alone_joins_no_shared_post() -> None:
    engine = Engine(plan(), limits=SyncLimits(target_posts=1), post_records=1000)
    engine.holds(range(1, 11))
    engine.holds([1], archived=True)
    engine.bring(engine.fetch())
    first, archived, *fetches = engine.take_all()
    assert isinstance(archived, Fetch)
    assert archived.archived
    for fetch in fetches:
        engine.carry_out(fetch)
    engine.carry_out(first)
    post = engine.post()
    assert sizes(post) == [2, 6]
    engine.bring(archived)
    engine.fail(post, REFUSED)
    sent = list[list[int]]()
    while not engine.sync.finished:
        post = engine.post()
        sent.append(sizes(post))
        engine.accept(post)
    assert sent == [[1], [2], [6]]


def test_halves_of_a_page_that_is_being_isolated_share_no_post() -> None:
    engine = Engine(plan(), post_records=1000)
    engine.holds([1, 2, 3, 4])
    (post,) = engine.posts_after_fetches()
    engine.fail(post, REFUSED)
    assert [sizes(half) for half in engine.posts()] == [[2], [2]]


def test_each_page_of_a_shared_post_that_failed_is_tried_again() -> None:
    engine, post = shared(*range(1, 15), limits=SyncLimits(retries=1))
    engine.fail(post, DOWN)
    assert engine.take() is None
    assert engine.rest().done["acme/news"].complete
    assert set(engine.sent["acme", "news"]) == {str(number) for number in range(14)}


def test_a_failed_shared_post_fails_the_windows_of_all_its_pages() -> None:
    engine, post = shared(*range(1, 11), limits=NO_RETRIES)
    assert sizes(post) == [2, 6]
    engine.fail(post, DOWN)
    engine.fail(engine.probe(), DOWN)
    assert engine.outcomes.failed.keys() == {"acme/news/4", "acme/news/8"}
    said = "the target can't answer now (HTTP 500), 1 times: run it again when the target is back (https://acme.example.com)"
    assert {str(error) for error in engine.outcomes.failed.values()} == {said}


def test_a_page_that_does_not_fit_lets_a_smaller_one_pass() -> None:
    engine = Engine(plan(), post_records=8)
    engine.holds(range(1, 15))
    engine.bring(engine.fetch())
    first, *fetches = engine.take_all()
    assert isinstance(first, Post)
    for fetch in reversed(fetches):
        engine.carry_out(fetch)
    engine.carry_out(engine.fetch())  # The empty list of the archived, asked for again.
    assert engine.take() is None
    engine.accept(first)
    assert [sizes(post) for post in engine.posts()] == [[6, 2], [6]]
