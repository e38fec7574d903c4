"""A client and its audiences, as the clients file declares them: all fields, and their checks.

Stays out: reading files (see `clients_file`), and checks between clients (see `cross_checks`).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from importer_pipeline.clients.file_problems import refusal
from importer_pipeline.clients.secret import Secret
from importer_pipeline.errors import ClientsFileInvalid, SecretMissing
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials, data_centre_of
from importer_pipeline.records.contacts import DEFAULT_RECORD, RecordMapping
from importer_pipeline.records.mapping import parse_template
from importer_pipeline.redaction import looks_like_a_secret, shown

RECORD_FORMAT = 1
"""Increased when the importer makes other records of the same members: every audience then needs a full sync."""

MAX_CONNECTIONS = 10
"""Mailchimp's limit of simultaneous connections per user account (D)."""

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
_MAX_NAME = 63
_LIST_ID = re.compile(r"[a-z0-9]{6,16}")
_MAILCHIMP_HOSTS = ".api.mailchimp.com"
_TEAM = "team:"
# Dagster's own rule for owners, so that it never refuses the assets of a client.
_ADDRESS = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}\b")


def checked_name(name: str) -> str:
    """Check the name of a client, audience or account: it becomes part of keys, groups, folders and URLs."""
    if looks_like_a_secret(name):
        raise refusal("this looks like a key, not like a name", "write a name such as acme-2")
    if _NAME.fullmatch(name) and len(name) <= _MAX_NAME:
        return name
    written = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_MAX_NAME].rstrip("-")
    rule = f"a name has at most {_MAX_NAME} lower-case letters and digits, with single - or _ between them"
    raise refusal(rule, f"write {written}" if _NAME.fullmatch(written) else "write a name such as acme-2")


def _checked_list_id(list_id: str) -> str:
    if _LIST_ID.fullmatch(list_id):
        return list_id
    raise refusal(
        "a list's id has 6 to 16 lower-case letters and digits",
        'copy the "Audience ID" from the audience\'s settings in Mailchimp, such as 1a2d7ebf82',
    )


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refusal("this is not a URL", "write it as https://api.example.com") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise refusal("expected a URL with http or https and a host", "write it as https://api.example.com")
    if "@" in parts.netloc:
        raise refusal("the URL contains a user name or password", "remove it: the key is sent in a header")
    if "?" in url or "#" in url:
        raise refusal("the URL has a query or a fragment", "end it with the path: https://api.example.com/v1")
    if re.search(r"[\s\\]", url) or not url.isprintable():
        raise refusal(
            "the URL contains white space, a backslash or an invisible character", "write it as https://api.example.com"
        )
    return url.rstrip("/")


def _checked_base_url(url: str) -> str:
    parts = urlsplit(url)
    if (parts.hostname or "").endswith(_MAILCHIMP_HOSTS) and (parts.scheme, parts.path) != ("https", "/3.0"):
        raise refusal(
            "Mailchimp's API needs https and the path /3.0", f"write https://{shown(parts.hostname or '')}/3.0"
        )
    return url


def _checked_owner(owner: str) -> str:
    if _ADDRESS.fullmatch(owner) or (owner.startswith(_TEAM) and len(owner) > len(_TEAM)):
        return owner
    raise refusal("expected an e-mail address or a team", "write owner: team:crm")


def _checked_value(text: str) -> str:
    try:
        parse_template(text)
    except ClientsFileInvalid as error:
        raise refusal(error.problem, error.remedy) from None
    return text


def _checked_id(text: str) -> str:
    template = parse_template(_checked_value(text))
    if not template.paths:
        raise refusal("a record needs an id", "write id: id, or leave the key out")
    if not template.identifies:
        raise refusal(
            "this id is the same for all contacts: they would overwrite each other",
            'write id: id, or id: "{list_id}-{id}"',
        )
    return text


Name = Annotated[str, AfterValidator(checked_name)]
ListId = Annotated[str, AfterValidator(_checked_list_id)]
Url = Annotated[str, AfterValidator(_checked_url)]
BaseUrl = Annotated[Url, AfterValidator(_checked_base_url)]
Owner = Annotated[str, AfterValidator(_checked_owner)]
Value = Annotated[str, AfterValidator(_checked_value)]
IdValue = Annotated[str, AfterValidator(_checked_id)]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class RecordSpec(_Declared):
    """The sources of a record's values: each a path into the Mailchimp member, or a text with paths in braces."""

    id: IdValue = Field(default=DEFAULT_RECORD["id"], examples=["id"])
    """The key that the target upserts by."""
    firstname: Value = Field(default=DEFAULT_RECORD["firstname"], examples=["merge_fields.FNAME"])
    """The given name; "" to send none."""
    lastname: Value = Field(default=DEFAULT_RECORD["lastname"], examples=["merge_fields.LNAME"])
    """The family name; "" to send none."""
    email: Value = Field(default=DEFAULT_RECORD["email"], examples=["email_address"])
    """The address."""
    status: Value = Field(default=DEFAULT_RECORD["status"], examples=["status"])
    """Mailchimp's status of the contact."""


class Audience(_Declared):
    """A Mailchimp list of a client, and how its members become records."""

    name: Name
    """The audience's name in asset keys."""
    list_id: ListId = Field(examples=["1a2d7ebf82"])
    """Mailchimp's id of the list ("Audience ID")."""
    record: RecordSpec = Field(default=RecordSpec(), examples=["{id: id}"])
    """The sources of a record's values."""

    def record_mapping(self) -> RecordMapping:
        """Return the audience's record mapping."""
        return RecordMapping.of(self.record.model_dump(), list_id=self.list_id)


class MailchimpSettings(_Declared):
    """A client's Mailchimp account: exactly one of `api_key` and `access_token`."""

    api_key: Secret | None = Field(default=None, examples=["{env: ACME_MAILCHIMP_API_KEY}"])
    """Reference to the API key."""
    access_token: Secret | None = Field(default=None, examples=["{env: ACME_MAILCHIMP_TOKEN}"])
    """Reference to the OAuth token."""
    base_url: BaseUrl | None = Field(default=None, examples=["https://us6.api.mailchimp.com/3.0"])
    """The API's URL; None: that of the data centre of the key or token."""
    max_connections: int = Field(default=MAX_CONNECTIONS, ge=1, le=MAX_CONNECTIONS, examples=[MAX_CONNECTIONS])
    """Simultaneous requests, 1 to 10: fewer if other tools of the client use the account, too."""
    account: Name | None = Field(default=None, examples=["shared-account"])
    """A name that clients on one Mailchimp account share; None: the account is this client's alone."""

    def account_name(self, client: str) -> str:
        """Return the account's name: the shared name, or that of its only client."""
        return self.account or client

    def credentials(self) -> Credentials:
        """Read the key or token. SecretMissing if there is none, or it is malformed."""
        if self.api_key is not None:
            return Credentials(kind=CredentialKind.API_KEY, secret=self.api_key.read())
        if self.access_token is not None:
            return Credentials(kind=CredentialKind.ACCESS_TOKEN, secret=self.access_token.read())
        raise SecretMissing("neither an API key nor a token is declared", remedy="write mailchimp.api_key")

    @property
    def data_centre_of_url(self) -> str | None:
        """The account's data centre, such as us6, if `base_url` names it."""
        return None if self.base_url is None else data_centre_of(self.base_url)

    def data_centre(self) -> str | None:
        """Return the account's data centre, such as us6; None if neither `base_url` nor a readable API key names it."""
        if self.base_url is not None or self.api_key is None:
            return self.data_centre_of_url
        try:
            return data_centre_of(self.credentials().key_base_url())
        except SecretMissing:
            return None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.api_key is None) == (self.access_token is None):
            raise refusal(*ONE_WAY_IN)
        return self


ONE_WAY_IN = ("expected exactly one of api_key and access_token", "write api_key: {env: ACME_MAILCHIMP_API_KEY}")
"""The problem of Mailchimp settings that have both or none, and the remedy."""


class TargetSettings(_Declared):
    """A client's account at the target."""

    url: Url = Field(examples=["https://api.example.com"])
    """Records go to POST <url>/record."""
    api_key: Secret = Field(examples=["{env: ACME_TARGET_API_KEY}"])
    """Reference to the key, which is sent as the Authorization header's value."""


class Client(_Declared):
    """A customer: one Mailchimp account, one account at the target, and the audiences to import."""

    name: Name
    """The client's name in asset keys and groups."""
    enabled: bool = Field(default=True, examples=["false"])
    """True if the client is imported."""
    owner: Owner | None = Field(default=None, repr=False, examples=["team:crm"])
    """Owner of the client's assets in Dagster: an e-mail address or team:name."""
    mailchimp: MailchimpSettings = Field(examples=["{api_key: {env: ACME_MAILCHIMP_API_KEY}}"])
    """The client's Mailchimp account."""
    target: TargetSettings = Field(examples=["{url: https://api.example.com, api_key: {env: ACME_TARGET_API_KEY}}"])
    """The client's account at the target."""
    audiences: tuple[Audience, ...] = Field(examples=["{newsletter: {list_id: 1a2d7ebf82}}"])
    """The lists to import, in the order of the file."""

    @property
    def account(self) -> str:
        """The name of the client's Mailchimp account. Only one sync at a time runs per account."""
        return self.mailchimp.account_name(self.name)

    def secret_problems(self) -> tuple[str, ...]:
        """Return the problems of the client's secrets now, a line each: missing, unusable, or readable by others."""
        lacking = [f"{self.name}.{field}: {error}" for field, error in self._missing_secrets()]
        return (*lacking, *(f"{self.name}.{field}: {secret.exposure}" for field, secret in self._exposed_secrets()))

    def _exposed_secrets(self) -> Iterator[tuple[str, Secret]]:
        settings = self.mailchimp
        kept = (
            ("mailchimp.api_key", settings.api_key),
            ("mailchimp.access_token", settings.access_token),
            ("target.api_key", self.target.api_key),
        )
        return ((field, secret) for field, secret in kept if secret is not None and secret.exposure)

    def _missing_secrets(self) -> Iterator[tuple[str, SecretMissing]]:
        settings = self.mailchimp
        try:
            credentials = settings.credentials()
            if settings.api_key is not None and settings.base_url is None:
                credentials.key_base_url()
        except SecretMissing as error:
            yield "mailchimp.api_key" if settings.api_key is not None else "mailchimp.access_token", error
        try:
            self.target.api_key.read()
        except SecretMissing as error:
            yield "target.api_key", error


def account_identity(client: Client) -> str:
    """Return a string that identifies a Mailchimp account: its base URL and name."""
    return f"{client.mailchimp.base_url or ''} {client.account}"


def fingerprint(client: Client, audience: Audience) -> str:
    """Return a hash of all that a chain of hours depends on: list, target URL, mapping, format. 16 hexadecimal digits.

    Keys are not part of it: rotating one changes nothing. Nor does the spelling of a mapping matter: `id` equals
    `{id}`.
    """
    record = {key: parse_template(text).text for key, text in audience.record.model_dump().items()}
    facts = [RECORD_FORMAT, audience.list_id, client.target.url, record]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
