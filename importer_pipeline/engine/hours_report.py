"""Derives the outcomes of an audience that is read by hours, in an order that later runs can rely on. Pure.

An hour is imported when both walks have proved each of its seconds. Hours of a chain are reported in order, each only
when all before it are imported or, at the end, have been reported as failed, which puts them into the quarantine. So
the newest of them proves the chain up to its end, wherever the process dies. Hours after one that was left are
reported without a chain.
"""

from collections import Counter, deque
from collections.abc import Iterable

from importer_pipeline.engine.audience_plan import AudiencePlan, HoursScope
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    ContactsSettled,
    HourFailed,
    HourImported,
    Outcome,
    Part,
    PartCounts,
    PartitionRef,
    ReadTotals,
    RefusedContact,
    RunCounts,
)
from importer_pipeline.engine.pages import ListingKind
from importer_pipeline.engine.repeats import Repeats
from importer_pipeline.engine.report import DeliveredPage, PageCounts, Quarantined, Walks, errors_of, refused_of
from importer_pipeline.errors import HourNotOver, ImporterError
from importer_pipeline.listing.coverage import TimeRange, missing, seconds, timestamp
from importer_pipeline.listing.hours import hour_key, hours_of

_HOUR_OF_STAMP = len("2026-11-24T07")


class HoursReport:
    """Derives the outcomes of an audience that is read by hours.

    Args:
        plan: the audience.
        scope: the hours to read.

    Attributes:
        outcomes: what has happened since this was last emptied.
        accepted: contacts that the target has accepted so far.
    """

    def __init__(self, plan: AudiencePlan, scope: HoursScope) -> None:
        self._plan = plan
        self._scope = scope
        self._reported: set[TimeRange] = set()
        self._read: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._oldest: dict[str, tuple[str, int]] = {}
        self._refused_ids: set[str] = set()
        self._refused_without_id = 0
        self._lacking: Counter[str] = Counter()
        self._requests = self._read_again = 0
        self._repeats = Repeats()
        self._quarantined = Quarantined(plan.quarantined)
        self.outcomes: deque[Outcome] = deque()
        self.accepted = 0

    def count_request(self) -> None:
        """Count a request."""
        self._requests += 1

    def delivered(self, delivered: DeliveredPage) -> PageCounts:
        """Take in a delivered page, and return what counts with it."""
        page, counts = delivered.page, self._repeats.count(delivered)
        self.accepted += counts.accepted
        self._read_again += len(counts.again)
        self._lacking.update(page.lacking)
        hours = [(it.contact_id, stamp[:_HOUR_OF_STAMP]) for it, stamp in zip(page.contacts, page.stamps, strict=True)]
        self._read.update(hour for contact_id, hour in hours if contact_id not in counts.again)
        for stamp in page.stamps:
            hour = stamp[:_HOUR_OF_STAMP]
            if hour not in self._oldest or stamp < self._oldest[hour][0]:
                self._oldest[hour] = (stamp, delivered.at)
        if settled := self._quarantined.settled_by(delivered):
            self.outcomes.append(ContactsSettled(name=self._plan.name, contact_ids=settled))
        if delivered.refused:
            self._note_refused(delivered.refused, dict(hours))
        return counts

    def failed(self, contact_id: str, error: ImporterError) -> None:
        """Do nothing: contacts are not requested by their IDs here."""

    def collect(self, walks: Walks, before: int) -> None:
        """Report the hours that have been proved."""
        self._note_unreadable(walks)
        bounds = self._bounds(before)
        reached = self._reached(walks)
        for hour in hours_of(bounds):
            if min(hour.last, bounds.last) > reached:
                return
            self._emit(hour, bounds, chain_from=self._scope.chain_from)

    def emit_pending(self, walks: Walks, before: int) -> None:
        """Do nothing: no hour is held back; those after a hole are read again."""

    def done(self, walks: Walks, before: int, *, elapsed_seconds: float, stopped: ImporterError | None) -> None:
        """Report the remaining hours, and last `AudienceDone`."""
        self._note_unreadable(walks)
        bounds, errors = self._bounds(before), errors_of(walks)
        open_seconds = [gap for kind in ListingKind for gap in self._open_seconds(walks, kind, bounds)]
        failed: list[str] = []
        left, chain_from = 0, self._scope.chain_from
        # Before Mailchimp has answered, it is unknown which hours are over by its clock.
        has_answered = ListingKind.ACTIVE in walks and walks[ListingKind.ACTIVE].planned
        for hour in hours_of(bounds) if bounds.first <= bounds.last else ():
            if not any(gap.first <= hour.last and hour.first <= gap.last for gap in open_seconds):
                self._emit(hour, bounds, chain_from=chain_from)
            elif stopped is None and errors and has_answered:
                failed.append(hour_key(hour.first))
                self.outcomes.append(
                    HourFailed(
                        name=self._plan.name,
                        hour=failed[-1],
                        fingerprint=self._plan.fingerprint,
                        error=errors[0],
                    )
                )
            else:
                left, chain_from = left + 1, None
        refused = len(self._refused_ids) + self._refused_without_id
        self.outcomes.append(
            AudienceDone(
                name=self._plan.name,
                part=Part.HOUR,
                snapshot=None,
                parts=PartCounts(total=len(self._reported) + len(failed) + left, failed=tuple(failed), left=left),
                is_proved=not open_seconds,
                totals=ReadTotals(
                    read=self._read.total(),
                    read_again=self._read_again,
                    accepted=self.accepted,
                    refused=refused,
                    requests=self._requests,
                ),
                run=RunCounts(accepted=self.accepted, refused=refused, elapsed_seconds=elapsed_seconds),
                lacking=(),
                error=stopped or (errors[0] if errors and open_seconds else self._not_over(before)),
            )
        )

    def _bounds(self, before: int) -> TimeRange:
        return TimeRange(self._scope.first, before)

    def _reached(self, walks: Walks) -> int:
        """Return the last second up to which both walks have proved everything."""
        since = self._scope.since
        if len(walks) < 2:
            return since
        proved = [walk.proved for walk in walks.values()]
        return min(it[0].last if it and it[0].first <= since + 1 else since for it in proved)

    def _open_seconds(self, walks: Walks, kind: ListingKind, bounds: TimeRange) -> list[TimeRange]:
        if bounds.first > bounds.last:
            return []
        return missing(bounds, walks[kind].proved if kind in walks else ())

    def _emit(self, hour: TimeRange, bounds: TimeRange, *, chain_from: str | None) -> None:
        if hour in self._reported:
            return
        self._reported.add(hour)
        if hour in self._scope.known:
            return
        key = hour_key(hour.first)
        of_stamp = f"{key[:10]}T{key[11:13]}"
        oldest = self._oldest.get(of_stamp)
        self.outcomes.append(
            HourImported(
                name=self._plan.name,
                hour=key,
                fingerprint=self._plan.fingerprint,
                walk=bounds,
                chain_from=chain_from,
                read=self._read[of_stamp],
                accepted=self._read[of_stamp] - self._refused[of_stamp],
                refused=self._refused[of_stamp],
                lag_seconds=None if oldest is None else max(0, oldest[1] - seconds(oldest[0])),
            )
        )

    def _note_unreadable(self, walks: Walks) -> None:
        for walk in walks.values():
            while walk.unreadable:
                found = walk.unreadable.popleft()
                hour = timestamp(found.second)[:_HOUR_OF_STAMP]
                self._read[hour] += len(found.contact_ids)
                self._note_refused(refused_of(found), dict.fromkeys(found.contact_ids, hour))

    def _note_refused(self, refused: Iterable[RefusedContact], hours: dict[str, str]) -> None:
        by_hour: dict[str, list[RefusedContact]] = {}
        for contact in refused:
            hour = hours.get(contact.contact_id, "")
            by_hour.setdefault(hour, []).append(contact)
            self._refused[hour] += contact.contact_id not in self._refused_ids
            if contact.contact_id:
                self._refused_ids.add(contact.contact_id)
            else:
                self._refused_without_id += 1
        for hour, contacts in by_hour.items():
            key = f"{hour[:10]}-{hour[11:]}:00" if hour else hour_key(self._scope.first)
            ref = PartitionRef(name=self._plan.name, part=Part.HOUR, key=key)
            self.outcomes.append(
                ContactsRefused(
                    ref=ref,
                    snapshot_id=None,
                    fingerprint=self._plan.fingerprint,
                    contacts=tuple(contacts),
                )
            )

    def _not_over(self, before: int) -> ImporterError | None:
        """Return the error for requested hours that are not over yet by Mailchimp's clock."""
        last = self._scope.last
        if last is None or before >= last:
            return None
        return HourNotOver(
            f"the hour {hour_key(last)} is not over by Mailchimp's clock", remedy="launch it again in a few minutes"
        )
