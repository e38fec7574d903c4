"""`importer preview`: the records that would be sent for an audience's first contacts, beside what Mailchimp holds.

Nothing is sent or stored. Stays out: the mapping itself (`records/contacts.py`).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from importer_pipeline.checking.connections import open_account, patiently
from importer_pipeline.cli.tables import cell, table
from importer_pipeline.clients.client import Audience, Client
from importer_pipeline.listing.coverage import BEGINNING, PageRequest
from importer_pipeline.mailchimp.client import MailchimpClient, MembersPage, read_members
from importer_pipeline.records.contacts import Contact, ContactMapping
from importer_pipeline.target.dry_run import dry_run

_MERGE_FIELDS = "merge_fields"
_LONGEST_LINE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The first contacts of an audience.

    Attributes:
        archived: True if they are archived, because there are no others.
        total: number of contacts of that kind.
        members: as Mailchimp holds them. Not in the repr: they are personal data.
        contacts: the same, mapped to records.
        lacking: the mapped paths that some of them do not have, with their number.
        request: the post that would be sent, line by line, with its secrets masked. Not in the repr, either.
    """

    archived: bool
    total: int
    members: list[dict[str, Any]] = field(repr=False)
    contacts: list[Contact]
    lacking: Mapping[str, int]
    request: list[str] = field(repr=False)


def preview(client: Client, audience: Audience, *, count: int) -> Preview:
    """Read the first contacts of an audience, by their last change, and map them.

    Raises:
        ImporterError: Mailchimp does not give them.
    """
    mapping = audience.record_mapping()
    account = open_account(client)
    try:
        archived = False
        page = _first_page(account, audience, mapping, count=count, archived=archived)
        if not page.members:
            archived = True
            page = _first_page(account, audience, mapping, count=count, archived=archived)
    finally:
        account.close()
    contacts, lacking = mapping.contacts(page.members)
    records = [contact.record for contact in contacts if contact.record is not None]
    return Preview(
        archived=archived,
        total=page.total_items,
        members=page.members,
        contacts=contacts,
        lacking=dict(lacking),
        request=dry_run(client.target.url, client.target.declaration(), records),
    )


def show(name: str, found: Preview, mapping: ContactMapping) -> None:
    """Print each contact as a small table: its record, the mapping, and what Mailchimp holds."""
    kind = "archived contacts" if found.archived else "contacts that are not archived"
    click.echo(f"{name}: {len(found.contacts)} of {found.total:,} {kind}. Nothing is sent or stored.")
    for member, contact in zip(found.members, found.contacts, strict=True):
        click.echo(f"\nContact {cell(contact.contact_id or '(no id)')}")
        if contact.reason:
            click.echo(f"  is not sent, but goes to the quarantine: {contact.reason}")
        click.echo(
            _indented(table(("record", "would be sent", "mapping", "Mailchimp holds"), _rows(contact, mapping, member)))
        )
        if unused := _unused(mapping, member):
            click.echo("  not mapped: " + ", ".join(unused))
    for path, number in found.lacking.items():
        click.echo(f"\nnote: {number} of {len(found.contacts)} contacts have no {path}, and send an empty text")
    click.echo("\nThe request that would be sent, with secrets masked:")
    click.echo(_indented("\n".join(cell(line, max_characters=_LONGEST_LINE) for line in found.request)))


def document(name: str, found: Preview) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "audience": name,
        "archived": found.archived,
        "total": found.total,
        "contacts": [
            {
                "id": contact.contact_id,
                "record": None if contact.record is None else contact.record.content,
                "reason": contact.reason,
                "mailchimp": member,
            }
            for member, contact in zip(found.members, found.contacts, strict=True)
        ],
        "lacking": dict(found.lacking),
        "request": found.request,
    }


def value_at(member: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of a member; None if there is none."""
    value: Any = member
    for key in path.split("."):
        if isinstance(value, list):
            value = value[int(key)] if key.isdecimal() and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _first_page(
    account: MailchimpClient, audience: Audience, mapping: ContactMapping, *, count: int, archived: bool
) -> MembersPage:
    ask = PageRequest(since=BEGINNING, before=int(time.time()), offset=0, count=count)
    fields = preview_fields(mapping)
    return patiently(lambda: read_members(account.members(audience.list_id, ask, archived=archived, fields=fields)))


def preview_fields(mapping: ContactMapping) -> str:
    """Return the `fields` that ask for what a mapping reads, and for all merge fields."""
    mapped = [field for field in mapping.fields.split(",") if not field.startswith(f"members.{_MERGE_FIELDS}")]
    return ",".join(dict.fromkeys([*mapped, f"members.{_MERGE_FIELDS}"]))


def _rows(contact: Contact, mapping: ContactMapping, member: Mapping[str, Any]) -> list[tuple[str, ...]]:
    record = {} if contact.record is None else contact.record.content
    return [
        (
            source.key,
            cell(_as_sent(value_at(record, source.key))),
            cell(source.text),
            ", ".join(cell(_in_words(value_at(member, path))) for path in source.paths),
        )
        for source in mapping.sources
    ]


def _as_sent(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _unused(mapping: ContactMapping, member: Mapping[str, Any]) -> list[str]:
    held = member.get(_MERGE_FIELDS)
    if not isinstance(held, dict):
        return []
    return [
        f"{_MERGE_FIELDS}.{cell(tag)} = {cell(_in_words(value))}"
        for tag, value in held.items()
        if not any(path.startswith(f"{_MERGE_FIELDS}.{tag}") for path in mapping.paths)
    ]


def _in_words(value: Any) -> str:
    if value is None:
        return "(missing)"
    return "(empty)" if value == "" else str(value)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
