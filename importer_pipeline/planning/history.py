"""The interface to what earlier runs recorded: snapshots, windows, chains, the quarantine."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Latest, Snapshot
from importer_pipeline.planning.chain import Evidence, View
from importer_pipeline.planning.quarantine import Entry


class History(Protocol):
    """Reads what earlier runs recorded."""

    def evidence(self, names: Sequence[AudienceName], view: View) -> Mapping[AudienceName, Sequence[Evidence]]:
        """Return the evidence for each audience's chain, as `chain.chain_of` takes it. No audience is left out."""
        ...

    def entries(self, names: Sequence[AudienceName]) -> Sequence[Entry]:
        """Return the quarantine entries of these audiences."""
        ...

    def latest(self, names: Sequence[AudienceName]) -> Mapping[AudienceName, Latest]:
        """Return the newest snapshot of each audience that has one."""
        ...

    def windows(self, name: AudienceName, snapshot: Snapshot) -> Mapping[str, ImportedWindow]:
        """Return the imported windows of a snapshot, by key."""
        ...
