"""How many requests may be on the wire: one until an answer has come, ten at most, fewer after 429s, and counted once."""

import threading

import pytest

from importer_pipeline.engine.concurrency import ConcurrencyLimiter, LimiterRegistry, ThrottlePolicy

PATIENCE = ThrottlePolicy()


def proven(limit: int = 10) -> ConcurrencyLimiter:
    """Connections that have been answered once."""
    connections = ConcurrencyLimiter(limit, throttling=PATIENCE)
    connections.answered()
    return connections


def acquired(connections: ConcurrencyLimiter, now: float) -> int:
    """How many can be taken at that moment; they are kept."""
    count = 0
    while connections.acquire(now):
        count += 1
    return count


def free(connections: ConcurrencyLimiter, now: float) -> int:
    """How many could be taken at that moment; they are given back."""
    count = acquired(connections, now)
    for _ in range(count):
        connections.release()
    return count


def refuse(connections: ConcurrencyLimiter, now: float) -> float:
    """One request that finds all connections taken elsewhere."""
    return connections.refused(requested_at=now, now=now)


def test_until_the_first_answer_there_is_one_connection() -> None:
    connections = ConcurrencyLimiter(10, throttling=PATIENCE)
    assert acquired(connections, 0.0) == 1
    connections.release()
    assert acquired(connections, 1.0) == 1
    connections.answered()
    assert acquired(connections, 2.0) == 9


def test_a_429_is_no_first_answer() -> None:
    connections = ConcurrencyLimiter(10, throttling=PATIENCE)
    due = refuse(connections, 0.0)
    assert free(connections, due) == 1


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_there_are_as_many_connections_as_the_limit_says(limit: int) -> None:
    assert acquired(proven(limit), 0.0) == limit


def test_a_429_takes_one_connection_away() -> None:
    connections = proven()
    due = refuse(connections, 0.0)
    assert free(connections, due) == 9


def test_the_429s_of_one_wave_take_one_connection_together() -> None:
    connections = proven()
    for _ in range(10):
        assert connections.acquire(0.0)
    for moment in (1.0, 1.1, 1.2):
        connections.release()
        due = connections.refused(requested_at=0.0, now=moment)
        assert due == 3.0
    for _ in range(7):
        connections.release()
    assert free(connections, due) == 9


def test_a_429_to_a_later_request_takes_another_connection() -> None:
    connections = proven()
    due = refuse(connections, 0.0)
    due = refuse(connections, due)
    assert free(connections, due) == 8


def test_there_is_never_less_than_one_connection() -> None:
    connections, due = proven(3), 0.0
    for _ in range(6):
        due = refuse(connections, due)
    assert free(connections, due) == 1


def test_after_a_429_nothing_is_sent_for_a_while() -> None:
    connections = proven()
    due = refuse(connections, 100.0)
    assert due == 102.0
    assert free(connections, 101.9) == 0
    assert free(connections, 102.0) == 9


def test_rests_grow_with_each_429_up_to_the_longest() -> None:
    connections, now, rests = proven(), 0.0, list[float]()
    for _ in range(5):
        due = refuse(connections, now)
        rests.append(due - now)
        now = due
    assert rests == [2.0, 4.0, 8.0, 15.0, 15.0]


def test_an_answer_lets_rests_begin_anew() -> None:
    connections = proven()
    refuse(connections, 0.0)
    refuse(connections, 10.0)
    connections.answered()
    assert refuse(connections, 20.0) == 22.0


def test_one_connection_comes_back_per_30_quiet_seconds() -> None:
    connections = proven()
    refuse(connections, 0.0)
    refuse(connections, 10.0)
    counts = {now: free(connections, now) for now in (39.9, 40.0, 69.9, 70.0, 1000.0)}
    assert counts == {39.9: 8, 40.0: 9, 69.9: 9, 70.0: 10, 1000.0: 10}


def test_the_time_before_a_429_does_not_count_as_quiet_after_it() -> None:
    connections = proven()
    assert free(connections, 1000.0) == 10
    refuse(connections, 1001.0)
    assert free(connections, 1030.9) == 9
    assert free(connections, 1031.0) == 10


def test_an_account_is_exhausted_after_300_seconds_of_only_429() -> None:
    connections = proven()
    assert not connections.exhausted(10_000.0)
    refuse(connections, 10.0)
    refuse(connections, 200.0)
    assert not connections.exhausted(309.9)
    assert connections.exhausted(310.0)


def test_one_answer_keeps_an_account_from_being_exhausted() -> None:
    connections = proven()
    refuse(connections, 0.0)
    connections.answered()
    refuse(connections, 200.0)
    assert not connections.exhausted(300.0)
    assert connections.exhausted(500.0)


@pytest.mark.parametrize(
    ("asked", "rest"),
    [(None, 2.0), (0.0, 2.0), (1.0, 2.0), (40.0, 40.0), (600.0, 600.0), (86_400.0, 600.0)],
)
def test_a_rest_is_as_long_as_the_answer_asks_up_to_a_bound(asked: float | None, rest: float) -> None:
    connections = proven()
    due = connections.refused(requested_at=100.0, now=100.0, retry_after_seconds=asked)
    assert due == connections.paused_until == 100.0 + rest
    assert free(connections, due - 0.1) == 0
    assert free(connections, due) >= 9


def test_of_a_wave_the_longest_rest_that_is_asked_for_is_kept() -> None:
    connections = proven()
    for asked, due in ((5.0, 6.0), (40.0, 41.0), (None, 41.0), (1.0, 41.0)):
        assert connections.refused(requested_at=0.5, now=1.0, retry_after_seconds=asked) == due
    assert free(connections, 41.0) == 10  # One was taken away, and 30 seconds were quiet.


@pytest.mark.parametrize(
    ("asked", "given_up"),
    [
        pytest.param(0.0, 314.0, id="none"),
        pytest.param(5.0, 468.0, id="shorter than ours"),
        pytest.param(40.0, 920.0, id="rests that come to more than are granted"),
        pytest.param(400.0, 1200.0, id="twice as long as our patience"),
    ],
)
def test_requested_pauses_do_not_count_as_busy_up_to_a_bound(asked: float, given_up: float) -> None:
    connections, now = proven(), 0.0
    while not connections.exhausted(now):
        due = connections.refused(requested_at=now, now=now, retry_after_seconds=asked)
        if not connections.exhausted(now):
            now = due
    assert now == given_up


def test_an_answer_ends_what_was_granted() -> None:
    connections = proven()
    connections.refused(requested_at=0.0, now=0.0, retry_after_seconds=500.0)
    connections.answered()
    refuse(connections, 600.0)
    assert not connections.exhausted(899.9)
    assert connections.exhausted(900.0)


def test_one_name_has_one_count_whoever_asks() -> None:
    limiters = LimiterRegistry()
    one = limiters.of(("account", "acme"), 3, throttling=PATIENCE)
    other = limiters.of(("account", "acme"), 10, throttling=PATIENCE)
    assert one is other
    assert limiters.of(("target", "acme"), 3, throttling=PATIENCE) is not one
    one.answered()
    assert acquired(other, 0.0) == 3


def test_threads_never_take_more_than_there_are() -> None:
    connections, taken = proven(7), list[int]()
    start = threading.Barrier(4)

    def take() -> None:
        start.wait()
        taken.append(acquired(connections, 0.0))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == connections.in_use == 7


def test_a_sync_and_queued_callers_take_turns() -> None:
    """The only connection goes to each of them in turn, however fast one of them comes back."""
    shared = ConcurrencyLimiter(1, throttling=ThrottlePolicy())
    turns = list[str]()
    with shared.queued():
        for tick in range(12):
            now = tick / 10
            if shared.in_use:
                shared.release()
            if shared.acquire(now):
                turns.append("sync")
            elif shared.acquire_queued(now):
                turns.append("queued")
    assert turns == ["queued", "sync"] * 6
    shared.release()
    assert shared.acquire(2.0)


def test_a_connection_is_kept_for_a_sync_for_a_second_only() -> None:
    shared = ConcurrencyLimiter(1, throttling=ThrottlePolicy())
    with shared.queued():
        assert shared.acquire_queued(0.0)
        assert not shared.acquire(0.5)
        shared.release()
        assert not shared.acquire_queued(1.4)
        assert shared.acquire_queued(1.6)
