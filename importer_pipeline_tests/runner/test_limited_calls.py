"""Calls that wait for a connection: how long, for whom, and after which answers."""

from dataclasses import dataclass

import pytest

from importer_pipeline.engine.concurrency import ConcurrencyLimiter, ThrottlePolicy
from importer_pipeline.errors import NoFreeConnection, RequestRefused, TooManyRequests, Unavailable
from importer_pipeline.runner.limited_calls import LimitedCalls


@dataclass
class Time:
    """A clock that moves only when somebody sleeps."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds


class Answers:
    """Gives one answer after the other, or raises it."""

    def __init__(self, *answers: str | Exception) -> None:
        self.left = list(answers)

    def __call__(self) -> str:
        """Send one request."""
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def limiter(limit: int = 10) -> ConcurrencyLimiter:
    """A limiter that has had an answer."""
    made = ConcurrencyLimiter(limit, throttling=ThrottlePolicy())
    made.answered()
    return made


def calls(time: Time, *limiters: ConcurrencyLimiter, retries: int = 1) -> LimitedCalls:
    return LimitedCalls(
        of="the Mailchimp account of acme", limiters=limiters, wait_seconds=60.0, retries=retries,
        retry_pause_seconds=5.0, clock=time, sleep=time.sleep,
    )  # fmt: skip


def test_a_call_without_a_free_connection_fails_in_time() -> None:
    """Nothing is sent, and the connection that it has already is given back."""
    time, free, full = Time(), limiter(), limiter(1)
    assert full.acquire(time.now)
    with pytest.raises(
        NoFreeConnection, match="no connection to the Mailchimp account of acme became free within 60 s"
    ):
        calls(time, free, full).call(Answers(), str)
    assert (free.in_use, full.in_use) == (0, 1)
    assert time.now == pytest.approx(1060.0)


def test_a_429_is_waited_out_and_is_no_retry() -> None:
    time, used = Time(), limiter()
    answers = Answers(TooManyRequests("busy"), TooManyRequests("busy", retry_after_seconds=30.0), "whole")
    assert calls(time, used, retries=0).call(answers, str) == "whole"
    assert time.now == pytest.approx(1032.0, abs=0.2)
    assert used.in_use == 0


def test_what_may_pass_is_retried_and_a_refusal_is_not() -> None:
    time, used = Time(), limiter()
    assert calls(time, used).call(Answers(Unavailable("down"), "whole"), str) == "whole"
    assert time.now == 1005.0
    for last in (Unavailable("down"), RequestRefused("no")):
        with pytest.raises(type(last)):
            calls(time, used, retries=0).call(Answers(last), str)
    assert used.in_use == 0


def test_a_connection_is_free_while_the_answer_is_read() -> None:
    used = limiter()
    assert calls(Time(), used).call(lambda: used.in_use, lambda sent: (sent, used.in_use)) == (1, 0)
