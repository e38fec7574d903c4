"""A client and its audiences, as the clients file declares them: all fields, and their checks.

Stays out: reading files (see `clients_file`), and checks between clients (see `cross_checks`).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Self

from pydantic import Field, PrivateAttr, model_validator

from importer_pipeline.clients.field_types import BaseUrl, Declared, IdValue, ListId, Name, Owner, Value
from importer_pipeline.clients.file_problems import refusal
from importer_pipeline.clients.secret import Secret
from importer_pipeline.clients.target_settings import TargetSettings
from importer_pipeline.errors import SecretMissing
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials, data_centre_of
from importer_pipeline.records.contacts import DEFAULT_RECORD, RecordMapping
from importer_pipeline.records.mapping import Template, parse_template
from importer_pipeline.records.shapes import Shape, ShapedMapping

RECORD_FORMAT = 1
"""Increased when the importer makes other records of the same members: every audience then needs a full sync."""

MAX_CONNECTIONS = 10
"""Mailchimp's limit of simultaneous connections per user account (D)."""


class RecordSpec(Declared):
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


class Audience(Declared):
    """A Mailchimp list of a client, and how its members become records."""

    name: Name
    """The audience's name in asset keys."""
    list_id: ListId = Field(examples=["1a2d7ebf82"])
    """Mailchimp's id of the list ("Audience ID")."""
    record: RecordSpec = Field(default=RecordSpec(), examples=["{id: id}"])
    """The sources of a record's values, for the record of the default protocol."""
    _shape: Shape | None = PrivateAttr(default=None)

    def shaped(self, shape: Shape) -> "Audience":
        """Return the audience with records of a declared form."""
        other = self.model_copy()
        other._shape = shape
        return other

    def record_mapping(self) -> RecordMapping | ShapedMapping:
        """Return the audience's record mapping."""
        if self._shape is not None:
            return ShapedMapping.of(self._shape, list_id=self.list_id)
        return RecordMapping.of(self.record.model_dump(), list_id=self.list_id)

    @property
    def is_shaped(self) -> bool:
        """True if its records have a declared form."""
        return self._shape is not None

    @property
    def id_template(self) -> Template:
        """The template of its records' ids."""
        return parse_template(self.record.id) if self._shape is None else self._shape.id.template

    @property
    def normal_form(self) -> str | dict[str, str]:
        """The mapping in a form that is equal for equal records."""
        if self._shape is not None:
            return self._shape.normal_form
        return {key: parse_template(text).text for key, text in self.record.model_dump().items()}


class MailchimpSettings(Declared):
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


class Client(Declared):
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
        return (*lacking, *(f"{self.name}.{field}: {secret.exposure}" for field, secret in self.exposed_secrets()))

    def exposed_secrets(self) -> Iterator[tuple[str, Secret]]:
        """Return the secrets that other users of this machine can read, each with its field."""
        settings = self.mailchimp
        kept = (
            ("mailchimp.api_key", settings.api_key),
            ("mailchimp.access_token", settings.access_token),
            *((f"target.{field}", secret) for field, secret in self.target.references),
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
        for field, secret in self.target.references:
            try:
                secret.read()
            except SecretMissing as error:
                yield f"target.{field}", error


def account_identity(client: Client) -> str:
    """Return a string that identifies a Mailchimp account: its base URL and name."""
    return f"{client.mailchimp.base_url or ''} {client.account}"


def fingerprint(client: Client, audience: Audience) -> str:
    """Return a hash of all that a chain of hours depends on: list, target URL, mapping, format. 16 hexadecimal digits.

    Keys are not part of it: rotating one changes nothing. Nor does the spelling of a mapping matter: `id` equals
    `{id}`. Of a declared target, its method, path and body are.
    """
    facts = [RECORD_FORMAT, audience.list_id, client.target.url, audience.normal_form, *client.target.normal_form()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
