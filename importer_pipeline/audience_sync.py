"""One audience in a sync: its snapshot, its two walks (active contacts, then archived ones) and what they add up to.

Pure, and it decides nothing about connections, tries or the target: that is `importer_pipeline.sync`.
"""

from collections import Counter, deque
from dataclasses import dataclass

from importer_pipeline.errors import ImporterError
from importer_pipeline.outcomes import (
    AudienceDone,
    ContactsRefused,
    Outcome,
    RefusedContact,
    Snapshot,
    WindowFailed,
    WindowIn,
)
from importer_pipeline.pages import Page
from importer_pipeline.walk import Reading, Walk, Window
from importer_pipeline.windows import Ask, Paging, window_key

SNAPSHOT_AGE_SECONDS = 60
"""How far a snapshot's `before` lies in the past by Mailchimp's clock, so that what is committed a little late is in it."""

SNAPSHOT_SLACK_SECONDS = 60
"""How much older than that it may be before it is taken again."""

_CLOCKS_APART_SECONDS = 5
"""How far two clocks that are set right may lie apart: a guess that is that much older seldom has to be made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudiencePlan:
    """An audience to sync, as far as the engine has to know it."""

    client: str
    """Name of its client."""
    audience: str
    """Its own name."""
    account: str
    """Name of the Mailchimp account, which several clients may share."""
    account_connections: int
    """Connections that may be used at once for that account."""
    target: str
    """URL of the target, which several clients may share."""
    since: int
    """Epoch seconds; only contacts changed after it are taken. `windows.BEGINNING` for all."""


@dataclass(eq=False, slots=True)
class Fetch:
    """One request to Mailchimp: a page of one of the audience's two walks."""

    audience: "AudienceSync"
    walk: Walk
    archived: bool
    reading: Reading
    asked_at: float
    """When it was last asked for, by the engine's clock."""
    tries: int = 0
    """How often it has failed in a way that could have passed."""

    @property
    def ask(self) -> Ask:
        """The page."""
        return self.reading.ask


class AudienceSync:
    """An audience that is being synced.

    Attributes:
        plan: what it is.
        stopped: why nothing more is read, if so.
        given_up_in_a_row: windows in a row of which the target refused too many records.
        outcomes: what has happened since this was last emptied.
    """

    def __init__(self, plan: AudiencePlan, *, paging: Paging) -> None:
        self.plan = plan
        self._again: deque[Fetch] = deque()
        self._waiting: set[Fetch] = set()
        self.stopped: ImporterError | None = None
        self.given_up_in_a_row = 0
        self.outcomes: deque[Outcome] = deque()
        self._paging = paging
        self._walks: dict[bool, Walk] = {}
        self._before = 0
        self._taken_again = False
        self._started_at: float | None = None
        self._done = False
        self._lacking: Counter[str] = Counter()
        self._refused_ids: set[str] = set()
        self._refused_without_id = 0
        self._read = self._accepted = self._requests = 0

    @property
    def has_ready(self) -> bool:
        """Whether there is a page to read now."""
        if not self._walks:
            return self.stopped is None
        return bool(self._again) or any(walk.has_ready for walk in self._walks.values())

    @property
    def contacts(self) -> int:
        """Contacts of the snapshot, as far as is known."""
        return sum(walk.total for walk in self._walks.values())

    @property
    def accepted(self) -> int:
        """Contacts that the target has taken so far."""
        return self._accepted

    def next(self, now: float, server_now: float) -> Fetch | None:
        """The next page to read.

        Args:
            now: the engine's clock.
            server_now: Mailchimp's clock, as far as it is known.
        """
        if self._started_at is None:
            self._started_at = now
            self._start_active(int(server_now) - SNAPSHOT_AGE_SECONDS - _CLOCKS_APART_SECONDS)
        fetch = self._next_fetch(now)
        if fetch is not None:
            fetch.asked_at = now
            self._requests += 1
            fetch.walk.windows[fetch.reading.window].requests += 1
        return fetch

    def is_current(self, fetch: Fetch) -> bool:
        """Whether the request belongs to the snapshot that is being read, and not to one that was taken again since."""
        return self._walks.get(fetch.archived) is fetch.walk

    def snapshot_is_right(self, fetch: Fetch, server_time: int) -> bool:
        """Whether the page was cut at the right moment by Mailchimp's clock; if not, the snapshot is taken again.

        The first page of an audience is asked for with our idea of Mailchimp's time. Only its answer tells the truth.
        """
        if self._walks[False].planned:
            return True
        age = server_time - self._before
        if age >= SNAPSHOT_AGE_SECONDS and (self._taken_again or age <= SNAPSHOT_AGE_SECONDS + SNAPSHOT_SLACK_SECONDS):
            return True
        self._taken_again = True
        self._start_active(server_time - SNAPSHOT_AGE_SECONDS)
        return False

    def arrived(self, fetch: Fetch, page: Page) -> None:
        """A page has been read; it is not delivered yet."""
        fetch.walk.arrived(fetch.reading, page.shape)
        if True not in self._walks and fetch.walk.planned:
            self._walks[True] = Walk(since=self.plan.since, before=self._before, paging=self._paging)

    def unseen(self, fetch: Fetch, ids: list[str]) -> set[str] | None:
        """See `Walk.unseen`."""
        return fetch.walk.unseen(fetch.reading, ids)

    def delivered(self, fetch: Fetch, page: Page, *, accepted: int, refused: list[RefusedContact]) -> None:
        """Every contact of a page is at the target or known as refused."""
        self.given_up_in_a_row = 0
        window = fetch.walk.windows[fetch.reading.window]
        window.read += page.shape.length
        window.accepted += accepted
        window.refused += len(refused)
        self._read += page.shape.length
        self._accepted += accepted
        self._lacking.update(page.lacking)
        self._refuse(fetch, refused)
        fetch.walk.delivered(fetch.reading, page.shape, [contact.contact_id for contact in page.contacts])
        self._report()

    def failed(self, fetch: Fetch, error: ImporterError) -> None:
        """A page is given up, and its window with it."""
        fetch.walk.failed(fetch.reading, error)
        self._report()

    def split(self, fetch: Fetch) -> bool:
        """Ask for halves of a page instead; False where it is too small."""
        return fetch.walk.split(fetch.reading)

    def rest(self, fetch: Fetch) -> None:
        """A request waits for its next try."""
        self._waiting.add(fetch)

    def take_up(self, fetch: Fetch) -> bool:
        """The next try of a request is due; False where it has been given up meanwhile."""
        if fetch not in self._waiting:
            return False
        self._waiting.discard(fetch)
        self._again.append(fetch)
        return True

    def stop(self, error: ImporterError) -> None:
        """Read nothing more of this audience. Pages under way go on."""
        if self.stopped is not None:
            return
        self.stopped = error
        for fetch in [*self._again, *self._waiting]:
            fetch.walk.failed(fetch.reading, error)
        self._again.clear()
        self._waiting.clear()
        for walk in self._walks.values():
            walk.stop(error)
        self._report()

    def done(self, now: float) -> bool:
        """Whether nothing more comes of this audience; the first time that it is so, that is an outcome too."""
        if not self._done and self._is_finished():
            self._done = True
            self.outcomes.append(self._summary(now))
        return self._done

    def _is_finished(self) -> bool:
        if not self._walks:
            return self.stopped is not None
        return all(walk.finished for walk in self._walks.values())

    def _start_active(self, before: int) -> None:
        self._before = before
        self._again.clear()
        self._waiting.clear()
        self._walks = {False: Walk(since=self.plan.since, before=before, paging=self._paging)}

    def _next_fetch(self, now: float) -> Fetch | None:
        if self._again:
            return self._again.popleft()
        # The archived walk first: it is short as a rule, and its first page tells how long the whole will take.
        for archived in (True, False):
            if archived in self._walks and (reading := self._walks[archived].next()) is not None:
                return Fetch(self, self._walks[archived], archived, reading, now)
        return None

    def _refuse(self, fetch: Fetch, refused: list[RefusedContact]) -> None:
        if not refused:
            return
        self._refused_ids.update(contact.contact_id for contact in refused if contact.contact_id)
        self._refused_without_id += sum(not contact.contact_id for contact in refused)
        self.outcomes.append(
            ContactsRefused(
                client=self.plan.client,
                audience=self.plan.audience,
                window=window_key(fetch.reading.window, archived=fetch.archived),
                contacts=tuple(refused),
            )
        )

    def _report(self) -> None:
        for archived, walk in self._walks.items():
            while walk.reports:
                self.outcomes.append(self._window_outcome(walk.reports.popleft(), archived=archived))

    def _window_outcome(self, window: Window, *, archived: bool) -> WindowIn | WindowFailed:
        key = window_key(window.offset, archived=archived)
        if window.error is not None:
            return WindowFailed(client=self.plan.client, audience=self.plan.audience, window=key, error=window.error)
        return WindowIn(
            client=self.plan.client,
            audience=self.plan.audience,
            window=key,
            covered=tuple(window.covered),
            read=window.read,
            accepted=window.accepted,
            refused=window.refused,
            requests=window.requests,
        )

    def _summary(self, now: float) -> AudienceDone:
        failed = [
            (window_key(offset, archived=archived), walk.windows[offset].error)
            for archived, walk in self._walks.items()
            for offset in sorted(walk.windows)
            if walk.windows[offset].error is not None
        ]
        active = self._walks.get(False)
        snapshot = None
        if active is not None and active.planned:
            snapshot = Snapshot(
                since=self.plan.since, before=self._before, total=active.total, archived_total=self._archived_total
            )
        return AudienceDone(
            client=self.plan.client,
            audience=self.plan.audience,
            snapshot=snapshot,
            windows=sum(len(walk.windows) for walk in self._walks.values()),
            failed=tuple(key for key, _ in failed),
            read=self._read,
            accepted=self._accepted,
            refused=len(self._refused_ids) + self._refused_without_id,
            requests=self._requests,
            elapsed_seconds=now - (now if self._started_at is None else self._started_at),
            lacking=tuple(path for path, count in sorted(self._lacking.items()) if count == self._read),
            error=self.stopped or (failed[0][1] if failed else None),
        )

    @property
    def _archived_total(self) -> int:
        return self._walks[True].total if True in self._walks else 0
