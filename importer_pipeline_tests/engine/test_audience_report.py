"""The outcomes of an audience read by windows: the snapshot before its windows, sums over all runs."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer_pipeline.engine.audience_plan import AudiencePlan, SnapshotScope
from importer_pipeline.engine.audience_report import AudienceReport
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    ContactsSettled,
    Outcome,
    ReadTotals,
    RefusedContact,
    RunCounts,
    SnapshotKnown,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.engine.pages import ListingKind
from importer_pipeline.engine.report import DeliveredPage
from importer_pipeline.errors import ImporterError, KeyRefused, TooSlow, TriesUsedUp
from importer_pipeline.listing.coverage import BEGINNING, TimeRange
from importer_pipeline.listing.snapshots import ImportedWindow, SnapshotProgress, window_key
from importer_pipeline.listing.spans import Reading
from importer_pipeline.listing.walk import Walk
from importer_pipeline_tests.support.factories import SMALL, Listing, imported, page_of, plan, snapshot

ACTIVE, ARCHIVED = ListingKind
BEFORE = 1000
LOST = TriesUsedUp("no answer, 4 times")
REVOKED = KeyRefused("the key is refused")
MANY = range(1, 60)
"""Seconds of the contacts of fifteen windows."""


@dataclass(slots=True)
class Audience:
    """Two walks, read by hand, and what is told of them."""

    report: AudienceReport
    listings: dict[ListingKind, Listing]
    walks: dict[ListingKind, Walk] = field(default_factory=dict[ListingKind, Walk])
    told: list[Outcome] = field(default_factory=list[Outcome])

    def start(self, kind: ListingKind) -> None:
        """A walk from the beginning."""
        self.walks[kind] = Walk(since=BEGINNING, before=BEFORE, paging=SMALL)
        self.walks[kind].read_all()

    def next(self, kind: ListingKind = ACTIVE) -> Reading:
        """The next page of a walk."""
        reading = self.walks[kind].next()
        assert reading is not None
        self.report.count_request()
        return reading

    def read(
        self,
        reading: Reading,
        kind: ListingKind = ACTIVE,
        *,
        refused: list[RefusedContact] | None = None,
        lacking: dict[str, int] | None = None,
    ) -> None:
        """A page is at the target, but for those that it refused."""
        page = page_of(self.listings[kind].cut(reading.request), server_time=0, lacking=lacking)
        walk, bad = self.walks[kind], refused or []
        walk.arrived(reading, page.shape)
        key, accepted = window_key(reading.window, archived=kind.is_archived), page.shape.length - len(bad)
        walk.windows[reading.window].read += page.shape.length
        walk.windows[reading.window].accepted += accepted
        walk.windows[reading.window].refused += len(bad)
        self.report.delivered(
            DeliveredPage(page=page, window=key, accepted=accepted, refused=bad, sent_ids=None, at=0, contact_id=None)
        )
        walk.delivered(reading, page.shape, [contact.contact_id for contact in page.contacts])
        self.collect()

    def fail(self, reading: Reading, kind: ListingKind = ACTIVE) -> None:
        """A page is given up."""
        self.walks[kind].failed(reading, LOST)
        self.collect()

    def collect(self) -> None:
        """Collect the outcomes so far."""
        self.report.collect(self.walks, BEFORE)
        self._note()

    def done(self, *, elapsed_seconds: float = 2.5, stopped: ImporterError | None = None) -> AudienceDone:
        """Nothing more comes."""
        self.report.done(self.walks, BEFORE, elapsed_seconds=elapsed_seconds, rate_limited=0, stopped=stopped)
        self._note()
        last = self.told[-1]
        assert isinstance(last, AudienceDone)
        return last

    def rest(self) -> AudienceDone:
        """All that is left is read."""
        for kind, walk in self.walks.items():
            while walk.has_ready:
                self.read(self.next(kind), kind)
        return self.done()

    @property
    def words(self) -> list[str]:
        """The outcomes in short: keys of imported and failed windows, and totals of snapshots."""
        return [_word(outcome) for outcome in self.told]

    def _note(self) -> None:
        self.told.extend(self.report.outcomes)
        self.report.outcomes.clear()


def _word(outcome: Outcome) -> str:
    match outcome:
        case SnapshotKnown():
            return f"snapshot of {outcome.snapshot.total} and {outcome.snapshot.archived_total}"
        case WindowImported():
            return outcome.window
        case WindowFailed():
            return f"{outcome.window} failed"
        case ContactsRefused():
            return f"refused of {outcome.ref.key}"
        case ContactsSettled():
            return f"settled: {', '.join(sorted(outcome.contact_ids))}"
        case AudienceDone():
            return "done"
        case _:
            raise AssertionError("no hour and no single contact is read")


def begun(active: range, archived: range, *, of: AudiencePlan | None = None) -> Audience:
    """An audience of contacts of these seconds; only its active contacts are being read."""
    report = AudienceReport(of or plan(), SnapshotScope(earlier=None, wanted=None), snapshot_id="new", paging=SMALL)
    audience = Audience(report, {ACTIVE: Listing(active), ARCHIVED: Listing(archived)})
    audience.start(ACTIVE)
    return audience


def going_on(known: dict[str, ImportedWindow], *, wanted: frozenset[str] | None = None) -> Audience:
    """With a snapshot of nine contacts and two archived ones, of which these windows are in."""
    earlier = SnapshotProgress(snapshot=snapshot(total=9, archived_total=2, before=BEFORE), windows=known)
    scope = SnapshotScope(earlier=earlier, wanted=wanted)
    report = AudienceReport(plan(), scope, snapshot_id="new", paging=SMALL)
    audience = Audience(report, {ACTIVE: Listing(range(1, 10)), ARCHIVED: Listing(range(1, 3))})
    for kind, total in ((ACTIVE, 9), (ARCHIVED, 2)):
        keys = {window_key(offset, archived=kind.is_archived): offset for offset in range(0, total, SMALL.step)}
        walk = audience.walks[kind] = Walk(since=BEGINNING, before=BEFORE, paging=SMALL)
        walk.resume(
            total=total,
            known={offset: known[key] for key, offset in keys.items() if key in known},
            wanted=None if wanted is None else {offset for key, offset in keys.items() if key in wanted},
        )
    return audience


def test_a_snapshot_is_reported_before_its_first_window() -> None:
    """With both totals."""
    audience = begun(range(1, 10), range(1, 3))
    audience.read(audience.next())
    audience.start(ARCHIVED)
    audience.read(audience.next())
    assert audience.words == []
    audience.read(audience.next(ARCHIVED), ARCHIVED)
    assert audience.words == ["snapshot of 9 and 2", "0", "8", "archived-0"]
    audience.rest()
    assert audience.words[4:] == ["4", "done"]


def test_a_snapshot_is_reported_as_taken() -> None:
    audience = begun(range(1, 10), range(1, 3))
    audience.read(audience.next())
    audience.start(ARCHIVED)
    audience.rest()
    known = audience.told[0]
    assert isinstance(known, SnapshotKnown)
    assert known.snapshot.id == "new"
    assert (known.snapshot.since, known.snapshot.before) == (BEGINNING, BEFORE)
    assert known.snapshot.fingerprint == plan().fingerprint
    assert known.snapshot.keys == ["0", "4", "8", "archived-0"]
    assert {outcome.snapshot_id for outcome in audience.told if isinstance(outcome, WindowImported)} == {"new"}


def test_a_snapshot_without_a_window_is_not_reported() -> None:
    audience = begun(range(1, 10), range(1, 3))
    for kind in ListingKind:
        if kind is ARCHIVED:
            audience.start(ARCHIVED)
        reading = audience.next(kind)
        audience.walks[kind].arrived(reading, audience.listings[kind].cut(reading.request).shape)
        audience.collect()
    assert audience.walks[ARCHIVED].planned
    assert audience.words == []


def test_ten_outcomes_do_not_wait_for_the_archived_total() -> None:
    """The snapshot is reported again with the total."""
    audience = begun(MANY, range(1, 3))
    audience.read(audience.next())
    audience.start(ARCHIVED)
    archived = audience.next(ARCHIVED)
    for _ in range(8):
        audience.read(audience.next())
    assert audience.words == []
    audience.read(audience.next())
    assert audience.words[0] == "snapshot of 59 and None"
    assert len(audience.words) == 1 + 10
    audience.read(audience.next())
    assert len(audience.words) == 1 + 11
    audience.read(archived, ARCHIVED)
    assert audience.words[12:] == ["snapshot of 59 and 2", "archived-0"]
    assert audience.rest().complete
    assert [word for word in audience.words if word.startswith("snapshot")] == [
        "snapshot of 59 and None",
        "snapshot of 59 and 2",
    ]


def test_refused_contacts_are_held_and_precede_their_window() -> None:
    audience = begun(range(1, 10), range(1, 3))
    bad = RefusedContact(contact_id="4", reason="bad")
    audience.read(audience.next(), refused=[bad])
    assert audience.words == []
    audience.start(ARCHIVED)
    audience.rest()
    assert audience.words[:3] == ["snapshot of 9 and 2", "refused of 0", "0"]


def test_without_a_snapshot_no_window_is_reported() -> None:
    audience = begun(range(1, 10), range(1, 3))
    audience.fail(audience.next())
    assert audience.words == []
    last = audience.done()
    assert audience.words == ["done"]
    assert (last.snapshot, last.parts.total, last.parts.failed, last.parts.left, last.error) == (None, 0, (), 0, LOST)


def test_a_half_page_without_the_total_waits_for_the_other() -> None:
    audience = begun(range(1, 4), range(0))
    assert audience.walks[ACTIVE].split(audience.next(), TooSlow("HTTP 504"))
    low, high = audience.next(), audience.next()
    audience.read(high, refused=[RefusedContact(contact_id="2", reason="bad")])
    assert audience.words == []
    audience.read(low)
    audience.start(ARCHIVED)
    audience.rest()
    assert audience.words == ["snapshot of 3 and 0", "refused of 0", "settled: 2", "0", "archived-0", "done"]


def test_held_outcomes_are_emitted_at_the_end() -> None:
    audience = begun(range(1, 10), range(1, 3))
    audience.read(audience.next())
    audience.fail(audience.next())
    audience.read(audience.next())
    last = audience.done(stopped=REVOKED)
    assert audience.words == ["snapshot of 9 and None", "0", "8 failed", "4", "done"]
    assert (last.parts.failed, last.error) == (("8",), REVOKED)


def test_the_first_windows_error_is_the_audiences() -> None:
    audience = begun(range(1, 10), range(1, 3))
    audience.read(audience.next())
    audience.fail(audience.next())
    audience.read(audience.next())
    assert audience.done().error is LOST


def test_unreadable_archived_contacts_have_no_windows() -> None:
    """The audience is not whole."""
    audience = begun(range(1, 4), range(1, 3))
    audience.read(audience.next())
    audience.start(ARCHIVED)
    audience.fail(audience.next(ARCHIVED), ARCHIVED)
    last = audience.done()
    assert audience.words == ["snapshot of 3 and None", "0", "done"]
    assert (last.parts.total, last.parts.failed, last.error, last.is_proved) == (1, (), LOST, False)


def test_a_resumed_snapshot_keeps_its_id() -> None:
    audience = going_on({"0": imported(TimeRange(0, 5)), "8": imported(TimeRange(9, BEFORE))})
    audience.rest()
    assert [outcome.snapshot.id for outcome in audience.told if isinstance(outcome, SnapshotKnown)] == ["taken earlier"]
    assert {outcome.snapshot_id for outcome in audience.told if isinstance(outcome, WindowImported)} == {
        "taken earlier"
    }


def test_an_imported_audience_reports_its_snapshot_and_end() -> None:
    whole = {
        "0": imported(TimeRange(0, 5)),
        "4": imported(TimeRange(6, 8)),
        "8": imported(TimeRange(9, BEFORE)),
        "archived-0": imported(TimeRange(0, BEFORE)),
    }
    audience = going_on(whole)
    assert audience.rest().complete
    assert audience.words == ["snapshot of 9 and 2", "done"]


def test_sums_cover_all_runs() -> None:
    """Accepted and refused contacts are counted for this run as well."""
    known = {
        "0": imported(TimeRange(0, 5), read=6, accepted=5, refused=1, requests=2),
        "8": imported(TimeRange(9, BEFORE), read=1, accepted=1, refused=0, requests=4),
    }
    audience = going_on(known)
    assert audience.report.accepted == 6
    audience.read(audience.next(), refused=[RefusedContact(contact_id="x", reason="bad")])
    assert audience.report.accepted == 6 + 2
    last = audience.rest()
    assert last.totals == ReadTotals(read=7 + 3 + 2, accepted=6 + 2 + 2, refused=1 + 1, requests=6 + 2)
    assert last.run == RunCounts(accepted=4, refused=1, elapsed_seconds=2.5)
    assert last.run.accepted_per_second == 1.6


def test_a_window_that_is_read_again_counts_as_it_is_read_now() -> None:
    known = {
        "0": imported(TimeRange(0, 5), read=600, accepted=500, refused=100, requests=200),
        "8": imported(TimeRange(9, BEFORE), read=1, accepted=1, refused=0, requests=4),
    }
    audience = going_on(known, wanted=frozenset({"0"}))
    last = audience.rest()
    assert last.totals == ReadTotals(read=1 + 5, accepted=1 + 5, requests=4 + 1)


def test_a_contact_refused_in_two_windows_counts_once() -> None:
    """Those without an ID count each time."""
    audience = begun(range(1, 10), range(0))
    bad, nameless = RefusedContact(contact_id="4", reason="bad"), RefusedContact(contact_id="", reason="no id")
    for _ in range(2):
        audience.read(audience.next(), refused=[bad, nameless])
    audience.start(ARCHIVED)
    assert audience.rest().totals.refused == 1 + 2


def test_only_paths_that_every_contact_lacks_are_reported() -> None:
    audience = begun(range(1, 4), range(1, 3))
    audience.read(audience.next(), lacking={"status": 3, "merge_fields.X": 3, "merge_fields.A": 3})
    audience.start(ARCHIVED)
    reading = audience.next(ARCHIVED)
    audience.read(reading, ARCHIVED, lacking={"merge_fields.X": 2, "merge_fields.A": 2})
    assert audience.done().lacking == ("merge_fields.A", "merge_fields.X")


LACKING = {"merge_fields.X": 3}


def test_lacking_paths_are_unknown_after_a_resume() -> None:
    """Contacts read in earlier runs may have them."""
    audience = going_on({"0": imported(TimeRange(0, 5)), "8": imported(TimeRange(9, BEFORE))}, wanted=frozenset({"4"}))
    audience.read(audience.next(), lacking=LACKING)
    assert audience.done().lacking == ()


@pytest.mark.parametrize("known", [{}, {"4": imported(TimeRange(6, 8))}], ids=["for the first time", "again"])
def test_lacking_paths_are_unknown_while_windows_are_left(
    known: dict[str, ImportedWindow],
) -> None:
    audience = going_on(known, wanted=frozenset({"4"}))
    reading = audience.next()
    audience.read(reading, lacking={"merge_fields.X": audience.listings[ACTIVE].cut(reading.request).shape.length})
    assert audience.done().lacking == ()


def test_lacking_paths_are_unknown_if_a_window_failed() -> None:
    audience = begun(range(1, 6), range(0))
    audience.read(audience.next(), lacking={"merge_fields.X": 5})
    audience.fail(audience.next())
    audience.start(ARCHIVED)
    assert audience.rest().lacking == ()


def test_an_empty_audience_lacks_nothing() -> None:
    audience = begun(range(0), range(0))
    audience.read(audience.next())
    audience.start(ARCHIVED)
    assert audience.rest().lacking == ()


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_every_window_is_reported_after_its_snapshot(seed: int) -> None:
    """In whatever order pages of both walks come, and whichever of them fail; few outcomes are held."""
    rng = Random(seed)
    audience = begun(range(1, rng.randint(2, 60)), range(1, rng.randint(2, 60)))
    reports = 0
    while ready := [kind for kind, walk in audience.walks.items() if walk.has_ready]:
        kind = rng.choice(ready)
        reading = audience.next(kind)
        if rng.random() < 0.2:
            audience.fail(reading, kind)
        else:
            audience.read(reading, kind)
        if audience.walks[ACTIVE].planned and ARCHIVED not in audience.walks:
            audience.start(ARCHIVED)
        reports += audience.walks[kind].planned
        assert reports - sum(not word.startswith("snapshot") for word in audience.words) < 10
    audience.done()
    known = list[str]()
    for outcome in audience.told:
        if isinstance(outcome, SnapshotKnown):
            known = outcome.snapshot.keys
        elif isinstance(outcome, WindowImported | WindowFailed):
            assert outcome.window in known
