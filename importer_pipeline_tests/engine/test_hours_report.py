"""The outcomes of hours: imported in order once both walks have proved them, left, failed or refused."""

from dataclasses import dataclass, field, replace

from importer_pipeline.engine.audience_plan import HoursScope
from importer_pipeline.engine.hours_report import HoursReport
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    ContactsSettled,
    HourFailed,
    HourImported,
    Outcome,
    RefusedContact,
)
from importer_pipeline.engine.pages import ListingKind
from importer_pipeline.engine.report import DeliveredPage
from importer_pipeline.errors import HourNotOver, ImporterError, KeyRefused, TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.listing.spans import Reading
from importer_pipeline.listing.walk import Walk
from importer_pipeline_tests.support.factories import SMALL, Listing, page_of, plan, requested

ACTIVE, ARCHIVED = ListingKind
FIRST = 1_795_503_600
"""2026-11-24 07:00:00 UTC."""
LAST = FIRST + 3 * HOUR_SECONDS - 1
"""Of three hours."""
KEYS = ["2026-11-24-07:00", "2026-11-24-08:00", "2026-11-24-09:00"]
SERVER_TIME = LAST + 600
LOST = TriesUsedUp("no answer, 4 times")
CHAIN = HoursScope(first=FIRST, last=None, chain_from="a snapshot", known=frozenset())
BY_HAND = HoursScope(first=FIRST, last=LAST, chain_from=None, known=frozenset())


@dataclass(slots=True)
class Audience:
    """Two walks over three hours, read by hand, and what is told of them."""

    scope: HoursScope
    active: Listing
    archived: Listing = field(default_factory=Listing)
    quarantined: frozenset[str] = frozenset()
    before: int = LAST
    walks: dict[ListingKind, Walk] = field(default_factory=dict[ListingKind, Walk])
    told: list[Outcome] = field(default_factory=list[Outcome])
    report: HoursReport = field(init=False)

    def __post_init__(self) -> None:
        self.report = HoursReport(replace(plan(), quarantined=self.quarantined), self.scope)
        self.start(ACTIVE)

    def start(self, kind: ListingKind) -> None:
        self.walks[kind] = Walk(since=self.scope.since, before=self.before, paging=SMALL)
        self.walks[kind].read_all()

    def next(self, kind: ListingKind = ACTIVE) -> Reading:
        reading = self.walks[kind].next()
        assert reading is not None
        self.report.count_request()
        return reading

    def read(self, reading: Reading, kind: ListingKind = ACTIVE, *, refused: tuple[str, ...] = ()) -> None:
        """A page is at the target, but for those that it refused."""
        page = page_of(
            (self.archived if kind is ARCHIVED else self.active).cut(reading.request), server_time=SERVER_TIME
        )
        self.walks[kind].arrived(reading, page.shape)
        bad = [RefusedContact(contact_id=contact_id, reason="bad") for contact_id in refused]
        accepted = page.shape.length - len(bad)
        self.report.delivered(
            DeliveredPage(
                page=page, window="0", accepted=accepted, refused=bad, sent_ids=None, at=SERVER_TIME, contact_id=None
            )
        )
        self.walks[kind].delivered(reading, page.shape, [contact.contact_id for contact in page.contacts])
        self.collect()

    def collect(self) -> None:
        self.report.collect(self.walks, self.before)
        self._note()

    def rest(self, kind: ListingKind) -> None:
        """All that is left of a walk is read."""
        while self.walks[kind].has_ready:
            self.read(self.next(kind), kind)

    def done(self, stopped: ImporterError | None = None) -> AudienceDone:
        self.report.done(self.walks, self.before, elapsed_seconds=1.0, rate_limited=0, stopped=stopped)
        self._note()
        last = self.told[-1]
        assert isinstance(last, AudienceDone)
        return last

    @property
    def hours(self) -> list[HourImported]:
        return [outcome for outcome in self.told if isinstance(outcome, HourImported)]

    def _note(self) -> None:
        self.told.extend(self.report.outcomes)
        self.report.outcomes.clear()


def spread() -> Listing:
    """Contacts that changed in each of the hours, some minutes apart."""
    return Listing(FIRST + hour * HOUR_SECONDS + 600 * number for hour in range(3) for number in range(4))


def test_no_hour_is_imported_before_both_walks_prove_it() -> None:
    audience = Audience(CHAIN, spread())
    audience.rest(ACTIVE)
    assert audience.hours == []
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    assert [hour.hour for hour in audience.hours] == KEYS
    done = audience.done()
    assert (done.complete, done.parts.total, done.parts.left, done.parts.failed) == (True, 3, 0, ())
    assert [hour.chain_from for hour in audience.hours] == ["a snapshot"] * 3


def test_hours_are_reported_in_order() -> None:
    """Though the walk reads from the end."""
    audience = Audience(CHAIN, spread())
    first = audience.next()
    audience.read(first)
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    told = [hour.hour for hour in audience.hours]
    audience.rest(ACTIVE)
    assert told == KEYS[: len(told)]
    assert len(told) < 3
    assert [hour.hour for hour in audience.hours] == KEYS


def test_an_imported_hour_is_not_reported_again() -> None:
    known = frozenset({TimeRange(FIRST + HOUR_SECONDS, FIRST + 2 * HOUR_SECONDS - 1)})
    audience = Audience(HoursScope(first=FIRST, last=None, chain_from="a snapshot", known=known), spread())
    audience.rest(ACTIVE)
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    assert [hour.hour for hour in audience.hours] == [KEYS[0], KEYS[2]]
    assert audience.done().complete


def test_a_failed_hour_does_not_end_the_chain() -> None:
    """It is in the quarantine."""
    audience = failed_in_the_middle(CHAIN)
    done = audience.done()
    kinds = [(type(it), it.hour) for it in audience.told if isinstance(it, HourImported | HourFailed)]
    assert kinds == [(HourImported, KEYS[0]), (HourFailed, KEYS[1]), (HourImported, KEYS[2])]
    assert [hour.chain_from for hour in audience.hours] == ["a snapshot"] * 2
    assert (done.error, done.parts.failed, done.parts.left, done.is_accounted_for) == (LOST, (KEYS[1],), 0, True)


def test_an_hour_that_is_left_ends_the_chain() -> None:
    """Later hours are reported without a chain."""
    audience = failed_in_the_middle(CHAIN)
    revoked = KeyRefused("the key is refused")
    done = audience.done(stopped=revoked)
    assert [(hour.hour, hour.chain_from) for hour in audience.hours] == [(KEYS[0], "a snapshot"), (KEYS[2], None)]
    assert (done.error, done.parts.failed, done.parts.left, done.is_accounted_for) == (revoked, (), 1, False)


def failed_in_the_middle(scope: HoursScope) -> Audience:
    """A page in the middle of the second hour is given up; all others are read."""
    counts = (6, 14, 6)
    seconds = (FIRST + hour * HOUR_SECONDS + 200 * number for hour in range(3) for number in range(counts[hour]))
    audience = Audience(scope, Listing(seconds))
    for _ in range(20):
        if not audience.walks[ACTIVE].has_ready:
            break
        reading = audience.next()
        if requested(reading).offset == 8:
            audience.walks[ACTIVE].failed(reading, LOST)
        else:
            audience.read(reading)
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    return audience


def test_contacts_count_for_the_hour_of_their_change() -> None:
    """The longest lag is reported."""
    audience = Audience(CHAIN, spread(), Listing([FIRST + 30]))
    audience.rest(ACTIVE)
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    assert all(hour.read >= 4 for hour in audience.hours)
    assert [hour.lag_seconds for hour in audience.hours] == [
        SERVER_TIME - FIRST - hour * HOUR_SECONDS for hour in range(3)
    ]


def test_a_refused_contact_is_reported_before_its_hour() -> None:
    audience = Audience(CHAIN, Listing([FIRST + HOUR_SECONDS + 5]))
    audience.read(audience.next(), refused=("0",))
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    refused = audience.told[0]
    assert isinstance(refused, ContactsRefused)
    assert (str(refused.ref), refused.snapshot_id) == (f"acme/news/contact_changes/{KEYS[1]}", None)
    assert [(hour.read, hour.accepted, hour.refused) for hour in audience.hours] == [(0, 0, 0), (1, 0, 1), (0, 0, 0)]
    done = audience.done()
    assert (done.complete, done.run.refused) == (True, 1)


def test_an_accepted_quarantined_contact_is_settled() -> None:
    audience = Audience(CHAIN, Listing([FIRST + 5, FIRST + 6]), quarantined=frozenset({"0", "another"}))
    audience.read(audience.next(), refused=("1",))
    settled = [outcome.contact_ids for outcome in audience.told if isinstance(outcome, ContactsSettled)]
    assert settled == [frozenset({"0"})]


def test_hours_not_over_are_an_error_with_a_remedy() -> None:
    audience = Audience(BY_HAND, spread(), before=LAST - HOUR_SECONDS)
    audience.rest(ACTIVE)
    audience.start(ARCHIVED)
    audience.rest(ARCHIVED)
    done = audience.done()
    assert isinstance(done.error, HourNotOver)
    assert str(done.error) == (f"the hour {KEYS[2]} is not over by Mailchimp's clock: launch it again in a few minutes")
    assert [(hour.hour, hour.chain_from) for hour in audience.hours] == [(KEYS[0], None), (KEYS[1], None)]
