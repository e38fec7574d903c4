"""`sync_status`: the state of all audiences of a shard after each `incremental_sync`, which is the asset's own job.

A run that fails reports the state before it ends. A failure that the last report had already does not fail the run.
"""

import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.chain_evidence import fingerprints, read_evidence
from importer_pipeline.defs.event_writing import Context, store_evaluations
from importer_pipeline.defs.import_step import fail_if_incomplete, import_all
from importer_pipeline.defs.names import IMPORTER_GROUP, status_key
from importer_pipeline.defs.paused_accounts import accounts_of, read_refused, refused_metadata
from importer_pipeline.defs.quarantine_events import read_entries
from importer_pipeline.defs.settings import Settings
from importer_pipeline.defs.status_events import (
    read_reported,
    status_evaluation,
    status_line,
    status_metadata,
    up_to_date_evaluation,
)
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.chain import chain_of, why_no_chain
from importer_pipeline.planning.pausing import Asked, RefusedAccount, refused_accounts, with_paused
from importer_pipeline.planning.status import (
    AudienceStatus,
    Comparison,
    compare,
    figures_of,
    is_to_report,
    status_of,
)
from importer_pipeline.planning.status_checks import RunSums, attempts_of, verdicts
from importer_pipeline.redaction import shortened
from importer_pipeline.runner.api_clients import ApiClients
from importer_pipeline.runner.importing import ImportSettings, Task
from importer_pipeline.runner.summary import ImportSummary

_MAX_LINES = 10


def status_spec(shard: Shard, *, stale_after: timedelta | None) -> dg.AssetSpec:
    """Return the spec of the status asset of a shard.

    Args:
        shard: of the clients.
        stale_after: after how long without a status it is overdue; None if it may be for ever.
    """
    return dg.AssetSpec(
        status_key(shard),
        description=(
            "How far each audience is imported: written at the end of each `incremental_sync`, also of one that fails. "
            "The table has the worst audiences, with reason and remedy. Materializing it imports what changed."
        ),
        group_name=IMPORTER_GROUP,
        kinds={"mailchimp"},
        freshness_policy=None if stale_after is None else dg.FreshnessPolicy.time_window(fail_window=stale_after),
        skippable=True,
    )


class StatusReporter:
    """Reports the state of audiences, from what a run and the event log know of them.

    Args:
        clients: whose audiences are reported.
        settings: of the deployment.
    """

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._fingerprints = fingerprints(clients.select([], []))
        self._account_of = accounts_of(clients)
        self._settings = settings
        self._key = status_key(settings.shard)

    def report(
        self, context: Context, summary: ImportSummary, settings: ImportSettings, *, began: float, is_tick: bool
    ) -> Collection[AudienceName]:
        """Write the changed states of all audiences, and the status asset with its checks.

        Args:
            context: the step's.
            summary: what its import has done.
            settings: of its import.
            began: when the step began, by the monotonic clock.
            is_tick: True for a run of the schedule: only these count for a pause.

        Returns:
            audiences that failed in the last report for the same reason; none if the settings say that these count.
        """
        statuses, changed, refused = self._states(
            context, list(self._fingerprints), summary, settings, in_all=True, is_tick=is_tick
        )
        entries = read_entries(context.instance, self._fingerprints)
        figures, counts = figures_of(statuses), RunSums.of(summary.done)
        late_after = self._settings.late_after_seconds
        results = verdicts(statuses, figures, counts, entries, late_after_seconds=late_after)
        store_evaluations(context, [status_evaluation(self._key, it) for it in results])
        seconds = time.monotonic() - began
        metadata = {
            **status_metadata(statuses, figures, counts, entries, changed, seconds=seconds),
            **refused_metadata(refused.values(), self._settings.pause_rule),
        }
        context.log_event(dg.AssetMaterialization(self._key, metadata=metadata))
        _log(context, changed)
        if self._settings.known_failures == "red":
            return ()
        # A window or hour that failed is a new failure each time, and red only if its run is.
        failed_anew = {done.name for done in summary.done if done.parts.failed}
        return {it.name for it in changed.as_before if it.is_failing} - failed_anew

    @contextmanager
    def reporting_failure(
        self, context: Context, summary: ImportSummary, settings: ImportSettings, *, began: float, is_tick: bool
    ) -> Generator[None]:
        """Report what has been done if the block raises, as `report` does, and raise its error."""

        def report() -> None:
            self.report(context, summary, settings, began=began, is_tick=is_tick)

        with _although_it_fails(context, report):
            yield

    @contextmanager
    def reporting(
        self,
        context: Context,
        names: Sequence[AudienceName],
        summary: ImportSummary,
        settings: ImportSettings,
        *,
        planned: Collection[AudienceName] = (),
    ) -> Generator[None]:
        """Write the changed states of some audiences when the block has ended, also if it raises.

        Args:
            context: the step's.
            names: of the audiences.
            summary: what their import has done.
            settings: of their import.
            planned: audiences whose state is written even if it is as before: the run planned their checks.
        """

        def report() -> None:
            self._states(context, names, summary, settings, in_all=False, planned=planned)

        with _although_it_fails(context, report):
            yield
        report()

    def _states(
        self,
        context: Context,
        names: Sequence[AudienceName],
        summary: ImportSummary,
        settings: ImportSettings,
        *,
        in_all: bool,
        is_tick: bool = False,
        planned: Collection[AudienceName] = (),
    ) -> tuple[list[AudienceStatus], Comparison, Mapping[str, RefusedAccount]]:
        instance, view = context.instance, settings.view(time.time())
        evidence, before = read_evidence(instance, names, view), read_reported(instance, names)
        attempts, statuses = attempts_of(summary.done), list[AudienceStatus]()
        for name in names:
            is_now = self._fingerprints[name]
            chain = chain_of(evidence[name], fingerprint=is_now, view=view)
            why = why_no_chain(evidence[name], fingerprint=is_now, view=view) if chain is None else ""
            statuses.append(
                status_of(
                    name,
                    imported_up_to=None if chain is None else chain.end,
                    why_unsynced=why,
                    attempt=attempts.get(name),
                    before=before[name].status if name in before else None,
                    now=view.now,
                    late_after_seconds=self._settings.late_after_seconds,
                )
            )
        refused = refused_accounts(
            read_refused(instance, [self._settings.shard]),
            statuses,
            Asked.of(summary.done),
            account_of=self._account_of,
            now=view.now,
            is_tick=is_tick,
        )
        statuses = with_paused(
            statuses,
            {it.account for it in refused.values() if self._settings.pause_rule.is_paused(it)},
            {name: it.status for name, it in before.items()},
            account_of=self._account_of,
            now=view.now,
        )
        due = [
            it
            for it in statuses
            if it.name in planned or is_to_report(it, before.get(it.name), now=view.now, in_all=in_all)
        ]
        store_evaluations(context, [up_to_date_evaluation(it, in_all=in_all) for it in due])
        return statuses, compare(before, statuses), refused


def import_and_report(
    context: Context,
    tasks: Sequence[Task],
    reporter: StatusReporter,
    *,
    clients: Clients,
    settings: ImportSettings,
    apis: ApiClients,
    planned: Sequence[AudienceName] = (),
) -> None:
    """Do the tasks as `import_step.run_import` does, and write the changed states of their audiences.

    Args:
        context: the step's.
        tasks: what is to be done.
        reporter: of the states.
        clients: all clients, for what those on one Mailchimp account share.
        settings: how to go about it.
        apis: connects the clients to Mailchimp and their targets.
        planned: audiences whose state is written in any case.

    Raises:
        dagster.Failure: something is not imported.
    """
    summary, names = ImportSummary(), dict.fromkeys([*(task.name for task in tasks), *planned])
    with reporter.reporting(context, list(names), summary, settings, planned=planned):
        import_all(context, tasks, summary, clients=clients, settings=settings, apis=apis)
    fail_if_incomplete(summary)


@contextmanager
def _although_it_fails(context: Context, report: Callable[[], object]) -> Generator[None]:
    """Report if the block raises, and raise its error, whatever becomes of the report."""
    try:
        yield
    except Exception:
        try:
            report()
        except Exception as error:
            context.log.error(f"the status was not written: {type(error).__name__}")
        raise


def _log(context: Context, changed: Comparison) -> None:
    for what, found in (
        ("new since the last run", changed.new),
        ("as in the last run", changed.as_before),
        ("paused, asked once a day from now on", changed.paused),
        ("well again", changed.recovered),
    ):
        if found:
            lines = [f"- {it.name}: {status_line(it)}" for it in found]
            context.log.info(f"{what}: {len(found)}\n{shortened(lines, _MAX_LINES, separator=chr(10))}")
