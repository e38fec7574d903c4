"""Faults of requests, and how often they occur: pure decisions, no waiting and no network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from importer_pipeline.sandbox.messages import HTML, JSON, PROBLEM_JSON, SandboxAnswer, SandboxRequest, encoded


class Fault(Enum):
    """A way for a request to go wrong."""

    ERROR_500 = "500, Mailchimp's own problem document (U)"
    TOO_MANY_REQUESTS = "429, as if other tools of the client used all connections"
    GATEWAY_TIMEOUT = "504 with HTML, the time-out of the CDN (U)"
    BLOCKED_HTML = "403 with HTML, a blocked IP address (U)"
    AKAMAI_503 = "503 with Akamai's JSON, a blocked IP address (U)"
    CUT = "fewer bytes than Content-Length says"
    RESET = "the connection is reset before any answer"
    BROKEN_JSON = "200 with a body that is not JSON"
    WRONG_SHAPE = "200 with JSON of another shape"
    HANG = "no answer at all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The time that an answer takes, in seconds: drawn evenly between two bounds, sometimes from a slow tail.

    Attributes:
        least_seconds: the lower bound.
        most_seconds: the upper bound.
        slow_share: the share of answers that take `slow_seconds` instead.
        slow_seconds: the bounds of the slow ones.
    """

    least_seconds: float = 0.0
    most_seconds: float = 0.0
    slow_share: float = 0.0
    slow_seconds: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def fixed(cls, seconds: float) -> "Latency":
        """Return a latency that is always the same."""
        return cls(least_seconds=seconds, most_seconds=seconds)

    def draw(self, random: Random) -> float:
        """Draw the seconds for one answer."""
        if self.slow_share and random.random() < self.slow_share:
            return random.uniform(*self.slow_seconds)
        return random.uniform(self.least_seconds, self.most_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault for particular requests, each time.

    Attributes:
        applies: returns True for the requests that it is for.
        fault: the fault, or the answer to send instead.
        after_storing: at a target, True to strike after the batch is stored, not before.
    """

    applies: Callable[[SandboxRequest], bool]
    fault: Fault | SandboxAnswer
    after_storing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """The faults and the latency of an account or a target.

    Attributes:
        rates: the share of requests that each fault strikes; together at most 1.
        rates_after_storing: the same, at a target, after the batch is stored.
        rules: faults for particular requests, applied before the rates; the first that matches strikes.
        page_limit: pages of more members than this get a 504 (U); None for no limit.
        latency: the time that an answer takes.
        hang_seconds: the time that a hanging request keeps its slot, even if its caller has gone.
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    rates_after_storing: Mapping[Fault, float] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    page_limit: int | None = None
    latency: Latency = field(default_factory=Latency)
    hang_seconds: float = 120.0

    def fate(self, request: SandboxRequest, random: Random) -> "Fate":
        """Draw what happens to this request, independently at each call."""
        latency = self.latency.draw(random)
        fault, after_storing = self._fault(request, random)
        return Fate(
            fault=fault, after_storing=after_storing, answer_after_seconds=latency,
            compute_after_seconds=latency * random.random(),
        )  # fmt: skip

    def _fault(self, request: SandboxRequest, random: Random) -> tuple[Fault | SandboxAnswer | None, bool]:
        for rule in self.rules:
            if rule.applies(request):
                return rule.fault, rule.after_storing
        if self.page_limit is not None and _count(request) > self.page_limit:
            return Fault.GATEWAY_TIMEOUT, False
        draw = random.random()
        for rates, after_storing in ((self.rates, False), (self.rates_after_storing, True)):
            for fault, rate in rates.items():
                draw -= rate
                if draw < 0:
                    return fault, after_storing
        return None, False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """The fault and the latency of one request.

    Attributes:
        fault: the fault, or the answer to send instead; None if nothing goes wrong.
        after_storing: True if it strikes after the answer is computed: at a target, after the batch is stored.
        answer_after_seconds: from the arrival to the answer.
        compute_after_seconds: from the arrival to the moment at which the answer is true.
    """

    fault: Fault | SandboxAnswer | None = None
    after_storing: bool = False
    answer_after_seconds: float = 0.0
    compute_after_seconds: float = 0.0


def at_offsets(*offsets: int, method: str = "GET") -> Callable[[SandboxRequest], bool]:
    """Match the pages of members that begin at one of these offsets, for a `Rule`."""
    wanted = {str(offset) for offset in offsets}

    def applies(request: SandboxRequest) -> bool:
        return (
            request.method == method
            and request.path.endswith("/members")
            and request.query.get("offset", "0") in wanted
        )

    return applies


REFUSED = SandboxAnswer(
    status=400,
    headers={"Content-Type": PROBLEM_JSON},
    body=encoded({
        "type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": "Invalid Resource", "status": 400,
        "detail": "The resource submitted could not be validated.", "instance": "",
    }),
)  # fmt: skip
"""Mailchimp's own 400: the request is refused permanently, however often and in whatever parts it is repeated."""


def spoiled(fault: Fault | SandboxAnswer, answer: SandboxAnswer) -> SandboxAnswer:
    """Return what a fault makes of a right answer; for `CUT`, `RESET` and `HANG`, what would have been sent."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() in ("date", "x-request-id")}
    if isinstance(fault, SandboxAnswer):
        return replace(fault, headers={**headers, **fault.headers})
    if fault is Fault.BROKEN_JSON:
        return SandboxAnswer(status=200, headers={**headers, "Content-Type": JSON}, body=answer.body[:-1] + b"<")
    if fault is Fault.WRONG_SHAPE:
        return SandboxAnswer(status=200, headers={**headers, "Content-Type": JSON}, body=b'{"members":{"0":null}}')
    if fault not in _SPOILED:
        return answer
    status, kind, body = _SPOILED[fault]
    return SandboxAnswer(status=status, headers={**headers, "Content-Type": kind}, body=body)


def _count(request: SandboxRequest) -> int:
    count = request.query.get("count", "10")
    return min(int(count), 1000) if count.isdecimal() and request.path.endswith("/members") else 0


_SPOILED: dict[Fault, tuple[int, str, bytes]] = {
    Fault.ERROR_500: (500, PROBLEM_JSON, encoded({
        "type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": "Internal Server Error",
        "status": 500, "detail": "A deep, internal error has occurred during the processing of your request. "
        "Please contact support.", "instance": "",
    })),
    Fault.TOO_MANY_REQUESTS: (429, PROBLEM_JSON, encoded({
        "type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": "TooManyRequests", "status": 429,
        "detail": "You have exceeded the limit of 10 simultaneous connections.", "instance": "",
    })),
    Fault.GATEWAY_TIMEOUT: (504, HTML, b"<html><head><title>504 Gateway Time-out</title></head></html>"),
    Fault.BLOCKED_HTML: (403, HTML, b"<html><head><title>Access Denied</title></head></html>"),
    Fault.AKAMAI_503: (503, JSON, encoded({
        "type": "akamai_error_message", "title": "akamai_503", "status": 503,
        "ref_no": "Reference Number: 00.00000000.0000000000.0000000",
    })),
}  # fmt: skip
