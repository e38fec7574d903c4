"""A target's protocol as declared: its request, the meaning of its answers, its check. Plain data, pure.

Stays out: how it is written and checked (`clients/target_settings.py`), and what it does (`bodies.py`, `answers.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

Path = tuple[str, ...]
"""Keys that lead into a JSON document; none for the document itself."""


class Framing(Enum):
    """How a post's body holds its records."""

    LIST = "list"
    """A JSON list."""
    LINES = "lines"
    """A JSON object per line."""
    ONE = "one"
    """One record, alone."""
    OBJECT = "object"
    """A JSON list within an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The body of a post."""

    framing: Framing = Framing.LIST
    before: bytes = b""
    """What stands before the list of records, as JSON; only for an object."""
    behind: bytes = b""
    """What stands behind it."""

    @property
    def normal_form(self) -> str:
        """The body as text, equal for equal bodies."""
        return f"{self.framing.value} {self.before.decode()}...{self.behind.decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestForm:
    """The request of a post."""

    method: str = "POST"
    path: str = "/record"
    """Path and query, appended to the target's URL."""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Authorization": "{api_key}"})
    """With the names of secrets in braces."""
    body: Body = field(default_factory=Body)
    content_type: str = "application/json"
    gzip: bool = False
    """True to compress the body."""
    idempotency_header: str | None = None
    """The header for a key that is the same each time a post is tried; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedList:
    """Where an answer lists the records that were refused.

    Its elements name a record by `id` or by `index`. Without either, there is one for each record, in order.
    """

    at: Path
    """The list."""
    id: Path | None = None
    """In an element: the id of its record, or a list of ids."""
    index: Path | None = None
    """In an element: the position of its record in the post, from 0."""
    reason: Path | None = None
    """In an element: the reason."""
    status: Path | None = None
    """In an element: the HTTP status of its record; a success is none that was refused."""


class StatusMeaning(Enum):
    """The meanings that can be declared for a status."""

    ACCEPTED = "accepted"
    RECEIPT = "receipt"
    REFUSED = "refused"
    BUSY = "busy"
    RETRY = "retry"
    KEY = "key"
    URL = "url"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """The meaning of an answer."""

    accepted: Path | None = None
    """The number of accepted records; None: a success accepts all that it does not list as refused."""
    refused: RefusedList | None = None
    """Where refused records are listed; None: nowhere."""
    reason: Path | None = None
    """In the answer to a refused post: the reason."""
    statuses: Mapping[int, StatusMeaning] = field(default_factory=dict[int, StatusMeaning])
    """Statuses that mean something else than usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckForm:
    """A request that stores nothing, and succeeds if the target is up and accepts the key."""

    method: str = "GET"
    path: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenForm:
    """How to get an access token, by OAuth's client credentials."""

    url: str
    scope: str = ""
    audience: str = ""
    is_in_body: bool = False
    """True to send the client's id and secret in the body; else as Basic authentication."""


TOKEN = "access_token"
"""The name of the access token in headers."""

CLIENT_ID, CLIENT_SECRET = "oauth.client_id", "oauth.client_secret"
"""The names of the secrets that a token is requested with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonEntry:
    """A target in Python."""

    entry_point: str
    """As `package.module:name`."""
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A target's protocol."""

    request: RequestForm = field(default_factory=RequestForm)
    answer: AnswerForm = field(default_factory=AnswerForm)
    check: CheckForm | None = None
    """None: a post without records is the check."""
    token: TokenForm | None = None
    """How to get the access token that headers may name; None if there is none."""
