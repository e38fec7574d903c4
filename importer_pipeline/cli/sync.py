"""`importer sync`: the short way to the jobs `incremental_sync` and `full_sync`, with a summary for a person.

Stays out: running a job (`defs/local_runs.py`), and what it prints on the way (`progress.py`).
"""

import gc
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import click
import yaml

import importer_pipeline
from importer_pipeline.cli.exits import CommandRefused
from importer_pipeline.cli.progress import ProgressPrinter, clock_time
from importer_pipeline.cli.tables import table
from importer_pipeline.clients.collection import Audience, Client, Clients
from importer_pipeline.defs.local_runs import LocalRun, RunEnd, run_job
from importer_pipeline.defs.settings import settings_from_environment
from importer_pipeline.engine.outcomes import AudienceDone, Part
from importer_pipeline.redaction import shortened, shown_path

_MAX_ROWS = 50
_MAX_NAMED = 10
_UNITS = {Part.WINDOW: "window", Part.HOUR: "hour", Part.CONTACT: "quarantined contact"}


class SyncState(IntEnum):
    """How an audience came out of a sync, the worst first."""

    INCOMPLETE = 0
    LEFT = 1
    IMPORTED = 2


_WORDS = {SyncState.INCOMPLETE: "INCOMPLETE", SyncState.LEFT: "not begun", SyncState.IMPORTED: "ok"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedAudience:
    """What a sync did with an audience.

    Attributes:
        name: as client/audience.
        state: how it came out.
        parts: what was read of it, as "3 hours"; "" if nothing was.
        accepted: contacts that the target accepted.
        refused: contacts that it refused for the first time.
        seconds: how long it took.
        problem: why it is incomplete; "" if it is not.
        remedy: what to do about it; "" if nothing.
    """

    name: str
    state: SyncState
    parts: str = ""
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSummary:
    """What a sync did.

    Attributes:
        job: the job's name.
        run: the run.
        audiences: the worst first.
        seconds: how long it took.
    """

    job: str
    run: LocalRun
    audiences: tuple[SyncedAudience, ...]
    seconds: float

    @property
    def is_well(self) -> bool:
        """True if everything is imported."""
        return self.run.end is RunEnd.SUCCEEDED and all(it.state is SyncState.IMPORTED for it in self.audiences)


def run_sync(
    clients: Clients, names: Sequence[str], *, is_full: bool, config_file: Path | None, as_json: bool
) -> SyncSummary:
    """Run the job for some clients or audiences, or for all.

    Raises:
        SelectionUnknown: no such client or audience is declared and enabled.
        CommandRefused: one is in another shard than this process, or the config file can't be used.
        RunConfigInvalid: the job takes no such config.
        SettingsInvalid: a setting, or the storage of Dagster, can't be used.
    """
    # Ctrl-C and SIGTERM cancel the run; before and after it they end the command.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    job, op = ("full_sync", "import_contacts") if is_full else ("incremental_sync", "import_changes")
    settings = settings_from_environment()
    selected = clients.select([it for it in names if "/" not in it], [it for it in names if "/" in it])
    elsewhere = {client.name for client, _ in selected if not settings.shard.takes(client.account)}
    if names and elsewhere:
        raise CommandRefused(
            f"{shortened(sorted(elsewhere), _MAX_NAMED)} belongs to another shard than {settings.shard}",
            remedy="run it where IMPORTER_SHARD is that of the client, or without IMPORTER_SHARD",
        )
    expected = [(client, audience) for client, audience in selected if client.name not in elsewhere]
    config = _with_selection(_config(config_file), op, names)
    began, definitions = time.monotonic(), importer_pipeline.build_defs(clients, settings)
    # A sync may take hours, unlike other commands; what it has loaded by now is needed to its end.
    gc.freeze()
    gc.enable()
    printer = ProgressPrinter(sys.stderr if as_json else sys.stdout)
    number = f"{len(expected)} audience{'' if len(expected) == 1 else 's'}"
    printer.said(f"{job} of {number}; Ctrl-C stops it, and it can be resumed")
    try:
        run = run_job(definitions, job, config, printer)
    finally:
        printer.close()
    return SyncSummary(
        job=job,
        run=run,
        audiences=tuple(_audiences(expected, printer.done)),
        seconds=time.monotonic() - began,
    )


def show(summary: SyncSummary) -> None:
    """Print a line for each audience, the worst first, then the sums, and what is to be done."""
    if any(it.state is not SyncState.LEFT for it in summary.audiences):
        _show_audiences(summary)
    if summary.run.end is RunEnd.CANCELED:
        click.echo("Stopped. What was imported is recorded; the same command resumes from there.")
    for line in summary.run.message.splitlines():
        click.echo(line)
    if summary.run.end is RunEnd.SUCCEEDED and not summary.is_well:
        for it in summary.audiences[:_MAX_ROWS]:
            if it.state is SyncState.INCOMPLETE:
                click.echo(f"- {it.name}, as in the last run: {it.problem}{': ' if it.remedy else ''}{it.remedy}")
            elif it.state is SyncState.LEFT:
                click.echo(f"- {it.name} is left to a later run: another sync has its Mailchimp account")
    click.echo(f"Run {summary.run.run_id} of {summary.job}, {summary.run.end.value}")


def _show_audiences(summary: SyncSummary) -> None:
    rows = [_row(it) for it in summary.audiences[:_MAX_ROWS]]
    click.echo(table(("state", "audience", "read", "accepted", "refused", "time"), rows))
    if len(summary.audiences) > _MAX_ROWS:
        click.echo(f"... and {len(summary.audiences) - _MAX_ROWS} more")
    well = sum(it.state is SyncState.IMPORTED for it in summary.audiences)
    click.echo(
        f"\n{well} of {len(summary.audiences)} audiences imported; contacts accepted: "
        f"{sum(it.accepted for it in summary.audiences):,}; {clock_time(summary.seconds)}"
    )


def document(summary: SyncSummary) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "job": summary.job,
        "run_id": summary.run.run_id,
        "end": summary.run.end.value,
        "message": summary.run.message,
        "seconds": round(summary.seconds, 3),
        "audiences": [
            {
                "audience": it.name,
                "state": it.state.name.lower(),
                "read": it.parts,
                "contacts_accepted": it.accepted,
                "contacts_refused": it.refused,
                "seconds": round(it.seconds, 3),
                "problem": it.problem,
                "remedy": it.remedy,
            }
            for it in summary.audiences
        ],
    }


def _audiences(expected: Sequence[tuple[Client, Audience]], done: Sequence[AudienceDone]) -> list[SyncedAudience]:
    """Return a line for each audience, with the sums of its parts, such as its hours and its quarantine."""
    by_name: dict[str, list[AudienceDone]] = {f"{client.name}/{audience.name}": [] for client, audience in expected}
    for it in done:
        by_name.setdefault(str(it.name), []).append(it)
    found = [_audience(name, parts) for name, parts in by_name.items()]
    return sorted(found, key=lambda it: (it.state, it.name))


def _audience(name: str, parts: Sequence[AudienceDone]) -> SyncedAudience:
    if not any(it.part is not Part.CONTACT for it in parts):
        return SyncedAudience(name=name, state=SyncState.LEFT)
    failed = next((it for it in parts if not it.complete and it.part is not Part.CONTACT), None)
    error = None if failed is None else failed.error
    return SyncedAudience(
        name=name,
        state=SyncState.IMPORTED if failed is None else SyncState.INCOMPLETE,
        parts=", ".join(_count(it) for it in parts if it.parts.total),
        accepted=sum(it.run.accepted for it in parts),
        refused=sum(it.run.refused for it in parts if it.part is not Part.CONTACT),
        seconds=sum(it.run.elapsed_seconds for it in parts),
        problem="" if error is None else error.problem,
        remedy="" if error is None else error.remedy,
    )


def _count(done: AudienceDone) -> str:
    whole = done.parts.total - done.parts.left - len(done.parts.failed)
    of = "" if whole == done.parts.total else f" of {done.parts.total}"
    return f"{whole}{of} {_UNITS[done.part]}{'' if done.parts.total == 1 else 's'}"


def _row(it: SyncedAudience) -> tuple[str, ...]:
    if it.state is SyncState.LEFT:
        return (_WORDS[it.state], it.name, "-", "-", "-", "-")
    return (
        _WORDS[it.state],
        it.name,
        it.parts or ("nothing new" if it.state is SyncState.IMPORTED else "-"),
        f"{it.accepted:,}",
        f"{it.refused:,}" if it.refused else "-",
        clock_time(it.seconds),
    )


def _with_selection(config: Mapping[str, Any], op: str, names: Sequence[str]) -> dict[str, Any]:
    """Return a run's config with the names of the command line, which come before those of a file."""
    if not names:
        return dict(config)
    ops: dict[str, Any] = dict(config.get("ops") or {})
    step: dict[str, Any] = dict(ops.get(op) or {})
    chosen = {"clients": [it for it in names if "/" not in it], "audiences": [it for it in names if "/" in it]}
    return {**config, "ops": {**ops, op: {**step, "config": {**(step.get("config") or {}), **chosen}}}}


def _config(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        raise CommandRefused(
            f"the config {shown_path(path)}{place} can't be read as YAML ({type(error).__name__})",
            remedy="write it as in the launchpad of Dagster's UI",
        ) from None
    if found is not None and not isinstance(found, dict):
        raise CommandRefused(
            f"the config {shown_path(path)} is not a mapping", remedy="write it as in the launchpad of Dagster's UI"
        )
    return found or {}
