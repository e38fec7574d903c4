"""What keeps between runs what they told: snapshots, windows, chains, the quarantine."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Latest, Snapshot
from importer_pipeline.planning.chain import Evidence, View
from importer_pipeline.planning.quarantine import Entry


class History(Protocol):
    """What earlier runs left."""

    def evidence(self, names: Sequence[AudienceName], view: View) -> Mapping[AudienceName, Sequence[Evidence]]:
        """What is known of each audience's chain, as `chain.chain_of` takes it with that view. None is left out."""
        ...

    def entries(self, names: Sequence[AudienceName]) -> Sequence[Entry]:
        """What is in the quarantine of these audiences."""
        ...

    def latest(self, names: Sequence[AudienceName]) -> Mapping[AudienceName, Latest]:
        """The newest snapshot of each audience that has one."""
        ...

    def windows(self, name: AudienceName, snapshot: Snapshot) -> Mapping[str, ImportedWindow]:
        """What is in of a snapshot, by key."""
        ...
