"""Small makers for the tests of the core: listings to cut pages from, plans, and an engine that a test answers by hand.

Stays out: HTTP and threads (see `stage`), and scenarios drawn from a seed (see `simulation`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.concurrency import LimiterRegistry
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    Outcome,
    SnapshotKnown,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.services import SyncLimits
from importer_pipeline.engine.sync import Sync
from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.coverage import (
    BEGINNING,
    ContactRequest,
    PageRequest,
    PageShape,
    Paging,
    TimeRange,
    page_shape,
    timestamp,
)
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Snapshot, SnapshotProgress
from importer_pipeline.listing.spans import Reading
from importer_pipeline.records.contacts import Contact, Record
from importer_pipeline.records.receipt import Receipt

SMALL = Paging(page_size=6, overlap=2, rounds=5)
"""Windows at 0, 4, 8, ...: small enough to read by eye."""

NOW = 1_000_000.0
"""Start of the engines of the tests."""


class Cut(NamedTuple):
    """A page, cut from a listing."""

    shape: PageShape
    ids: list[str]
    stamps: Sequence[str] = ()


class Listing:
    """Contacts by id, each with the second of its last change, as a server lists them.

    Args:
        seconds: of contacts that are called "0", "1", ... in this order.
        rng: draws the order within a second for each page; without it they are listed in the order of their ids.
    """

    def __init__(self, seconds: Iterable[int] = (), *, rng: Random | None = None) -> None:
        self.seconds = {str(number): second for number, second in enumerate(seconds)}
        self._rng = rng

    def leave(self, *ids: str) -> None:
        """Change contacts, which removes them from any past time range."""
        for contact_id in ids:
            del self.seconds[contact_id]

    def cut(self, request: PageRequest | ContactRequest) -> Cut:
        """Return the page of the listing as it is now."""
        assert isinstance(request, PageRequest)
        listed = [(second, key) for key, second in self.seconds.items() if request.since < second <= request.before]
        if self._rng is not None:
            self._rng.shuffle(listed)
        listed.sort(key=lambda one: one[0] if self._rng is not None else one)
        page = listed[request.offset : request.offset + request.count]
        stamps = [timestamp(second) for second, _ in page]
        return Cut(page_shape(request, stamps, len(listed)), [key for _, key in page], stamps)


def record(contact_id: str) -> Record:
    """Make a record with that id."""
    return Record(contact_id, "Amber", "Alder", f"{contact_id}@example.com", "subscribed")


def contact(contact_id: str) -> Contact:
    """Make a contact that can be sent."""
    return Contact(contact_id, record(contact_id), "")


def unsendable(contact_id: str = "") -> Contact:
    """Make a contact without a record."""
    return Contact(contact_id, None, "no email address")


def requested(of: Fetch | Reading) -> PageRequest:
    """Return the page that is requested."""
    assert isinstance(of.request, PageRequest)
    return of.request


def page_of(cut: Cut, *, server_time: int | None, lacking: Mapping[str, int] | None = None) -> Page:
    """Make a page as the engine gets it."""
    return Page(
        shape=cut.shape,
        contacts=[contact(key) for key in cut.ids],
        stamps=list(cut.stamps),
        lacking=Counter(lacking or {}),
        server_time=server_time,
    )


def snapshot(
    *,
    total: int = 9,
    archived_total: int | None = 2,
    before: int = int(NOW) - 65,
    fingerprint: str = "of the list",
    page_size: int = SMALL.page_size,
    overlap: int = SMALL.overlap,
) -> Snapshot:
    """Make a snapshot taken earlier of the audience of `plan`."""
    return Snapshot(
        id="taken earlier",
        fingerprint=fingerprint,
        since=BEGINNING,
        before=before,
        total=total,
        archived_total=archived_total,
        page_size=page_size,
        overlap=overlap,
    )


def imported(
    *covered: TimeRange, read: int = 6, accepted: int = 5, refused: int = 1, requests: int = 3
) -> ImportedWindow:
    """Make the record of an imported window that covers these."""
    return ImportedWindow(covered=covered, read=read, accepted=accepted, refused=refused, requests=requests)


def plan(
    audience: str = "news",
    *,
    client: str = "acme",
    account: str | None = None,
    target: str | None = None,
    connections: int = 10,
    earlier: SnapshotProgress | None = None,
    wanted: frozenset[str] | None = None,
) -> AudiencePlan:
    """Make the plan of an audience; account and target are its client's own unless given."""
    return AudiencePlan(
        name=AudienceName(client, audience),
        account=account or client,
        account_connections=connections,
        target=target or f"https://{client}.example.com",
        fingerprint="of the list",
        scope=SnapshotScope(earlier=earlier, wanted=wanted),
        quarantined=frozenset(),
    )


class Halfway(Random):
    """A random number generator that always draws the middle."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5


@dataclass(slots=True)
class Outcomes:
    """The outcomes that an engine has emitted, by kind."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])
    """The last word on each snapshot, by `client/audience`."""
    windows: dict[str, WindowImported] = field(default_factory=dict[str, WindowImported])
    """The last word on each window, by `client/audience/key`."""
    failed: dict[str, ImporterError] = field(default_factory=dict[str, ImporterError])
    """Errors of windows, by `client/audience/key`."""
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Ids of refused contacts, by `client/audience/key`."""
    done: dict[str, AudienceDone] = field(default_factory=dict[str, AudienceDone])
    """Results of audiences, by `client/audience`."""

    def note(self, outcome: Outcome) -> None:
        """Add one outcome."""
        name = str(outcome.name)
        if isinstance(outcome, SnapshotKnown):
            self.snapshots[name] = outcome.snapshot
        elif isinstance(outcome, WindowImported):
            self.windows[f"{name}/{outcome.window}"] = outcome
        elif isinstance(outcome, WindowFailed):
            self.failed[f"{name}/{outcome.window}"] = outcome.error
        elif isinstance(outcome, ContactsRefused):
            ids = [contact.contact_id for contact in outcome.contacts]
            self.refused.setdefault(f"{name}/{outcome.ref.key}", []).extend(ids)
        elif isinstance(outcome, AudienceDone):
            assert name not in self.done, "an audience ends once"
            self.done[name] = outcome


class Engine:
    """A `Sync` whose requests the test carries out by hand, at the time that it says.

    Args:
        plans: the audiences.
        limits: as for `Sync`.
        post_records: maximum of a post that combines small pages; by default each page is sent alone.
        paging: as for `Sync`.
        limiters: as for `Sync`; its own unless one is shared.
        rng: for the jitter.
        epoch_offset_seconds: as for `Sync`.

    Attributes:
        now: the clock; move it.
        listings: the contacts at Mailchimp, by client, audience and whether archived; none where missing.
        outcomes: the outcomes so far.
        sent: ids of contacts that the targets took, by client and audience.
    """

    def __init__(
        self,
        *plans: AudiencePlan,
        limits: SyncLimits | None = None,
        post_records: int = 1,
        paging: Paging = SMALL,
        limiters: LimiterRegistry | None = None,
        rng: Random | None = None,
        epoch_offset_seconds: float = 0.0,
    ) -> None:
        self.sync = Sync(
            plans,
            paging=paging,
            limits=replace(limits or SyncLimits(), post_records=post_records),
            limiters=limiters or LimiterRegistry(),
            rng=rng or Halfway(),
            epoch_offset_seconds=epoch_offset_seconds,
        )
        self.now = NOW
        self.listings: dict[tuple[str, str, bool], Listing] = {}
        self.outcomes = Outcomes()
        self.sent: dict[tuple[str, str], list[str]] = {}

    def holds(
        self, seconds: Iterable[int], audience: str = "news", *, client: str = "acme", archived: bool = False
    ) -> None:
        """Let Mailchimp have contacts of these seconds."""
        self.listings[client, audience, archived] = Listing(seconds)

    def take(self) -> Fetch | Post | Probe | None:
        """Take the next request."""
        request = self.sync.take(self.now)
        self._note()
        return request

    def take_all(self) -> list[Fetch | Post | Probe]:
        """Take all requests that may be in flight at once."""
        taken: list[Fetch | Post | Probe] = []
        while (request := self.take()) is not None:
            taken.append(request)
        return taken

    def fetches(self) -> list[Fetch]:
        """Take all requests that may be in flight at once, which must be to Mailchimp."""
        taken = self.take_all()
        fetches = [request for request in taken if isinstance(request, Fetch)]
        assert len(fetches) == len(taken), "a post among them"
        return fetches

    def posts(self) -> list[Post]:
        """Take all requests that may be in flight at once, which must be to targets."""
        taken = self.take_all()
        posts = [request for request in taken if isinstance(request, Post)]
        assert len(posts) == len(taken), "a fetch among them"
        return posts

    def posts_after_fetches(self) -> list[Post]:
        """Answer all requests to Mailchimp, and take the posts that are in flight then."""
        posts = list[Post]()
        while requests := self.take_all():
            for request in requests:
                if isinstance(request, Fetch):
                    self.bring(request)
                else:
                    assert isinstance(request, Post), request
                    posts.append(request)
        return posts

    def fetch(self) -> Fetch:
        """Take the next request, which must be to Mailchimp."""
        request = self.take()
        assert isinstance(request, Fetch), request
        return request

    def post(self) -> Post:
        """Take the next request, which must be to a target."""
        request = self.take()
        assert isinstance(request, Post), request
        return request

    def probe(self) -> Probe:
        """Take the next request, which must be to a target and without contacts."""
        request = self.take()
        assert isinstance(request, Probe), request
        return request

    def page(self, fetch: Fetch, *, server_time: int | None = None) -> Page:
        """Cut the page that Mailchimp would answer with."""
        name = fetch.audience.plan.name.client, fetch.audience.plan.name.audience, fetch.archived
        cut = self.listings.get(name, Listing()).cut(fetch.request)
        return page_of(cut, server_time=int(self.now) if server_time is None else server_time)

    def bring(self, fetch: Fetch, page: Page | None = None) -> None:
        """Let Mailchimp answer, with what it holds unless another page is given."""
        self.sync.connection_freed(fetch, self.now)
        self.sync.fetched(fetch, page or self.page(fetch), self.now)
        self._note()

    def accept(self, post: Post, accepted: int | None = None) -> None:
        """Let the target answer that it took all records, or so many."""
        sent = len(post.batch.contacts)
        self.sync.connection_freed(post, self.now)
        self.sync.posted(post, Receipt(sent=sent, accepted=sent if accepted is None else accepted), self.now)
        if accepted is None:
            ids = [contact.contact_id for contact in post.batch.contacts]
            self.sent.setdefault((post.audience.plan.name.client, post.audience.plan.name.audience), []).extend(ids)
        self._note()

    def lives(self, probe: Probe) -> None:
        """Let the target answer a probe as one that is up and takes the key."""
        self.sync.connection_freed(probe, self.now)
        self.sync.posted(probe, Receipt(sent=0, accepted=0), self.now)
        self._note()

    def fail(self, request: Fetch | Post | Probe, error: ImporterError) -> None:
        """Let the request fail with an error."""
        self.sync.connection_freed(request, self.now)
        if isinstance(request, Fetch):
            self.sync.fetch_failed(request, error, self.now)
        else:
            self.sync.post_failed(request, error, self.now)
        self._note()

    def carry_out(self, request: Fetch | Post | Probe) -> None:
        """Let the request succeed."""
        if isinstance(request, Fetch):
            self.bring(request)
        elif isinstance(request, Probe):
            self.lives(request)
        else:
            self.accept(request)

    def wait(self) -> float:
        """Let the time pass until the next timer; return the seconds that took."""
        due, was = self.sync.next_timer, self.now
        assert due is not None, "the engine has no timer"
        self.now = max(self.now, due)
        return self.now - was

    def rest(self, requests: Sequence[Fetch | Post | Probe] = ()) -> Outcomes:
        """Let everything succeed from here on, and return all outcomes."""
        waiting = list(requests)
        for _ in range(2_000):
            waiting.extend(self.take_all())
            if self.sync.finished:
                return self.outcomes
            if waiting:
                self.carry_out(waiting.pop(0))
            else:
                self.wait()
        raise AssertionError("the engine does not finish")

    def _note(self) -> None:
        for outcome in self.sync.outcomes:
            self.outcomes.note(outcome)
        self.sync.outcomes.clear()
