"""The stanza of a client for the clients file, as text. Pure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from importer_pipeline.cli.guessing import guessed_names, guessed_record
from importer_pipeline.cli.tables import cell
from importer_pipeline.mailchimp.directory import ListDetails, MergeField

_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_-]*")
_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_ONLY_LIST = "id"
_ONE_OF_SEVERAL = "{list_id}-{id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundList:
    """A list of an account, with its merge fields."""

    details: ListDetails
    fields: tuple[MergeField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StanzaSecret:
    """How the stanza names the account's secret.

    Attributes:
        key: `api_key` or `access_token`.
        variable: the environment variable that holds it.
        base_url: the API's URL; None if the secret tells it.
    """

    key: str
    variable: str
    base_url: str | None


def variable_prefix(client: str) -> str:
    """Return how the environment variables of a client begin: `ACME_EUROPE` for `acme-europe`."""
    prefix = client.upper().replace("-", "_")
    return prefix if prefix[:1].isalpha() else f"CLIENT_{prefix}"


def clients_stanza(client: str, lists: Sequence[FoundList], secret: StanzaSecret) -> str:
    """Return a clients file with one client: all lists of an account, with guessed names and mappings.

    Sizes and merge fields are comments in it. It loads as it is; the target is to be filled in.
    """
    lines = [
        "# Paste this below `clients:` of your clients file (without that line), or save it as a file of its own.",
        "# Remove the audiences that are not to be imported. Names and mappings are guesses.",
        "clients:",
        f"  {_key(client)}:",
        "    mailchimp:",
        f"      {secret.key}: {{env: {secret.variable}}}",
        *([f"      base_url: {json.dumps(secret.base_url)}"] if secret.base_url else []),
        "    target:",
        "      url: https://api.example.com   # yours: records go to POST <url>/record",
        f"      api_key: {{env: {variable_prefix(client)}_TARGET_API_KEY}}",
        "    audiences:",
    ]
    names = guessed_names([found.details.name for found in lists], fallback="audience")
    record_id = _ONLY_LIST if len(lists) == 1 else _ONE_OF_SEVERAL
    for name, found in zip(names, lists, strict=True):
        lines += _audience_lines(name, found, record_id=record_id)
    return "\n".join(lines) + "\n"


def _audience_lines(name: str, found: FoundList, *, record_id: str) -> list[str]:
    details = found.details
    record = ({} if record_id == _ONLY_LIST else {"id": record_id}) | dict(guessed_record(found.fields))
    fields = ", ".join(f"{cell(field.tag)} ({cell(field.name)})" for field in found.fields)
    return [
        f'      # "{cell(details.name)}": {details.subscribed:,} subscribed contacts',
        f"      # merge fields: {fields or 'none'}",
        f"      {_key(name)}:",
        f"        list_id: {json.dumps(details.list_id)}",
        *(["        record:"] if record else []),
        *(f"          {key}: {json.dumps(value)}" for key, value in record.items()),
    ]


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and name not in _YAML_WORDS else json.dumps(name)
