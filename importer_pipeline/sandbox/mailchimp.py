"""The routes of Mailchimp's Marketing API 3.0, read only. Facts and their sources: docs of each function.

Stays out: limits and faults (`passage`), keys (`core`).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import formatdate
from typing import Any

from importer_pipeline.sandbox.accounts import SandboxAccount
from importer_pipeline.sandbox.documents import (
    SCHEMA,
    collection_links,
    list_document,
    member_document,
    merge_field_documents,
    short_hash,
)
from importer_pipeline.sandbox.fields import chosen, tree_of, without
from importer_pipeline.sandbox.members import Order, Selection
from importer_pipeline.sandbox.messages import (
    JSON,
    PROBLEM_JSON,
    SandboxAnswer,
    SandboxRequest,
    encoded,
    problem_document,
)
from importer_pipeline.sandbox.rendering import members_json

ROOT = "/3.0"
MAX_A_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """An error to answer with: HTTP status, title and detail as Mailchimp words them."""

    status: int
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A resource to answer with: the whole JSON text, and the schema that the Link header names."""

    body: bytes
    schema: str


_Reply = _Found | _Problem
_Handler = Callable[[SandboxRequest, SandboxAccount, Mapping[str, str]], _Reply]

_KEY_INVALID = _Problem(
    status=401, title="API Key Invalid",
    detail="Your API key may be invalid, or you've attempted to access the wrong datacenter.",
)  # fmt: skip
_DISABLED = _Problem(status=403, title="User Disabled", detail="This account has been deactivated.")
_NOT_FOUND = _Problem(status=404, title="Resource Not Found", detail="The requested resource could not be found.")
_WRONG_METHOD = _Problem(
    status=405, title="Method Not Allowed",
    detail="The requested method and resource are not compatible. See the Allow header for this resource's methods.",
)  # fmt: skip
TOO_MANY = _Problem(
    status=429, title="TooManyRequests", detail="You have exceeded the limit of 10 simultaneous connections."
)


def answer_mailchimp(
    request: SandboxRequest, account: SandboxAccount | None, *, now: int, request_id: str
) -> SandboxAnswer:
    """Answer one request; `account` is the one that the key opens, None if it opens nothing."""
    return _sent(_reply(request, account), now=now, request_id=request_id)


def too_many_requests(*, now: int, request_id: str) -> SandboxAnswer:
    """Answer one request too many: 429, and no Retry-After (D)."""
    return _sent(TOO_MANY, now=now, request_id=request_id)


def route_of(request: SandboxRequest) -> str:
    """Return the route of a request, without ids: `GET /lists/{list_id}/members`."""
    matched = _matched(request.path)
    return f"{request.method} {matched[0] if matched else 'unknown'}"


def utc_moment(text: str | None) -> int | None:
    """Return epoch seconds of a time in the query; None if there is none or it is ignored.

    A time whose offset is not UTC is ignored silently (U); so is one whose `+` was not encoded and arrives as a space.
    """
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if moment.utcoffset() not in (None, timedelta(0)):
        return None
    return int((moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds())


def _reply(request: SandboxRequest, account: SandboxAccount | None) -> _Reply:
    if account is None:
        return _KEY_INVALID
    if account.disabled:
        return _DISABLED
    matched = _matched(request.path)
    if matched is None:
        return _NOT_FOUND
    if request.method != "GET":
        return _WRONG_METHOD
    if request.query.get("fields") and request.query.get("exclude_fields"):
        return _invalid("fields and exclude_fields can't be used together.")
    if _paging(request) is None:
        return _invalid("count and offset must be positive integers.")
    _, handler, names = matched
    return handler(request, account, names)


def _ping(request: SandboxRequest, _account: SandboxAccount, _names: Mapping[str, str]) -> _Reply:
    return _document(request, {"health_status": "Everything's Chimpy!"}, "APIHealth/Response.json")


def _root(request: SandboxRequest, account: SandboxAccount, _names: Mapping[str, str]) -> _Reply:
    account_id = short_hash(account.name, 25)
    document = {
        "account_id": account_id,
        "login_id": account_id,
        "account_name": account.name,
        "email": "owner@example.com",
        "role": "owner",
        "pricing_plan_type": "monthly",
        "total_subscribers": sum(listed.counts()["subscribed"] for listed in account.lists.values()),
        "_links": [],
    }
    return _document(request, document, "Root.json")


def _lists(request: SandboxRequest, account: SandboxAccount, _names: Mapping[str, str]) -> _Reply:
    lists = list(account.lists.values())
    offset, count = _paging(request) or (0, 0)
    document = {
        "lists": [list_document(listed) for listed in lists[offset : offset + count]],
        "total_items": len(lists),
        "constraints": {"may_create": False, "max_instances": len(lists), "current_total_instances": len(lists)},
        "_links": collection_links("/lists", "Lists"),
    }
    return _document(request, document, "Lists/Collection.json")


def _list(request: SandboxRequest, account: SandboxAccount, names: Mapping[str, str]) -> _Reply:
    listed = account.lists.get(names["list_id"])
    return _document(request, list_document(listed), "Lists/Instance.json") if listed else _NOT_FOUND


def _merge_fields(request: SandboxRequest, account: SandboxAccount, names: Mapping[str, str]) -> _Reply:
    listed = account.lists.get(names["list_id"])
    if listed is None:
        return _NOT_FOUND
    offset, count = _paging(request) or (0, 0)
    document = {
        "merge_fields": merge_field_documents(listed)[offset : offset + count],
        "list_id": listed.list_id,
        "total_items": len(listed.tags),
        "_links": collection_links(f"/lists/{listed.list_id}/merge-fields", "Lists/MergeFields"),
    }
    return _document(request, document, "Lists/MergeFields/Collection.json")


def _member(request: SandboxRequest, account: SandboxAccount, names: Mapping[str, str]) -> _Reply:
    listed = account.lists.get(names["list_id"])
    member = listed.find(names["member"]) if listed else None
    if listed is None or member is None:
        return _NOT_FOUND
    return _document(request, member_document(member, listed), "Lists/Members/Instance.json")


def _members(request: SandboxRequest, account: SandboxAccount, names: Mapping[str, str]) -> _Reply:
    listed = account.lists.get(names["list_id"])
    if listed is None:
        return _NOT_FOUND
    members, total = listed.read(_selection(request))
    links = collection_links(f"/lists/{listed.list_id}/members", "Lists/Members")
    rest = {"list_id": listed.list_id, "total_items": total, "_links": links}
    fields, excluded = request.query.get("fields", ""), request.query.get("exclude_fields", "")
    if excluded:
        document = {"members": [member_document(member, listed) for member in members], **rest}
        return _document(request, document, "Lists/Members/Collection.json")
    tree = tree_of(fields)
    parts = [f'"members":{members_json(members, listed, fields)}'] if not tree or "members" in tree else []
    parts += [f'"{name}":{json.dumps(value)}' for name, value in chosen(rest, tree).items()]
    body = "{" + ",".join(parts) + "}"
    return _Found(body=body.encode("ascii"), schema="Lists/Members/Collection.json")


def _segment_members(request: SandboxRequest, account: SandboxAccount, names: Mapping[str, str]) -> _Reply:
    """Answer with a segment's members (D): others than subscribed ones only on request, and never archived ones."""
    listed = account.lists.get(names["list_id"])
    segment = listed.segment(names["segment_id"]) if listed else None
    if listed is None or segment is None:
        return _NOT_FOUND
    statuses = {"subscribed"} | {
        status
        for status in ("cleaned", "transactional", "unsubscribed")
        if request.query.get(f"include_{status}") == "true"
    }
    members = [member for member in segment if member.status in statuses]
    offset, count = _paging(request) or (0, 0)
    document = {
        "members": [member_document(member, listed) for member in members[offset : offset + count]],
        "total_items": len(members),
        "_links": collection_links(
            f"/lists/{listed.list_id}/segments/{names['segment_id']}/members", "Lists/Segments/Members"
        ),
    }
    return _document(request, document, "Lists/Segments/Members/Collection.json")


def _selection(request: SandboxRequest) -> Selection:
    """Read the selection of members. Archived ones only by `status=archived` (V); 10 by default (D)."""
    query = request.query
    offset, count = _paging(request) or (0, 0)
    order: Order = "undocumented"
    if query.get("sort_field") == "last_changed":
        order = "descending" if query.get("sort_dir", "").upper() == "DESC" else "ascending"
    return Selection(
        status=query.get("status") or None, since=utc_moment(query.get("since_last_changed")),
        before=utc_moment(query.get("before_last_changed")), order=order, offset=offset, count=count,
    )  # fmt: skip


def _paging(request: SandboxRequest) -> tuple[int, int] | None:
    """Read offset and count; more than 1000 is clamped silently (D). None if one of them is not a number."""
    offset, count = request.query.get("offset", "0"), request.query.get("count", "10")
    if not (offset.isdecimal() and count.isdecimal()):
        return None
    return int(offset), min(int(count), MAX_A_PAGE)


def _document(request: SandboxRequest, document: dict[str, Any], schema: str) -> _Found:
    """Return the document reduced to `fields`, or without `exclude_fields`."""
    excluded = request.query.get("exclude_fields", "")
    document = chosen(document, tree_of(request.query.get("fields", "")))
    return _Found(body=encoded(without(document, filter(None, excluded.split(",")))), schema=schema)


def _invalid(detail: str) -> _Problem:
    return _Problem(status=400, title="Invalid Resource", detail=detail)


def _sent(reply: _Reply, *, now: int, request_id: str) -> SandboxAnswer:
    """Return the reply with the header fields of recorded answers (V). `Date` is the account's clock."""
    if isinstance(reply, _Problem):
        status, kind, schema = reply.status, PROBLEM_JSON, f"{SCHEMA}/Definitions/ProblemDetailDocument.json"
        body = encoded(problem_document(reply.status, reply.title, reply.detail, request_id))
    else:
        status, kind, schema, body = 200, JSON, f"{SCHEMA}/{reply.schema}", reply.body
    headers = {
        "Server": "openresty", "Content-Type": kind, "Vary": "Accept-Encoding", "X-Request-Id": request_id,
        "Link": f'<{schema}>; rel="describedBy"', "Date": formatdate(now, usegmt=True),
    }  # fmt: skip
    return SandboxAnswer(status=status, headers=headers, body=body)


def _matched(path: str) -> tuple[str, _Handler, Mapping[str, str]] | None:
    for route, pattern, handler in _ROUTES:
        if found := pattern.fullmatch(path):
            return route, handler, found.groupdict()
    return None


def _route(route: str, handler: _Handler) -> tuple[str, re.Pattern[str], _Handler]:
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route.rstrip("/")))
    return route, re.compile(f"{re.escape(ROOT)}{pattern}/?"), handler


_ROUTES = [
    _route("/lists/{list_id}/segments/{segment_id}/members", _segment_members),
    _route("/lists/{list_id}/members", _members),
    _route("/lists/{list_id}/members/{member}", _member),
    _route("/lists/{list_id}/merge-fields", _merge_fields),
    _route("/lists/{list_id}", _list),
    _route("/lists", _lists),
    _route("/ping", _ping),
    _route("/", _root),
]
