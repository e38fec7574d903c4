"""Mailchimp's Marketing API 3.0: the five requests that the importer sends, any other GET, and the parsing of answers.

`MailchimpClient` only sends: it returns a complete `Answer` of any status, so that the caller can give the account's
connection to another request before parsing it. The `read_...` functions are pure. Stays out: the meaning of other
statuses and of failed connections (`mailchimp/errors.py`), the checks that a page is sorted, within its bounds and long
enough (`listing/coverage.py`), retries and the number of connections (`engine/sync.py`).
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, urlencode

from importer_pipeline.errors import BrokenAnswer, KeyRefused, MemberUnreadable, RequestRefused
from importer_pipeline.http.connections import Adapter
from importer_pipeline.http.hosts import host_of
from importer_pipeline.http.json_bodies import NotJSON, page_document, small_document
from importer_pipeline.http.wire import Answer, Limits, Route, Wire
from importer_pipeline.listing.coverage import BEGINNING, PageRequest
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials, token_base_url
from importer_pipeline.mailchimp.errors import fault_error, proves_absence, status_error

__all__ = [
    "OAUTH_METADATA_URL",
    "Answer",
    "CredentialKind",
    "Credentials",
    "MailchimpClient",
    "MailchimpLimits",
    "MembersPage",
    "json_object",
    "read_document",
    "read_list",
    "read_member",
    "read_members",
    "read_ping",
    "server_time",
]

OAUTH_METADATA_URL = "https://login.mailchimp.com/oauth2/metadata"

_AS_THEY_ARE = ",:"
"""What a query may hold unencoded (RFC 3986), which takes 3 % less of a small request's CPU."""

_SMALL_BYTES = 64 * 1024
_FIELD_BYTES = 1024
_PATH = re.compile(r"/|(?:/(?:[\w.~@:-]|%[0-9A-Fa-f]{2})+)+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailchimpLimits(Limits):
    """Timeouts and size limits for Mailchimp. A call may take 120 s, and uses its connection even if given up (D)."""

    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 150.0
    answer_timeout_seconds: float = 240.0
    body_limit_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersPage:
    """One page of a list's members.

    Attributes:
        members: as Mailchimp sent them, each with a text `last_changed`. Not in the repr: they are personal data.
        total_items: how many members match the request's filters (D).
        server_time: when the page was sent, in epoch seconds by Mailchimp's clock; None without a Date header.
    """

    members: list[dict[str, Any]] = field(repr=False)
    total_items: int
    server_time: int | None


def body_limit_bytes(*, contacts: int, fields: str) -> int:
    """Return the maximum size of the answer to a request for members.

    A text has up to 255 letters (D), escaped as up to six bytes each. Contacts whose texts are all that long are rare,
    and a page that is too large is requested in parts.
    """
    return _SMALL_BYTES + contacts * _FIELD_BYTES * (2 + fields.count(","))


class MailchimpClient:
    """One Mailchimp account over HTTP. Threads may share it; it counts no connections.

    Args:
        credentials: the account's API key or token.
        base_url: the API's URL, like `https://us6.api.mailchimp.com/3.0`; None to derive it from the credentials.
        limits: timeouts and size limits.
        oauth_metadata_url: URL to ask for the data centre of a token. If it is not Mailchimp's, any host is trusted.
        adapter: what carries the requests; None for connections of its own: an account has ten.

    Raises:
        SecretMissing: the API key names no data centre, and there is no base_url.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str | None,
        limits: MailchimpLimits,
        oauth_metadata_url: str = OAUTH_METADATA_URL,
        adapter: Adapter | None = None,
    ) -> None:
        if base_url is None and credentials.kind is CredentialKind.API_KEY:
            base_url = credentials.key_base_url()
        self._credentials = credentials
        self._base_url = base_url
        self._oauth_metadata_url = oauth_metadata_url
        self._wire = Wire(limits=limits, error_of=fault_error, adapter=adapter)
        self._found: Route | None = None
        self._finding = threading.Lock()

    def __repr__(self) -> str:
        return f"MailchimpClient(base_url={self._base_url!r})"

    @property
    def host(self) -> str:
        """The host that is asked first: the account's, or the one that knows the data centre of a token."""
        return host_of(self._base_url or self._oauth_metadata_url)

    def members(self, list_id: str, request: PageRequest, *, archived: bool, fields: str) -> Answer:
        """Request one page of a list's members, by `last_changed` ascending.

        Mailchimp excludes `since` and includes `before` (V). Both are sent in UTC, as other offsets are ignored
        silently (U). Archived members are a separate listing (V). `fields` are paths from the answer's root (D).

        Raises:
            TryAgain: there was no answer, or no complete one.
        """
        query = f"{_common_query(fields, archived)}&count={request.count}&offset={request.offset}"
        query += f"&before_last_changed={_iso(request.before)}"
        if request.since != BEGINNING:
            query += f"&since_last_changed={_iso(request.since)}"
        path = f"/lists/{quote(list_id, safe='')}/members?{query}"
        return self._get(path, limit_bytes=body_limit_bytes(contacts=request.count, fields=fields))

    def member(self, list_id: str, contact_id: str, *, fields: str) -> Answer:
        """Request one member by Mailchimp's `id`, archived or not; `fields` are paths from the member."""
        path = f"/lists/{quote(list_id, safe='')}/members/{quote(contact_id, safe='')}"
        return self._get(
            f"{path}?{urlencode({'fields': fields}, safe=_AS_THEY_ARE)}",
            limit_bytes=body_limit_bytes(contacts=1, fields=fields),
        )

    def list(self, list_id: str) -> Answer:
        """Request a list itself, to check that it exists."""
        return self._get(f"/lists/{quote(list_id, safe='')}?fields=id")

    def ping(self) -> Answer:
        """Send a ping, to check the key."""
        return self._get("/ping")

    def get(self, path: str, query: Mapping[str, str]) -> Answer:
        """Request anything that the account may read, by its path below the API's root and its query.

        Raises:
            RequestRefused: the path is not absolute, or has a query, a dot segment or characters that need encoding.
            TryAgain: there was no answer, or no complete one.
        """
        if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise RequestRefused(
                "expected a path like /lists/1a2d7ebf82/segments",
                remedy="pass the query as parameters, and encode the rest",
            )
        encoded = f"?{urlencode(query)}" if query else ""
        return self._wire.send(self._route(), f"{path}{encoded}")

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _get(self, path: str, *, limit_bytes: int = _SMALL_BYTES) -> Answer:
        return self._wire.send(self._route(), path, limit_bytes=limit_bytes)

    def _route(self) -> Route:
        """Return the account's route. For a token, one thread asks for it, once; a failed attempt is not remembered."""
        if self._found is None:
            with self._finding:
                if self._found is None:
                    headers = {"Authorization": self._credentials.authorization()}
                    self._found = self._wire.route("GET", self._base_url or self._ask_base_url(), headers)
        return self._found

    def _ask_base_url(self) -> str:
        headers = {"Authorization": f"OAuth {self._credentials.secret.get_secret_value()}"}
        route = self._wire.route("GET", self._oauth_metadata_url, headers)
        answer = self._wire.send(route, "", limit_bytes=_SMALL_BYTES)
        refused = answer.status in (400, 401) and "error" in small_document(answer.body)
        metadata = {"error": ""} if refused else json_object(answer, expected="the metadata of the OAuth token")
        if "error" in metadata:  # A bad token is answered with HTTP 200 (V).
            raise KeyRefused(
                "Mailchimp does not know the OAuth token", remedy="connect the account again, and store the new token"
            )
        return token_base_url(metadata.get("api_endpoint"), any_host=self._oauth_metadata_url != OAUTH_METADATA_URL)


def read_members(answer: Answer) -> MembersPage:
    """Parse an answer to `MailchimpClient.members`.

    Raises:
        BrokenAnswer: it is not a list of members, each with a `last_changed`, and their total.
        ImporterError: by the status; see `mailchimp/errors.py`.
    """
    page = json_object(answer, expected="a page of members")
    members: Any = page.get("members")
    total = page.get("total_items")
    if not isinstance(members, list):
        raise BrokenAnswer('expected a list "members" in the page, found none')
    if type(total) is not int or total < 0:
        raise BrokenAnswer('expected a number "total_items" from 0 in the page, found none')
    for member in members:
        if type(member) is not dict or type(member.get("last_changed")) is not str:
            raise MemberUnreadable(
                'expected each member of a page to be an object with a text "last_changed", and one is not',
                contact_id=_id_of(member),
            )
    return MembersPage(members=members, total_items=total, server_time=server_time(answer))


def _id_of(member: object) -> str:
    found = cast(dict[str, Any], member).get("id") if isinstance(member, dict) else None
    return found if isinstance(found, str) else ""


def read_member(answer: Answer) -> dict[str, Any] | None:
    """Parse an answer to `MailchimpClient.member`; None if there is no such member.

    Only a 404 of Mailchimp itself counts: one of something in between says nothing about a member. Mailchimp also
    answers 404 if there is no such list: None does not mean that the list exists.
    """
    return None if proves_absence(answer) else json_object(answer, expected="a member")


def server_time(answer: Answer) -> int | None:
    """Return when the answer was sent, in epoch seconds by Mailchimp's clock; None without a valid Date header.

    Only the one format counts that HTTP allows a server to send.

    Raises:
        BrokenAnswer: it has several Dates, and it is unknown which of them is right.
    """
    date = answer.header("date")
    if date is None:
        return None
    if date.count(":") > 2:  # As several headers of one name are joined.
        raise BrokenAnswer(
            "expected one Date header, found several", remedy="check the proxies between here and Mailchimp"
        )
    return _epoch_seconds(date)


@lru_cache(maxsize=64)  # The answers of one second have the same.
def _epoch_seconds(date: str) -> int | None:
    try:
        moment = parsedate_to_datetime(date)
        return int(moment.timestamp()) if format_datetime(moment, usegmt=True) == date else None
    except (ValueError, OverflowError, IndexError):
        return None


def read_list(answer: Answer) -> None:
    """Check that the list exists; raise by the status if not."""
    json_object(answer, expected="a list")


def read_ping(answer: Answer) -> None:
    """Check that Mailchimp accepted the key; raise by the status if not."""
    check_api(answer)
    json_object(answer, expected="a greeting")


def check_api(answer: Answer) -> None:
    """Raise RequestRefused if the URL of an answer, which every account has, leads to nothing."""
    if proves_absence(answer):
        raise RequestRefused(
            "there is no Mailchimp API at this URL (HTTP 404)", remedy="check mailchimp.base_url: it ends in /3.0"
        )


def read_document(answer: Answer) -> dict[str, Any]:
    """Parse an answer to `MailchimpClient.get`: a JSON object.

    Raises:
        RequestRefused: there is nothing at this path.
        BrokenAnswer: it is not a JSON object.
        ImporterError: by the status; see `mailchimp/errors.py`.
    """
    if proves_absence(answer):
        raise RequestRefused("Mailchimp has nothing at this path (HTTP 404)", remedy="check the ids in it")
    return json_object(answer, expected="an object")


def json_object(answer: Answer, *, expected: str) -> dict[str, Any]:
    """Return the JSON object of a good answer; raise by the status, or BrokenAnswer with what was `expected`."""
    if answer.status != 200:
        raise status_error(answer)
    try:
        parsed = page_document(answer.body)
    except NotJSON:
        raise BrokenAnswer(
            f"expected {expected} as JSON, got {len(answer.body)} bytes that are not valid JSON"
        ) from None
    if not isinstance(parsed, dict):
        raise BrokenAnswer(f"expected {expected} as a JSON object, got other JSON")
    return cast(dict[str, Any], parsed)


@lru_cache(maxsize=1024)
def _common_query(fields: str, archived: bool) -> str:
    """Return what the requests for all pages of a listing have in common, encoded."""
    query = {"fields": fields, "sort_field": "last_changed", "sort_dir": "ASC"}
    if archived:
        query["status"] = "archived"
    return urlencode(query, safe=_AS_THEY_ARE)


def _iso(epoch_seconds: int) -> str:
    """Return the second in UTC, as it stands in a query."""
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat().replace("+", "%2B")
