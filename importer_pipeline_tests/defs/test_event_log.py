"""What is used of Dagster beyond its public interface: these fail where a new version changes it, before users do."""

import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.errors import raise_execution_interrupts
from dagster._core.storage.event_log import AssetKeyTable, SqlEventLogStorage
from dagster._serdes import deserialize_value, serialize_value
from sqlalchemy import Engine, select
from sqlalchemy.event import listen, remove

from importer_pipeline.defs.asset_rows import newest_evaluation_rows, newest_rows
from importer_pipeline.defs.event_log import (
    make_pool_known,
    materializations,
    newest_evaluations,
    newest_materializations,
    newest_observations,
    observations,
    stored_materialization,
)
from importer_pipeline.defs.event_writing import Context, plan_partition, store_events, uninterrupted
from importer_pipeline.defs.names import contacts_key, windows_key, windows_partitions
from importer_pipeline.defs.stored import Evaluated, Stored, values_of
from importer_pipeline_tests.defs.recorded import NAME, clients_file
from importer_pipeline_tests.support.partitions import Shown, shown

KEY = windows_key(NAME)
KEYS = ["0", "990", "1980"]


@pytest.fixture
def instance(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    instance.add_dynamic_partitions(str(windows_partitions(NAME).name), KEYS)
    return instance


@pytest.fixture
def look(instance: dg.DagsterInstance, tmp_path: Path) -> Callable[[], Shown]:
    """What the UI shows now."""
    clients = clients_file(tmp_path)
    return lambda: shown(instance, str(NAME), clients=clients)


def run_op(instance: dg.DagsterInstance, act: Callable[[Context], None]) -> str:
    """A run of a job that plans nothing."""

    @dg.op(out=dg.Out(dg.Nothing))
    def step(context: dg.OpExecutionContext) -> None:
        act(context)

    @dg.job(executor_def=dg.in_process_executor)
    def process() -> None:
        step()

    return process.execute_in_process(instance=instance, raise_on_error=False).run_id


def run_asset(instance: dg.DagsterInstance, act: Callable[[Context], None]) -> str:
    """A run that plans another asset."""

    @dg.asset
    def another(context: dg.AssetExecutionContext) -> None:
        act(context)

    return dg.materialize([another], instance=instance, raise_on_error=False).run_id


STEPS = pytest.mark.parametrize("run", [run_op, run_asset], ids=["op", "asset"])
Run = Callable[[dg.DagsterInstance, Callable[[Context], None]], str]


def plan(context: Context, *partitions: str) -> None:
    for partition in partitions:
        plan_partition(context, KEY, partition)


def bring_in(context: Context, *partitions: str) -> None:
    for partition in partitions:
        context.log_event(dg.AssetMaterialization(KEY, partition=partition))


@STEPS
def test_planned_partitions_are_blue_while_the_run_goes_on(
    instance: dg.DagsterInstance, look: Callable[[], Shown], run: Run
) -> None:
    seen: list[Shown] = []

    def act(context: Context) -> None:
        plan(context, "0", "990")
        bring_in(context, "0")
        seen.append(look())

    run(instance, act)
    assert seen == [Shown(keys=KEYS, green={"0"}, red=set(), blue={"990"}, grey={"1980"})]


@STEPS
def test_missing_partitions_of_a_failed_run_are_red(
    instance: dg.DagsterInstance, look: Callable[[], Shown], run: Run
) -> None:
    def act(context: Context) -> None:
        plan(context, "0", "990")
        bring_in(context, "0")
        raise dg.Failure("not all is in", allow_retries=False)

    run(instance, act)
    assert look() == Shown(keys=KEYS, green={"0"}, red={"990"}, blue=set(), grey={"1980"})


@STEPS
def test_missing_partitions_of_a_successful_run_are_grey(
    instance: dg.DagsterInstance, look: Callable[[], Shown], run: Run
) -> None:
    run(instance, lambda context: plan(context, "0", "990"))
    assert look() == Shown(keys=KEYS, green=set(), red=set(), blue=set(), grey=set(KEYS))


@STEPS
def test_a_run_records_its_planned_partitions_and_their_step(instance: dg.DagsterInstance, run: Run) -> None:
    run_id = run(instance, lambda context: plan(context, "0", "990"))
    entries = instance.all_logs(
        run_id, of_type={dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.STEP_START}
    )
    events = [entry.get_dagster_event() for entry in entries]
    ours = [event for event in events if event.is_asset_materialization_planned and event.asset_key == KEY]
    (step,) = [event for event in events if event.is_step_start]
    assert [event.partition for event in ours] == ["0", "990"]
    assert {(event.step_key, event.job_name) for event in ours} == {(step.step_key, step.job_name)}


EVENTS = [
    dg.AssetMaterialization(KEY, description="window 0", partition="0", metadata={"number": 1}),
    dg.AssetObservation(contacts_key(NAME), description="a snapshot", metadata={"number": 2}),
    dg.AssetMaterialization(KEY, description="window 990", partition="990", metadata={"number": 3}),
    dg.AssetMaterialization(contacts_key(NAME), description="all", metadata={"number": 4}),
]


def told(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEvent]:
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
    events = [entry.get_dagster_event() for entry in instance.all_logs(run_id, of_type=kinds)]
    ours = [event for event in events if event.asset_key in {KEY, contacts_key(NAME)}]
    return [event._replace(logging_tags=dict(event.logging_tags or {}) | {"run_id": ""}) for event in ours]


@STEPS
def test_events_stored_in_one_batch_equal_those_of_log_event(
    instance: dg.DagsterInstance, look: Callable[[], Shown], run: Run
) -> None:
    def log(context: Context) -> None:
        for event in EVENTS:
            context.log_event(event)

    logged = run(instance, log)
    by_one = told(instance, logged)
    instance.wipe_assets([KEY, contacts_key(NAME)])
    stored = run(instance, lambda context: store_events(context, EVENTS))
    assert told(instance, stored) == by_one
    assert look() == Shown(keys=KEYS, green={"0", "990"}, red=set(), blue=set(), grey={"1980"})
    # The row of an asset has it as Dagster itself would write it there.
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        rows = connection.execute(select(AssetKeyTable.c.asset_key, AssetKeyTable.c.last_materialization)).all()
    written = {asset: deserialize_value(text, dg.EventLogRecord) for asset, text in rows if text is not None}
    assert {asset: serialize_value(record) for asset, record in written.items()} == {
        asset: text for asset, text in rows if text is not None
    }
    assert {KEY.to_string(), contacts_key(NAME).to_string()} <= written.keys()
    newest = instance.get_latest_materialization_events([KEY, contacts_key(NAME)])
    assert {key: event.run_id for key, event in newest.items() if event} == {KEY: stored, contacts_key(NAME): stored}
    assert metadata_of(list(materializations(instance, KEY, page=10))) == [3, 1]
    assert metadata_of(list(observations(instance, contacts_key(NAME), page=10))) == [2]


def metadata_of(events: Sequence[Stored]) -> list[object]:
    return [event.values["number"] for event in events]


@pytest.mark.parametrize("page", [1, 3, 4, 1000])
def test_materializations_are_read_in_pages_newest_first(instance: dg.DagsterInstance, page: int) -> None:
    for number in range(8):
        event = dg.AssetMaterialization(KEY, partition=KEYS[number % 3], metadata={"number": number})
        instance.report_runless_asset_event(event)
        instance.report_runless_asset_event(dg.AssetMaterialization(contacts_key(NAME), metadata={"number": -1}))
    found = list(materializations(instance, KEY, page=page))
    assert metadata_of(found) == [7, 6, 5, 4, 3, 2, 1, 0]
    assert [event.partition for event in found[:3]] == ["990", "0", "1980"]


def test_of_an_asset_that_there_is_not_nothing_is_read(instance: dg.DagsterInstance) -> None:
    assert list(materializations(instance, dg.AssetKey("unknown"), page=10)) == []
    assert list(observations(instance, dg.AssetKey("unknown"), page=10)) == []


def test_materializations_that_were_wiped_are_not_read(instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="0"))
    instance.wipe_assets([KEY])
    assert list(materializations(instance, KEY, page=10)) == []


def test_the_newest_observations_are_read_the_newest_first(instance: dg.DagsterInstance) -> None:
    for number in range(5):
        instance.report_runless_asset_event(dg.AssetObservation(KEY, metadata={"number": number}))
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="0"))
    assert metadata_of(list(observations(instance, KEY, page=3))) == [4, 3, 2, 1, 0]
    assert metadata_of(list(observations(instance, KEY, page=10))) == [4, 3, 2, 1, 0]


def test_the_last_observations_of_many_assets_are_read_at_once(instance: dg.DagsterInstance) -> None:
    """As one by one, also of an asset that was wiped in between."""
    keys = [dg.AssetKey(name) for name in ("one", "other", "wiped", "again", "unknown")]
    for number in range(3):
        for key in keys[:4]:
            instance.report_runless_asset_event(dg.AssetObservation(key, metadata={"number": number}))
    instance.report_runless_asset_event(dg.AssetMaterialization(keys[0]))
    instance.wipe_assets(keys[2:4])
    instance.report_runless_asset_event(dg.AssetObservation(keys[3], metadata={"number": 3}))
    found = newest_observations(instance, keys)
    assert found == {key: last for key in keys if (last := next(observations(instance, key, page=1), None))}
    assert {key.path[0]: event.values["number"] for key, event in found.items()} == {
        "one": 2, "other": 2, "again": 3
    }  # fmt: skip


@pytest.mark.parametrize("instance", ["postgres"], indirect=True)
def test_a_pool_that_many_make_known_at_once_is_known_to_all(instance: dg.DagsterInstance) -> None:
    together = threading.Barrier(8)

    def make(_: int) -> None:
        together.wait()
        make_pool_known(instance, "pool")

    with ThreadPoolExecutor(8) as threads:
        for made in [threads.submit(make, number) for number in range(8)]:
            made.result()
    limit = instance.global_op_concurrency_default_limit
    assert limit == 10
    claims = [instance.event_log_storage.claim_concurrency_slot("pool", str(uuid.uuid4()), "step") for _ in range(11)]
    assert [claim.is_claimed for claim in claims] == [True] * limit + [False]


def test_newest_materializations_equal_those_that_dagster_reads(instance: dg.DagsterInstance) -> None:
    often, wiped, again, observed, never = (dg.AssetKey(name) for name in ("often", "wiped", "again", "observed", "no"))
    values = {
        "int": dg.MetadataValue.int(3), "float": dg.MetadataValue.float(2.5), "text": dg.MetadataValue.text("a"),
        "time": dg.MetadataValue.timestamp(5.0), "json": dg.MetadataValue.json({"a": 1}),
        "table": dg.MetadataValue.table([dg.TableRecord({"a": 1})]),
    }  # fmt: skip
    for key in (often, wiped, again, often):
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=values, partition=f"{len(KEYS)}"))
    instance.wipe_assets([wiped, again])
    instance.report_runless_asset_event(dg.AssetMaterialization(again))
    instance.report_runless_asset_event(dg.AssetObservation(observed))
    instance.report_runless_asset_event(dg.AssetObservation(wiped))
    keys = [often, wiped, again, observed, never]
    found = newest_materializations(instance, keys)
    expected = {
        record.asset_entry.asset_key: last and stored_materialization(last)
        for record in instance.get_asset_records(keys)
        for last in [record.asset_entry.last_materialization_record]
    }
    assert found == expected
    newest = found[often]
    assert newest is not None
    assert dict(newest.values) == values_of(values)
    assert isinstance(instance.event_log_storage, SqlEventLogStorage)
    rows, _ = newest_rows(instance.event_log_storage, keys)
    assert set(rows) == {often, again}  # None of these is left to Dagster, which takes long.


def test_newest_evaluations_equal_those_that_dagster_reads(instance: dg.DagsterInstance) -> None:
    """Also where a run has planned another evaluation, or a check was never evaluated."""
    keys = [dg.AssetCheckKey(dg.AssetKey(name), "up_to_date") for name in ("often", "planned", "never", "only planned")]
    values = {"since": dg.MetadataValue.timestamp(5.0), "table": dg.MetadataValue.table([dg.TableRecord({"a": 1})])}
    for number in range(3):
        for key in keys[:2]:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    key.asset_key, check_name=key.name, passed=number == 1, metadata={**values, "number": number}
                )
            )
    for key in keys[1::2]:
        planned = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value,
            job_name="any",
            event_specific_data=AssetCheckEvaluationPlanned(asset_key=key.asset_key, check_name=key.name),
        )
        instance.report_dagster_event(planned, str(uuid.uuid4()))
    found = newest_evaluations(instance, keys)
    assert {key.asset_key.path[0]: evaluated.values["number"] for key, evaluated in found.items()} == {
        "often": 2, "planned": 2
    }  # fmt: skip
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys[:1])
    (record,) = records.values()
    assert record.event is not None
    assert record.evaluation is not None
    assert found[keys[0]] == Evaluated(record.event.timestamp, values_of(record.evaluation.metadata))
    assert isinstance(instance.event_log_storage, SqlEventLogStorage)
    rows, others = newest_evaluation_rows(instance.event_log_storage, keys)
    assert (set(rows), set(others)) == ({keys[0]}, {keys[1], keys[3]})


def test_an_interrupt_waits_for_the_end_of_a_transaction(instance: dg.DagsterInstance) -> None:
    """Else, a connection with an open transaction might be left, and nobody could write until the process ends."""
    sent = list[str]()

    def interrupt(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if statement.startswith("INSERT INTO asset_keys") and not sent:
            sent.append(statement)
            signal.raise_signal(signal.SIGINT)

    def act(context: Context) -> None:
        with pytest.raises(dg.DagsterExecutionInterruptedError), raise_execution_interrupts():
            store_events(context, EVENTS)

    listen(Engine, "before_cursor_execute", interrupt)
    try:
        run_id = run_op(instance, act)
    finally:
        remove(Engine, "before_cursor_execute", interrupt)
    assert sent
    assert len(told(instance, run_id)) == len(EVENTS)
    for key in (KEY, contacts_key(NAME)):
        assert instance.get_latest_materialization_event(key) is not None


def test_an_interrupt_is_not_lost_in_an_error() -> None:
    @uninterrupted()
    def fail() -> None:
        signal.raise_signal(signal.SIGINT)
        raise OSError("the disk is full")

    with pytest.raises(dg.DagsterExecutionInterruptedError), raise_execution_interrupts():
        fail()
