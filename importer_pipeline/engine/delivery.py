"""Delivers one page to the target in batches, and isolates the contacts that the target refuses. Pure.

If the target names the records that it refuses, each contact is known at once. If not, a contact counts as accepted
only when it was in a batch of which the target took every record, and as refused only when it was alone in one that was
not accepted. In between, a batch that is accepted in part is halved. Both halves are sent, although the target's count
might show that one of them is fine: a target may refuse another record the second time.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from importer_pipeline.engine.outcomes import RefusedContact
from importer_pipeline.errors import ImporterError, IsolationGivenUp, TryAgain
from importer_pipeline.records.contacts import AnyRecord, Contact
from importer_pipeline.records.receipt import Receipt


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Neighbouring contacts of a delivery that are sent in one post."""

    contacts: tuple[Contact, ...]
    """Each with a record."""

    @property
    def records(self) -> list[AnyRecord]:
        """Records to send to the target."""
        return [contact.record for contact in self.contacts if contact.record is not None]


class Delivery:
    """The contacts of one page until each of them is known as accepted or refused.

    Args:
        contacts: the page's contacts.
        isolation_posts: posts that finding the refused ones may take beyond the first, and how many may be refused.
        batch_records: maximum of a batch; None to send the page whole.

    Attributes:
        accepted: contacts that the target accepted.
        refused: contacts that it refused, and those that can't be sent at all.
    """

    def __init__(self, contacts: Sequence[Contact], *, isolation_posts: int, batch_records: int | None = None) -> None:
        self._posts_left = self._refusals_left = isolation_posts
        self._ready: deque[Batch] = deque()
        self._open = 0
        self._given_up: IsolationGivenUp | None = None
        self.accepted = 0
        sendable = tuple([contact for contact in contacts if contact.record is not None])
        unsendable = [it for it in contacts if it.record is None] if len(sendable) < len(contacts) else []
        self.refused = [RefusedContact(contact_id=it.contact_id, reason=it.reason) for it in unsendable]
        size = batch_records or max(len(sendable), 1)
        for first in range(0, len(sendable), size):
            self._send(Batch(sendable[first : first + size]))

    @property
    def done(self) -> bool:
        """True if nothing is left to send or to wait for."""
        return self._open == 0

    @property
    def given_up(self) -> IsolationGivenUp | None:
        """Reason for giving up the page, if so."""
        return self._given_up

    def next(self) -> Batch | None:
        """Return a batch to post now, or None."""
        return self._ready.popleft() if self._ready else None

    def answered(self, batch: Batch, receipt: Receipt) -> Batch | None:
        """Handle what the target accepted of a batch, or of several that were sent together.

        Returns:
            the part of the batch that the target asks to send again; None if there is none.
        """
        if receipt.complete:
            self.accepted += len(batch.contacts)
            self._open -= 1
            return None
        if receipt.names_the_others:
            return self._sort_out(batch, receipt)
        self._isolate(batch, f"the target accepted {receipt.accepted} of {receipt.sent} records")
        return None

    def rejected(self, batch: Batch, error: ImporterError) -> None:
        """Handle the rejection of a batch because of a record in it."""
        each_time = ", every time, while others were accepted" if isinstance(error, TryAgain) else ""
        self._isolate(batch, f"{error.problem}{each_time}")

    def _send(self, batch: Batch) -> None:
        self._open += 1
        self._ready.append(batch)

    def _sort_out(self, batch: Batch, receipt: Receipt) -> Batch | None:
        """Count each contact as what the target says of its record."""
        reasons = {it.id: it.reason for it in receipt.refused}
        again = list[Contact]()
        for contact in batch.contacts:
            record_id = "" if contact.record is None else contact.record.id
            if record_id in reasons:
                said = reasons[record_id]
                self._refuse(contact, f"the target refuses this record{said and f' ({said})'}")
            elif record_id in receipt.again:
                again.append(contact)
            else:
                self.accepted += 1
        if again:
            return Batch(tuple(again))
        self._open -= 1
        return None

    def _refuse(self, contact: Contact, reason: str) -> None:
        self._refusals_left -= 1
        if self._refusals_left < 0:
            self._given_up = IsolationGivenUp(
                f"{reason}, and too many others of its page", remedy="check the record mapping"
            )
        remedy = "correct this contact in Mailchimp, or ask the target's operator why"
        self.refused.append(RefusedContact(contact_id=contact.contact_id, reason=f"{reason}: {remedy}"))

    def _isolate(self, batch: Batch, reason: str) -> None:
        self._open -= 1
        if len(batch.contacts) == 1:
            self._refuse(batch.contacts[0], reason)
            return
        if self._posts_left < 2:
            self._given_up = IsolationGivenUp(
                f"{reason}, and finding the rejected contacts takes too many posts", remedy="check the record mapping"
            )
            return
        self._posts_left -= 2
        middle = len(batch.contacts) // 2
        self._send(Batch(batch.contacts[:middle]))
        self._send(Batch(batch.contacts[middle:]))
