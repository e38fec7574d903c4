"""The requests that retry each kind of failure."""

from dataclasses import replace

from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName, Snapshot
from importer_pipeline.planning.quarantine import Entry, Failure, RetryRule
from importer_pipeline.planning.requests import (
    ContactsRequest,
    EntrySelection,
    HoursRequest,
    Request,
    RetryRequest,
    WindowsRequest,
)
from importer_pipeline.planning.resuming import ResumeRule
from importer_pipeline.planning.retries import retry_requests
from importer_pipeline_tests.support.factories import snapshot

NEWS = AudienceName("acme", "news")
NOW = 100_000.0
NEWEST = replace(snapshot(), id="newest")
ALL = EntrySelection(refs=None, rule=None)
SNAPSHOT = WindowsRequest(wanted=None, rule=ResumeRule(within_seconds=86_400.0, restart=False))
SEVEN = 1_795_503_600


def trouble(*, of: str = "", attempts: int = 1, last_seen: int = 0) -> Failure:
    return Failure(reason="bad", snapshot=of, attempts=attempts, first_seen=0, last_seen=last_seen)


def entry(part: Part, key: str, *, failures: tuple[str, ...] = (), contacts: dict[str, Failure] | None = None) -> Entry:
    return Entry(
        ref=PartitionRef(name=NEWS, part=part, key=key),
        fingerprint="f",
        failures={of: trouble(of=of) for of in failures},
        contacts=contacts or {},
    )


def of(*entries: Entry, wanted: EntrySelection = ALL, newest: Snapshot | None = NEWEST) -> tuple[Request, ...]:
    return retry_requests(entries, RetryRequest(wanted=wanted, windows=SNAPSHOT), snapshot=newest, now=NOW)


def contacts(*ids: str) -> ContactsRequest:
    return ContactsRequest(contact_ids=ids)


def windows(*keys: str) -> WindowsRequest:
    return WindowsRequest(wanted=frozenset(keys), rule=SNAPSHOT.rule)


def hours(first: int, last: int) -> HoursRequest:
    return HoursRequest(hours=TimeRange(first, last))


def test_contacts_are_asked_for_by_their_ids_each_once() -> None:
    window = entry(Part.WINDOW, "0", contacts={"b": trouble(), "a": trouble()})
    hour = entry(Part.HOUR, "2026-11-24-07:00", contacts={"b": trouble()})
    assert of(window, hour) == (contacts("a", "b"),)


def test_a_window_of_the_newest_snapshot_is_retried_alone() -> None:
    failed = [entry(Part.WINDOW, key, failures=("newest",)) for key in ("990", "archived-0")]
    assert of(*failed) == (windows("990", "archived-0"),)


def test_a_window_of_an_older_snapshot_takes_a_full_sync() -> None:
    assert of(entry(Part.WINDOW, "990", failures=("older",))) == (SNAPSHOT,)
    assert of(entry(Part.WINDOW, "990", failures=("older",)), newest=None) == (SNAPSHOT,)


def test_failed_hours_are_read_by_their_time_neighbours_together() -> None:
    failed = [entry(Part.HOUR, f"2026-11-24-{hour}:00", failures=("",)) for hour in ("08", "07", "11")]
    assert of(*failed) == (hours(SEVEN, SEVEN + 7199), hours(SEVEN + 4 * 3600, SEVEN + 5 * 3600 - 1))


def test_contacts_without_an_id_are_read_with_their_partition() -> None:
    assert of(entry(Part.HOUR, "2026-11-24-07:00", contacts={"": trouble()})) == (hours(SEVEN, SEVEN + 3599),)
    window = entry(Part.WINDOW, "0", contacts={"": trouble(of="newest")})
    assert of(window) == (windows("0"),)


def test_contacts_without_an_id_wait_for_the_next_snapshot() -> None:
    """If they are of an older one than the newest."""
    older = entry(Part.WINDOW, "0", contacts={"": trouble(of="older")})
    assert of(older) == of(older, newest=None) == ()


def test_only_what_is_wanted_is_tried() -> None:
    window, other = (entry(Part.WINDOW, key, failures=("newest",), contacts={key: trouble()}) for key in ("0", "990"))
    wanted = EntrySelection(refs=frozenset({window.ref}), rule=None)
    assert of(window, other, wanted=wanted) == (contacts("0"), windows("0"))


def test_only_what_is_due_is_tried() -> None:
    young, tired = trouble(last_seen=int(NOW) - 10), trouble(attempts=10)
    hour = entry(Part.HOUR, "2026-11-24-07:00", contacts={"a": trouble(), "b": young, "c": tired})
    assert of(hour, wanted=EntrySelection(refs=None, rule=RetryRule())) == (contacts("a"),)
