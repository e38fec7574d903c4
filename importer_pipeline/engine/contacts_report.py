"""Derives the outcomes of single contacts that are read by their IDs. Pure.

Outcomes are emitted when the last contact is done: requesting a contact twice does no harm, and the quarantine is
written as a whole each time.
"""

from collections import deque

from importer_pipeline.engine.audience_plan import AudiencePlan, ContactsScope
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefusedAgain,
    ContactsSettled,
    Outcome,
    Part,
    PartCounts,
    ReadTotals,
    RefusedContact,
    RunCounts,
)
from importer_pipeline.engine.report import DeliveredPage, PageCounts, Walks, errors_of
from importer_pipeline.errors import ImporterError, QuarantineWindow


class ContactsReport:
    """Derives the outcomes of single contacts of an audience.

    Args:
        plan: the audience.
        scope: the contacts to read.

    Attributes:
        outcomes: what has happened since this was last emptied.
        accepted: contacts that the target has accepted so far.
    """

    def __init__(self, plan: AudiencePlan, scope: ContactsScope) -> None:
        self._plan = plan
        self._scope = scope
        self._requests = self._read = 0
        self._settled: set[str] = set()
        self._refused: list[RefusedContact] = []
        self._failed: list[RefusedContact] = []
        self.outcomes: deque[Outcome] = deque()
        self.accepted = 0

    def count_request(self) -> None:
        """Count a request."""
        self._requests += 1

    def delivered(self, delivered: DeliveredPage) -> PageCounts:
        """Take in a contact that was accepted, refused again, or no longer found at Mailchimp; return its counts."""
        self._read += delivered.page.shape.length
        self.accepted += delivered.accepted
        self._refused += delivered.refused
        if not delivered.refused and delivered.contact_id is not None:
            self._settled.add(delivered.contact_id)
        return PageCounts(
            read=delivered.page.shape.length,
            accepted=delivered.accepted,
            refused=len(delivered.refused),
            again=frozenset(),
        )

    def failed(self, contact_id: str, error: ImporterError) -> None:
        """Count a failed attempt to read a contact, so that the pauses between retries grow."""
        if isinstance(error, QuarantineWindow):
            self._failed.append(RefusedContact(contact_id=contact_id, reason=str(error)))

    def collect(self, walks: Walks, before: int) -> None:
        """Do nothing: outcomes are emitted at the end."""

    def emit_pending(self, walks: Walks, before: int) -> None:
        """Emit the outcomes so far."""
        name = self._plan.name
        if self._settled:
            self.outcomes.append(ContactsSettled(name=name, contact_ids=frozenset(self._settled)))
        if again := (*self._refused, *self._failed):
            self.outcomes.append(ContactsRefusedAgain(name=name, contacts=again))

    def done(self, walks: Walks, before: int, *, elapsed_seconds: float, stopped: ImporterError | None) -> None:
        """Emit the outcomes, and last `AudienceDone`."""
        self.emit_pending(walks, before)
        errors = errors_of(walks)
        refused = len(self._refused)
        left = len(self._scope.contact_ids) - len(self._settled) - refused
        self.outcomes.append(
            AudienceDone(
                name=self._plan.name,
                part=Part.CONTACT,
                snapshot=None,
                parts=PartCounts(total=len(self._scope.contact_ids), left=left),
                is_proved=left == 0,
                totals=ReadTotals(read=self._read, accepted=self.accepted, refused=refused, requests=self._requests),
                run=RunCounts(accepted=self.accepted, refused=refused, elapsed_seconds=elapsed_seconds),
                lacking=(),
                error=stopped or (errors[0] if errors and left else None),
            )
        )
