"""Faults that depend on the content of the right answer, or that falsify it.

Faults by chance or by the request alone are in `faults`. A twist gets the request and the right answer, and returns the
answer to send instead, or a fault of the connection (`Fault.HANG`, `CUT`, `RESET`).
"""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from enum import Enum
from typing import Any

from importer_pipeline.sandbox.faults import Fault
from importer_pipeline.sandbox.messages import HTML, JSON, SandboxAnswer, SandboxRequest, encoded

Twist = Callable[[SandboxRequest, SandboxAnswer], SandboxAnswer | Fault]
"""Turns a right answer into itself, another one, or a fault on its way."""

Spoiler = Fault | SandboxAnswer | Callable[[SandboxAnswer], SandboxAnswer]
"""A replacement for an answer: a fault's, a fixed one, or one made of the right one."""

_MEMBERS = "/members"


class Nonsense(Enum):
    """A way for a member of a page to be malformed, although the page is valid JSON."""

    NO_OBJECT = "a string in its place"
    NULL = "null in its place"
    NO_TIME = "no last_changed"
    NO_TEXT = "last_changed is a number"
    BAD_TIME = "last_changed is not a time"


def edge_page(status: int) -> SandboxAnswer:
    """Return HTML from an intermediary, as edges and firewalls send it with any status (U)."""
    return SandboxAnswer(
        status=status, headers={"Content-Type": HTML}, body=b"<html><head><title>Access Denied</title></head></html>"
    )


def edge_json(status: int) -> SandboxAnswer:
    """Return the JSON of Mailchimp's own edge (V for 503): it looks like a problem document, but is none."""
    document = {
        "type": "akamai_error_message", "title": f"akamai_{status}", "status": status,
        "ref_no": "Reference Number: 00.00000000.0000000000.0000000",
    }  # fmt: skip
    return SandboxAnswer(status=status, headers={"Content-Type": JSON}, body=encoded(document))


def asks_for_patience(status: int, retry_after: str | None) -> SandboxAnswer:
    """Return a 429 or 503, with a Retry-After if one is given."""
    headers = {"Content-Type": HTML} if retry_after is None else {"Content-Type": HTML, "Retry-After": retry_after}
    return SandboxAnswer(status=status, headers=headers, body=b"<html>Too Many Requests</html>")


def where_members(ids: Collection[str], becomes: Spoiler) -> Twist:
    """Spoil each answer that holds one of these members, in a page or alone."""
    wanted = [f'"{one}"'.encode() for one in ids]

    def twist(_request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer | Fault:
        return _spoil(answer, becomes) if any(one in answer.body for one in wanted) else answer

    return twist


def beyond_offset(offset: int, becomes: Spoiler) -> Twist:
    """Spoil each page that begins beyond an offset, however small it is."""

    def twist(request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer | Fault:
        is_beyond = _is_page(request) and int(request.query.get("offset", "0")) > offset
        return _spoil(answer, becomes) if is_beyond else answer

    return twist


def with_total(total: Callable[[int], int]) -> Twist:
    """Replace the `total_items` of each page of members."""

    def twist(request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        if not _is_page(request) or answer.status != 200:
            return answer
        document = json.loads(answer.body)
        document["total_items"] = total(document["total_items"])
        return replace(answer, body=encoded(document))

    return twist


def empty(answer: SandboxAnswer) -> SandboxAnswer:
    """Return the page without members, and with a total of 0."""
    return replace(answer, body=encoded({**json.loads(answer.body), "members": [], "total_items": 0}))


def without(answer: SandboxAnswer, ids: Collection[str]) -> SandboxAnswer:
    """Return the page without these members, and with the total that counts them."""
    document = json.loads(answer.body)
    document["members"] = [
        member for member in document["members"] if not isinstance(member, dict) or member["id"] not in ids
    ]
    return replace(answer, body=encoded(document))


def with_date(*dates: str) -> Twist:
    """Give each answer these Date headers; several are joined as HTTP clients join them."""

    def twist(_request: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        return replace(answer, headers={**answer.headers, "Date": ", ".join(dates)})

    return twist


def senseless(ids: Collection[str], nonsense: Nonsense) -> Callable[[SandboxAnswer], SandboxAnswer]:
    """Make these members of an answer malformed, in a page or alone; the others stay as they are."""

    def made(member: Any) -> Any:
        if member.get("id") not in ids:
            return member
        rest = {name: value for name, value in member.items() if name != "last_changed"}
        return {
            Nonsense.NO_OBJECT: "a member", Nonsense.NULL: None, Nonsense.NO_TIME: rest,
            Nonsense.NO_TEXT: {**rest, "last_changed": 1}, Nonsense.BAD_TIME: {**rest, "last_changed": "!"},
        }[nonsense]  # fmt: skip

    def spoiler(answer: SandboxAnswer) -> SandboxAnswer:
        document = json.loads(answer.body)
        if "members" in document:
            document["members"] = [made(member) for member in document["members"]]
        else:
            document = made(document)
        return replace(answer, body=encoded(document))

    return spoiler


def _spoil(answer: SandboxAnswer, becomes: Spoiler) -> SandboxAnswer | Fault:
    if isinstance(becomes, Fault):
        return becomes
    if isinstance(becomes, SandboxAnswer):
        return replace(becomes, headers={**answer.headers, **becomes.headers})
    return becomes(answer)


def _is_page(request: SandboxRequest) -> bool:
    return request.path.endswith(_MEMBERS)
