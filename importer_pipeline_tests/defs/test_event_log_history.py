"""What the history in the event log does besides what every history does: partitions and their colours, and foreign events."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

from importer_pipeline.defs.event_metadata import contacts_metadata, form_metadata, snapshot_metadata
from importer_pipeline.defs.event_writing import Context
from importer_pipeline.defs.history import EventLogHistory, taken_at
from importer_pipeline.defs.names import contacts_key, windows_key, windows_partitions
from importer_pipeline.engine.outcomes import FingerprintChanged, Outcome
from importer_pipeline.listing.snapshots import AudienceName, Latest, Snapshot
from importer_pipeline_tests.defs.recorded import (
    FIRST,
    NAME,
    SECOND,
    clients_file,
    done,
    imported,
    known,
    many_events,
    record,
    resume,
    run,
    run_and_record,
    snapshot,
    window_failed,
    window_in,
)
from importer_pipeline_tests.support.partitions import Shown, shown

OTHER = AudienceName("acme", "customers")


def found(instance: dg.DagsterInstance, name: AudienceName = NAME) -> tuple[Latest, set[str]]:
    """The newest snapshot, and the keys of its windows that are in."""

    def act(context: dg.OpExecutionContext) -> tuple[Latest, set[str]]:
        history = EventLogHistory(context)
        latest = history.latest([name])[name]
        return latest, set(history.windows(name, latest.snapshot))

    return run(instance, act)


def registered(instance: dg.DagsterInstance, name: AudienceName = NAME) -> list[str]:
    """The keys of the partitions, in their order."""
    return list(instance.get_dynamic_partitions(str(windows_partitions(name).name)))


def report_by_hand(instance: dg.DagsterInstance) -> None:
    """What people may report in Dagster's UI, and what a later version of ours may have left."""
    snapshots = [dg.MetadataValue.text("first"), dg.MetadataValue.json({"format": 1, "id": "mine"})]
    document = snapshot_metadata(SECOND)["snapshot"].value
    assert isinstance(document, dict)
    snapshots.append(dg.MetadataValue.json({**document, "format": 2}))
    for value in snapshots:
        metadata: dict[str, Any] = {"snapshot": value, "covered": "all of it"}
        instance.report_runless_asset_event(dg.AssetObservation(contacts_key(NAME), metadata=metadata))
        instance.report_runless_asset_event(dg.AssetObservation(windows_key(NAME), partition="0", metadata=metadata))
        for partition in ("0", "1980", "not-a-window", None):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(windows_key(NAME), partition=partition, metadata=metadata)
            )
    instance.report_runless_asset_event(dg.AssetMaterialization(contacts_key(NAME)))
    instance.report_runless_asset_event(dg.AssetObservation(contacts_key(NAME)))


def test_foreign_events_are_ignored_and_hide_nothing(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, known(), window_in("0"), window_in("990"))
    report_by_hand(instance)
    assert found(instance) == (Latest(snapshot=FIRST, completed=False), {"0", "990"})
    run_and_record(instance, known(), window_in("1980"), done())
    report_by_hand(instance)
    assert found(instance) == (Latest(snapshot=FIRST, completed=True), {"0", "990", "1980"})


def test_nothing_hides_the_newest_snapshot_nor_that_it_is_in(instance: dg.DagsterInstance) -> None:
    contacts = contacts_key(NAME)
    retried = dg.AssetObservation(contacts, metadata=contacts_metadata(done(), FIRST))
    changed = dg.AssetObservation(contacts, metadata=form_metadata(FingerprintChanged(name=NAME, fingerprint="f00d")))
    others = (retried, changed, dg.AssetObservation(contacts), dg.AssetMaterialization(contacts, partition="0"))
    run_and_record(instance, known(), window_in("0"))
    many_events(instance, *others, dg.AssetMaterialization(contacts))
    assert found(instance) == (Latest(snapshot=FIRST, completed=False), {"0"})
    run_and_record(instance, done())
    many_events(instance, *others, dg.AssetMaterialization(contacts))
    assert found(instance) == (Latest(snapshot=FIRST, completed=True), {"0"})


def test_when_a_snapshot_was_taken_is_when_it_was_told_of_first(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, known(SECOND))
    before = time.time()
    run_and_record(instance, known(replace(FIRST, archived_total=None)))
    after = time.time()
    many_events(instance, *[dg.AssetObservation(contacts_key(NAME))] * 5)
    run_and_record(instance, known(FIRST))
    assert before <= taken_at(instance, NAME, FIRST) <= after
    assert taken_at(instance, NAME, SECOND) == math.inf


def test_an_audience_with_only_foreign_events_has_no_snapshot(instance: dg.DagsterInstance) -> None:
    report_by_hand(instance)
    assert run(instance, lambda context: EventLogHistory(context).latest([NAME])) == {}
    run_and_record(instance, known(), window_in("0"))
    assert found(instance) == (Latest(snapshot=FIRST, completed=False), {"0"})


@pytest.mark.parametrize(
    "second",
    [
        {"total": 12_000},
        {"total": 2_980},
        {"total": 990},
        {"total": 0, "archived_total": 0},
        {"archived_total": 2_500},
        {"total": 3_961, "archived_total": 2_500},
        {"archived_total": None},
        {},
    ],
    ids=str,
)
def test_partitions_are_the_newest_snapshots_windows_in_order(
    instance: dg.DagsterInstance, second: dict[str, Any]
) -> None:
    without_archived = replace(FIRST, archived_total=None)
    run_and_record(instance, known(without_archived), known(FIRST))
    assert registered(instance) == ["0", "990", "1980", "2970", "archived-0"]
    taken = snapshot("second", **second)
    run_and_record(instance, known(taken))
    assert registered(instance) == taken.keys
    run_and_record(instance, known(FIRST))
    assert registered(instance) == FIRST.keys


def test_manually_changed_keys_are_corrected_by_a_new_snapshot(
    instance: dg.DagsterInstance,
) -> None:
    run_and_record(instance, known())
    partitions = str(windows_partitions(NAME).name)
    instance.delete_dynamic_partition(partitions, "990")
    instance.add_dynamic_partitions(partitions, ["by hand", "990"])
    run_and_record(instance, known(SECOND))
    assert registered(instance) == SECOND.keys


def test_5000_windows_are_registered_in_order_and_grow(instance: dg.DagsterInstance) -> None:
    large, larger = snapshot("large", total=4_989 * 990, archived_total=10_000), snapshot("larger", total=5_010 * 990)
    assert len(large.keys) == 5_000
    run_and_record(instance, known(large), window_in("4938110", large), window_in("archived-9900", large))
    assert registered(instance) == large.keys
    assert found(instance) == (Latest(snapshot=large, completed=False), {"4938110", "archived-9900"})
    run_and_record(instance, known(larger))
    assert registered(instance) == larger.keys
    assert found(instance) == (Latest(snapshot=larger, completed=False), set())


def test_another_audience_keeps_its_windows(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, known(name=OTHER), window_in("0", name=OTHER), known())
    run_and_record(instance, known(snapshot("second", total=10)))
    assert found(instance, OTHER) == (Latest(snapshot=FIRST, completed=False), {"0"})
    assert registered(instance, OTHER) == FIRST.keys


def test_what_earlier_full_syncs_told_of_the_whole_stays(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, known(), done())
    run_and_record(instance, known(SECOND), done(SECOND))
    events = instance.fetch_materializations(contacts_key(NAME), limit=10).records
    told = [event.asset_materialization.metadata["snapshot"].value for event in events if event.asset_materialization]
    assert told == ["second", "first"]


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    return clients_file(tmp_path)


def windows_shown(instance: dg.DagsterInstance, clients: Path) -> Shown:
    return shown(instance, "acme/newsletter", clients=clients)


def test_imported_windows_are_green_failed_red_and_others_grey(instance: dg.DagsterInstance, clients: Path) -> None:
    run_and_record(instance, known(), window_in("0"), window_failed("990"), window_in("archived-0"), fails=True)
    assert windows_shown(instance, clients) == Shown(
        keys=FIRST.keys, green={"0", "archived-0"}, red={"990"}, blue=set(), grey={"1980", "2970"}
    )


def test_a_failed_window_turns_green_when_imported_and_red_again(instance: dg.DagsterInstance, clients: Path) -> None:
    run_and_record(instance, known(), window_failed("0"), window_failed("990"), fails=True)
    run_and_record(instance, window_in("0"), window_in("990"))
    assert windows_shown(instance, clients).green == {"0", "990"}
    run_and_record(instance, window_failed("0"), fails=True)
    after = windows_shown(instance, clients)
    assert (after.green, after.red) == ({"990"}, {"0"})


@pytest.mark.parametrize(
    "told",
    [
        [window_in("0"), window_in("990")],
        [window_failed("0"), window_failed("990")],
        [window_in("0"), window_failed("990")],
    ],
    ids=["in", "failed", "both"],
)
def test_a_new_snapshot_makes_all_windows_grey_again(
    instance: dg.DagsterInstance, clients: Path, told: list[Outcome]
) -> None:
    run_and_record(instance, known(), *told, fails=True)
    assert windows_shown(instance, clients).grey == {"1980", "2970", "archived-0"}
    larger = snapshot("second", total=5000)
    run_and_record(instance, known(larger))
    assert windows_shown(instance, clients) == Shown(
        keys=larger.keys, green=set(), red=set(), blue=set(), grey=set(larger.keys)
    )
    run_and_record(instance, window_in("990", larger))
    assert windows_shown(instance, clients).green == {"990"}


def test_a_resuming_run_does_not_record_its_snapshot_again(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, known(), window_in("0"))
    run_and_record(instance, known(), known(), window_in("990"), done())
    assert len(instance.fetch_observations(contacts_key(NAME), limit=10).records) == 1


class Died(Exception):
    """The process is gone."""


class DyingInstance:
    """An instance in a process that dies after some of its writes.

    Args:
        instance: the real one.
        writes: how many come through.
    """

    WRITES = (
        "wipe_assets", "add_dynamic_partitions", "delete_dynamic_partition", "report_dagster_event", "event_log_storage",
    )  # fmt: skip

    def __init__(self, instance: dg.DagsterInstance, *, writes: int) -> None:
        self._instance = instance
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        if name in self.WRITES:
            if not self._writes:
                raise Died
            self._writes -= 1
        return getattr(self._instance, name)


class DyingContext:
    """The context of a step in such a process."""

    def __init__(self, context: dg.OpExecutionContext, *, writes: int) -> None:
        self.instance = DyingInstance(context.instance, writes=writes)
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def dies(context: dg.OpExecutionContext, name: AudienceName, taken: Snapshot, *, writes: int) -> bool:
    """Whether a process that records a snapshot dies at that write."""
    try:
        record(EventLogHistory(cast("Context", DyingContext(context, writes=writes))), [known(taken, name=name)])
    except Died:
        return True
    return False


@pytest.mark.parametrize("completed", [False, True], ids=["unfinished", "completed"])
@pytest.mark.parametrize("total", [500, 5000], ids=["smaller", "larger"])
def test_after_a_death_in_a_snapshots_record_it_can_be_resumed(
    instance: dg.DagsterInstance, completed: bool, total: int
) -> None:
    second = snapshot("second", total=total)
    expected = Latest(snapshot=FIRST, completed=completed), Latest(snapshot=second, completed=False)

    def has_died(context: dg.OpExecutionContext, name: AudienceName, *, writes: int) -> bool:
        told = [known(), window_in("0"), *([done()] if completed else [])]
        record(EventLogHistory(context), [replace(outcome, name=name) for outcome in told])
        died = dies(context, name, second, writes=writes)
        history = EventLogHistory(context)
        latest = history.latest([name])[name]
        assert latest in expected
        if latest.snapshot == second:
            assert registered(instance, name) == second.keys
            assert instance.get_materialized_partitions(windows_key(name)) == set()
        assert history.windows(name, latest.snapshot) in ({}, {"0": imported()})
        taken = resume(EventLogHistory(context), name)
        assert history.latest([name])[name] == Latest(snapshot=taken, completed=True)
        assert set(history.windows(name, taken)) == set(taken.keys)
        assert registered(instance, name) == taken.keys
        return died

    def act(context: dg.OpExecutionContext) -> int:
        names = (AudienceName("acme", f"dies-after-{writes}") for writes in range(20))
        return next(writes for writes, name in enumerate(names) if not has_died(context, name, writes=writes))

    assert run(instance, act) >= 2
