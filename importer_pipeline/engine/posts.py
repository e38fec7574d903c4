"""Pages and batches that wait for their delivery, and the requests to a target that hold them. Plain records."""

from dataclasses import dataclass

from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.delivery import Batch, Delivery
from importer_pipeline.engine.pages import Page


@dataclass(eq=False, slots=True)
class UndeliveredPage:
    """A page that is being delivered to the target."""

    fetch: Fetch
    page: Page
    delivery: Delivery
    sent_ids: frozenset[str] | None
    """Ids of its contacts that are sent; None for all. The others were sent with another page of their crowded
    second."""
    is_open: bool = True
    """True if it is neither delivered nor abandoned."""
    is_being_isolated: bool = False
    """True if its refused contacts are being isolated."""


@dataclass(eq=False, slots=True)
class PendingBatch:
    """A batch of one page that waits to be sent, or for its answer."""

    page: UndeliveredPage
    batch: Batch
    goes_alone: bool = False
    """True if it is sent alone with fewer retries, because it is part of a post that was not accepted."""
    tries: int = 0
    """Number of failed attempts to post it."""


@dataclass(frozen=True, eq=False, slots=True)
class Post:
    """One request to a target: a batch of a page, or several small pages of one audience together."""

    batches: tuple[PendingBatch, ...]
    requested_at: float
    """Time at which it was sent, by the engine's clock."""

    @property
    def audience(self) -> AudienceSync:
        """The audience of its contacts."""
        return self.batches[0].page.fetch.audience

    @property
    def batch(self) -> Batch:
        """All contacts that are sent."""
        if len(self.batches) == 1:
            return self.batches[0].batch
        return Batch(tuple(contact for pending in self.batches for contact in pending.batch.contacts))


@dataclass(frozen=True, eq=False, slots=True)
class Probe:
    """One request to a target without contacts: it tests whether the target answers and accepts the key."""

    audience: AudienceSync
    """An audience of the client whose key is tested."""
    requested_at: float
    """Time at which it was sent, by the engine's clock."""
