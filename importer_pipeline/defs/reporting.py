"""An import as Dagster sees it: materializations of what is in, log lines on the way, a failure that names the rest."""

import os
import time

import dagster as dg

from importer_pipeline.clients import Audience, Client, Clients
from importer_pipeline.defs.names import contacts_key
from importer_pipeline.errors import StopRun
from importer_pipeline.importing import Import, ImportSettings, Turns
from importer_pipeline.locks import AccountLocks, default_folder
from importer_pipeline.outcomes import AudienceDone
from importer_pipeline.summary import ImportSummary, done_line, progress_line

_LOG_EVERY_SECONDS = 5.0
_TELL_EVERY_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.5

Context = dg.OpExecutionContext | dg.AssetExecutionContext


def run_import(
    context: Context,
    selection: list[tuple[Client, Audience]],
    *,
    clients: Clients,
    settings: ImportSettings,
) -> None:
    """Import the audiences, and materialize the `contacts` of each that is in, as soon as it is.

    Raises:
        dagster.Failure: something is not in. Its text names each, and what to do. What is in stays in.
    """
    if not os.environ.get("DAGSTER_HOME"):
        context.log.warning(
            "DAGSTER_HOME is not set: nothing of this run will be remembered. Remedy: export DAGSTER_HOME=<a folder>"
        )
    turns = Turns(selection, clients=clients, settings=settings, locks=AccountLocks(default_folder()))
    summary, wait = ImportSummary(), _Wait()
    while turns.waiting:
        try:
            running = turns.next()
        except StopRun as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        if running is None:
            wait.for_others(context, turns)
        else:
            _report(context, running, summary)
    if summary.failure is not None:
        raise dg.Failure(
            summary.failure,
            metadata={"audiences_not_in": sum(not done.complete for done in summary.done)},
            allow_retries=False,
        )


def _report(context: Context, running: Import, summary: ImportSummary) -> None:
    pace = _Pace()
    for outcomes in running.run():
        for outcome in outcomes:
            summary.note(outcome)
            if isinstance(outcome, AudienceDone):
                _report_audience(context, outcome)
        pace.log(context, running)


class _Wait:
    """The wait for accounts that other syncs have: no one is asked to do anything, but the log tells."""

    def __init__(self) -> None:
        self._told_at = float("-inf")

    def for_others(self, context: Context, turns: Turns) -> None:
        if time.monotonic() - self._told_at >= _TELL_EVERY_SECONDS:
            self._told_at = time.monotonic()
            names = sorted({client.name for client, _ in turns.waiting})
            context.log.info(f"waiting for other syncs of the Mailchimp accounts of {', '.join(names)}")
        time.sleep(_LOOK_EVERY_SECONDS)


class _Pace:
    """A line every few seconds: done, total, rate since the last one."""

    def __init__(self) -> None:
        self._logged_at = time.monotonic()
        self._accepted = 0

    def log(self, context: Context, running: Import) -> None:
        now = time.monotonic()
        elapsed = now - self._logged_at
        if elapsed < _LOG_EVERY_SECONDS:
            return
        progress = running.progress
        rate = (progress.accepted - self._accepted) / elapsed
        context.log.info(progress_line(progress, contacts_per_second=rate))
        self._logged_at, self._accepted = now, progress.accepted


def _report_audience(context: Context, done: AudienceDone) -> None:
    if done.lacking:
        context.log.warning(
            f"{done.client}/{done.audience}: none of its contacts has {', '.join(done.lacking)}; they are sent as empty "
            "text. Remedy: look up the audience's merge tags in Mailchimp, and correct `record` in the clients file"
        )
    if done.complete:
        # The line is the event's own: a log line beside it would double what a thousand audiences cost.
        context.log_event(
            dg.AssetMaterialization(
                contacts_key(done.client, done.audience), description=done_line(done), metadata=audience_metadata(done)
            )
        )
    else:
        context.log.error(done_line(done))


def audience_metadata(done: AudienceDone) -> dict[str, dg.MetadataValue]:
    """The numbers of a full sync, each of which Dagster can plot over time."""
    assert done.snapshot is not None
    rate = done.accepted / done.elapsed_seconds if done.elapsed_seconds else 0.0
    return {
        "dagster/row_count": dg.MetadataValue.int(done.snapshot.total + done.snapshot.archived_total),
        "contacts_read": dg.MetadataValue.int(done.read),
        "contacts_accepted": dg.MetadataValue.int(done.accepted),
        "contacts_refused": dg.MetadataValue.int(done.refused),
        "archived_contacts": dg.MetadataValue.int(done.snapshot.archived_total),
        "windows": dg.MetadataValue.int(done.windows),
        "requests": dg.MetadataValue.int(done.requests),
        "seconds": dg.MetadataValue.float(round(done.elapsed_seconds, 3)),
        "contacts_per_second": dg.MetadataValue.float(round(rate, 1)),
        "changed_until": dg.MetadataValue.timestamp(float(done.snapshot.before)),
        "paths_that_no_contact_has": dg.MetadataValue.text(", ".join(done.lacking) or "none"),
    }
