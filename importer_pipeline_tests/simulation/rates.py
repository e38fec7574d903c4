"""Rate limits on both sides, by 429 or 503, with a Retry-After in seconds or as a date, or without."""

import math
from collections import deque
from email.utils import formatdate
from random import Random

from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.target import RateLimit, RetryAfterStyle
from importer_pipeline.sandbox.twists import asks_for_patience
from importer_pipeline_tests.simulation.scenario import Dimension, Scenario


class RateLimits(Dimension):
    """A target, an account or both answer a limited number of requests in a period, and refuse the others."""

    def __init__(self, scenario: Scenario, rng: Random) -> None:
        super().__init__(scenario, rng)
        world = rng.choice(scenario.worlds)
        self._requests, self._seconds = rng.randint(2, 20), rng.choice((2.0, 20.0, 60.0))
        self._status, self._asks = rng.choice((429, 503)), rng.choice(("seconds", "date", "date"))
        self._answered: deque[float] = deque()
        where = rng.choice(("target", "account", "both"))
        if where != "account":
            asks, status = rng.choice(tuple(RetryAfterStyle)), 429
            if asks is not RetryAfterStyle.SILENT:
                status = rng.choice((429, 503))
            world.target.rate_limit = RateLimit(
                posts=rng.randint(1, 10), seconds=rng.choice((1.0, 10.0, 60.0)), asks=asks, status=status
            )
        if where != "target":
            scenario.sandbox.accounts[world.account].twists.append(self._twist)

    def _twist(self, _request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        now = self.scenario.clock.now
        while self._answered and self._answered[0] <= now - self._seconds:
            self._answered.popleft()
        if len(self._answered) < self._requests:
            self._answered.append(now)
            return answer
        wait = max(1, math.ceil(self._answered[0] + self._seconds - now))
        asked = str(wait) if self._asks == "seconds" else formatdate(math.ceil(now) + wait, usegmt=True)
        patience = asks_for_patience(self._status, asked)
        return SandboxAnswer(status=patience.status, headers={**answer.headers, **patience.headers}, body=patience.body)
