"""A request's way through the sandbox: a place among the ten, its fate, its answer. Server and adapter share it.

arrive ──a──▶ in progress ──b──▶ computed ──c──▶ answered
  │                │                 │
  d                └────────e────────┘
  ▼                         ▼
refused                   a ghost, until the answer would have been ready

a  `Passage.arrive`, a place is free      b  `Visit.compute`      c  `Visit.leave`
d  `Passage.arrive`, all are taken: 429   e  `Visit.abandon`: the caller has gone
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from importer_pipeline.sandbox.core import Sandbox, is_mailchimp, is_target
from importer_pipeline.sandbox.faults import Fate, Fault, spoiled
from importer_pipeline.sandbox.mailchimp import route_of, too_many_requests
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.traffic import Traffic
from importer_pipeline.sandbox.twists import Twist


class Ending(Enum):
    """How an answer leaves."""

    WHOLE = "as it is"
    CUT = "half of the body, then the connection closes"
    RESET = "the connection is reset before the first byte"
    HANG = "never, while the caller waits"


_ENDINGS = {Fault.CUT: Ending.CUT, Fault.RESET: Ending.RESET, Fault.HANG: Ending.HANG}


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request on its way. Whoever carries it waits as told, and calls `compute`, then `leave` or `abandon`, once.

    Attributes:
        request: the request.
        sandbox: where it is answered.
        traffic: where it holds a place; None if it holds none.
        fate: what happens to it.
        arrived_at: when it came, epoch seconds.
        hang_seconds: how long it keeps its place if it hangs.
        answer: what to send; None until it is computed.
    """

    request: SandboxRequest
    sandbox: Sandbox
    traffic: Traffic | None
    fate: Fate
    arrived_at: float
    hang_seconds: float
    answer: SandboxAnswer | None = field(default=None)

    @property
    def ending(self) -> Ending:
        """How the answer leaves."""
        fault = self.fate.fault
        return _ENDINGS.get(fault, Ending.WHOLE) if isinstance(fault, Fault) else Ending.WHOLE

    def compute(self) -> SandboxAnswer:
        """Answers the request at this moment; at a target, the batch is stored now if it is at all."""
        if self.answer is None:
            self.answer = self._answered()
        return self.answer

    def leave(self) -> None:
        """The answer has gone out: the place is free."""
        if self.traffic is not None and self.answer is not None:
            self.traffic.leave(self.sandbox.clock(), status=self.answer.status, bytes_sent=len(self.answer.body))

    def abandon(self) -> None:
        """The caller has gone without an answer: the place stays taken until there would have been one (D)."""
        if self.traffic is not None:
            lasts = self.hang_seconds if self.ending is Ending.HANG else self.fate.answer_after_seconds
            self.traffic.abandon(self.sandbox.clock(), until=self.arrived_at + lasts)

    def _answered(self) -> SandboxAnswer:
        fault = self.fate.fault
        if fault is None:
            return self.sandbox.answer(self.request)
        if is_target(self.request) and not self.fate.after_storing:
            # Nothing of the batch may be stored: what is sent stands for an answer that never was.
            return spoiled(fault, SandboxAnswer(status=200, headers={}, body=b'{"response": 0}'))
        return spoiled(fault, self.sandbox.answer(self.request))


class Passage:
    """The door of a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def arrive(self, request: SandboxRequest) -> Visit:
        """Takes a request in. One too many is answered already, with 429, and waits for nothing."""
        sandbox = self._sandbox
        now = sandbox.clock()
        owner = sandbox.target_of(request) if is_target(request) else None
        account = sandbox.account_of(request) if owner is None and is_mailchimp(request) else None
        owner = owner or account
        if owner is None:
            return Visit(request=request, sandbox=sandbox, traffic=None, fate=Fate(), arrived_at=now, hang_seconds=0.0)
        visit = Visit(
            request=request, sandbox=sandbox, traffic=owner.traffic, fate=Fate(), arrived_at=now,
            hang_seconds=owner.fault_plan.hang_seconds,
        )  # fmt: skip
        route = route_of(request) if account else f"{request.method} /record"
        if not owner.traffic.arrive(route, now):
            visit.traffic = None
            visit.answer = too_many_requests(now=int(now), request_id=sandbox.request_id())
            return visit
        with sandbox.lock:
            visit.fate = owner.fault_plan.fate(request, sandbox.random)
            if account is not None and account.twists and visit.fate.fault is None:
                _twist(visit, account.twists)
        return visit


def _twist(visit: Visit, twists: Sequence[Twist]) -> None:
    """Answer now, as what goes wrong hangs on the answer, and let it go wrong."""
    answer = visit.sandbox.answer(visit.request)
    for twist in twists:
        became = twist(visit.request, answer)
        if isinstance(became, Fault):
            visit.fate = replace(visit.fate, fault=became)
            answer = spoiled(became, answer)
            break
        answer = became
    visit.answer = answer
