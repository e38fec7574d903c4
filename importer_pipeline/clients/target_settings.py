"""A target as the clients file declares it: all fields, and their checks. Its protocol may be the default one.

Stays out: its sections (see `target_sections`), the record (see `records/shapes.py`), and what a declaration does (see
`target/`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, ValidationInfo

from importer_pipeline.clients.field_types import Declared, checked_url
from importer_pipeline.clients.file_problems import Problem, refusal
from importer_pipeline.clients.secret import Secret
from importer_pipeline.clients.target_sections import (
    PLACE,
    CheckSettings,
    LimitSettings,
    OAuthSettings,
    RequestSettings,
    ResponseSettings,
    SecretName,
)
from importer_pipeline.errors import SecretMissing
from importer_pipeline.records.shapes import Shape
from importer_pipeline.redaction import quoted, shown_key
from importer_pipeline.target.declaration import (
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN,
    AnswerForm,
    CheckForm,
    Declaration,
    Framing,
    PythonEntry,
)

API_KEY = "api_key"

IS_SHARED = "is_shared"
"""Key of pydantic's context: True for a named target, whose secrets its clients may add."""

_KEY_MISSING = ("is missing", "write api_key: {env: ACME_TARGET_API_KEY}")


def _checked_or_none(url: str) -> str:
    return checked_url(url) if url else url


def _key_needed(key: Secret | None, info: ValidationInfo) -> Secret | None:
    is_shared = bool((info.context or {}).get(IS_SHARED))
    if "request" not in info.data or "oauth" not in info.data:
        return key  # They have problems of their own.
    names = _names(_headers(info.data.get("request"), has_token=info.data.get("oauth") is not None))
    if key is None and API_KEY in set(names) and not is_shared and not _is_python(info):
        raise refusal(*_KEY_MISSING)
    return key


def _is_python(info: ValidationInfo) -> bool:
    """Return whether a target in Python is written, if only with a mistake."""
    return info.data.get("python", "") is not None


def _headers(request: RequestSettings | None, *, has_token: bool) -> Mapping[str, str]:
    return (request or RequestSettings()).form(has_token=has_token).headers


def _url_of(url: str, info: ValidationInfo) -> str:
    if _is_python(info):
        return f"python:{info.data.get('python', '')}"
    if not url:
        raise refusal("is missing", "write url: https://api.example.com")
    return url


def _entry_point(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", written):
        raise refusal("expected a module and a name in it", "write it as package.module:name")
    return written


class TargetSettings(Declared):
    """A client's account at the target. With only `url` and `api_key`, it speaks the default protocol."""

    python: Annotated[str, AfterValidator(_entry_point)] | None = Field(default=None, examples=["acme.crm:Target"])
    """The entry point of a target in Python, which has no URL."""
    options: dict[str, str] = Field(default={}, examples=["{table: contacts}"])
    """Options of a target in Python."""
    batch_size: int | None = Field(default=None, ge=1, le=1000, examples=[500])
    """Maximum number of records per call of a target in Python."""
    url: Annotated[Annotated[str, AfterValidator(_checked_or_none)], AfterValidator(_url_of)] = Field(
        default="", validate_default=True, examples=["https://api.example.com"]
    )
    """The prefix of each request's path; records go to POST <url>/record unless declared."""
    secrets: dict[SecretName, Secret] = Field(default={}, examples=["{account: {env: ACME_CRM_ACCOUNT}}"])
    """References to further secrets, by the name that headers use."""
    request: RequestSettings | None = Field(default=None, examples=["{path: /v1/contacts}"])
    """The request of a post; None for that of the default protocol."""
    response: ResponseSettings | None = Field(default=None, examples=["{accepted: response}"])
    """The meaning of an answer; None for that of the default protocol."""
    check: CheckSettings | None = Field(default=None, examples=["{path: /v1/account}"])
    """A request that stores nothing; None for a post without records."""
    limits: LimitSettings = Field(default=LimitSettings(), examples=["{posts_per_second: 1}"])
    """What the account bears."""
    oauth: OAuthSettings | None = Field(default=None, examples=["{token_url: https://login.example.com/token}"])
    """How to get an access token."""
    api_key: Annotated[Secret | None, AfterValidator(_key_needed)] = Field(
        default=None, validate_default=True, examples=["{env: ACME_TARGET_API_KEY}"]
    )
    """Reference to the key; the default protocol sends it as the Authorization header's value."""
    _account: str | None = PrivateAttr(default=None)
    _shape: Shape | None = PrivateAttr(default=None)

    def __hash__(self) -> int:
        """Hash by the URL: the rest may hold mappings."""
        return hash(self.url)

    @property
    def record(self) -> Shape | None:
        """The form of a record; None for the five texts of the default protocol."""
        return self._shape

    @property
    def account(self) -> str | None:
        """The name of the account at the target, if clients share it, and so its limits."""
        return self._account

    @property
    def batch_records(self) -> int | None:
        """Maximum number of records per post; None for whole pages."""
        return self.batch_size if self.request is None else self.request.batch_records

    @property
    def posts_at_once(self) -> int | None:
        """Maximum number of posts in flight; one for a target in Python, unless declared: not all code is made for threads."""
        return self.limits.posts_at_once or (None if self.python is None else 1)

    @property
    def references(self) -> Iterator[tuple[str, Secret]]:
        """The references to secrets, each with its field."""
        if self.api_key is not None:
            yield API_KEY, self.api_key
        yield from ((f"secrets.{name}", secret) for name, secret in self.secrets.items())
        if self.oauth is not None:
            yield CLIENT_ID, self.oauth.client_id
            yield CLIENT_SECRET, self.oauth.client_secret

    def read_key(self) -> SecretStr:
        """Read the key. SecretMissing if there is none."""
        if self.api_key is None:
            raise SecretMissing("no API key of the target is declared", remedy="write target.api_key")
        return self.api_key.read()

    def read_secrets(self) -> dict[str, SecretStr]:
        """Read all secrets, by the names that headers use. SecretMissing if one can't be used."""
        return {field.removeprefix("secrets."): secret.read() for field, secret in self.references}

    def declaration(self) -> Declaration | PythonEntry | None:
        """Return the declared protocol, or the code that sends; None for the default protocol, with its records."""
        if self.python is not None:
            return PythonEntry(entry_point=self.python, options=self.options)
        if all(it is None for it in (self.request, self.response, self.check, self.oauth, self.record)):
            return None
        request = (self.request or RequestSettings()).form(has_token=self.oauth is not None)
        answer = AnswerForm(accepted=("response",)) if self.response is None else self.response.form()
        check = None if self.check is None else CheckForm(method=self.check.method, path=self.check.path)
        token = None if self.oauth is None else self.oauth.form()
        return Declaration(request=request, answer=answer, check=check, token=token)

    def normal_form(self) -> list[str]:
        """Return what changes the form of what is sent, or where it goes, but the record: part of the fingerprint."""
        if self.python is not None:
            return [json.dumps(self.options, sort_keys=True)]
        request = self.request
        return [] if request is None else [request.method, request.path, request.body.normal_form]

    def shaped(self, shape: Shape) -> "TargetSettings":
        """Return the target with records of a declared form."""
        other = self.model_copy()
        other._shape = shape
        return other

    def used_by(self, name: str, api_key: Secret | None, secrets: Mapping[str, Secret]) -> "TargetSettings":
        """Return a named target as a client uses it: with its own secrets, or those of the name."""
        is_own = api_key is not None or bool(secrets)
        used = self.model_copy(
            update={"api_key": api_key or self.api_key, "secrets": {**self.secrets, **secrets}} if is_own else {}
        )
        used._account = None if is_own else f"targets.{name}"
        return used

    def missing_secrets(self) -> list[str]:
        """Return the names in headers for which there is no secret."""
        known = {*self.secrets, *([API_KEY] if self.api_key else []), *([TOKEN] if self.oauth else [])}
        headers = {} if self.python is not None else _headers(self.request, has_token=self.oauth is not None)
        return [name for name in dict.fromkeys(_names(headers)) if name not in known]


class TargetUse(Declared):
    """A client's use of a named target, with secrets of its own."""

    use: str = Field(examples=["crm"])
    """The name of the target."""
    api_key: Secret | None = Field(default=None, examples=["{env: ACME_TARGET_API_KEY}"])
    """Reference to the client's own key."""
    secrets: dict[SecretName, Secret] = Field(default={}, examples=["{account: {env: ACME_CRM_ACCOUNT}}"])
    """References to the client's own further secrets."""


def written_problems(written: Mapping[Any, Any], *, where: tuple[str, ...], is_shared: bool) -> Iterator[Problem]:
    """Yield the problems between the fields of a target, even if single fields have problems of their own."""
    request, check = written.get("request"), written.get("check")
    if written.get("python") is not None:
        for key in ("url", "request", "response", "check", "oauth"):
            if key in written:
                yield Problem(where=(*where, key), what="a target in Python has none", remedy="remove it, or python")
    elif "options" in written or "batch_size" in written:
        key = "options" if "options" in written else "batch_size"
        remedy = "remove it" if key == "options" else "write it as request.batch_size"
        yield Problem(where=(*where, key), what="it is for a target in Python", remedy=remedy)
    if isinstance(request, dict):
        if request.get("body") == Framing.ONE.value and check is None:
            yield Problem(
                where=(*where, "check"),
                what="is missing, and no empty post can be a check where each record is sent alone",
                remedy="write check: {path: /v1/account}, a request that stores nothing",
            )
        yield from _unknown_names(written, request.get("headers"), where=where, is_shared=is_shared)
    response = written.get("response")
    refused = response.get("refused") if isinstance(response, dict) else None
    if isinstance(refused, dict):
        named = [key for key in ("id", "index") if refused.get(key) is not None]
        if len(named) > 1:
            yield Problem(
                where=(*where, "response", "refused"), what="both id and index are declared", remedy="keep one of them"
            )
        if not named and refused.get("status") is None:
            yield Problem(
                where=(*where, "response", "refused"),
                what="nothing says which record an element means",
                remedy="write id or index; or status, if there is an element for each record, in order",
            )


def _unknown_names(
    written: Mapping[Any, Any], headers: Any, *, where: tuple[str, ...], is_shared: bool
) -> Iterator[Problem]:
    secrets = written.get("secrets")
    known = {*(secrets if isinstance(secrets, dict) else ()), API_KEY, *([TOKEN] if written.get("oauth") else [])}
    for header, value in headers.items() if isinstance(headers, dict) else ():
        for name in PLACE.findall(value) if isinstance(value, str) else ():
            if name not in known and not (is_shared and re.fullmatch(r"[a-z][a-z0-9_]*", name) and name != TOKEN):
                remedy = "write an oauth section" if name == TOKEN else "write {api_key}, or declare it under secrets"
                yield Problem(
                    where=(*where, "request", "headers", shown_key(str(header))),
                    what=f"there is no secret {quoted(name)}",
                    remedy=remedy,
                )


def _names(headers: Mapping[str, str]) -> Iterator[str]:
    return (name for value in headers.values() for name in PLACE.findall(value))
