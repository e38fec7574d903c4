"""An import as a step of Dagster: events of what is imported, log lines on the way, a failure that names the rest."""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

import dagster as dg

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.event_writing import Context
from importer_pipeline.defs.history import EventLogHistory
from importer_pipeline.defs.locking import account_locks
from importer_pipeline.defs.pool_slot import PoolSlot
from importer_pipeline.defs.watching import watcher
from importer_pipeline.engine.outcomes import AudienceDone, Outcome, Part
from importer_pipeline.errors import StopRun
from importer_pipeline.exhaustion import exhaustion_of
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.redaction import shortened
from importer_pipeline.runner.api_clients import ApiClients
from importer_pipeline.runner.importing import Import, ImportQueue, ImportSettings, Task
from importer_pipeline.runner.summary import ImportSummary, done_line, progress_line

_LOG = logging.getLogger(__name__)
_LOG_EVERY_SECONDS = 5.0
_MAX_AT_ONCE = 200
"""Events that are written in one transaction: with SQLite, other processes wait for it."""

_MAX_LINES = 10
"""Lines of what came in that are logged at once; all of it stands in the events."""

_MAX_TAGGED = 10
"""Clients that are named in the tag of a run."""

CLIENTS_TAG = "importer_pipeline/clients"
"""The tag of a run that says whose audiences it takes."""

_LOOK_AGAIN_SECONDS = 1.0
"""How often a step looks whether an account is free. Nothing is written for it."""

_LEAVE_SECONDS = 3.0
"""Seconds that a terminated run waits for the requests in flight."""


def run_import(
    context: Context,
    tasks: Sequence[Task],
    *,
    clients: Clients,
    settings: ImportSettings,
    apis: ApiClients,
    busy_patience_seconds: float = math.inf,
) -> None:
    """Do the tasks as `import_all` does, and fail if something is not imported.

    Raises:
        dagster.Failure: something is not imported. Its text names each with a remedy. What is imported stays imported.
    """
    summary = ImportSummary()
    import_all(
        context,
        tasks,
        summary,
        clients=clients,
        settings=settings,
        apis=apis,
        busy_patience_seconds=busy_patience_seconds,
    )
    fail_if_incomplete(summary)


def fail_if_incomplete(summary: ImportSummary, known: Collection[AudienceName] = ()) -> None:
    """Raise if something is not imported, unless that is known.

    Args:
        summary: what the import has done.
        known: audiences whose failure is named, and no reason to fail.

    Raises:
        dagster.Failure: something is not imported. Its text names each with a remedy. What is imported stays imported.
    """
    if (failure := summary.failure_besides(known)) is not None:
        raise dg.Failure(
            failure,
            metadata={"audiences_not_in": sum(done.error is not None for done in summary.done)},
            allow_retries=False,
        )


def import_all(
    context: Context,
    tasks: Sequence[Task],
    summary: ImportSummary,
    *,
    clients: Clients,
    settings: ImportSettings,
    apis: ApiClients,
    busy_patience_seconds: float = math.inf,
) -> None:
    """Do the tasks, and record everything as soon as it is imported.

    Args:
        context: the step's.
        tasks: what is to be done.
        summary: takes in what has been done, also if the import fails.
        clients: all clients, for what those on one Mailchimp account share.
        settings: how to go about it.
        apis: connects the clients to Mailchimp and their targets.
        busy_patience_seconds: how long to wait where another sync has all accounts that are still to come, until these are
            left to a later run.

    Raises:
        dagster.Failure: the import cannot start or continue. What is imported stays imported.
    """
    if not os.environ.get("DAGSTER_HOME"):
        context.log.warning(
            "DAGSTER_HOME is not set: nothing of this run will be remembered. Remedy: export DAGSTER_HOME=<a folder>"
        )
    context.instance.add_run_tags(context.run.run_id, {CLIENTS_TAG: _clients_of(tasks, clients)})
    history = EventLogHistory(context)
    turns = ImportQueue(tasks, clients=clients, settings=settings, apis=apis, locks=account_locks(context.instance))
    while turns.waiting:
        with _as_failure():
            running = turns.next(history) or _wait(context, turns, history, patience_seconds=busy_patience_seconds)
        if running is None:
            break
        with _as_failure(), running:
            _report(context, running, history, summary)
    left = f"; left to a later run: {_clients(turns)}" if turns.waiting else ""
    context.log.info(f"{summary.closing_line(time.time())}{left}")


@contextmanager
def _as_failure() -> Generator[None]:
    """Raise errors that end the whole run, and exhaustion of this machine, as failures with their own text."""
    try:
        yield
    except StopRun as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except Exception as error:
        if (exhausted := exhaustion_of(error)) is None:
            raise
        # By itself, too: where nothing can be written, Dagster can't write down how the step failed.
        _LOG.error("%s", exhausted)
        raise dg.Failure(str(exhausted), allow_retries=False) from None


def _report(context: Context, running: Import, history: EventLogHistory, summary: ImportSummary) -> None:
    if running.notes:
        _tell(context, shortened(running.notes, _MAX_LINES, separator="\n"))
    pace = _Pace(running)
    pending: deque[Outcome] = deque()
    try:
        for outcomes in running.run():
            pending.extend(outcomes)
            _record(context, pending, history, summary)
            if silent := running.take_silent_hosts():
                context.log.warning("\n".join(silent))
            pace.log(context, running)
            watcher().progressed(lambda: running.progress)
    finally:
        # A terminated run leaves the loop anywhere. What is imported is still recorded, and no later run reads it again.
        pending.extend(running.leave(timeout_seconds=_LEAVE_SECONDS))
        _record(context, pending, history, summary)


def _record(context: Context, pending: deque[Outcome], history: EventLogHistory, summary: ImportSummary) -> None:
    while pending:
        outcome = pending[0]
        history.record(outcome)
        summary.note(outcome)
        if isinstance(outcome, AudienceDone):
            watcher().ended(outcome)
        if isinstance(outcome, AudienceDone) and not summary.is_repeated(outcome):
            _log_audience(context, outcome)
        pending.popleft()
        if history.waiting >= _MAX_AT_ONCE:
            _flush(context, history)
    _flush(context, history)


def _flush(context: Context, history: EventLogHistory) -> None:
    """Record the outcomes, and log the first lines of them."""
    lines = history.flush()
    if lines:
        context.log.info(shortened(lines, _MAX_LINES, separator="\n"))


def _wait(context: Context, turns: ImportQueue, history: EventLogHistory, *, patience_seconds: float) -> Import | None:
    """The next turn, as soon as an account is free for it; None where nothing is left to do, or that takes too long.

    The pool slot is released meanwhile: a step that only waits must not block others.
    """
    if not turns.waiting:
        return None
    _tell(context, f"waiting for other syncs of the Mailchimp accounts of {_clients(turns)}")
    place, ends_at = PoolSlot(context), time.monotonic() + min(patience_seconds, turns.seconds_left)
    while turns.waiting and time.monotonic() < ends_at:
        if not turns.has_free_accounts():
            place.give_back()
        # First the place, then the account: who has an account and waits for a place would let nobody else have it.
        elif place.take() and (running := turns.next(history)) is not None:
            return running
        time.sleep(_LOOK_AGAIN_SECONDS)
    place.give_back()
    if turns.waiting:
        context.log.warning(
            f"left to a later run: {_clients(turns)}. Another sync has the Mailchimp account; nothing is lost by it"
        )
    return None


def _tell(context: Context, line: str) -> None:
    context.log.info(line)
    watcher().said(line)


def _clients_of(tasks: Sequence[Task], clients: Clients) -> str:
    names = sorted({task.name.client for task in tasks})
    if len(names) > _MAX_TAGGED and len(names) == len(clients.clients):
        return "all"
    return shortened(names, _MAX_TAGGED) or "none"


def _clients(turns: ImportQueue) -> str:
    return ", ".join(sorted({task.name.client for task in turns.waiting}))


class _Pace:
    """A line every few seconds: done, total, rate since the last one."""

    def __init__(self, running: Import) -> None:
        self._logged_at = time.monotonic()
        self._accepted = running.progress.accepted

    def log(self, context: Context, running: Import) -> None:
        now = time.monotonic()
        elapsed = now - self._logged_at
        if elapsed < _LOG_EVERY_SECONDS:
            return
        progress = running.progress
        rate = (progress.accepted - self._accepted) / elapsed
        context.log.info(progress_line(progress, contacts_per_second=rate))
        self._logged_at, self._accepted = now, progress.accepted


def _log_audience(context: Context, done: AudienceDone) -> None:
    if done.lacking:
        context.log.warning(
            f"{done.name}: none of its contacts has {', '.join(done.lacking)}; they are sent as empty text. "
            "Remedy: look up the audience's merge tags in Mailchimp, and correct `record` in the clients file"
        )
    if done.error is not None:
        context.log.error(done_line(done))
    elif not done.complete or done.part is Part.CONTACT:
        context.log.info(done_line(done))
