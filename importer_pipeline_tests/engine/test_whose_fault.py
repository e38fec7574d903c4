"""Why a post fails: what it holds, the key, or the target. No contact, key or target is blamed before that is clear."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    IsolationGivenUp,
    RecordRefused,
    TargetDown,
    TargetKeyRefused,
    TargetMisplaced,
    TooManyRequests,
    TriesUsedUp,
    Unavailable,
)
from importer_pipeline.records.receipt import Receipt
from importer_pipeline_tests.support.factories import Engine, plan

FORBIDDEN = TargetKeyRefused("the target refuses the batch (HTTP 403)")
REVOKED = TargetKeyRefused("the target refuses the key (HTTP 401)")
DOWN = Unavailable("the target can't answer now (HTTP 500)")
REFUSED = RecordRefused("the target refuses the batch (HTTP 422)", status=422)
FAILURES = {
    "a firewall's 403": FORBIDDEN,
    "a redirect": TargetMisplaced("the target refuses the batch (HTTP 302)"),
    "a server error": DOWN,
    "a garbled answer": BrokenAnswer("no answer from the target: the answer was cut off or garbled"),
}
URL = "https://shared.example.com"


def holds_any(post: Post, bad: set[str]) -> bool:
    """Whether one of these contacts is in it."""
    return any(contact.contact_id in bad for contact in post.batch.contacts)


def run(
    engine: Engine, bad: dict[str, set[str]], error: ImporterError, *, probe: ImporterError | None = None
) -> list[Post]:
    """Let the targets fail for whatever holds one of a client's bad contacts, and for probes if so said; all posts of it."""
    posts = list[Post]()
    while not engine.sync.finished:
        requests = engine.take_all()
        if not requests:
            engine.wait()
        engine.now += 0.1
        for request in requests:
            posts += [request] if isinstance(request, Post) else []
            if isinstance(request, Probe):
                engine.lives(request) if probe is None else engine.fail(request, probe)
            elif isinstance(request, Post) and holds_any(request, bad.get(request.audience.plan.name.client, set())):
                engine.fail(request, error)
            else:
                engine.carry_out(request)
    return posts


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_a_contact_that_causes_a_failure_is_quarantined_alone(error: ImporterError) -> None:
    engine = Engine(plan())
    engine.holds(range(1, 60))
    run(engine, {"acme": {"18", "39"}}, error)
    assert sorted(key for ids in engine.outcomes.refused.values() for key in ids) == ["18", "39"]
    assert engine.outcomes.done["acme/news"].complete
    assert set(engine.sent["acme", "news"]) == {str(number) for number in range(59)} - {"18", "39"}


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_the_only_contact_is_blamed_only_if_a_probe_passes(error: ImporterError) -> None:
    engine = Engine(plan())
    engine.holds([1])
    run(engine, {"acme": {"0"}}, error)
    assert engine.outcomes.refused == {"acme/news/0": ["0"]}
    assert engine.outcomes.done["acme/news"].complete


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 40),
    bad=st.sets(st.integers(0, 39)),
    error=st.sampled_from([*FAILURES.values(), REFUSED]),
    records=st.sampled_from([1, 14, 1000]),
    at_once=st.integers(1, 4),
)
def test_whatever_fails_each_contact_is_taken_or_named(
    count: int, bad: set[int], error: ImporterError, records: int, at_once: int
) -> None:
    limits = SyncLimits(isolation_posts=1000, target_posts=at_once)
    engine = Engine(plan(), limits=limits, post_records=records)
    engine.holds(range(1, count + 1))
    ids = {str(number) for number in bad if number < count}
    run(engine, {"acme": ids}, error)
    assert {key for keys in engine.outcomes.refused.values() for key in keys} == ids
    assert set(engine.sent.get(("acme", "news"), [])) == {str(number) for number in range(count)} - ids
    assert engine.outcomes.done["acme/news"].complete


def test_a_part_is_tried_once_and_a_contact_alone_twice() -> None:
    engine = Engine(plan())
    engine.holds([1, 2, 3, 4])
    posts = [[contact.contact_id for contact in post.batch.contacts] for post in run(engine, {"acme": {"0"}}, DOWN)]
    assert [posts.count(ids) for ids in (list("0123"), list("01"), ["0"])] == [4, 1, 2]


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_a_page_that_fails_too_much_is_given_up_within_budget(error: ImporterError) -> None:
    engine = Engine(plan(), limits=SyncLimits(isolation_posts=2, retries=0))
    engine.holds([1, 2, 3, 4])
    posts = run(engine, {"acme": set("0123")}, error)
    assert isinstance(engine.outcomes.failed["acme/news/0"], IsolationGivenUp)
    assert len(posts) <= 3


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_key_that_nothing_passes_with_blames_no_contact(count: int) -> None:
    engine = Engine(plan())
    engine.holds(range(1, count + 1))
    posts = run(engine, {"acme": {str(number) for number in range(count)}}, FORBIDDEN, probe=REVOKED)
    done = engine.outcomes.done["acme/news"]
    assert (done.error, engine.outcomes.refused, len(posts)) == (REVOKED, {}, 1)


def test_a_key_that_is_revoked_on_the_way_blames_no_contact() -> None:
    engine = Engine(plan())
    engine.holds(range(1, 60))
    revoked = False
    while not engine.sync.finished:
        engine.now += 0.1
        for request in engine.take_all():
            revoked = revoked or len(engine.sent.get(("acme", "news"), [])) > 20
            if isinstance(request, Fetch) or not revoked:
                engine.carry_out(request)
            else:
                engine.fail(request, REVOKED)
    assert engine.outcomes.done["acme/news"].error is REVOKED
    assert engine.outcomes.refused == {}


def test_a_target_failing_during_isolation_blames_no_contact() -> None:
    engine = Engine(plan(), limits=SyncLimits(retries=0))
    engine.holds([1, 2, 3, 4])
    (whole,) = settle(engine)
    engine.fail(whole, REFUSED)
    first, last = settle(engine)
    engine.carry_out(first)
    engine.fail(last, REFUSED)
    while not engine.sync.finished:
        for request in settle(engine):
            engine.fail(request, DOWN)
    assert isinstance(engine.outcomes.failed["acme/news/0"], TriesUsedUp)
    assert engine.outcomes.refused == {}


def test_while_the_cause_is_unclear_the_client_sends_nothing() -> None:
    engine = Engine(plan(client="acme", target=URL), plan(client="other", target=URL))
    for client in ("acme", "other"):
        engine.holds(range(1, 60), client=client)
    for request in settle(engine):
        engine.carry_out(request)
    doubted, went = False, list[type[object]]()
    for _ in range(6):
        for request in settle(engine):
            if request.audience.plan.name.client == "other":
                engine.carry_out(request)
            elif not doubted:
                engine.fail(request, FORBIDDEN)
                doubted = True
            else:
                went.append(type(request))
    assert went.count(Probe) == 1
    assert went[-1] is Probe
    assert len(engine.sent["other", "news"]) > 20


def settle(engine: Engine) -> list[Post | Probe]:
    """What is asked of targets when Mailchimp has brought all that it may bring."""
    asked = list[Post | Probe]()
    engine.now += 0.1
    while requests := engine.take_all():
        for request in requests:
            engine.bring(request) if isinstance(request, Fetch) else asked.append(request)
    return asked


def test_a_firewall_and_a_moment_of_trouble_blame_no_contact_yet() -> None:
    engine = Engine(plan())
    engine.holds([1])
    (post,) = settle(engine)
    engine.fail(post, FORBIDDEN)
    engine.fail(engine.probe(), DOWN)
    assert engine.take() is None
    engine.wait()
    assert engine.rest().done["acme/news"].complete
    assert engine.outcomes.refused == {}


def test_a_probe_that_is_turned_away_is_sent_again_later() -> None:
    engine = Engine(plan())
    engine.holds([1])
    (post,) = settle(engine)
    engine.fail(post, FORBIDDEN)
    engine.fail(engine.probe(), TooManyRequests("the target is busy (HTTP 429)", retry_after_seconds=40.0))
    assert engine.take() is None
    assert engine.wait() == pytest.approx(40.0)
    engine.lives(engine.probe())
    assert engine.outcomes.refused == {"acme/news/0": ["0"]}


def test_a_target_in_trouble_gives_up_the_page_and_blames_nobody() -> None:
    engine = Engine(plan(), limits=SyncLimits(retries=1))
    engine.holds([1, 2])
    run(engine, {"acme": {"0", "1"}}, DOWN, probe=DOWN)
    error = engine.outcomes.failed["acme/news/0"]
    assert isinstance(error, TriesUsedUp)
    assert (
        str(error)
        == "the target can't answer now (HTTP 500), 2 times: run it again when the target is back (https://acme.example.com)"
    )
    assert engine.outcomes.refused == {}


def test_one_failing_client_does_not_stop_others_of_its_url() -> None:
    engine = Engine(
        plan(client="bad", target=URL), plan(client="idle", target=URL), limits=SyncLimits(retries=0, target_posts=1)
    )
    engine.holds(range(1, 60), client="bad")
    engine.holds(range(1, 60), client="idle")
    waiting = list[Post | Probe]()
    while "bad/news" not in engine.outcomes.done:
        for request in settle(engine):
            if request.audience.plan.name.client == "idle":
                waiting.append(request)
                engine.sync.connection_freed(request, engine.now)
            else:
                engine.fail(request, DOWN)
    assert isinstance(engine.outcomes.done["bad/news"].error, TargetDown)
    assert "idle/news" not in engine.outcomes.done
    for request in waiting:
        assert isinstance(request, Post)
        sent = len(request.batch.contacts)
        engine.sync.posted(request, Receipt(sent=sent, accepted=sent), engine.now)
    assert engine.rest().done["idle/news"].complete


def test_two_clients_contents_do_not_bring_down_a_url() -> None:
    names = ("a", "b", "c")
    engine = Engine(*(plan(client=name, target=URL) for name in names), limits=SyncLimits(retries=0))
    for name in names:
        engine.holds(range(1, 40), client=name)
    run(engine, {"a": {"3", "20"}, "b": {"7", "30"}}, DOWN)
    assert all(engine.outcomes.done[f"{name}/news"].complete for name in names)
