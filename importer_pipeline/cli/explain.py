"""`importer explain`: where a contact is on its way to the target, in each audience of a client.

Holds the requests and the output. Stays out: the judgement (`whereabouts.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from importer_pipeline.checking.connections import open_account, patiently
from importer_pipeline.cli.standings import why_paused
from importer_pipeline.cli.tables import cell
from importer_pipeline.cli.whereabouts import HeldContact, Place, Whereabouts, whereabouts
from importer_pipeline.clients.client import Audience, Client, fingerprint
from importer_pipeline.defs.inspection import Inspection, inspection
from importer_pipeline.defs.settings import settings_from_environment
from importer_pipeline.errors import BrokenAnswer
from importer_pipeline.listing.coverage import seconds
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.mailchimp.client import MailchimpClient, read_member
from importer_pipeline.mailchimp.directory import read_list_details
from importer_pipeline.records.contacts import Contact

_ARCHIVED = "archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Where a contact of one audience is.

    Attributes:
        audience: as "client/audience".
        status: Mailchimp's status of it; "" without a contact.
        last_changed: as Mailchimp gives it; "" without a contact.
        contact: the contact with its record; None if Mailchimp has no such contact.
        whereabouts: where it is, why, and what to do.
    """

    audience: str
    status: str
    last_changed: str
    contact: Contact | None = field(repr=False)
    whereabouts: Whereabouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a contact is, in each audience; `place` is the storage that was read, in words."""

    contact_id: str
    place: str
    audiences: tuple[Explained, ...]

    @property
    def is_well(self) -> bool:
        """True if Mailchimp has the contact, and nobody has to do anything."""
        places = [it.whereabouts.place for it in self.audiences]
        return all(place.is_well for place in places) and any(place is not Place.ABSENT for place in places)


def explain(client: Client, contact_id: str) -> Explanation:
    """Find out where a contact is.

    Raises:
        SettingsInvalid: Dagster's storage can't be read.
        ImporterError: Mailchimp can't be read.
    """
    with inspection() as found:
        account = open_account(client)
        try:
            audiences = [_explained(client, audience, account, found, contact_id) for audience in client.audiences]
        finally:
            account.close()
        return Explanation(contact_id=contact_id, place=found.place, audiences=tuple(audiences))


def show(explanation: Explanation) -> None:
    """Print a paragraph for each audience."""
    click.echo(f"Contact {explanation.contact_id}")
    for it in explanation.audiences:
        click.echo(f"\n{it.audience}: {it.whereabouts.place.value.upper()}")
        if it.contact is not None:
            click.echo(f"  at Mailchimp  {cell(it.status)}, last changed {cell(it.last_changed)}")
            record = it.contact.record
            text = it.contact.reason or ", ".join(
                f"{k}={cell(v)}" for k, v in (record._asdict() if record else {}).items()
            )
            click.echo(f"  record        {text}")
        if it.whereabouts.partition:
            click.echo(f"  falls into    {it.whereabouts.partition}")
        click.echo(f"  why           {it.whereabouts.why}")
        if it.whereabouts.remedy:
            click.echo(f"    -> {it.whereabouts.remedy}")
    click.echo(f"\nRead from Mailchimp now, and from {explanation.place}")


def document(explanation: Explanation) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "contact_id": explanation.contact_id,
        "read_from": explanation.place,
        "audiences": [
            {
                "audience": it.audience,
                "place": it.whereabouts.place.name.lower(),
                "status": it.status,
                "last_changed": it.last_changed,
                "record": it.contact.record._asdict() if it.contact is not None and it.contact.record else None,
                "partition": it.whereabouts.partition,
                "why": it.whereabouts.why,
                "remedy": it.whereabouts.remedy,
            }
            for it in explanation.audiences
        ],
    }


def _explained(
    client: Client, audience: Audience, account: MailchimpClient, found: Inspection, contact_id: str
) -> Explained:
    name = AudienceName(client.name, audience.name)
    member = _member(account, audience, contact_id)
    held = None if member is None else _held(member)
    settings = settings_from_environment()
    view = settings.view(datetime.now(UTC))
    is_now = fingerprint(client, audience)
    [inspected] = found.audiences({name: is_now}, view)
    where = whereabouts(
        contact_id if held is None else held.contact_id,
        held,
        name=name,
        chain=inspected.chain,
        why_no_chain=inspected.why_no_chain,
        entries=inspected.entries,
        progress=found.snapshot(name, is_now),
        why_paused=why_paused(found.paused([(client, audience)], settings).get(name)),
    )
    contacts: Sequence[Contact] = audience.record_mapping().contacts([] if member is None else [member])[0]
    return Explained(
        audience=str(name),
        status="" if member is None else str(member.get("status", "")),
        last_changed="" if member is None else str(member.get("last_changed", "")),
        contact=contacts[0] if contacts else None,
        whereabouts=where,
    )


def _member(account: MailchimpClient, audience: Audience, contact_id: str) -> dict[str, Any] | None:
    fields = dict.fromkeys([*audience.record_mapping().member_fields.split(","), "id", "status", "last_changed"])
    asked = ",".join(fields)
    member = patiently(lambda: read_member(account.member(audience.list_id, contact_id, fields=asked)))
    if member is None:
        # Mailchimp says the same of a contact in a list that does not exist.
        patiently(lambda: read_list_details(account, audience.list_id))
    return member


def _held(member: dict[str, Any]) -> HeldContact:
    contact_id, changed = member.get("id"), member.get("last_changed")
    if not isinstance(contact_id, str) or not isinstance(changed, str):
        raise BrokenAnswer("expected a contact with an id and the time of its last change, found something else")
    return HeldContact(contact_id=contact_id, changed=seconds(changed), archived=member.get("status") == _ARCHIVED)
