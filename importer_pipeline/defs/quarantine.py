"""The asset `quarantine`, the job that tries all of it again, and the sensor that finds what failed."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.assets import RESUME_RULE
from importer_pipeline.defs.console import in_process_executor
from importer_pipeline.defs.event_writing import Context
from importer_pipeline.defs.failed_runs import Audiences, quarantine_failures_of, quarantine_recent_failures
from importer_pipeline.defs.import_step import run_import
from importer_pipeline.defs.locking import free_accounts
from importer_pipeline.defs.names import IMPORTER_GROUP, QUARANTINE_KEY, QUARANTINE_PARTITIONS
from importer_pipeline.defs.quarantine_colour import keep_red
from importer_pipeline.defs.quarantine_events import forget, open_partitions, parse_partition, read_entries
from importer_pipeline.defs.steps import StepResources, asset_step, op_step
from importer_pipeline.engine.outcomes import PartitionRef
from importer_pipeline.errors import LocksUnusable
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.requests import EntrySelection, RetryRequest, WindowsRequest
from importer_pipeline.redaction import shortened, shown
from importer_pipeline.runner.importing import Task

_MAX_NAMED = 10


class RedriveConfig(dg.Config):
    """The entries of the quarantine to retry; all by default."""

    partitions: list[str] = Field(default=[], description="Partitions of the asset quarantine.")
    forget: bool = Field(
        default=False, description="Drop them instead: their contacts are imported when they change, or by a full sync."
    )


def quarantine_asset(clients: Clients) -> dg.AssetsDefinition:
    """`quarantine`: what could not be imported. Materializing a partition tries it again."""

    def run(context: dg.AssetExecutionContext, resources: StepResources) -> None:
        refs = _refs(context.partition_keys)
        for ref in refs:
            keep_red(context.instance, str(ref))
        _redrive(context, clients, resources, refs)

    owners = {client.owner for client in clients.clients if client.owner}
    spec = dg.AssetSpec(
        QUARANTINE_KEY,
        description=(
            "What could not be imported: the table of a partition's newest materialization lists it with the reason. One "
            "partition per window or hour that failed or has refused contacts, red while something is in it; green only if "
            "the run that put it there was canceled, and no run that failed has retried it: whatever the colour, a partition "
            "holds something as long as it is listed. Materialize it to retry it; it disappears once everything in it is "
            "imported. Contacts are shown by Mailchimp's ID, which is derived from their address. In the metadata, `table` is "
            "for people, and `entry` is the same for the next retry."
        ),
        partitions_def=QUARANTINE_PARTITIONS,
        group_name=IMPORTER_GROUP,
        # One of several would be told of what is not theirs.
        owners=list(owners) if len(owners) == 1 else None,
        kinds={"mailchimp", "pandas"},
        skippable=True,
    )
    return asset_step("quarantine", [spec], run, backfill=dg.BackfillPolicy.single_run())


def redrive_job(clients: Clients) -> dg.JobDefinition:
    """Build `redrive_quarantine`, which retries the quarantine, or some of its entries, in one run."""

    def run(context: dg.OpExecutionContext, config: RedriveConfig, resources: StepResources) -> None:
        try:
            for ref in quarantine_recent_failures(context.instance, clients):
                context.log.info(f"a failed run left {ref}")
            refs = _refs(config.partitions) if config.partitions else open_partitions(context.instance)
            if config.forget:
                _forget(context, Audiences(clients), refs)
                return
        except LocksUnusable as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        _redrive(context, clients, resources, refs)

    retry_quarantined = op_step(
        "retry_quarantined",
        RedriveConfig,
        run,
        description="Quarantine what failed runs left, then retry what is in the quarantine.",
    )

    @dg.job(
        name="redrive_quarantine",
        description=(
            "Tries again what is in the quarantine, all of it or a list, in one run. Needs no daemon: it looks itself for "
            "what failed runs left."
        ),
        executor_def=in_process_executor,
    )
    def redrive_quarantine() -> None:
        retry_quarantined()

    return redrive_quarantine


def failed_partitions_sensor(clients: Clients) -> dg.SensorDefinition:
    """`quarantine_failed_partitions`: puts what failed runs left into the quarantine, from wherever they were started."""
    audiences = Audiences(clients)

    @dg.run_failure_sensor(
        name="quarantine_failed_partitions",
        description="Puts the windows and hours that a failed run did not bring in into the quarantine.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        monitor_all_code_locations=True,
    )
    def quarantine_failed_partitions(context: dg.RunFailureSensorContext) -> None:
        try:
            found = quarantine_failures_of(context.instance, context.dagster_run, audiences)
        except Exception as error:
            # Whoever raises here never sees this run again, nor does redrive_quarantine need us to.
            context.log.error(f"run {context.dagster_run.run_id} was not looked through: {type(error).__name__}")
            return
        for ref in found:
            context.log.info(f"in the quarantine: {ref}")

    return quarantine_failed_partitions


def _why(entry: Entry, fingerprint: str) -> str:
    """Return why an entry is still there.

    Args:
        entry: it is open.
        fingerprint: what its audience is now.
    """
    if entry.fingerprint not in ("", fingerprint):
        return "it was read for another list, target or record mapping: a full sync replaces it"
    return next(iter((*entry.failures.values(), *entry.contacts.values()))).reason


def _refs(keys: Sequence[str]) -> list[PartitionRef]:
    refs = {key: parse_partition(key) for key in keys}
    unknown = [key for key, ref in refs.items() if ref is None]
    if unknown:
        raise dg.Failure(
            f"no partition of the quarantine is called {', '.join(map(shown, unknown[:_MAX_NAMED]))}: "
            "write them like client/audience/contact_windows/990 or client/audience/contact_changes/2026-11-24-07:00",
            allow_retries=False,
        )
    return [ref for ref in refs.values() if ref is not None]


def _forget(context: Context, audiences: Audiences, refs: Sequence[PartitionRef]) -> None:
    """Drop these from the quarantine.

    Raises:
        LocksUnusable: there can be no locks of accounts.
        dagster.Failure: another sync has the accounts of some, and may be writing the same entries.
    """
    accounts = {ref: audiences.account(ref.name) for ref in refs}
    with free_accounts(context.instance, {account for account in accounts.values() if account is not None}) as free:
        dropped = [ref for ref, account in accounts.items() if account is None or account in free]
        forget(context.instance, context.log_event, dropped)
    context.log.info(f"dropped from the quarantine: {len(dropped)}")
    busy = sorted({ref.name.client for ref in refs} - {ref.name.client for ref in dropped})
    if busy:
        raise dg.Failure(
            f"not dropped from the quarantine: {len(accounts) - len(dropped)}, since another sync has the Mailchimp "
            f"accounts of {', '.join(busy)}. Remedy: run it again when that is over",
            allow_retries=False,
        )


def _redrive(context: Context, clients: Clients, resources: StepResources, refs: Sequence[PartitionRef]) -> None:
    """Try these again.

    Raises:
        dagster.Failure: some are not in after that.
    """
    names = {ref.name for ref in refs}
    wanted = EntrySelection(refs=frozenset(refs), rule=None)
    request = RetryRequest(wanted=wanted, windows=WindowsRequest(wanted=None, rule=RESUME_RULE))
    declared = [Task(client=client, audience=audience, request=request) for client, audience in clients.select([], [])]
    tasks = [task for task in declared if task.name in names]
    gone = sorted(map(str, names - {task.name for task in tasks}))
    if gone:
        context.log.warning(
            f"not in the clients file, so not tried: {', '.join(gone)}. Remedy: declare them, or run redrive_quarantine with "
            "`forget: true` and their partitions"
        )
    run_import(context, tasks, clients=clients, settings=resources.settings(), apis=resources.apis)
    asked = set(refs)
    still = [entry for entry in read_entries(context.instance, [task.name for task in tasks]) if entry.ref in asked]
    if still:
        now = {task.name: task.audience_request.fingerprint for task in tasks}
        lines = [f"- {entry.ref}: {_why(entry, now[entry.ref.name])}" for entry in still]
        listed = shortened(lines, _MAX_NAMED, separator="\n")
        raise dg.Failure(f"Still in the quarantine: {len(still)}\n{listed}", allow_retries=False)
    left = set(open_partitions(context.instance)) & asked
    not_tried = f"; not tried: {len(left)}, whose audiences are not in the clients file" if left else ""
    context.log.info(f"out of the quarantine: {len(asked - left)}{not_tried}")
