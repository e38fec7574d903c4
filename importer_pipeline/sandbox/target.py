"""The target API: records are upserted by id, and some refused; in the default protocol or another (`protocols`)."""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from operator import attrgetter

from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline.sandbox.messages import JSON, SandboxAnswer, SandboxRequest, encoded
from importer_pipeline.sandbox.protocols import SEED, Outcome, Protocol, TargetRecord, plain, records_of
from importer_pipeline.sandbox.traffic import Traffic


class Manner(Enum):
    """The way a target refuses a record."""

    COUNT = "answers a lower count, the other records are stored"
    REJECT = "answers 422 to the whole batch, nothing is stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Records that a target refuses, and the way it does.

    Attributes:
        manner: the way it refuses them.
        refuses: returns True for a record that it refuses.
    """

    manner: Manner
    refuses: Callable[[TargetRecord], bool]

    @classmethod
    def of_ids(cls, ids: Sequence[str] | set[str] | frozenset[str], manner: Manner) -> "Refusal":
        """Refuse the records with these ids."""
        wanted = frozenset(ids)
        return cls(manner=manner, refuses=lambda record: record.id in wanted)


_id_of = attrgetter("id")


class RetryAfterStyle(Enum):
    """The way an overloaded target says when to retry."""

    SECONDS = "Retry-After: seconds"
    DATE = "Retry-After: an HTTP date"
    SILENT = "no Retry-After"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A limit on the posts of one key in any period of time. Those beyond are refused, and don't count.

    Attributes:
        posts: maximum number of posts.
        seconds: length of the period.
        asks: the way it says when to retry; in whole seconds, and at least one.
        status: HTTP status of a refusal: 429 or 503.
    """

    posts: int
    seconds: float
    asks: RetryAfterStyle = RetryAfterStyle.SECONDS
    status: int = 429


class SandboxTarget:
    """One account at the target, opened by one key.

    Attributes:
        name: its name in the sandbox's statistics.
        api_key: the key; the protocol says how the Authorization header holds it.
        protocol: the protocol that it speaks.
        defers: returns True for a record that it asks to send again, where its protocol can say so.
        refusals: rules for refused records; may be changed at any time.
        counts_duplicates_once: True if records with the same id in a batch count as one.
        fault_plan: the faults of its answers; may be changed at any time. For faults that depend on the batch, see
            `batches_with`.
        rate_limit: limit on its posts; None for any number. May be changed at any time.
        records: the records it holds, by id.
        posts: batches answered, with success or not.
        turned_away: batches beyond the rate limit, included in `posts`.
        stored: records stored, counted at each storing.
        traffic: counts of its requests.
    """

    def __init__(
        self, name: str, *, api_key: str, refuse: Sequence[Refusal], counts_duplicates_once: bool, lock: threading.RLock
    ) -> None:
        self.name = name
        self.api_key = api_key
        self.protocol: Protocol = SEED
        self.defers: Callable[[TargetRecord], bool] = lambda _: False
        self.refusals = tuple(refuse)
        self.counts_duplicates_once = counts_duplicates_once
        self.fault_plan = FaultPlan()
        self.rate_limit: RateLimit | None = None
        self.records: dict[str, TargetRecord] = {}
        self.posts = 0
        self.turned_away = 0
        self.stored = 0
        self.traffic = Traffic(None)
        self._lock = lock
        self._taken_at: deque[float] = deque()

    def __repr__(self) -> str:
        return f"SandboxTarget({self.name!r})"

    @property
    def authorization(self) -> str:
        """The expected Authorization header."""
        return f"{self.protocol.scheme}{self.api_key}" if self.api_key else ""

    def refuses(self, record: TargetRecord) -> bool:
        """Return whether any rule refuses the record."""
        return any(refusal.refuses(record) for refusal in self.refusals)

    def post(self, body: bytes, *, now: float) -> SandboxAnswer:
        """Take a batch and answer it. `now` is in epoch seconds."""
        with self._lock:
            self.posts += 1
            if (refusal := self._beyond_rate(now)) is not None:
                self.turned_away += 1
                return refusal
            records = self.protocol.read(plain(body))
            if records is None:
                return _error(400, "a list of records with id, firstname, lastname, email and status is expected")
            if not all(map(_id_of, records)):
                return _error(422, "a record has no id")
            if self.protocol is not SEED:
                return self._answer_in_protocol(records, now)
            by_manner = {
                manner: [refusal.refuses for refusal in self.refusals if refusal.manner is manner] for manner in Manner
            }
            if any(refuses(record) for refuses in by_manner[Manner.REJECT] for record in records):
                return _error(422, "a record is not acceptable")
            refusing = by_manner[Manner.COUNT]
            accepted = [it for it in records if not any(refuses(it) for refuses in refusing)] if refusing else records
            self.records.update(zip(map(_id_of, accepted), accepted, strict=True))
            self.stored += len(accepted)
            count = len(set(map(_id_of, accepted))) if self.counts_duplicates_once else len(accepted)
            return SandboxAnswer(status=200, headers={"Content-Type": JSON}, body=encoded({"response": count}))

    def _answer_in_protocol(self, records: Sequence[TargetRecord], now: float) -> SandboxAnswer:
        outcomes = [
            Outcome.REFUSED if self.refuses(record) else Outcome.DEFERRED if self.defers(record) else Outcome.STORED
            for record in records
        ]
        if not self.protocol.is_whole or Outcome.REFUSED not in outcomes:
            stored = [record for record, it in zip(records, outcomes, strict=True) if it is Outcome.STORED]
            self.records.update((record.id, record) for record in stored)
            self.stored += len(stored)
        answer = self.protocol.answer(records, outcomes)
        return SandboxAnswer(status=answer.status, headers={**answer.headers, **self._rate(now)}, body=answer.body)

    def _rate(self, now: float) -> dict[str, str]:
        """Return the headers that say how many posts are left."""
        limit = self.rate_limit
        if limit is None:
            return {}
        resets = math.ceil(self._taken_at[0] + limit.seconds - now) if self._taken_at else 0
        return {"RateLimit-Remaining": str(limit.posts - len(self._taken_at)), "RateLimit-Reset": str(resets)}

    def _beyond_rate(self, now: float) -> SandboxAnswer | None:
        limit = self.rate_limit
        if limit is None:
            return None
        while self._taken_at and self._taken_at[0] <= now - limit.seconds:
            self._taken_at.popleft()
        if len(self._taken_at) < limit.posts:
            self._taken_at.append(now)
            return None
        until_room = self._taken_at[-limit.posts] + limit.seconds - now if limit.posts else limit.seconds
        wait_seconds = max(1, math.ceil(until_room))
        asked = {
            RetryAfterStyle.SECONDS: {"Retry-After": str(wait_seconds)},
            RetryAfterStyle.DATE: {"Retry-After": formatdate(math.ceil(now) + wait_seconds, usegmt=True)},
            RetryAfterStyle.SILENT: {},
        }
        headers = {"Content-Type": JSON, "Date": formatdate(now, usegmt=True), **asked[limit.asks]}
        return SandboxAnswer(status=limit.status, headers=headers, body=encoded({"error": "too many posts"}))


def batches_with(bad: Callable[[TargetRecord], bool]) -> Callable[[SandboxRequest], bool]:
    """Match the batches that hold a `bad` record, for a `Rule` whose fault depends on what is sent."""

    def applies(request: SandboxRequest) -> bool:
        return any(bad(record) for record in records_of(request.body))

    return applies


def answer_target(request: SandboxRequest, target: SandboxTarget | None, *, now: float) -> SandboxAnswer:
    """Answer one request to the target; `target` is the one that the key opens, None if it opens nothing."""
    if target is None:
        return _error(401, "the key is not known")
    protocol, last = target.protocol, request.path.rpartition("/")[2]
    if protocol.check and last == protocol.check:
        return SandboxAnswer(status=200, headers={"Content-Type": JSON}, body=encoded({"account": "open"}))
    if last != protocol.path:
        return _error(404, f"the only path is /{protocol.path}")
    if request.method != protocol.method:
        return _error(405, f"the only method is {protocol.method}")
    return target.post(request.body, now=now)


def _error(status: int, text: str) -> SandboxAnswer:
    return SandboxAnswer(status=status, headers={"Content-Type": JSON}, body=encoded({"error": text}))
