"""A page of contacts, as the engine takes it, and the listing that it is part of. Records, pure."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from importer_pipeline.listing.coverage import PageShape
from importer_pipeline.records.contacts import Contact


class ListingKind(Enum):
    """One of the two listings of an audience; each has a walk of its own."""

    ACTIVE = "active"
    ARCHIVED = "archived"

    @property
    def is_archived(self) -> bool:
        """True if it lists the archived contacts."""
        return self is ListingKind.ARCHIVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of an audience."""

    shape: PageShape
    """Its length, seconds and total."""
    contacts: list[Contact]
    """Its contacts, mapped, in the order of the listing."""
    stamps: list[str]
    """`last_changed` of each, as Mailchimp wrote it."""
    lacking: Counter[str]
    """Number of its contacts that lack a mapped path, by path."""
    server_time: int | None
    """Mailchimp's clock when it answered, in epoch seconds; None if the answer has no Date."""
