"""The read plan for each kind of request, given what earlier runs recorded."""

from dataclasses import replace

import pytest

from importer_pipeline.engine.audience_plan import ContactsScope, HoursScope, SnapshotScope
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    FingerprintChanged,
    HourFailed,
    HourImported,
    Part,
    PartCounts,
    PartitionRef,
    ReadTotals,
    RefusedContact,
    RunCounts,
    SnapshotKnown,
)
from importer_pipeline.errors import TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.chain import View
from importer_pipeline.planning.quarantine import RetryRule
from importer_pipeline.planning.requests import (
    AudienceRequest,
    ChangesRequest,
    ContactsRequest,
    EntrySelection,
    FirstSyncRequest,
    HoursRequest,
    ReadPlan,
    Request,
    RetryRequest,
    WindowsRequest,
)
from importer_pipeline.planning.resolver import Resolver
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline_tests.support.factories import snapshot
from importer_pipeline_tests.support.memory_history import MemoryHistory

NEWS = AudienceName("acme", "news")
HALF_PAST_SIX = 1_795_501_800
SEVEN, EIGHT = TimeRange(1_795_503_600, 1_795_507_199), TimeRange(1_795_507_200, 1_795_510_799)
NOW = float(SEVEN.first + 24 * 3600)
TAKEN = snapshot(before=HALF_PAST_SIX)
VIEW = View(now=NOW, oldest=0, tolerance_seconds=900.0)

WINDOWS = WindowsRequest(wanted=None, rule=ResumeRule(within_seconds=86_400.0, restart=False))
DUE = RetryRequest(wanted=EntrySelection(refs=None, rule=RetryRule()), windows=WINDOWS)
CHANGES = ChangesRequest(retry=DUE, newcomers=None)
NOTHING = ReadPlan(scope=None)


def left_by(*, synced: bool = False, hours: tuple[TimeRange, ...] = (), refused: bool = False) -> MemoryHistory:
    """Return a history of earlier runs."""
    history = MemoryHistory()
    history.begin(NOW - 7200)
    if synced:
        history.record(SnapshotKnown(name=NEWS, snapshot=TAKEN))
        history.record(done())
    for hour in hours:
        key = f"2026-11-24-0{7 if hour == SEVEN else 8}:00"
        history.record(
            HourImported(
                name=NEWS, hour=key, fingerprint=TAKEN.fingerprint, walk=hour, chain_from=None, read=0, accepted=0,
                refused=0, lag_seconds=None,
            )
        )  # fmt: skip
    if refused:
        ref = PartitionRef(name=NEWS, part=Part.HOUR, key="2026-11-24-05:00")
        bad = RefusedContact(contact_id="bad", reason="HTTP 422")
        history.record(ContactsRefused(ref=ref, snapshot_id=None, fingerprint=TAKEN.fingerprint, contacts=(bad,)))
    return history


def done() -> AudienceDone:
    return AudienceDone(
        name=NEWS, part=Part.WINDOW, snapshot=TAKEN, parts=PartCounts(total=4), is_proved=True,
        totals=ReadTotals(read=9, accepted=9, requests=4), run=RunCounts(accepted=9), lacking=(), error=None,
    )  # fmt: skip


def resolved(request: Request, history: MemoryHistory, *, fingerprint: str = TAKEN.fingerprint) -> ReadPlan:
    asked = AudienceRequest(name=NEWS, fingerprint=fingerprint, request=request)
    return Resolver([asked], history, VIEW).resolve(asked)


def test_hours_by_hand_are_read_whatever_is_known_of_them() -> None:
    found = resolved(HoursRequest(hours=SEVEN), left_by(synced=True, hours=(SEVEN,)))
    scope = HoursScope(first=SEVEN.first, last=SEVEN.last, chain_from=None, known=frozenset())
    assert found == ReadPlan(scope=scope)


def test_changes_are_read_from_the_end_of_the_chain_on() -> None:
    found = resolved(CHANGES, left_by(synced=True))
    assert found.scope == HoursScope(first=HALF_PAST_SIX + 1, last=None, chain_from=TAKEN.id, known=frozenset())
    assert (found.later, found.note) == ((), "")


def test_an_hour_beyond_a_hole_is_not_reported_again() -> None:
    found = resolved(CHANGES, left_by(synced=True, hours=(EIGHT,)))
    assert isinstance(found.scope, HoursScope)
    assert (found.scope.first, found.scope.known) == (HALF_PAST_SIX + 1, frozenset({EIGHT}))


@pytest.mark.parametrize("newcomers", [None, WINDOWS], ids=["left", "synced in full"])
def test_without_a_chain_nothing_is_read_from_now_on(newcomers: WindowsRequest | None) -> None:
    found = resolved(replace(CHANGES, newcomers=newcomers), left_by(hours=(SEVEN,)))
    assert found.scope is None
    assert found.later == ((newcomers,) if newcomers else ())
    what = "a full sync comes last" if newcomers else "it is left to full_sync"
    assert found.note.startswith(f"acme/news: {what}, because the event log has no")


def test_another_mapping_requires_a_full_sync() -> None:
    found = resolved(replace(CHANGES, newcomers=WINDOWS), left_by(synced=True), fingerprint="another")
    assert found.later == (WINDOWS,)
    assert "another list, target or record mapping" in found.note


@pytest.mark.parametrize("request_of", [CHANGES, replace(CHANGES, newcomers=WINDOWS)], ids=["left", "synced in full"])
def test_a_chain_out_of_view_requires_a_full_sync(request_of: ChangesRequest) -> None:
    asked = AudienceRequest(name=NEWS, fingerprint=TAKEN.fingerprint, request=request_of)
    late = View(now=NOW + 200 * 86_400, oldest=int(NOW) + 100 * 86_400, tolerance_seconds=900.0)
    found = Resolver([asked], left_by(synced=True), late).resolve(asked)
    assert found.scope is None
    assert found.later == ((request_of.newcomers,) if request_of.newcomers else ())
    assert "because it was last synced up to 2026-11-24T06:30:00+00:00, and the hours in view begin at" in found.note


def sent_in(*forms: str) -> MemoryHistory:
    """An unfinished snapshot, and then hours by hand that were begun in these forms, one behind the other."""
    history = MemoryHistory()
    history.record(SnapshotKnown(name=NEWS, snapshot=TAKEN))
    for form in forms:
        history.record(FingerprintChanged(name=NEWS, fingerprint=form))
    return history


@pytest.mark.parametrize(
    ("forms", "is_resumed"),
    [((), True), (("other",), False), (("other", TAKEN.fingerprint), False)],
    ids=["nothing", "another form", "another form, and back"],
)
def test_another_form_sent_since_prevents_resuming(forms: tuple[str, ...], is_resumed: bool) -> None:
    """A snapshot is resumed only if nothing has been sent with another fingerprint since."""
    request = WindowsRequest(wanted=None, rule=ResumeRule(within_seconds=48 * 3600.0, restart=False))
    scope = resolved(request, sent_in(*forms)).scope
    assert isinstance(scope, SnapshotScope)
    assert (scope.earlier is not None) == is_resumed


@pytest.mark.parametrize(
    "request_of",
    [
        WINDOWS,
        FirstSyncRequest(windows=WINDOWS),
        HoursRequest(hours=SEVEN),
        ContactsRequest(contact_ids=("bad",)),
    ],
    ids=["a full sync", "a first sync", "hours by hand", "contacts of the quarantine"],
)
def test_whatever_sends_contacts_in_another_form_says_so_first(request_of: Request) -> None:
    assert resolved(request_of, left_by(synced=True), fingerprint="another").changes_form
    assert not resolved(request_of, left_by(synced=True)).changes_form
    assert not resolved(request_of, MemoryHistory(), fingerprint="another").changes_form


def test_what_is_due_in_the_quarantine_comes_after_the_changes() -> None:
    found = resolved(CHANGES, left_by(synced=True, refused=True))
    assert isinstance(found.scope, HoursScope)
    assert found.later == (ContactsRequest(contact_ids=("bad",)),)


def test_a_retry_is_all_kinds_of_requests_one_behind_the_other() -> None:
    history = left_by(synced=True, refused=True)
    history.record(
        HourFailed(name=NEWS, hour="2026-11-24-07:00", fingerprint=TAKEN.fingerprint, error=TriesUsedUp("no answer"))
    )
    found = resolved(DUE, history)
    assert found == ReadPlan(scope=None, later=(ContactsRequest(contact_ids=("bad",)), HoursRequest(hours=SEVEN)))


def test_contacts_refused_for_another_mapping_are_not_retried() -> None:
    """They are left to the full sync."""
    assert resolved(DUE, left_by(synced=True, refused=True), fingerprint="another") == NOTHING


def test_single_contacts_are_asked_for_by_their_ids() -> None:
    found = resolved(ContactsRequest(contact_ids=("bad",)), left_by())
    assert found == ReadPlan(scope=ContactsScope(contact_ids=("bad",)))


def test_a_first_sync_is_for_audiences_without_a_chain_only() -> None:
    first = FirstSyncRequest(windows=WINDOWS)
    assert resolved(first, left_by(synced=True)) == NOTHING
    assert resolved(first, left_by()).scope == SnapshotScope(earlier=None, wanted=None)


def test_every_request_knows_the_quarantined_contacts() -> None:
    history = left_by(synced=True, refused=True)
    for request in (CHANGES, WINDOWS, HoursRequest(hours=SEVEN)):
        asked = AudienceRequest(name=NEWS, fingerprint=TAKEN.fingerprint, request=request)
        assert Resolver([asked], history, VIEW).quarantined(asked) == {"bad"}
