"""The contact that a person asks about, by address or by Mailchimp's id."""

import hashlib
import re
import sys

import click

from importer_pipeline.cli.exits import CommandRefused

_ID = re.compile(r"[0-9a-f]{32}")


def contact_id_of(written: str) -> str:
    """Return Mailchimp's `id` for an address or an id. CommandRefused if it is neither."""
    text = written.strip()
    if "@" in text:
        return hashlib.md5(text.lower().encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    if _ID.fullmatch(text.lower()):
        return text.lower()
    raise CommandRefused(
        "expected an email address, or Mailchimp's id of a contact (32 hexadecimal digits, as in the quarantine)",
        remedy="write one of them after the client, or leave it out to be asked",
    )


def asked_contact() -> str:
    """Ask for an address or id; where nobody can be asked, read a line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Address or id", err=True))
    return sys.stdin.readline()
