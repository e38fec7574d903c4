"""The threads that drive a sync: they send the requests of `Sync.take` and report the answers. No logic.

There are as many threads as requests under way, and an idle one. A connection is released as soon as the
last byte of an answer has been read, so that the next request is in flight while this one's contacts are being mapped.
"""

import gc
import http
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from importer_pipeline.engine.audience_sync import Fetch
from importer_pipeline.engine.outcomes import Outcome, Progress
from importer_pipeline.engine.pages import Page
from importer_pipeline.engine.posts import Post, Probe
from importer_pipeline.engine.sync import Sync
from importer_pipeline.errors import ImporterError, QuarantineWindow, StopRun
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.http.wire import Answer
from importer_pipeline.listing.coverage import ContactRequest, PageRequest
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.mailchimp.client import MailchimpClient, read_list
from importer_pipeline.mailchimp.pages import open_contact, open_page
from importer_pipeline.records.contacts import ContactMapping
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.runner.silent_hosts import SilentHosts
from importer_pipeline.target.protocol import Target

_MAX_THREADS = 300
_TICK_SECONDS = 0.5
_LEAST_PAUSE_SECONDS = 0.01
_MANY_OUTCOMES = 200
"""That many are handed over before the half second has passed: as many as are recorded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceEndpoints:
    """The API clients and the mapping of one audience."""

    account: MailchimpClient
    """Its client's Mailchimp account."""
    list_id: str
    """Mailchimp's id of the audience."""
    mapping: ContactMapping
    """Turns its contacts into records."""
    target: Target
    """Its client's account at the target."""

    def send(self, fetch: Fetch) -> Answer:
        """Send the request.

        Raises:
            ImporterError: there is no complete answer, or it says nothing about a contact.
        """
        match fetch.request:
            case PageRequest() as request:
                return self.account.members(self.list_id, request, archived=fetch.archived, fields=self.mapping.fields)
            case ContactRequest(contact_id=contact_id):
                answer = self.account.member(self.list_id, contact_id, fields=self.mapping.member_fields)
                if answer.status == http.HTTPStatus.NOT_FOUND:
                    # Mailchimp would also answer so without the list: then it is unknown whether the contact exists.
                    read_list(self.account.list(self.list_id))
                return answer

    def open(self, answer: Answer, fetch: Fetch) -> Page:
        """Parse the answer."""
        match fetch.request:
            case PageRequest() as request:
                return open_page(answer, request, self.mapping)
            case ContactRequest() as request:
                return open_contact(answer, request, self.mapping)

    def post(self, request: Post | Probe) -> Receipt:
        """Send contacts to the target, or an empty probe.

        Raises:
            ImporterError: there is no receipt.
        """
        return self.target.probe() if isinstance(request, Probe) else self.target.post(request.batch.records)


class Workers:
    """Threads for one sync.

    Args:
        sync: the engine.
        endpoints: the endpoints of each of its audiences.
        check: called before each request; raises if none may be sent any more, which `run` raises as well.
    """

    def __init__(
        self, sync: Sync, endpoints: Mapping[AudienceName, AudienceEndpoints], check: Callable[[], None]
    ) -> None:
        self._sync = sync
        self._endpoints = endpoints
        self._check = check
        self._silent_hosts = SilentHosts()
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._changed = threading.Condition(self._lock)
        self._threads = 0
        self._idle = 0
        self._leaving = False
        self._ended = False
        self._wakes_at = -math.inf
        self._crash: BaseException | None = None

    @property
    def progress(self) -> Progress:
        """Counts for the log line."""
        with self._lock:
            return self._sync.progress

    def take_silent_hosts(self) -> list[str]:
        """Return a line for each host that has not answered for the first time since the last call."""
        return self._silent_hosts.take()

    def run(self) -> Iterator[list[Outcome]]:
        """Run the sync to its end.

        Yields:
            the outcomes since the last time, possibly none: every half second, earlier only if there are many or the
            sync is finished, because recording them costs the more, the fewer there are. The threads continue
            meanwhile, until the sync is finished or `leave` is called.
        """
        # Pages are thousands of small objects; each would make the collector scan all of Dagster's objects again,
        # which takes half of all CPU time. Objects from before the first page are no garbage.
        frozen_before = gc.get_freeze_count()
        gc.freeze()
        try:
            with self._lock:
                self._start_thread()
            while True:
                with self._lock:
                    self._wait_for_outcomes()
                    outcomes = self._take_outcomes()
                    finished = self._sync.finished
                yield outcomes
                if finished:
                    return
        finally:
            # Definitions are frozen for good: else the collector would go through them all as the process ends.
            if not frozen_before:
                gc.unfreeze()

    def leave(self, *, timeout_seconds: float) -> list[Outcome]:
        """Read nothing more, wait for the requests in flight, and deliver what has been read.

        So no request of ours outlives the account's lock, and little is read again.

        Args:
            timeout_seconds: how long to wait; requests still in flight then are abandoned.

        Returns:
            the outcomes since `run` last yielded.
        """
        with self._lock:
            self._leaving = True
            self._sync.wind_down()
            self._changed.wait_for(lambda: self._idle == self._threads, timeout=timeout_seconds)
            self._ended = True
            self._work.notify_all()
            self._sync.emit_pending()
            return self._take_outcomes()

    def end(self) -> None:
        """Let the threads go."""
        with self._lock:
            self._ended = True
            self._work.notify_all()

    def _take_outcomes(self) -> list[Outcome]:
        outcomes = list(self._sync.outcomes)
        self._sync.outcomes.clear()
        return outcomes

    def _wait_for_outcomes(self) -> None:
        ends_at = time.monotonic() + _TICK_SECONDS
        while (now := time.monotonic()) < ends_at and not self._has_to_hand_over and self._crash is None:
            due = self._sync.next_timer
            self._wakes_at = ends_at if due is None else min(ends_at, due)
            self._changed.wait(max(_LEAST_PAUSE_SECONDS, self._wakes_at - now))
            self._work.notify()  # A timer may be due, and an idle thread is to look.
        self._wakes_at = -math.inf
        if self._crash is not None:
            raise self._crash

    @property
    def _has_to_hand_over(self) -> bool:
        return self._sync.finished or len(self._sync.outcomes) >= _MANY_OUTCOMES

    def _start_thread(self) -> None:
        threading.Thread(target=self._thread, name="importer", daemon=True).start()
        self._threads += 1

    def _thread(self) -> None:
        try:
            while (request := self._next_request()) is not None:
                self._check()
                if isinstance(request, Fetch):
                    self._fetch(request)
                else:
                    self._post(request)
        except (
            BaseException
        ) as error:  # No request may be sent, or a defect: the run must end with it instead of waiting for ever.
            with self._lock:
                self._crash = error
        finally:
            with self._lock:
                self._threads -= 1
                self._changed.notify()

    def _next_request(self) -> Fetch | Post | Probe | None:
        with self._lock:
            while not self._ended:
                request = self._sync.take(time.monotonic())
                if self._has_to_hand_over:
                    self._changed.notify()
                if request is not None:
                    self._hand_over()
                    return request
                self._idle += 1
                due = self._sync.next_timer
                if self._leaving or (due is not None and due < self._wakes_at):
                    self._changed.notify()
                self._work.wait()
                self._idle -= 1
            return None

    def _hand_over(self) -> None:
        """Let another thread look for work."""
        if self._ended:
            return
        if self._idle:
            self._work.notify()
        elif self._threads < _MAX_THREADS:
            self._start_thread()

    def _fetch(self, fetch: Fetch) -> None:
        endpoints = self._endpoints[fetch.audience.plan.name]
        try:
            try:
                answer = endpoints.send(fetch)
            finally:
                self._connection_freed(fetch)
            page = endpoints.open(answer, fetch)
        except Exception as error:
            failed = as_importer_error(error)
            self._silent_hosts.note(endpoints.account.host, fetch.audience.plan.name.client, failed)
            with self._lock:
                self._sync.fetch_failed(fetch, failed, time.monotonic())
        else:
            with self._lock:
                self._sync.fetched(fetch, page, time.monotonic())

    def _post(self, post: Post | Probe) -> None:
        endpoints = self._endpoints[post.audience.plan.name]
        try:
            try:
                receipt = endpoints.post(post)
            finally:
                self._connection_freed(post)
        except Exception as error:
            failed = as_importer_error(error)
            self._silent_hosts.note(endpoints.target.host, post.audience.plan.name.client, failed)
            with self._lock:
                self._sync.post_failed(post, failed, time.monotonic())
        else:
            with self._lock:
                self._sync.posted(post, receipt, time.monotonic())

    def _connection_freed(self, request: Fetch | Post | Probe) -> None:
        with self._lock:
            self._sync.connection_freed(request, time.monotonic())
            self._hand_over()


def as_importer_error(error: Exception) -> ImporterError:
    """Return our own error as it is; else one with its type and place, not its text, which may hold data.

    Raises:
        StopRun: no request can be sent at all.
    """
    if isinstance(error, StopRun):
        raise error
    if isinstance(error, ImporterError):
        return error
    if (exhausted := exhaustion_of(error)) is not None:
        raise exhausted from None
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return QuarantineWindow(
        f"an unexpected {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}",
        remedy="report this line; the window can be retried",
    )
