"""The judgement where a contact is, by what was recorded. Syncs show the usual cases: see `test_stored`."""

from importer_pipeline.cli.whereabouts import HeldContact, Place, Whereabouts, whereabouts
from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import hour_key
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Snapshot, SnapshotProgress
from importer_pipeline.planning.chain import Chain
from importer_pipeline.planning.quarantine import Entry, Failure
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS

_NAME = AudienceName("acme", "newsletter")
_ID = "5" * 32
_BEFORE = 1_700_000_000
_HOUR = 3600


def _judged(
    *, changed: int = 500, chain: Chain | None = None, entries: tuple[Entry, ...] = (), contact_id: str = _ID,
    progress: SnapshotProgress | None = None, held: bool = True, archived: bool = False, why_paused: str = "",
) -> Whereabouts:  # fmt: skip
    contact = HeldContact(contact_id=contact_id, changed=changed, archived=archived) if held else None
    return whereabouts(
        contact_id, contact, name=_NAME, chain=chain, why_no_chain="of a test", entries=entries, progress=progress,
        why_paused=why_paused,
    )  # fmt: skip


def _chain(*, end: int = _BEFORE, hours: frozenset[TimeRange] = frozenset()) -> Chain:
    return Chain(snapshot="first", end=end, hours=hours)


def _progress(*covered: TimeRange) -> SnapshotProgress:
    snapshot = Snapshot(
        id="first",
        fingerprint="f00d",
        since=-1,
        before=_BEFORE,
        total=3000,
        archived_total=10,
        page_size=1000,
        overlap=10,
    )
    window = ImportedWindow(covered=covered, read=1, accepted=1, refused=0, requests=1)
    return SnapshotProgress(snapshot=snapshot, windows={"990": window})


def _entry(part: Part, key: str, *, contact_id: str | None = None) -> Entry:
    failure = Failure(reason="of a test", snapshot="first", attempts=2, first_seen=1, last_seen=2)
    ref = PartitionRef(name=_NAME, part=part, key=key)
    if contact_id is None:
        return Entry(ref=ref, fingerprint="f00d", failures={"first": failure})
    return Entry(ref=ref, fingerprint="f00d", contacts={contact_id: failure})


def test_a_window_of_an_unfinished_full_sync_is_imported() -> None:
    found = _judged(progress=_progress(TimeRange(400, 600)))
    assert (found.place, found.partition) == (Place.IMPORTED, "acme/newsletter/contact_windows/990")


def test_an_archived_contact_is_not_in_a_window_of_others() -> None:
    assert _judged(progress=_progress(TimeRange(400, 600)), archived=True).place is Place.UNSYNCED


def test_what_no_window_of_an_unfinished_sync_has_is_missing() -> None:
    found = _judged(progress=_progress(TimeRange(0, 100)))
    assert found.place is Place.UNSYNCED
    assert found.why == "the audience needs a full sync: of a test"


def test_a_failed_window_has_what_no_imported_one_has() -> None:
    failed = _entry(Part.WINDOW, "1980")
    found = _judged(chain=_chain(), progress=_progress(TimeRange(0, 100)), entries=(failed,))
    assert (found.place, found.partition) == (Place.FAILED, "acme/newsletter/contact_windows/1980")


def test_a_failed_hour_has_its_changes() -> None:
    changed = _BEFORE + 2 * _HOUR
    failed = _entry(Part.HOUR, hour_key(changed))
    found = _judged(changed=changed, chain=_chain(end=changed + _HOUR), progress=_progress(), entries=(failed,))
    assert (found.place, found.partition) == (Place.FAILED, f"acme/newsletter/contact_changes/{hour_key(changed)}")


def test_an_hour_that_was_imported_by_itself_counts() -> None:
    changed = _BEFORE + 5 * _HOUR
    chain = _chain(hours=frozenset({TimeRange(changed - 10, changed + 10)}))
    assert _judged(changed=changed, chain=chain, progress=_progress()).place is Place.IMPORTED


def test_contacts_without_an_id_are_one_in_the_quarantine() -> None:
    entry = _entry(Part.HOUR, "2026-11-24-07:00", contact_id="")
    found = _judged(chain=_chain(), entries=(entry,), contact_id=ID_OF_NO_ADDRESS)
    assert found.place is Place.QUARANTINED


def test_a_quarantined_contact_that_is_gone_needs_nothing() -> None:
    entry = _entry(Part.HOUR, "2026-11-24-07:00", contact_id=_ID)
    found = _judged(chain=_chain(), entries=(entry,), held=False)
    assert (found.place, found.remedy) == (Place.QUARANTINED, "")


def test_what_a_pause_holds_up_is_not_well() -> None:
    why = "its account's key is refused since 2023-11-14 22:13"
    for chain in (_chain(), None):
        found = _judged(changed=_BEFORE + _HOUR, chain=chain, why_paused=why)
        assert found.place is Place.PAUSED
        assert not found.place.is_well
        assert found.why.endswith(f"{why}, so it is asked once a day")
        assert found.remedy == "correct the key, then: importer sync acme/newsletter"


def test_what_was_imported_before_a_pause_is_imported() -> None:
    found = _judged(changed=_BEFORE - 1, chain=_chain(), why_paused="its key is refused")
    assert (found.place, found.remedy) == (Place.IMPORTED, "")
