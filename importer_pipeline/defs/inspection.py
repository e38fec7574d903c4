"""What Dagster's storage knows of audiences, for a person who asks without a run: how far they are, and their windows.

Reads only. Stays out: judging and printing (`cli/`).
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy.exc import SQLAlchemyError

from importer_pipeline.clients.client import Audience, Client
from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.chain_evidence import read_evidence
from importer_pipeline.defs.event_log import materializations, newest_materializations
from importer_pipeline.defs.event_metadata import read_snapshot_completed, read_window
from importer_pipeline.defs.history import newest_snapshot
from importer_pipeline.defs.home import home_folder, home_instance, home_unusable
from importer_pipeline.defs.names import contacts_key, windows_key
from importer_pipeline.defs.paused_accounts import account_label, read_refused
from importer_pipeline.defs.quarantine_events import read_entries
from importer_pipeline.defs.settings import Settings
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, SnapshotProgress
from importer_pipeline.planning.chain import Chain, Evidence, SnapshotCompleted, View, chain_of, why_no_chain
from importer_pipeline.planning.pausing import RefusedAccount
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.redaction import shown_path

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedAudience:
    """How far an audience is.

    Attributes:
        name: its name.
        full_sync_at: when its last full sync was recorded, in epoch seconds; None if there was none.
        chain: its chain; None if it needs a full sync.
        why_no_chain: the reason, as the end of a sentence; "" if there is a chain.
        entries: its entries in the quarantine.
    """

    name: AudienceName
    full_sync_at: float | None
    chain: Chain | None
    why_no_chain: str
    entries: tuple[Entry, ...]


class Inspection:
    """Reads one instance.

    Args:
        instance: the instance.
        place: where it keeps its events, in words; safe to show.
    """

    def __init__(self, instance: dg.DagsterInstance, place: str) -> None:
        self._instance = instance
        self.place = place

    def audiences(self, fingerprints: Mapping[AudienceName, str], view: View) -> list[InspectedAudience]:
        """Return how far some audiences are, in their order.

        Args:
            fingerprints: the current fingerprint of each audience.
            view: which evidence counts.
        """
        names = list(fingerprints)
        evidence = read_evidence(self._instance, names, view)
        full_syncs = self._full_syncs(evidence)
        entries: dict[AudienceName, list[Entry]] = {name: [] for name in names}
        for entry in read_entries(self._instance, names):
            entries[entry.ref.name].append(entry)
        found = list[InspectedAudience]()
        for name, fingerprint in fingerprints.items():
            chain = chain_of(evidence[name], fingerprint=fingerprint, view=view)
            why = why_no_chain(evidence[name], fingerprint=fingerprint, view=view) if chain is None else ""
            found.append(
                InspectedAudience(
                    name=name,
                    full_sync_at=full_syncs.get(name),
                    chain=chain,
                    why_no_chain=why,
                    entries=tuple(entries[name]),
                )
            )
        return found

    def paused(
        self, audiences: Sequence[tuple[Client, Audience]], settings: Settings
    ) -> Mapping[AudienceName, RefusedAccount]:
        """Return the audiences whose accounts are paused, by the newest status of each shard.

        Args:
            audiences: to look for.
            settings: of the deployment; of its shard, only their number counts.
        """
        count = settings.shard.count
        refused = read_refused(self._instance, [Shard(index, count) for index in range(count)])
        found: dict[AudienceName, RefusedAccount] = {}
        for client, audience in audiences:
            account = refused.get(account_label(client))
            if account is not None and settings.pause_rule.is_paused(account):
                found[AudienceName(client.name, audience.name)] = account
        return found

    def _full_syncs(self, evidence: Mapping[AudienceName, Sequence[Evidence]]) -> Mapping[AudienceName, float]:
        """Return when each audience's last full sync was recorded, which the evidence of its chain tells as a rule."""
        found: dict[AudienceName, float] = {}
        for name, newest_first in evidence.items():
            completed = (it.written for it in newest_first if isinstance(it, SnapshotCompleted))
            if (written := next(completed, None)) is not None:
                found[name] = written
        others = [name for name in evidence if name not in found]
        stored_by_key = newest_materializations(self._instance, [contacts_key(name) for name in others])
        for name in others:
            stored = stored_by_key.get(contacts_key(name))
            if stored is not None and read_snapshot_completed(stored.values, written=stored.timestamp) is not None:
                found[name] = stored.timestamp
        return found

    def snapshot(self, name: AudienceName, fingerprint: str) -> SnapshotProgress | None:
        """Return the newest snapshot of an audience with its imported windows; None if it has another fingerprint."""
        recorded = newest_snapshot(self._instance, name)
        if recorded is None or recorded.snapshot.fingerprint != fingerprint:
            return None
        windows: dict[str, ImportedWindow] = {}
        for stored in materializations(self._instance, windows_key(name), page=_PAGE):
            window = read_window(stored.values, recorded.snapshot)
            if stored.partition is not None and window is not None:
                windows.setdefault(stored.partition, window)
        return SnapshotProgress(snapshot=recorded.snapshot, windows=windows)


@contextmanager
def inspection() -> Generator[Inspection]:
    """Open the instance that `DAGSTER_HOME` names.

    Raises:
        SettingsInvalid: there is no such variable or folder, or its storage can't be opened or read.
    """
    with home_instance() as instance:
        is_postgres = isinstance(instance.event_log_storage, PostgresEventLogStorage)
        kind = "Postgres, as its dagster.yaml says" if is_postgres else "SQLite"
        try:
            yield Inspection(instance, f"DAGSTER_HOME {shown_path(home_folder())} ({kind})")
        except (dg.DagsterError, SQLAlchemyError, OSError) as error:
            raise home_unusable(error) from None
