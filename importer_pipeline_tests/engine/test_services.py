"""What rests until later: pauses that grow, calls that are due, and who waits for a connection."""

from random import Random

import pytest

from importer_pipeline.engine.concurrency import ConcurrencyLimiter, ThrottlePolicy
from importer_pipeline.engine.services import Service, SyncLimits, Timers
from importer_pipeline_tests.support.factories import Halfway


def service(timers: Timers, *, limit: int = 1) -> Service:
    return Service(ConcurrencyLimiter(limit, throttling=ThrottlePolicy()), timers)


def test_pauses_double_from_try_to_try() -> None:
    limits = SyncLimits(first_pause_seconds=4.0)
    assert [limits.pause_seconds(tries, Halfway()) for tries in (1, 2, 3)] == [4.5, 9.0, 18.0]


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_pause_is_up_to_a_quarter_longer(tries: int) -> None:
    rng, least = Random(1), 5.0 * 2 ** (tries - 1)
    drawn = {SyncLimits().pause_seconds(tries, rng) for _ in range(200)}
    assert least <= min(drawn) < least * 1.02
    assert least * 1.23 < max(drawn) <= least * 1.25


def test_calls_are_made_in_the_order_in_which_they_are_due() -> None:
    timers, made = Timers(), list[tuple[str, float]]()
    timers.at(3.0, lambda now: made.append(("third", now)))
    timers.at(1.0, lambda now: made.append(("first", now)))
    timers.at(1.0, lambda now: made.append(("second", now)))
    assert timers.next == 1.0
    timers.run(0.9)
    assert made == []
    timers.run(1.0)
    assert made == [("first", 1.0), ("second", 1.0)]
    assert timers.next == 3.0
    timers.run(4.0)
    assert made[2:] == [("third", 4.0)]
    assert timers.next is None


def test_a_call_may_set_the_next_one() -> None:
    timers, made = Timers(), list[float]()

    def again(now: float) -> None:
        made.append(now)
        if len(made) < 3:
            timers.at(now + 1, again)

    timers.at(0.0, again)
    for now in (0.0, 1.0, 2.0, 3.0):
        timers.run(now)
    assert made == [0.0, 1.0, 2.0]


def test_a_parked_call_is_made_when_a_request_is_done() -> None:
    timers, made = Timers(), list[float]()
    busy = service(timers)
    assert busy.acquire(0.0)
    assert not busy.acquire(0.0)
    busy.park(0.0, made.append)
    assert timers.next is None
    busy.release(7.0)
    assert made == [7.0]
    assert busy.acquire(7.0)


def test_who_is_parked_is_called_once() -> None:
    timers, made = Timers(), list[float]()
    busy = service(timers)
    busy.park(0.0, made.append)
    busy.unpark(1.0)
    busy.unpark(2.0)
    assert made == [1.0]


def test_a_call_that_parks_itself_again_waits_for_the_next_time() -> None:
    busy, made = service(Timers()), list[float]()

    def again(now: float) -> None:
        made.append(now)
        busy.park(now, again)

    busy.park(0.0, again)
    busy.unpark(1.0)
    assert made == [1.0]
    busy.unpark(2.0)
    assert made == [1.0, 2.0]


def test_with_no_request_in_flight_parked_calls_come_soon() -> None:
    timers, made = Timers(), list[str]()
    idle = service(timers)
    idle.park(10.0, lambda _: made.append("one"))
    idle.park(10.1, lambda _: made.append("other"))
    assert timers.next == pytest.approx(10.2)
    timers.run(10.3)
    assert made == ["one", "other"]
    assert timers.next is None


def test_only_our_own_requests_count_as_in_flight() -> None:
    timers = Timers()
    limiter = ConcurrencyLimiter(1, throttling=ThrottlePolicy())
    ours, others = Service(limiter, timers), Service(limiter, timers)
    assert others.acquire(0.0)
    assert not ours.acquire(0.0)
    assert (ours.in_flight, others.in_flight) == (0, 1)
    others.release(1.0)
    assert ours.acquire(1.0)


def test_who_waits_for_a_rest_to_end_is_called_when_it_does() -> None:
    timers, made = Timers(), list[float]()
    resting = service(timers)
    resting.limiter.refused(requested_at=10.0, now=10.0, retry_after_seconds=40.0)
    resting.park(10.0, made.append)
    assert timers.next == 50.0
    timers.run(50.0)
    assert made == [50.0]
