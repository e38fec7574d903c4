"""The metadata of our events: numbers to be plotted, words for people, and what a later run reads back."""

from dataclasses import replace

import dagster as dg
import pytest

from importer_pipeline.defs.event_metadata import (
    Metadata,
    completes,
    contacts_metadata,
    covered_in_words,
    read_snapshot,
    read_window,
    snapshot_metadata,
    window_metadata,
)
from importer_pipeline.defs.stored import Values, values_of
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    Part,
    PartCounts,
    ReadTotals,
    RunCounts,
    WindowImported,
)
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Snapshot

NAME = AudienceName("acme", "newsletter")
BEFORE = 1_700_000_000
SNAPSHOT = Snapshot(
    id="5eed", fingerprint="f00d", since=-1, before=BEFORE, total=2900, archived_total=100, page_size=1000, overlap=10
)
COVERED = (TimeRange(0, BEFORE - 500), TimeRange(BEFORE - 400, BEFORE))
WINDOW = WindowImported(
    name=NAME, snapshot_id="5eed", window="990", elapsed_seconds=1.23456,
    imported=ImportedWindow(covered=COVERED, read=1000, accepted=998, refused=2, requests=3),
)  # fmt: skip


def done(*, lacking: tuple[str, ...] = (), elapsed_seconds: float = 4.0) -> AudienceDone:
    """An audience of which the last contacts have come in."""
    return AudienceDone(
        name=NAME, part=Part.WINDOW, snapshot=SNAPSHOT, parts=PartCounts(total=4), is_proved=True,
        totals=ReadTotals(read=3020, accepted=3018, refused=2, requests=5),
        run=RunCounts(accepted=1509, refused=1, elapsed_seconds=elapsed_seconds), lacking=lacking, error=None,
    )  # fmt: skip


def numbers(metadata: Metadata) -> dict[str, int | float]:
    """What Dagster can plot of it."""
    return {name: value.value for name, value in metadata.items() if isinstance(value.value, int | float)}


def stored(metadata: Metadata) -> Values:
    """The metadata as they come back from the database."""
    event = dg.AssetMaterialization("any", metadata=metadata)
    return values_of(dg.deserialize_value(dg.serialize_value(event), dg.AssetMaterialization).metadata)


def test_the_numbers_of_an_audience_can_be_plotted() -> None:
    assert numbers(contacts_metadata(done(), SNAPSHOT)) == {
        "dagster/row_count": 3000,
        "contacts_read": 3020,
        "contacts_read_again": 0,
        "contacts_accepted": 3018,
        "contacts_refused": 2,
        "archived_contacts": 100,
        "windows": 4,
        "requests": 5,
        "seconds": 4.0,
        "contacts_per_second": 377.2,
        "changed_until": float(BEFORE),
    }


def test_the_numbers_of_a_window_can_be_plotted() -> None:
    assert numbers(window_metadata(WINDOW)) == {
        "contacts_read": 1000,
        "contacts_accepted": 998,
        "contacts_refused": 2,
        "requests": 3,
        "seconds": 1.235,
    }


def test_a_snapshot_tells_how_many_contacts_and_windows_it_has() -> None:
    assert numbers(snapshot_metadata(SNAPSHOT)) == {
        "contacts": 2900,
        "archived_contacts": 100,
        "windows": 4,
        "changed_until": float(BEFORE),
    }


def test_a_snapshot_without_the_number_of_the_archived_says_so() -> None:
    metadata = snapshot_metadata(replace(SNAPSHOT, archived_total=None))
    assert (metadata["archived_contacts"].value, metadata["windows"].value) == ("not known yet", 3)


@pytest.mark.parametrize(
    "metadata", [contacts_metadata(done(), SNAPSHOT), snapshot_metadata(SNAPSHOT)], ids=["contacts", "snapshot"]
)
def test_the_moment_up_to_which_it_is_in_is_shown_as_one(metadata: Metadata) -> None:
    assert isinstance(metadata["changed_until"], dg.TimestampMetadataValue)


def test_an_audience_that_took_no_time_has_no_rate() -> None:
    assert contacts_metadata(done(elapsed_seconds=0.0), SNAPSHOT)["contacts_per_second"].value == 0.0


@pytest.mark.parametrize(("lacking", "text"), [((), "none"), (("a.b", "c"), "a.b, c")], ids=["none", "two"])
def test_paths_that_no_contact_has_are_named(lacking: tuple[str, ...], text: str) -> None:
    assert contacts_metadata(done(lacking=lacking), SNAPSHOT)["paths_that_no_contact_has"].value == text


@pytest.mark.parametrize(
    ("covered", "text"),
    [
        ((), "nothing: its contacts had changed, and were read with the windows below"),
        ((TimeRange(0, 0),), "the beginning to the beginning"),
        ((TimeRange(0, BEFORE),), "the beginning to 2023-11-14 22:13:20 UTC"),
        (
            (TimeRange(BEFORE - 9, BEFORE - 8), TimeRange(BEFORE, BEFORE)),
            "2023-11-14 22:13:11 UTC to 2023-11-14 22:13:12 UTC; 2023-11-14 22:13:20 UTC to 2023-11-14 22:13:20 UTC",
        ),
    ],
    ids=["nothing", "contacts without a moment", "from the beginning", "two stretches"],
)
def test_what_a_window_proves_is_told_in_words(covered: tuple[TimeRange, ...], text: str) -> None:
    assert covered_in_words(covered) == text
    imported = replace(WINDOW.imported, covered=covered)
    assert window_metadata(replace(WINDOW, imported=imported))["changed"].value == text


@pytest.mark.parametrize("archived_total", [None, 0, 100], ids=str)
def test_a_snapshot_is_read_back_as_it_was(archived_total: int | None) -> None:
    snapshot = replace(SNAPSHOT, archived_total=archived_total)
    assert read_snapshot(stored(snapshot_metadata(snapshot))) == snapshot


@pytest.mark.parametrize("covered", [(), COVERED], ids=["nothing covered", "two stretches"])
def test_a_window_is_read_back_as_it_was(covered: tuple[TimeRange, ...]) -> None:
    imported = replace(WINDOW.imported, covered=covered)
    assert read_window(stored(window_metadata(replace(WINDOW, imported=imported))), SNAPSHOT) == imported


def test_a_window_of_another_snapshot_is_none_of_this_one() -> None:
    assert read_window(stored(window_metadata(WINDOW)), replace(SNAPSHOT, id="01d")) is None


def test_that_all_is_in_is_said_of_one_snapshot() -> None:
    metadata = stored(contacts_metadata(done(), SNAPSHOT))
    assert (completes(metadata, SNAPSHOT), completes(metadata, replace(SNAPSHOT, id="01d"))) == (True, False)


def test_a_snapshot_of_another_format_is_none() -> None:
    document = snapshot_metadata(SNAPSHOT)["snapshot"].value
    assert isinstance(document, dict)
    assert read_snapshot({"snapshot": {**document, "format": 2}}) is None


def without(part: str) -> object:
    """What a snapshot's metadata hold, but for one part."""
    document = snapshot_metadata(SNAPSHOT)["snapshot"].value
    assert isinstance(document, dict)
    return {key: value for key, value in document.items() if key != part}


@pytest.mark.parametrize("part", ["format", "id", "fingerprint", "before", "total", "archived_total", "page_size"])
def test_a_snapshot_of_which_a_part_is_missing_is_none(part: str) -> None:
    assert read_snapshot({"snapshot": without(part)}) is None


@pytest.mark.parametrize("part", ["snapshot", "covered", "contacts_read", "contacts_accepted", "requests"])
def test_a_window_of_which_a_part_is_missing_is_none(part: str) -> None:
    values = stored(window_metadata(WINDOW))
    assert read_window({key: value for key, value in values.items() if key != part}, SNAPSHOT) is None


BY_HAND = [
    dg.MetadataValue.null(),
    dg.MetadataValue.bool(True),
    dg.MetadataValue.int(7),
    dg.MetadataValue.float(float("nan")),
    dg.MetadataValue.text("5eed 1-2-3"),
    dg.MetadataValue.md("# 5eed"),
    dg.MetadataValue.json([1, {"format": 1}]),
    dg.MetadataValue.json({"format": 1, "id": 3, "before": "today"}),
    dg.MetadataValue.url("https://example.com"),
    dg.MetadataValue.path("/tmp"),
    dg.MetadataValue.notebook("/tmp"),
    dg.MetadataValue.timestamp(5.0),
    dg.MetadataValue.table([dg.TableRecord({"a": 1})]),
    dg.MetadataValue.table_schema(dg.TableSchema(columns=[])),
    dg.MetadataValue.column_lineage(dg.TableColumnLineage({})),
    dg.MetadataValue.job("full_sync", "here"),
    dg.MetadataValue.asset(dg.AssetKey("any")),
    dg.MetadataValue.dagster_run("0"),
    dg.MetadataValue.python_artifact(without),
    dg.MetadataValue.pool("mailchimp"),
]
"""What a person may report under a name that is ours."""


@pytest.mark.parametrize("value", BY_HAND, ids=lambda value: type(value).__name__)
def test_manually_reported_events_are_ignored(value: dg.MetadataValue) -> None:
    assert read_snapshot(values_of({"snapshot": value})) is None
    assert not completes(values_of({"snapshot": value}), SNAPSHOT)
    assert read_window(values_of({**window_metadata(WINDOW), "snapshot": value}), SNAPSHOT) is None
    assert read_window(values_of({**window_metadata(WINDOW), "covered": value}), SNAPSHOT) is None
