"""Doubts about Mailchimp's answers: a wrong clock, a page that is too short, a total that collapsed. Pure."""

from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.pages import Page
from importer_pipeline.errors import BrokenAnswer, ClockDoubtful, PageTooShort
from importer_pipeline.listing.coverage import PageRequest, PageShape, timestamp


def doubt_clock(page: Page, *, our_time: float, tolerance_seconds: float) -> ClockDoubtful | None:
    """Return an error if Mailchimp's clock is further from ours than is tolerated."""
    if page.server_time is None or abs(page.server_time - our_time) <= tolerance_seconds:
        return None
    ours, theirs = timestamp(int(our_time)), timestamp(page.server_time)
    return ClockDoubtful(
        f"expected Mailchimp's clock near {ours} (our time), found {theirs}",
        remedy="correct this machine's clock; if it is right, contact Mailchimp support about theirs",
    )


def doubt_size(fetch: Fetch, page: Page) -> BrokenAnswer | None:
    """Return an error if a page is shorter than its total implies, or its total is under half of the last one."""
    if page.shape.is_short and isinstance(fetch.request, PageRequest):
        return page_too_short(fetch.request, page.shape)
    expected = fetch.audience.expected(fetch)
    if page.shape.total * 2 < expected:
        return PageTooShort(f"expected a total of about {expected} contacts as before, found {page.shape.total}")
    return None


def page_too_short(request: PageRequest, shape: PageShape) -> PageTooShort:
    """Return the error that describes a page which is too short."""
    return PageTooShort(
        f"expected {min(request.count, shape.total - request.offset)} contacts at offset {request.offset} of {shape.total}, "
        f"found {shape.length}"
    )
