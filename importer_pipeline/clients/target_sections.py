"""The sections of a declared target in the clients file: request, response, check, limits, OAuth; each with its checks.

Stays out: the target as a whole (see `target_settings`).
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

from importer_pipeline.clients.field_types import Declared, Url
from importer_pipeline.clients.file_problems import refusal
from importer_pipeline.clients.secret import Secret
from importer_pipeline.records.expressions import parse_constant
from importer_pipeline.redaction import looks_like_a_secret
from importer_pipeline.target.declaration import (
    TOKEN,
    AnswerForm,
    Body,
    Framing,
    Path,
    RefusedList,
    RequestForm,
    StatusMeaning,
    TokenForm,
)
from importer_pipeline.target.headers import fits_header

PLACE = re.compile(r"\{([^{}]*)\}")
"""The place of a secret in a header."""

_RECORDS = "{records}"
_MARK = "\0records\0"
_TOKEN_CHARACTERS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TOKEN_HEADERS = {"Authorization": f"Bearer {{{TOKEN}}}"}


def _checked_path(path: str) -> str:
    if not path.startswith("/") or not path.isprintable() or re.search(r"[\s\\#{}]", path) or not path.isascii():
        raise refusal("expected a path, and perhaps a query", "write it as /v1/contacts, without places or a fragment")
    if looks_like_a_secret(path):
        raise refusal("the path seems to contain a key", "send the key in a header")
    return path


def _checked_header(name: str) -> str:
    if not _TOKEN_CHARACTERS.fullmatch(name):
        raise refusal("this is not a header's name", "write it as X-Api-Version")
    if name.lower() in {"content-length", "host", "transfer-encoding", "content-encoding", "content-type"}:
        raise refusal(
            "this header is set by the request itself", "remove it, or declare content_type or gzip of the request"
        )
    return name


def _checked_value(value: str) -> str:
    if not fits_header(value):
        raise refusal("a header's value has one line of Latin-1", "write only what is to be sent")
    if looks_like_a_secret(PLACE.sub("", value)):
        raise refusal(
            "a secret must not be in the clients file itself", 'write its name in braces: Authorization: "{api_key}"'
        )
    if "{" in PLACE.sub("", value) or "}" in PLACE.sub("", value):
        raise refusal("unbalanced braces", 'write the name of a secret in braces: "Bearer {api_key}"')
    return value


def _json_path(written: Any) -> Any:
    if not isinstance(written, str):
        return written
    if written == ".":
        return ()
    keys = tuple(written.split("."))
    if not all(keys):
        raise refusal("expected keys with dots between them", "write it as results.errors, or . for the whole answer")
    return keys


def _body(written: Any) -> Any:
    if isinstance(written, Body):
        return written
    if isinstance(written, str):
        framing = next((it for it in (Framing.LIST, Framing.LINES, Framing.ONE) if it.value == written), None)
        if framing is not None:
            return Body(framing=framing)
    if isinstance(written, dict):
        text = json.dumps(_constants(written), ensure_ascii=False, separators=(",", ":"))
        parts = text.split(json.dumps(_MARK))
        if len(parts) == 2:
            return Body(framing=Framing.OBJECT, before=parts[0].encode(), behind=parts[1].encode())
    raise refusal(
        "expected list, lines, one, or an object with the records once in it", f'write body: {{contacts: "{_RECORDS}"}}'
    )


def _constants(written: Any) -> Any:
    if isinstance(written, dict):
        return {str(key): _constants(value) for key, value in written.items()}
    if isinstance(written, list):
        return [_constants(item) for item in written]
    if written == _RECORDS:
        return _MARK
    if isinstance(written, str) and written.startswith("="):
        return parse_constant(written[1:])
    return written


Method = Literal["POST", "PUT", "PATCH"]
RequestPath = Annotated[str, AfterValidator(_checked_path)]
HeaderName = Annotated[str, AfterValidator(_checked_header)]
HeaderValue = Annotated[str, AfterValidator(_checked_value)]
JsonPath = Annotated[Path, BeforeValidator(_json_path)]
BodySpec = Annotated[InstanceOf[Body], BeforeValidator(_body)]
SecretName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class RequestSettings(Declared):
    """The request of a post."""

    method: Method = Field(default="POST", examples=["POST"])
    """POST, PUT or PATCH."""
    path: RequestPath = Field(default="/record", examples=["/v1/contacts/batch"])
    """Path and query, appended to the URL."""
    headers: dict[HeaderName, HeaderValue] = Field(
        default={"Authorization": "{api_key}"}, examples=['{Authorization: "Bearer {api_key}"}']
    )
    """Headers, with the names of secrets in braces."""
    body: BodySpec = Field(default=Body(), examples=["list"])
    """`list`, `lines`, `one`, or an object with `"{records}"` in it."""
    content_type: HeaderValue = Field(default="application/json", examples=["application/json"])
    """The content type; that of lines is application/x-ndjson unless written."""
    gzip: bool = Field(default=False, examples=["true"])
    """True to compress the body."""
    batch_size: int = Field(default=1000, ge=1, le=1000, examples=[100])
    """Maximum number of records per post."""
    idempotency_key: HeaderName | None = Field(default=None, examples=["Idempotency-Key"])
    """The header for a key that is the same each time a post is tried."""

    @property
    def batch_records(self) -> int:
        """Maximum number of records per post, which is one if each goes alone."""
        return 1 if self.body.framing is Framing.ONE else self.batch_size

    def form(self, *, has_token: bool) -> RequestForm:
        """Return the request as plain data; the default header holds the access token, if there is one."""
        headers = _TOKEN_HEADERS if has_token and "headers" not in self.model_fields_set else self.headers
        is_lines = self.body.framing is Framing.LINES and "content_type" not in self.model_fields_set
        return RequestForm(
            method=self.method,
            path=self.path,
            headers=headers,
            body=self.body,
            content_type="application/x-ndjson" if is_lines else self.content_type,
            gzip=self.gzip,
            idempotency_header=self.idempotency_key,
        )


class RefusedSettings(Declared):
    """Where an answer lists the refused records."""

    at: JsonPath = Field(examples=["errors"])
    """Path to the list."""
    id: JsonPath | None = Field(default=None, examples=["id"])
    """In an element: path to the record's id, or to several."""
    index: JsonPath | None = Field(default=None, examples=["index"])
    """In an element: path to the record's position in the post, from 0."""
    reason: JsonPath | None = Field(default=None, examples=["message"])
    """In an element: path to the reason."""
    status: JsonPath | None = Field(default=None, examples=["status"])
    """In an element: path to the HTTP status of its record."""

    def form(self) -> RefusedList:
        """Return the same as plain data."""
        return RefusedList(at=self.at, id=self.id, index=self.index, reason=self.reason, status=self.status)


class ResponseSettings(Declared):
    """The meaning of an answer."""

    accepted: JsonPath | None = Field(default=None, examples=["response"])
    """Path to the number of accepted records; without it, a success accepts all that are not listed as refused."""
    refused: RefusedSettings | None = Field(default=None, examples=["{at: errors, id: id, reason: message}"])
    """Where refused records are listed."""
    reason: JsonPath | None = Field(default=None, examples=["message"])
    """Path to the reason, in the answer to a refused post."""
    statuses: dict[Annotated[int, Field(ge=200, le=599)], StatusMeaning] = Field(default={}, examples=["{409: retry}"])
    """Statuses that mean something else than usual."""

    def form(self) -> AnswerForm:
        """Return the same as plain data."""
        refused = None if self.refused is None else self.refused.form()
        return AnswerForm(accepted=self.accepted, refused=refused, reason=self.reason, statuses=self.statuses)


class CheckSettings(Declared):
    """A request that stores nothing, and succeeds if the target is up and accepts the key."""

    method: Literal["GET", "HEAD", "POST"] = Field(default="GET", examples=["GET"])
    """Its method."""
    path: RequestPath = Field(examples=["/v1/account"])
    """Path and query, appended to the URL."""


class LimitSettings(Declared):
    """What an account at the target bears."""

    posts_at_once: int | None = Field(default=None, ge=1, le=1000, examples=[4])
    """Maximum number of posts in flight."""
    posts_per_second: float | None = Field(default=None, gt=0, le=10_000, examples=[1.5])
    """Maximum rate of posts in one process."""


class OAuthSettings(Declared):
    """How to get an access token, by OAuth's client credentials."""

    token_url: Url = Field(examples=["https://login.example.com/oauth/token"])
    """Where the token is requested."""
    client_id: Secret = Field(examples=["{env: CRM_CLIENT_ID}"])
    """Reference to the client's id."""
    client_secret: Secret = Field(examples=["{env: CRM_CLIENT_SECRET}"])
    """Reference to the client's secret."""
    scope: str | None = Field(default=None, examples=["contacts.write"])
    """The scope, if one is needed."""
    audience: str | None = Field(default=None, examples=["https://api.example.com"])
    """The audience, if one is needed."""
    credentials_in: Literal["header", "body"] = Field(default="header", examples=["header"])
    """Where id and secret are sent."""

    def form(self) -> TokenForm:
        """Return the same as plain data, without the secrets."""
        is_in_body = self.credentials_in == "body"
        return TokenForm(
            url=self.token_url, scope=self.scope or "", audience=self.audience or "", is_in_body=is_in_body
        )
