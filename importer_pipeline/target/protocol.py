"""What every target can do, whatever it speaks."""

from collections.abc import Sequence
from typing import Protocol

from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.records.receipt import Receipt


class Target(Protocol):
    """One client's account at a target. Threads may share it."""

    @property
    def host(self) -> str:
        """Where it is, for people: a host, with the port if its URL names one."""
        ...

    def post(self, records: Sequence[AnyRecord]) -> Receipt:
        """Send records; raise an ImporterError without a receipt, as `TargetClient.post`."""
        ...

    def probe(self) -> Receipt:
        """Find out whether it is up and accepts the key, without storing anything; raise as `TargetClient.probe`."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
