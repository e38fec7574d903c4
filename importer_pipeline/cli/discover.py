"""`importer discover`: what a Mailchimp account holds, and the stanza for the clients file that imports it.

Stays out: the guesses (`guessing.py`) and the text of the stanza (`stanzas.py`).
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from importer_pipeline.checking.connections import open_mailchimp, patiently
from importer_pipeline.cli.exits import CommandRefused
from importer_pipeline.cli.guessing import guessed_names
from importer_pipeline.cli.stanzas import FoundList
from importer_pipeline.clients.field_types import checked_name
from importer_pipeline.errors import ListNotFound
from importer_pipeline.mailchimp.client import MailchimpClient
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials
from importer_pipeline.mailchimp.directory import (
    AccountDetails,
    MergeField,
    read_account,
    read_lists,
    read_merge_fields,
)
from importer_pipeline.redaction import shown

_MAX_THREADS = 4
"""Of the account's ten connections, which its other tools use, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """An account and all of its lists."""

    account: AccountDetails
    lists: tuple[FoundList, ...]

    @property
    def client_name(self) -> str:
        """A name for the client in the clients file."""
        return guessed_names([self.account.name], fallback="new-client")[0]


def secret_of(variable: str) -> SecretStr:
    """Read a secret from an environment variable. CommandRefused if it is not set."""
    text = os.environ.get(variable, "").strip()
    if not text:
        raise CommandRefused(
            f"the environment variable {shown(variable)} is not set",
            remedy="put the key into it, or leave --env out to be asked for the key",
        )
    return SecretStr(text)


def asked_secret(kind: CredentialKind) -> SecretStr:
    """Ask for a secret without echo; where nobody can be asked, read a line of standard input."""
    if sys.stdin.isatty():
        return SecretStr(str(click.prompt(f"Mailchimp {kind}", hide_input=True, err=True)).strip())
    text = sys.stdin.readline().strip()
    if not text:
        raise CommandRefused(
            "no key was given, and there is no terminal to ask for it",
            remedy="name the environment variable that holds it with --env, or write it to standard input",
        )
    return SecretStr(text)


def checked_client_name(name: str) -> str:
    """Return a name for a client; CommandRefused if the clients file would not take it."""
    try:
        return checked_name(name)
    except PydanticCustomError as error:
        context = error.context or {}
        raise CommandRefused(f"--name: {context.get('what', error)}", remedy=str(context.get("remedy", ""))) from None


def discover(secret: SecretStr, *, kind: CredentialKind, base_url: str | None) -> Discovered:
    """Read who an account is, its lists and their merge fields.

    Raises:
        ImporterError: the secret is malformed or refused, or Mailchimp does not answer.
    """
    account = open_mailchimp(Credentials(kind=kind, secret=secret), base_url=base_url)
    try:
        details = patiently(lambda: read_account(account))
        lists = patiently(lambda: read_lists(account))
        if not lists:
            raise ListNotFound(
                "the account has no audience", remedy="create one in Mailchimp, or use the key of another account"
            )
        with ThreadPoolExecutor(max_workers=_MAX_THREADS) as pool:
            fields = pool.map(partial(_fields, account), [it.list_id for it in lists])
            found = (FoundList(details=it, fields=own) for it, own in zip(lists, fields, strict=True))
            return Discovered(account=details, lists=tuple(found))
    finally:
        account.close()


def document(found: Discovered, *, stanza: str) -> dict[str, Any]:
    """Return what was found for programs."""
    return {
        "account_id": found.account.account_id,
        "account_name": found.account.name,
        "lists": [
            {
                "list_id": it.details.list_id,
                "name": it.details.name,
                "subscribed": it.details.subscribed,
                "merge_fields": [{"tag": f.tag, "name": f.name, "type": f.kind} for f in it.fields],
            }
            for it in found.lists
        ],
        "stanza": stanza,
    }


def _fields(account: MailchimpClient, list_id: str) -> tuple[MergeField, ...]:
    return tuple(patiently(lambda: read_merge_fields(account, list_id)))
