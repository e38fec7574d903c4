"""Calls of an API that wait for a free connection, for callers that may block. Syncs ask the limiter themselves.

Stays out: what is requested (`mailchimp_reader`, `target_writer`), and the counting (`engine/concurrency.py`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from importer_pipeline.engine.concurrency import ConcurrencyLimiter
from importer_pipeline.errors import (
    BrokenAnswer,
    NoFreeConnection,
    QuarantineWindow,
    StopAudience,
    TooManyRequests,
    TryAgain,
)

AnswerT = TypeVar("AnswerT")
ResultT = TypeVar("ResultT")

_LOOK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCalls:
    """Sends requests one after another in each thread, and any number of threads may share it."""

    of: str
    """What is called, for the error's text: an account or a target."""
    limiters: Sequence[ConcurrencyLimiter]
    """The counts in which each request needs a connection: all of them."""
    wait_seconds: float
    """Maximum time for which one call waits for connections, pauses after 429 included."""
    retries: int
    """How often a request is sent again after a failure that may pass; 429 does not count."""
    retry_pause_seconds: float
    """The pause before the first retry, doubled with each further one."""
    clock: Callable[[], float] = time.monotonic
    """Seconds of a clock that only goes forward, the same as that of the syncs."""
    sleep: Callable[[float], None] = time.sleep
    """Waits for seconds."""

    def call(self, send: Callable[[], AnswerT], read: Callable[[AnswerT], ResultT]) -> ResultT:
        """Wait for a connection, send a request, give the connection back, and read the answer.

        Args:
            send: sends the request and returns its complete answer; it alone holds a connection.
            read: turns the answer into the result, or raises what it means.

        Raises:
            NoFreeConnection: no connection became free in time.
            ImporterError: by the answer, or by the lack of one, after all retries.
        """
        gives_up_at = self.clock() + self.wait_seconds
        tries = 0
        while True:
            self._acquire(gives_up_at)
            asked_at = self.clock()
            try:
                try:
                    answer = send()
                finally:
                    self._release()
                result = read(answer)
            except TooManyRequests as error:
                for limiter in self.limiters:
                    limiter.refused(
                        requested_at=asked_at, now=self.clock(), retry_after_seconds=error.retry_after_seconds
                    )
            except (BrokenAnswer, StopAudience, QuarantineWindow) as error:
                self._answered()
                tries += 1
                if not isinstance(error, TryAgain) or tries > self.retries:
                    raise
                self.sleep(self.retry_pause_seconds * 2.0 ** (tries - 1))
            except TryAgain:
                tries += 1
                if tries > self.retries:
                    raise
                self.sleep(self.retry_pause_seconds * 2.0 ** (tries - 1))
            else:
                self._answered()
                return result

    def _acquire(self, gives_up_at: float) -> None:
        for position, limiter in enumerate(self.limiters):
            try:
                self._wait_for(limiter, gives_up_at)
            except BaseException:
                for taken in self.limiters[:position]:
                    taken.release()
                raise

    def _wait_for(self, limiter: ConcurrencyLimiter, gives_up_at: float) -> None:
        with limiter.queued():
            while not limiter.acquire_queued(now := self.clock()):
                if now >= gives_up_at:
                    raise NoFreeConnection(
                        f"no connection to {self.of} became free within {self.wait_seconds:g} s",
                        remedy="run it again when less is read, or let it wait longer (wait_seconds)",
                    )
                self.sleep(min(_LOOK_AGAIN_SECONDS, max(0.001, gives_up_at - now)))

    def _release(self) -> None:
        for limiter in self.limiters:
            limiter.release()

    def _answered(self) -> None:
        for limiter in self.limiters:
            limiter.answered()
