"""A target that asks for patience is slower and loses nothing; and one client's patience is not another's."""

from collections import deque
from dataclasses import replace
from itertools import pairwise

import pytest

from importer_pipeline.engine.audience_plan import TargetRules
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.posts import Post
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import TargetBusy, TooManyRequests
from importer_pipeline.records.receipt import Receipt
from importer_pipeline_tests.support.factories import NOW, Engine, plan

URL = "https://shared.example.com"
FULL = TooManyRequests("the target is busy (HTTP 429)", retry_after_seconds=40.0)
SILENT = TooManyRequests("the target is busy (HTTP 429)")


def flowing(*, target_posts: int) -> tuple[Engine, list[Post]]:
    """An engine whose target has answered once, and its posts a second later."""
    engine = Engine(plan(), limits=SyncLimits(target_posts=target_posts))
    engine.holds(range(1, 99))
    (post,) = engine.posts_after_fetches()
    engine.accept(post)
    engine.now += 1.0
    return engine, engine.posts_after_fetches()


@pytest.mark.parametrize("error", [FULL, SILENT], ids=["Retry-After", "nothing said"])
def test_patience_uses_up_no_try(error: TooManyRequests) -> None:
    engine = Engine(plan(), limits=SyncLimits(retries=0))
    engine.holds([1, 2])
    for _ in range(8):
        (post,) = engine.posts_after_fetches()
        engine.fail(post, error)
        assert engine.take() is None
        engine.wait()
    assert engine.rest().done["acme/news"].complete
    assert engine.outcomes.failed == {}


def test_after_a_requested_pause_one_post_goes_first() -> None:
    engine, posts = flowing(target_posts=4)
    engine.now += 0.5
    for post in posts:
        engine.fail(post, FULL)
    assert engine.posts_after_fetches() == []
    assert engine.wait() == pytest.approx(40.0)
    (first,) = engine.posts_after_fetches()
    engine.accept(first)
    posts = engine.posts_after_fetches()
    assert len(posts) == 4  # The 40 seconds were quiet, so that the lost connection is back.
    assert engine.rest(posts).done["acme/news"].complete


def test_a_429_takes_one_post_away() -> None:
    engine, posts = flowing(target_posts=4)
    engine.fail(posts.pop(), SILENT)
    for post in posts:
        engine.accept(post)
    engine.now += 2.0
    assert len(engine.posts_after_fetches()) == 3


def test_what_was_turned_away_goes_out_first() -> None:
    engine, posts = flowing(target_posts=1)
    engine.fail(posts[0], FULL)
    assert engine.take() is None
    engine.wait()
    assert engine.posts_after_fetches()[0].batches == posts[0].batches


def test_throttling_one_client_does_not_slow_others_of_its_url() -> None:
    limits = SyncLimits(undelivered_pages=8, target_posts=4)
    engine = Engine(plan(client="full", target=URL), plan(client="fine", target=URL), limits=limits)
    for client in ("full", "fine"):
        engine.holds(range(1, 200), client=client)
    while "fine/news" not in engine.outcomes.done:
        assert engine.now < NOW + 10.0
        engine.now += 0.01
        for request in engine.take_all():
            if isinstance(request, Post) and request.audience.plan.name.client == "full":
                engine.fail(request, FULL)
            else:
                engine.carry_out(request)
    assert engine.outcomes.done["fine/news"].complete
    assert engine.rest().done["full/news"].complete


@pytest.mark.parametrize(("error", "minutes"), [(SILENT, 5), (FULL, 15)], ids=["nothing said", "Retry-After"])
def test_minutes_of_only_throttling_stop_that_client_alone(error: TooManyRequests, minutes: int) -> None:
    engine = Engine(plan(client="full", target=URL), plan(client="fine", target=URL))
    for client in ("full", "fine"):
        engine.holds(range(1, 30), client=client)
    while not engine.sync.finished:
        requests = engine.take_all()
        if not requests:
            engine.wait()
        for request in requests:
            if isinstance(request, Post) and request.audience.plan.name.client == "full":
                engine.fail(request, error)
            else:
                engine.carry_out(request)
    busy = engine.outcomes.done["full/news"].error
    assert isinstance(busy, TargetBusy)
    assert "max_posts" in str(busy)
    assert minutes * 60 <= engine.now - NOW <= minutes * 60 + 60
    assert engine.outcomes.done["fine/news"].complete
    assert engine.outcomes.refused == {}


def test_a_target_that_takes_a_post_a_minute_is_not_left() -> None:
    engine = Engine(plan(), limits=SyncLimits(stall_seconds=900.0, target_posts=1))
    engine.holds(range(1, 150))
    waiting = list[Post]()
    while not engine.sync.finished:
        waiting += engine.posts_after_fetches()
        engine.now += 60.0
        if waiting:
            engine.accept(waiting.pop(0))
    assert engine.outcomes.done["acme/news"].complete
    assert engine.now - NOW > 1800.0


def test_sixty_posts_a_minute_and_429s_lose_nothing() -> None:
    """A full sync of 120 windows: the rate is kept, and what the target refuses anyhow is sent again."""
    paced = replace(plan(), target_rules=TargetRules(posts_per_second=1.0, posts_at_once=4))
    engine = Engine(paced)
    engine.holds(range(1, 4 * 120))
    taken, throttled, began = deque[float](), 0, engine.now
    while not engine.sync.finished:
        if not (requests := engine.take_all()):
            engine.wait()
        for request in requests:
            while taken and taken[0] <= engine.now - 60.0:
                taken.popleft()
            if not isinstance(request, Post):
                engine.carry_out(request)
            elif len(taken) >= 40:  # A part of the rate is used by others.
                throttled += 1
                engine.fail(request, TooManyRequests("busy", retry_after_seconds=taken[0] + 60.0 - engine.now))
            else:
                taken.append(engine.now)
                engine.accept(request)
    assert engine.outcomes.done["acme/news"].complete
    assert len(engine.outcomes.windows) >= 119
    assert (engine.outcomes.failed, engine.outcomes.refused) == ({}, {})
    assert 0 < throttled < 20
    assert engine.now - began >= 119.0


def test_clients_with_one_account_at_a_target_share_its_rate() -> None:
    rules = TargetRules(account="targets.crm", posts_per_second=0.5)
    plans = [replace(plan(client=client, target=URL), target_rules=rules) for client in ("one", "two")]
    engine = Engine(*plans, limiters=LimiterRegistry())
    for client in ("one", "two"):
        engine.holds(range(1, 30), client=client)
    sent = list[float]()
    while not engine.sync.finished:
        if not (requests := engine.take_all()):
            engine.wait()
        for request in requests:
            sent += [engine.now] if isinstance(request, Post) else []
            engine.carry_out(request)
    assert len(sent) > 10
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 2.0


def test_a_pause_that_a_receipt_asks_for_is_kept() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 30))
    (post,) = engine.posts_after_fetches()
    engine.sync.connection_freed(post, engine.now)
    sent = len(post.batch.contacts)
    engine.sync.posted(post, Receipt(sent=sent, accepted=sent, pause_seconds=7.0), engine.now)
    assert engine.posts_after_fetches() == []
    assert engine.wait() == pytest.approx(7.0)
    assert len(engine.posts_after_fetches()) > 1
