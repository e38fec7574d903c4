"""A request's way through the sandbox: one of ten slots, its fate, its answer. Shared by server and adapter.

arrive ──a──▶ in progress ──b──▶ computed ──c──▶ answered
  │                │                 │
  d                └────────e────────┘
  ▼                         ▼
refused                   abandoned, until the answer would have been due

a  `Passage.arrive`, a slot is free       b  `Visit.compute`      c  `Visit.leave`
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
    """The way an answer is sent."""

    WHOLE = "as it is"
    CUT = "half of the body, then the connection closes"
    RESET = "the connection is reset before the first byte"
    HANG = "never, while the caller waits"


_ENDINGS = {Fault.CUT: Ending.CUT, Fault.RESET: Ending.RESET, Fault.HANG: Ending.HANG}


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request on its way. Its carrier waits as `fate` says, and calls `compute`, then `leave` or `abandon`, once.

    Attributes:
        request: the request.
        sandbox: the one that answers it.
        traffic: the traffic in which it holds a slot; None if it holds none.
        fate: its fault and latency.
        arrived_at: the time of its arrival, epoch seconds.
        hang_seconds: the time it keeps its slot if it hangs.
        answer: the answer to send; None until it is computed.
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
        """The way the answer is sent."""
        fault = self.fate.fault
        return _ENDINGS.get(fault, Ending.WHOLE) if isinstance(fault, Fault) else Ending.WHOLE

    def compute(self) -> SandboxAnswer:
        """Answer the request at this moment; a target stores the batch now if it does at all."""
        if self.answer is None:
            self.answer = self._answered()
        return self.answer

    def leave(self) -> None:
        """Free the slot: the answer has been sent."""
        if self.traffic is not None and self.answer is not None:
            self.traffic.leave(self.sandbox.clock(), status=self.answer.status, bytes_sent=len(self.answer.body))

    def abandon(self) -> None:
        """Keep the slot taken until the answer would have been due: the caller has gone without it (D)."""
        if self.traffic is not None:
            lasts = self.hang_seconds if self.ending is Ending.HANG else self.fate.answer_after_seconds
            self.traffic.abandon(self.sandbox.clock(), until=self.arrived_at + lasts)

    def _answered(self) -> SandboxAnswer:
        fault = self.fate.fault
        if fault is None:
            return self.sandbox.answer(self.request)
        if is_target(self.request) and not self.fate.after_storing:
            # Nothing of the batch may be stored, so there is no right answer: a stand-in is spoiled.
            return spoiled(fault, SandboxAnswer(status=200, headers={}, body=b'{"response": 0}'))
        return spoiled(fault, self.sandbox.answer(self.request))


class Passage:
    """The entrance of a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def arrive(self, request: SandboxRequest) -> Visit:
        """Accept a request. One too many is answered with 429 at once."""
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
    """Compute the answer now, as the twists depend on it, and apply them."""
    answer = visit.sandbox.answer(visit.request)
    for twist in twists:
        became = twist(visit.request, answer)
        if isinstance(became, Fault):
            visit.fate = replace(visit.fate, fault=became)
            answer = spoiled(became, answer)
            break
        answer = became
    visit.answer = answer
