"""What is told of single contacts that are read by their ids. Pure.

It is told when the last one is done: a contact that is asked for twice does no harm, and what keeps the quarantine writes all
that is known of a window or hour each time.
"""

from collections import deque

from importer_pipeline.engine.audience_plan import AudiencePlan, ContactsScope
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefusedAgain,
    ContactsSettled,
    Outcome,
    Part,
    RefusedContact,
)
from importer_pipeline.engine.report import DeliveredPage, Walks, errors_of
from importer_pipeline.errors import ImporterError, QuarantineWindow


class ContactsReport:
    """The outcomes of an audience of which single contacts are read.

    Args:
        plan: what it is.
        scope: which contacts are read.

    Attributes:
        outcomes: what has happened since this was last emptied.
        accepted: contacts that the target has taken so far.
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

    def asked(self) -> None:
        """A contact is asked for."""
        self._requests += 1

    def delivered(self, delivered: DeliveredPage) -> None:
        """A contact is at the target, or refused again, or Mailchimp has it no more."""
        self._read += delivered.page.shape.length
        self.accepted += delivered.accepted
        self._refused += delivered.refused
        if not delivered.refused and delivered.contact_id is not None:
            self._settled.add(delivered.contact_id)

    def failed(self, contact_id: str, error: ImporterError) -> None:
        """Count as a try, so that the pauses grow, that a contact could not be read for a reason of its own."""
        if isinstance(error, QuarantineWindow):
            self._failed.append(RefusedContact(contact_id=contact_id, reason=str(error)))

    def collect(self, walks: Walks, before: int) -> None:
        """Nothing is told yet."""

    def emit_pending(self, walks: Walks, before: int) -> None:
        """Tell what is known so far."""
        name = self._plan.name
        if self._settled:
            self.outcomes.append(ContactsSettled(name=name, contact_ids=frozenset(self._settled)))
        if again := (*self._refused, *self._failed):
            self.outcomes.append(ContactsRefusedAgain(name=name, contacts=again))

    def done(self, walks: Walks, before: int, *, elapsed_seconds: float, stopped: ImporterError | None) -> None:
        """Nothing more comes of the audience."""
        self.emit_pending(walks, before)
        errors = errors_of(walks)
        left = len(self._scope.contact_ids) - len(self._settled) - len(self._refused)
        self.outcomes.append(
            AudienceDone(
                name=self._plan.name,
                part=Part.CONTACT,
                snapshot=None,
                parts=len(self._scope.contact_ids),
                failed=(),
                left=left,
                is_whole=left == 0,
                read=self._read,
                accepted=self.accepted,
                refused=len(self._refused),
                requests=self._requests,
                accepted_now=self.accepted,
                refused_now=len(self._refused),
                elapsed_seconds=elapsed_seconds,
                lacking=(),
                error=stopped or (errors[0] if errors and left else None),
            )
        )
