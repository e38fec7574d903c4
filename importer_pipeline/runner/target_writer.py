"""Posting records to a client's target, for assets of one's own. What a sync posts is its own business."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from importer_pipeline.records.contacts import AnyRecord
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.runner.limited_calls import LimitedCalls
from importer_pipeline.target.bodies import unique_records
from importer_pipeline.target.protocol import Target


class TargetWriter:
    """Posts records to a client's target, each post counted among those that its URL may have in flight.

    Threads may share it. It isolates no refused record: a batch with one raises.

    Args:
        target: sends the posts.
        calls: waits for the connections to the target.
        batch_records: maximum number of records per post; None for any number.
    """

    def __init__(self, target: Target, calls: LimitedCalls, *, batch_records: int | None = None) -> None:
        self._target = target
        self._calls = calls
        self._batch_records = batch_records

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def post(self, records: Sequence[AnyRecord]) -> Receipt:
        """Send records, and return how many the target accepted. It upserts them, so they may be sent again.

        More records than a post may have go in several, one after the other.

        Raises:
            NoFreeConnection: as many posts as allowed were in flight for too long.
            ImporterError: as `TargetClient.post`, after all retries.
        """
        unique = unique_records(records)
        size = self._batch_records or max(len(unique), 1)
        batches = [unique[first : first + size] for first in range(0, len(unique), size)]
        receipts = [self._calls.call(lambda batch=batch: self._target.post(batch), _unchanged) for batch in batches]
        return Receipt(
            sent=len(unique),
            accepted=sum(receipt.accepted for receipt in receipts),
            refused=tuple(refused for receipt in receipts for refused in receipt.refused),
            again=frozenset(record_id for receipt in receipts for record_id in receipt.again),
        )

    def close(self) -> None:
        """Close the connections. The resource closes the writers that it made, too."""
        self._target.close()


def _unchanged(receipt: Receipt) -> Receipt:
    return receipt
