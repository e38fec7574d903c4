"""Requests of a person who waits: what may pass is retried, what hangs is not."""

import pytest

from importer_pipeline.checking.connections import patiently
from importer_pipeline.errors import KeyRefused, TooManyRequests, TooSlow, Unavailable


class Server:
    """Answers requests with errors, each after some seconds of its clock, and then with "well"."""

    def __init__(self, *errors: Exception, seconds: float) -> None:
        self.now = 0.0
        self.requests = 0
        self._errors = list(errors)
        self._seconds = seconds

    def request(self) -> str:
        self.requests += 1
        self.now += self._seconds
        if self._errors:
            raise self._errors.pop(0)
        return "well"

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ask(self) -> str:
        return patiently(self.request, sleep=self.sleep, clock=lambda: self.now)


def test_what_may_pass_is_retried_after_pauses() -> None:
    server = Server(Unavailable("down"), Unavailable("down"), seconds=0.2)
    assert (server.ask(), server.requests) == ("well", 3)
    assert server.now == pytest.approx(3 * 0.2 + 0.5 + 2.0)


def test_a_busy_server_is_waited_for_as_long_as_it_asks() -> None:
    server = Server(TooManyRequests("busy", retry_after_seconds=20.0), seconds=0.2)
    assert (server.ask(), server.now) == ("well", pytest.approx(20.4))


def test_what_hangs_is_requested_once() -> None:
    """Three time-outs of half a minute would hold up the findings about all other clients."""
    server = Server(TooSlow("no answer"), TooSlow("no answer"), seconds=30.0)
    with pytest.raises(TooSlow):
        server.ask()
    assert (server.requests, server.now) == (1, 30.0)


def test_what_does_not_pass_is_requested_once() -> None:
    server = Server(KeyRefused("refused"), seconds=0.2)
    with pytest.raises(KeyRefused):
        server.ask()
    assert server.requests == 1
