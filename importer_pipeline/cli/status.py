"""`importer status`: how far each audience is, from Dagster's storage.

Stays out: the judgement (`standings.py`), and reading the storage (`defs/inspection.py`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from importer_pipeline.cli.standings import (
    REMEDIES,
    STATE_WORDS,
    Standing,
    State,
    duration,
    moment,
    quarantine_in_words,
    standing_of,
    why_paused,
    worst_first,
)
from importer_pipeline.cli.tables import table
from importer_pipeline.clients.client import Audience, Client
from importer_pipeline.defs.chain_evidence import fingerprints
from importer_pipeline.defs.inspection import InspectedAudience, inspection
from importer_pipeline.defs.settings import settings_from_environment
from importer_pipeline.planning.pausing import RefusedAccount


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far all audiences are, the worst first.

    Attributes:
        place: the storage that was read, in words.
        at: when, in epoch seconds.
        standings: one for each audience.
    """

    place: str
    at: float
    standings: tuple[Standing, ...]

    @property
    def is_well(self) -> bool:
        """True if there is nothing to do."""
        return all(standing.state is State.WELL for standing in self.standings)


def read_status(selected: Sequence[tuple[Client, Audience]], *, late_after_seconds: float) -> Status:
    """Read how far audiences are.

    Raises:
        SettingsInvalid: there is no storage, or it can't be read.
    """
    now = datetime.now(UTC)
    with inspection() as found:
        settings = settings_from_environment()
        paused = found.paused(selected, settings)
        standings = [
            _standing(it, paused.get(it.name), now=now.timestamp(), late_after_seconds=late_after_seconds)
            for it in found.audiences(fingerprints(selected), settings.view(now))
        ]
        return Status(place=found.place, at=now.timestamp(), standings=tuple(worst_first(standings)))


def show(status: Status) -> None:
    """Print a line for each audience with the reason of its state, a summary, and what to do."""
    headings = ("state", "audience", "last full sync", "imported up to", "lag", "quarantine", "reason")
    click.echo(table(headings, [_row(standing) for standing in status.standings]))
    counts = Counter(standing.state for standing in status.standings)
    words = ", ".join(f"{counts[state]} {STATE_WORDS[state].lower()}" for state in State if counts[state])
    number = len(status.standings)
    click.echo(f"\n{number} audience{'' if number == 1 else 's'}: {words or 'none'}")
    for state in State:
        if counts[state] and REMEDIES[state]:
            click.echo(f"  {STATE_WORDS[state]} -> {REMEDIES[state]}")
    click.echo(f"Read from {status.place} at {moment(status.at)}; all times in UTC")


def document(status: Status) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "read_from": status.place,
        "at": status.at,
        "audiences": [
            {
                "audience": it.audience,
                "state": it.state.name.lower(),
                "full_sync_at": it.full_sync_at,
                "watermark": it.watermark,
                "lag_seconds": it.lag_seconds,
                "quarantined_contacts": it.quarantined[0],
                "quarantined_parts": it.quarantined[1],
                "reason": it.reason,
                "remedy": it.remedy,
            }
            for it in status.standings
        ],
    }


def _standing(
    found: InspectedAudience, paused: RefusedAccount | None, *, now: float, late_after_seconds: float
) -> Standing:
    contacts = {key for entry in found.entries for key in entry.contacts}
    return standing_of(
        str(found.name),
        full_sync_at=found.full_sync_at,
        watermark=None if found.chain is None else found.chain.end,
        why_unsynced=found.why_no_chain,
        why_paused=why_paused(paused),
        quarantined=(len(contacts), sum(bool(entry.failures) for entry in found.entries)),
        now=now,
        late_after_seconds=late_after_seconds,
    )


def _row(standing: Standing) -> tuple[str, ...]:
    return (
        STATE_WORDS[standing.state],
        standing.audience,
        moment(standing.full_sync_at),
        moment(standing.watermark),
        "-" if standing.lag_seconds is None else duration(standing.lag_seconds),
        quarantine_in_words(standing.quarantined) or "-",
        "" if standing.state is State.QUARANTINED else standing.reason,
    )
