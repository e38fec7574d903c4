"""Partitions and wipes of many assets in one transaction are what Dagster's own calls, one by one, leave behind."""

import dagster as dg
import pytest

from importer_pipeline.defs.partition_rows import renew_partitions

BEFORE = ["0", "990", "1980"]


def materialize(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    for partition in BEFORE:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))


@pytest.mark.parametrize(
    "after",
    [BEFORE, [], ["0"], [*BEFORE, "2970"], ["0", "500", "1980"], ["archived-0", *BEFORE]],
    ids=["same", "none", "fewer", "more", "one other", "one before them"],
)
def test_keys_are_shown_in_their_new_order(instance: dg.DagsterInstance, after: list[str]) -> None:
    for name in ("renewed", "other"):
        instance.add_dynamic_partitions(name, BEFORE)
    renew_partitions(instance, {"renewed": after, "new": after}, wiped=[])
    assert instance.get_dynamic_partitions("renewed") == after
    assert instance.get_dynamic_partitions("new") == after
    assert instance.get_dynamic_partitions("other") == BEFORE


def test_keys_that_stay_the_same_are_not_written_again(instance: dg.DagsterInstance) -> None:
    many = [str(offset) for offset in range(0, 7000 * 990, 990)]
    renew_partitions(instance, {"renewed": many}, wiped=[])
    assert instance.get_dynamic_partitions("renewed") == many
    # A key that somebody adds by hand goes behind the others, and would move if those were written anew.
    instance.add_dynamic_partitions("renewed", ["by hand"])
    renew_partitions(instance, {"renewed": many[:-1]}, wiped=[])
    assert instance.get_dynamic_partitions("renewed") == many[:-1]


def test_a_wiped_asset_is_as_dagster_leaves_it(instance: dg.DagsterInstance) -> None:
    ours, dagsters, other = (dg.AssetKey([name, "contact_windows"]) for name in ("ours", "dagsters", "other"))
    for key in (ours, dagsters, other):
        materialize(instance, key)
    renew_partitions(instance, {}, wiped=[ours])
    instance.wipe_assets([dagsters])
    left = [instance.get_latest_materialization_event(key) for key in (ours, dagsters)]
    assert left == [None, None]
    found = [instance.get_materialized_partitions(key) for key in (ours, dagsters, other)]
    assert found == [set(), set(), set(BEFORE)]
    storage = instance.event_log_storage
    known = [storage.has_asset_key(key) for key in (ours, dagsters, other)]
    assert known == [False, False, True]
