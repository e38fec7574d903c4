"""The quarantine as it stands in an event log: what is written is read back, and what can't be read is not lost."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.defs.event_writing import store_events
from importer_pipeline.defs.names import QUARANTINE_KEY, QUARANTINE_PARTITIONS
from importer_pipeline.defs.quarantine_events import (
    forget,
    last_recorded,
    open_partitions,
    parse_partition,
    read_entries,
    write_entries,
)
from importer_pipeline.engine.outcomes import Part, PartitionRef
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Entry, Failure, Quarantine
from importer_pipeline_tests.defs.recorded import NAME, run

OTHER = AudienceName("globex", "customers")
WINDOW = PartitionRef(name=NAME, part=Part.WINDOW, key="990")
HOUR = PartitionRef(name=NAME, part=Part.HOUR, key="2026-11-24-07:00")
THEIRS = PartitionRef(name=OTHER, part=Part.WINDOW, key="archived-0")
PARTITIONS = str(QUARANTINE_PARTITIONS.name)


def trouble(reason: str = "bad", *, attempts: int = 1, seen: tuple[int, int] = (100, 200)) -> Failure:
    return Failure(reason=reason, snapshot="first", attempts=attempts, first_seen=seen[0], last_seen=seen[1])


def entry(ref: PartitionRef = WINDOW, *, failed: bool = False, contacts: int = 1) -> Entry:
    """One of a window or hour that failed, or that is in but for some contacts."""
    return Entry(
        ref=ref,
        fingerprint="f00d",
        failures={"first": trouble("no answer", attempts=3, seen=(50, 300))} if failed else {},
        contacts={f"{number:032x}": trouble() for number in range(contacts)},
    )


def write(instance: dg.DagsterInstance, *entries: Entry, closed: PartitionRef | None = None) -> None:
    """Entries are written, and perhaps one is closed."""
    changed = [it.ref for it in entries] + ([closed] if closed is not None else [])
    quarantine, run = Quarantine(entries, began=0.0), dg.DagsterRun(job_name="any")
    write_entries(instance, instance.report_runless_asset_event, quarantine, changed, run=run)


def shown(instance: dg.DagsterInstance) -> dict[str, Any]:
    """The metadata of the newest event."""
    event = instance.get_latest_materialization_event(QUARANTINE_KEY)
    assert event is not None
    assert event.asset_materialization is not None
    return {"description": event.asset_materialization.description} | {
        name: value.value for name, value in event.asset_materialization.metadata.items()
    }


def rows(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """The rows of the newest event's table."""
    table = shown(instance)["table"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


@pytest.mark.parametrize("ref", [WINDOW, HOUR, THEIRS], ids=str)
def test_a_partition_is_called_by_what_it_stands_for(ref: PartitionRef) -> None:
    assert parse_partition(str(ref)) == ref


@pytest.mark.parametrize(
    "key",
    ["", "acme", "acme/newsletter/990", "acme/newsletter/contacts/990", "acme/newsletter/contact_windows/990/1"],
)
def test_what_is_called_otherwise_is_none_of_ours(key: str) -> None:
    assert parse_partition(key) is None


def test_what_is_written_is_read_back(instance: dg.DagsterInstance) -> None:
    written = [entry(), entry(HOUR, failed=True, contacts=0), entry(THEIRS, failed=True, contacts=2)]
    write(instance, *written)
    assert sorted(read_entries(instance), key=str) == sorted(written, key=str)
    assert set(open_partitions(instance)) == {WINDOW, HOUR, THEIRS}
    assert read_entries(instance, [OTHER]) == [written[2]]
    assert read_entries(instance, []) == []


def test_the_newest_that_was_written_counts(instance: dg.DagsterInstance) -> None:
    write(instance, entry(contacts=3))
    write(instance, entry(contacts=1))
    assert read_entries(instance) == [entry(contacts=1)]


def test_a_closed_entry_is_no_partition_and_the_others_stay(instance: dg.DagsterInstance) -> None:
    write(instance, entry(), entry(HOUR))
    write(instance, closed=WINDOW)
    assert read_entries(instance) == [entry(HOUR)]
    assert instance.get_dynamic_partitions(PARTITIONS) == [str(HOUR)]


def test_one_that_is_opened_again_knows_nothing_of_before(instance: dg.DagsterInstance) -> None:
    write(instance, entry(contacts=3))
    write(instance, closed=WINDOW)
    assert read_entries(instance) == []
    write(instance, entry(contacts=1))
    assert read_entries(instance) == [entry(contacts=1)]


def test_what_is_dropped_is_gone_and_the_log_says_when(instance: dg.DagsterInstance) -> None:
    write(instance, entry(), entry(HOUR))
    before = last_recorded(instance, [WINDOW, HOUR])
    forget(instance, instance.report_runless_asset_event, [WINDOW])
    assert read_entries(instance) == [entry(HOUR)]
    after = last_recorded(instance, [WINDOW, HOUR, THEIRS])
    assert set(after) == {WINDOW, HOUR}
    assert (after[WINDOW] > before[WINDOW], after[HOUR]) == (True, before[HOUR])
    assert "Dropped, though not in" in shown(instance)["description"]


def test_an_entry_shows_what_failed_why_how_often_and_since_when(instance: dg.DagsterInstance) -> None:
    write(instance, entry(failed=True, contacts=2))
    told = shown(instance)
    assert told["description"] == "acme/newsletter/contact_windows/990 could not be imported"
    assert (told["reason"], told["contacts"], told["attempts"]) == ("no answer", 2, 3)
    assert (told["first_seen"], told["last_seen"]) == (50.0, 300.0)
    assert rows(instance)[0] == {
        "contact_id": "(all of it)", "reason": "no answer", "attempts": 3, "first_seen": "1970-01-01T00:00:50+00:00",
        "last_seen": "1970-01-01T00:05:00+00:00",
    }  # fmt: skip
    assert [row["contact_id"] for row in rows(instance)[1:]] == [f"{number:032x}" for number in range(2)]


@pytest.mark.parametrize(("contacts", "words"), [(1, "1 contact of"), (2, "2 contacts of")])
def test_contacts_are_counted_in_words(instance: dg.DagsterInstance, contacts: int, words: str) -> None:
    write(instance, entry(contacts=contacts))
    assert shown(instance)["description"] == f"{words} acme/newsletter/contact_windows/990 could not be imported"


def test_those_without_an_id_are_shown_as_such(instance: dg.DagsterInstance) -> None:
    without = replace(entry(), contacts={"": trouble("no id")})
    write(instance, without)
    assert [row["contact_id"] for row in rows(instance)] == ["(no id)"]
    assert read_entries(instance) == [without]


def test_no_more_than_a_hundred_rows_are_shown_and_all_are_kept(instance: dg.DagsterInstance) -> None:
    write(instance, entry(contacts=150))
    assert read_entries(instance) == [entry(contacts=150)]
    assert (len(rows(instance)), shown(instance)["contacts"]) == (100, 150)


def report(instance: dg.DagsterInstance, metadata: dict[str, Any]) -> None:
    """Somebody reports the window's entry in the UI, or another version of ours wrote it."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(QUARANTINE_KEY, partition=str(WINDOW), metadata=metadata)
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"entry": "no JSON"},
        {"entry": "{}"},
        {"entry": '{"format":2,"fingerprint":"f00d","failures":{},"contacts":{}}'},
    ],
    ids=["no JSON", "something else", "of another format"],
)
def test_all_of_the_window_of_an_unreadable_entry_is_open(
    instance: dg.DagsterInstance, metadata: dict[str, Any]
) -> None:
    write(instance, entry(), entry(HOUR))
    report(instance, metadata)
    found = {it.ref: it for it in read_entries(instance)}
    assert found[HOUR] == entry(HOUR)
    (failure,) = found[WINDOW].failures.values()
    assert (found[WINDOW].fingerprint, found[WINDOW].contacts) == ("", {})
    assert "materialize this partition to import all of it again" in failure.reason


def test_an_entry_is_read_whatever_people_have_reported_since(instance: dg.DagsterInstance) -> None:
    write(instance, entry(contacts=3), entry(HOUR))
    by_hand = [dg.AssetMaterialization(QUARANTINE_KEY, partition=str(WINDOW)) for _ in range(500)]
    run(instance, lambda context: store_events(context, by_hand))
    assert sorted(read_entries(instance), key=str) == sorted([entry(contacts=3), entry(HOUR)], key=str)


def test_so_it_is_of_those_whose_events_were_wiped(instance: dg.DagsterInstance) -> None:
    write(instance, entry(), entry(HOUR))
    instance.wipe_assets([QUARANTINE_KEY])
    assert {it.ref for it in read_entries(instance)} == {WINDOW, HOUR}
    assert all(it.failures and not it.fingerprint for it in read_entries(instance))


def test_a_partition_that_somebody_adds_by_hand_is_no_entry(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(PARTITIONS, ["some text", "acme/newsletter/contacts/0"])
    write(instance, entry())
    assert read_entries(instance) == [entry()]


def test_a_death_between_event_and_partition_records_nothing(instance: dg.DagsterInstance) -> None:
    write(instance, entry())
    instance.delete_dynamic_partition(PARTITIONS, str(WINDOW))
    assert read_entries(instance) == []
    write(instance, entry())
    assert read_entries(instance) == [entry()]
