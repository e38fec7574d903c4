"""Mailchimp's Marketing API 3.0: the five requests that the importer makes, and what their answers mean.

`MailchimpClient` is the wire: it returns an `Answer` with whatever status, read to the end, so that the caller can give the
account's connection to another request before it reads on. The `read_...` functions are pure. Stays out: what other
statuses and failed connections mean (`mailchimp_errors.py`), whether a page is sorted, within its bounds and long
enough (`windows.py`), tries and the count of connections (`sync.py`).
"""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, cast
from urllib.parse import quote, urlencode

from importer_pipeline.errors import BrokenAnswer, KeyRefused, MemberUnreadable, RequestRefused
from importer_pipeline.http.json_bodies import NotJSON, page_document, small_document
from importer_pipeline.http.wire import Adapter, Answer, Limits, Route, Wire
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
    "read_list",
    "read_member",
    "read_members",
    "read_ping",
    "server_time",
]

OAUTH_METADATA_URL = "https://login.mailchimp.com/oauth2/metadata"

_SMALL_BYTES = 64 * 1024
_FIELD_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MailchimpLimits(Limits):
    """Patience with Mailchimp: a call may take 120 s, and one given up on earlier holds its connection on (D)."""

    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 150.0
    answer_timeout_seconds: float = 240.0
    body_limit_bytes: int = 64 * 1024 * 1024
    connections: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersPage:
    """One page of a list's members.

    Attributes:
        members: as Mailchimp sent them, each with a text as `last_changed`. Not in the repr: they are personal data.
        total_items: how many members match the request's filters (D).
        server_time: when the page was sent, in epoch seconds by Mailchimp's clock; None where no Date header told.
    """

    members: list[dict[str, Any]] = field(repr=False)
    total_items: int
    server_time: int | None


def body_limit_bytes(*, contacts: int, fields: str) -> int:
    """Return how large the answer to a request for members may be.

    A text holds 255 letters (D), escaped six bytes each; contacts whose texts are all as long come one at a time at most,
    and a page that is too large is asked for in parts.
    """
    return _SMALL_BYTES + contacts * _FIELD_BYTES * (2 + fields.count(","))


class MailchimpClient:
    """One Mailchimp account over HTTP. Threads may share it; it counts no connections.

    Args:
        credentials: what opens the account.
        base_url: the API's URL, like `https://us6.api.mailchimp.com/3.0`; None to find it by the credentials.
        limits: how long and how much an answer may take.
        oauth_metadata_url: who tells the data centre of a token. With another than Mailchimp's, any host is believed.
        adapter: what carries the requests; None for the network.

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
        return f"Account(base_url={self._base_url!r})"

    def members(self, list_id: str, ask: PageRequest, *, archived: bool, fields: str) -> Answer:
        """Ask for one page of a list's members, by `last_changed` ascending.

        The bounds are as Mailchimp means them: `since` excluded, `before` included (V), sent in UTC, as other offsets
        are ignored silently (U). Archived members are a listing of their own (V). `fields` are paths from the answer's
        root (D).

        Raises:
            TryAgain: there was no answer, or none that is whole.
        """
        query = {
            "fields": fields,
            "count": ask.count,
            "offset": ask.offset,
            "sort_field": "last_changed",
            "sort_dir": "ASC",
            "before_last_changed": _iso(ask.before),
        }
        if ask.since != BEGINNING:
            query["since_last_changed"] = _iso(ask.since)
        if archived:
            query["status"] = "archived"
        path = f"/lists/{quote(list_id, safe='')}/members?{urlencode(query)}"
        return self._get(path, limit_bytes=body_limit_bytes(contacts=ask.count, fields=fields))

    def member(self, list_id: str, contact_id: str, *, fields: str) -> Answer:
        """Ask for one member by Mailchimp's `id`, archived or not; `fields` are paths from the member itself."""
        path = f"/lists/{quote(list_id, safe='')}/members/{quote(contact_id, safe='')}"
        return self._get(
            f"{path}?{urlencode({'fields': fields})}", limit_bytes=body_limit_bytes(contacts=1, fields=fields)
        )

    def list(self, list_id: str) -> Answer:
        """Ask for a list itself, to know that it is there."""
        return self._get(f"/lists/{quote(list_id, safe='')}?fields=id")

    def ping(self) -> Answer:
        """Ask for nothing, to try the key."""
        return self._get("/ping")

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _get(self, path: str, *, limit_bytes: int = _SMALL_BYTES) -> Answer:
        return self._wire.send(self._route(), path, limit_bytes=limit_bytes)

    def _route(self) -> Route:
        """Where the account lives. For a token one thread asks, once; an attempt that failed leaves nothing behind."""
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
        metadata = {"error": ""} if refused else _object(answer, expected="the metadata of the OAuth token")
        if "error" in metadata:  # A bad token is answered with HTTP 200 (V).
            raise KeyRefused(
                "Mailchimp does not know the OAuth token", remedy="connect the account again, and store the new token"
            )
        return token_base_url(metadata.get("api_endpoint"), any_host=self._oauth_metadata_url != OAUTH_METADATA_URL)


def read_members(answer: Answer) -> MembersPage:
    """The page that an answer to `MailchimpClient.members` holds.

    Raises:
        BrokenAnswer: it is no list of members, each with a `last_changed`, and their total.
        ImporterError: by the status; see `mailchimp_errors.py`.
    """
    page = _object(answer, expected="a page of members")
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
    """The member that an answer to `MailchimpClient.member` holds; None if there is none.

    None only where Mailchimp itself says so: a 404 of something in between says nothing of a member. Mailchimp answers 404
    as well for a list that is not there: None says that this list has no such member, not that the list exists.
    """
    return None if proves_absence(answer) else _object(answer, expected="a member")


def server_time(answer: Answer) -> int | None:
    """Return when the answer was sent, in epoch seconds by Mailchimp's clock; None where no Date header tells.

    Only the one form counts that HTTP lets a server send.

    Raises:
        BrokenAnswer: it has several Dates: whoever added the other one, neither can be believed.
    """
    date = answer.header("date")
    if date is None:
        return None
    if date.count(":") > 2:  # As several headers of one name are joined.
        raise BrokenAnswer(
            "expected one Date header, found several", remedy="check the proxies between here and Mailchimp"
        )
    try:
        moment = parsedate_to_datetime(date)
        return int(moment.timestamp()) if format_datetime(moment, usegmt=True) == date else None
    except (ValueError, OverflowError, IndexError):
        return None


def read_list(answer: Answer) -> None:
    """Return if there is such a list; raise by the status if not."""
    _object(answer, expected="a list")


def read_ping(answer: Answer) -> None:
    """Return if Mailchimp took the key; raise by the status if it did not."""
    if proves_absence(answer):
        raise RequestRefused("there is no Mailchimp API at this URL (HTTP 404)", remedy="check mailchimp.base_url")
    _object(answer, expected="a greeting")


def _object(answer: Answer, *, expected: str) -> dict[str, Any]:
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


def _iso(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat()
