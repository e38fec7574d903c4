"""What is on its way to a target: pages, their batches as parcels, and the requests that carry them. Plain records."""

from dataclasses import dataclass

from importer_pipeline.engine.audience_sync import AudienceSync, Fetch
from importer_pipeline.engine.delivery import Batch, Delivery
from importer_pipeline.engine.pages import Page


@dataclass(eq=False, slots=True)
class UndeliveredPage:
    """A page that is on its way to the target."""

    fetch: Fetch
    page: Page
    delivery: Delivery
    sent_ids: frozenset[str] | None
    """Ids of its contacts that are sent; None for all. The others were sent with another page of their crowded second."""
    is_open: bool = True
    """True if it is neither delivered nor given up."""
    is_being_isolated: bool = False
    """True if a refused contact in it is being told from the others."""


@dataclass(eq=False, slots=True)
class PendingBatch:
    """A batch of one page, on its way."""

    page: UndeliveredPage
    batch: Batch
    goes_alone: bool = False
    """True if it goes alone and gets fewer tries, since it is a part of something that was not taken whole."""
    tries: int = 0
    """Failures of posting it that a retry may cure."""


@dataclass(frozen=True, eq=False, slots=True)
class Post:
    """One request to a target: a batch of a page, or whole small pages of one audience together."""

    batches: tuple[PendingBatch, ...]
    requested_at: float
    """Time at which it went out, by the engine's clock."""

    @property
    def audience(self) -> AudienceSync:
        """Whose contacts they are."""
        return self.batches[0].page.fetch.audience

    @property
    def batch(self) -> Batch:
        """All contacts that are sent."""
        if len(self.batches) == 1:
            return self.batches[0].batch
        return Batch(tuple(contact for pending in self.batches for contact in pending.batch.contacts))


@dataclass(frozen=True, eq=False, slots=True)
class Probe:
    """One request to a target that carries no contact: whether it answers, and takes the key, whatever is sent."""

    audience: AudienceSync
    """One of the client whose key it is."""
    requested_at: float
    """Time at which it went out, by the engine's clock."""
