"""What the reports of an audience have in common: their interface, and what they are given. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from importer_pipeline.engine.outcomes import Outcome, RefusedContact
from importer_pipeline.engine.pages import ListingKind, Page
from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.snapshots import window_key
from importer_pipeline.listing.spans import Unreadable, Window
from importer_pipeline.listing.walk import Walk

Walks = Mapping[ListingKind, Walk]
"""The walk of the active contacts, and that of the archived ones once it has been started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredPage:
    """A page of which every contact is at the target or known as refused."""

    page: Page
    window: str
    """Key of the window that it is reported under, if it is read by windows."""
    accepted: int
    """Number of contacts that the target accepted."""
    refused: list[RefusedContact]
    """The other contacts."""
    sent_ids: frozenset[str] | None
    """IDs of the contacts that were sent; None for all. The others are reported with another page."""
    at: int
    """Time of the delivery by Mailchimp's clock, in epoch seconds."""
    contact_id: str | None
    """ID of a contact that was requested by it; Mailchimp may no longer have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCounts:
    """The contacts of a page that are counted with it."""

    read: int
    """Contacts that no page before it had."""
    accepted: int
    """Contacts of these that the target accepted."""
    refused: int
    """Contacts of these that are refused."""
    again: frozenset[str]
    """IDs of the other contacts of the page."""


class Quarantined:
    """The quarantined contacts of an audience while it is read.

    Args:
        contact_ids: the contacts quarantined at the beginning.
    """

    def __init__(self, contact_ids: frozenset[str]) -> None:
        self._ids = set(contact_ids)

    def settled_by(self, delivered: DeliveredPage) -> frozenset[str]:
        """Return the contacts that are settled by a page; its refused ones are quarantined from now on."""
        refused = {contact.contact_id for contact in delivered.refused}
        settled = frozenset[str]()
        if self._ids:
            sent_ids = delivered.sent_ids
            if sent_ids is None:
                sent_ids = frozenset(contact.contact_id for contact in delivered.page.contacts)
            settled = sent_ids & self._ids - refused
        self._ids |= refused - {""}
        self._ids -= settled
        return settled


class Report(Protocol):
    """Derives the outcomes of one audience from its walks and its delivered pages.

    Attributes:
        outcomes: what has happened since this was last emptied.
    """

    outcomes: deque[Outcome]

    @property
    def accepted(self) -> int:
        """Number of contacts that the target has accepted so far; of a snapshot, in all runs."""
        ...

    def count_request(self) -> None:
        """Count a request."""
        ...

    def delivered(self, delivered: DeliveredPage) -> PageCounts:
        """Take in a delivered page, and return what counts with it."""
        ...

    def failed(self, contact_id: str, error: ImporterError) -> None:
        """Take in that a contact requested by its ID could not be read."""
        ...

    def collect(self, walks: Walks, before: int) -> None:
        """Emit what the walks have proved.

        Args:
            walks: the walks of the audience.
            before: the last second of the listing, in epoch seconds.
        """
        ...

    def emit_pending(self, walks: Walks, before: int) -> None:
        """Emit what is still held back: the process may end before the audience is done."""
        ...

    def done(
        self, walks: Walks, before: int, *, elapsed_seconds: float, rate_limited: int, stopped: ImporterError | None
    ) -> None:
        """Emit what is left, and last `AudienceDone`.

        Args:
            walks: the walks of the audience.
            before: the last second of the listing, in epoch seconds.
            elapsed_seconds: since the first request.
            rate_limited: requests that Mailchimp answered with 429.
            stopped: why the audience was stopped early, if it was.
        """
        ...


def refused_of(found: Unreadable) -> tuple[RefusedContact, ...]:
    """Return the contacts that Mailchimp cannot send, as refused contacts."""
    return tuple(RefusedContact(contact_id=contact_id, reason=found.reason) for contact_id in found.contact_ids)


def windows_of(walks: Walks) -> list[tuple[str, Window]]:
    """Return all windows with their keys, in order."""
    return [
        (window_key(offset, archived=kind.is_archived), walk.windows[offset])
        for kind, walk in walks.items()
        for offset in sorted(walk.windows)
    ]


def errors_of(walks: Walks) -> list[ImporterError]:
    """Return the errors of the failed windows, in the order of the windows."""
    return [window.error for _, window in windows_of(walks) if window.error is not None]
