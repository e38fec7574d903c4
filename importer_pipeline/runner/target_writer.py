"""Posting records to a client's target, for assets of one's own. What a sync posts is its own business."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from importer_pipeline.records.contacts import Record
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.runner.limited_calls import LimitedCalls
from importer_pipeline.target.client import TargetClient


class TargetWriter:
    """Posts records to a client's target, each post counted among those that its URL may have in flight.

    Threads may share it. It isolates no refused record: a batch with one raises.

    Args:
        target: sends the posts.
        calls: waits for the connections to the target.
    """

    def __init__(self, target: TargetClient, calls: LimitedCalls) -> None:
        self._target = target
        self._calls = calls

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def post(self, records: Sequence[Record]) -> Receipt:
        """Send records, and return how many the target accepted. It upserts them, so they may be sent again.

        Raises:
            NoFreeConnection: as many posts as allowed were in flight for too long.
            ImporterError: as `TargetClient.post`, after all retries.
        """
        return self._calls.call(lambda: self._target.post(records), _unchanged)

    def close(self) -> None:
        """Close the connections. The resource closes the writers that it made, too."""
        self._target.close()


def _unchanged(receipt: Receipt) -> Receipt:
    return receipt
