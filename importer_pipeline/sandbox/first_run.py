"""`make demo`: a full sync of a made-up world with two faulty clients; an hour later the changes, and a redrive.

Everything runs on this machine, in temporary folders, and ends by itself. The exit code is 0 if everything happened as
expected, 1 if not, 130 after Ctrl-C.
"""

import argparse
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

import importer_pipeline
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.sandbox.children import DagsterChild, environment
from importer_pipeline.sandbox.first_world import SNAPSHOT_AGE_SECONDS, ClientTally, FirstWorld, Load, pause_changes
from importer_pipeline.sandbox.server import SandboxServer

_CLIENTS = 4
_CONTACTS = 50_000
_CHANGES_PER_SECOND = 50.0
_CONNECTIONS = 10
_MAX_REJECTED_KEYS = 10
_WIDTH = 118
_COMMAND = ("job", "execute", "-m", "importer_pipeline", "-j")
_OP = "(?:import_contacts|import_changes|retry_quarantined)"
_LOGGED = re.compile(
    r" - dagster - [A-Z]+ - \w+ - [0-9a-f-]{36} - "
    rf"(?:\d+ - {_OP} - ASSET_MATERIALIZATION|{_OP}) - (?P<text>(?!\S+ window ).+)"
)
_PROBLEM = re.compile(r"- (?P<client>[\w-]+)/[\w-]+.*: .+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A run that has ended.

    Attributes:
        exit_code: of the command.
        problems: the run's failure, by client that it names, with the remedy.
        tallies: the contacts of each client at its target now.
        load: the requests that the sandbox got.
    """

    exit_code: int
    problems: dict[str, str]
    tallies: list[ClientTally]
    load: Load


class _Workspace:
    """The folder of a first run, and Dagster run in it."""

    def __init__(self, folder: Path, world: FirstWorld, server: SandboxServer, log: IO[str]) -> None:
        self._world = world
        self._log = log
        home = folder / "dagster_home"
        home.mkdir()
        shutil.copy(_settings(), home)
        world.write_clients_file(folder / "clients.yaml", server)
        self._variables = environment(folder / "clients.yaml", dagster_home=home)

    def run(self, job: str) -> tuple[int, dict[str, str]]:
        """Run the job and show its progress; return its exit code, and what its failure says, by client."""
        problems: dict[str, str] = {}
        with DagsterChild([*_COMMAND, job], variables=self._variables, output=None) as child:
            for line in child.lines():
                print(line, file=self._log)
                if logged := _LOGGED.search(line):
                    print(f"   | {textwrap.shorten(logged['text'], _WIDTH - 5, placeholder=' ...')}", flush=True)
                elif problem := _PROBLEM.fullmatch(line):
                    problems.setdefault(problem["client"], line)
            self._log.flush()
            return child.exit_code or 0, problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. For the exit code, see the module."""
    summary = (
        "A full sync of a made-up world, then an incremental sync. Takes about a minute and leaves only a log file."
    )
    argparse.ArgumentParser(prog="make demo", description=summary).parse_args(arguments)
    # SIGINT too: a process started in the background ignores it, and so would its children.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if not _settings().exists():
        print(f"{_settings()} does not exist: run this in the project's folder", file=sys.stderr)
        return 1
    try:
        return _first_run()
    except KeyboardInterrupt:
        print("\nStopped: no process is left running.", flush=True)
        return 130


def _first_run() -> int:
    descriptor, log_path = tempfile.mkstemp(prefix="importer-first-run-", suffix=".log")
    began = time.monotonic()
    with (
        open(descriptor, "w", encoding="utf-8") as log,
        tempfile.TemporaryDirectory(prefix="importer-first-run-") as folder,
    ):
        _say(
            f"1. Making up {_CLIENTS} clients with {_CONTACTS} contacts each, a tenth of them archived. A sandbox on "
            "this machine plays Mailchimp (0.3 to 0.7 s for a page of 1000, ten connections to an account) and the "
            "target."
        )
        world = FirstWorld(clients=_CLIENTS, contacts=_CONTACTS)
        print(f"   {world.refusing.name}: its target refuses two contacts")
        print(f"   {world.revoked.name}: its Mailchimp key has been revoked")
        with world.served(changes_per_second=_CHANGES_PER_SECOND) as server:
            workspace = _Workspace(Path(folder), world, server, log)
            wrong = [*_while_contacts_change(workspace, world, server), *_an_hour_later(workspace, world)]
    print(f"\nIt took {time.monotonic() - began:.0f} s, and no process is left running. Dagster's output: {log_path}")
    if wrong:
        print("\nUnexpected:", *wrong, sep="\n- ")
        return 1
    print("Next: `make dev` shows such a world in Dagster's UI; README.md explains how to add a client of your own.")
    return 0


def _while_contacts_change(workspace: _Workspace, world: FirstWorld, server: SandboxServer) -> list[str]:
    _say(f"2. A full sync, while {_CHANGES_PER_SECOND:.0f} contacts change every second:")
    began = world.revoked.account.now()
    exit_code, problems = _run(workspace, "full_sync")
    pause_changes(server)
    sync = Sync(exit_code=exit_code, problems=problems, tallies=world.tallies(began=began), load=world.load())
    _say("3. Changes have stopped. The targets, compared with Mailchimp contact by contact:")
    _show(sync)
    return first_faults(sync, revoked=world.revoked.name, refusing=world.refusing.name)


def _an_hour_later(workspace: _Workspace, world: FirstWorld) -> list[str]:
    _say(
        "4. The remedies are applied: the key is valid again, the two contacts are acceptable. An hour passes by the "
        "sandbox's clock. The hourly sync imports what changed, and last the client that was left out, in full:"
    )
    world.mend()
    world.let_time_pass(HOUR_SECONDS + 2 * SNAPSHOT_AGE_SECONDS)
    world.forget()
    began = world.revoked.account.now()
    exit_code, problems = _run(workspace, "incremental_sync")
    _say("5. The two refused contacts are in the quarantine. They are redriven:")
    redriven, more_problems = _run(workspace, "redrive_quarantine")
    sync = Sync(
        exit_code=exit_code or redriven,
        problems=problems | more_problems,
        tallies=world.tallies(began=began),
        load=world.load(),
    )
    _say("6. The result:")
    _show(sync)
    compared = world.world.compare()["clients"].values()
    surplus = sum(client["surplus"] for client in compared)
    if not (wrong := last_faults(sync)):
        print("   The targets hold the present values of every contact at Mailchimp.")
        if surplus:
            print(f"   ({surplus} records of former addresses remain: the target can't delete.)")
    return wrong


def _run(workspace: _Workspace, job: str) -> tuple[int, dict[str, str]]:
    print(f"   $ dagster {' '.join(_COMMAND)} {job}", flush=True)
    return workspace.run(job)


def first_faults(sync: Sync, *, revoked: str, refusing: str) -> list[str]:
    """Return what must not happen in the sync with faults, one line each."""
    wrong = _faults(sync, faulty={revoked})
    if sync.exit_code == 0:
        wrong.append("the run succeeded although not all was imported")
    if sync.problems.keys() != {revoked, refusing}:
        wrong.append(f"the run named {', '.join(sorted(sync.problems)) or 'no client'}, not {refusing} and {revoked}")
    if sync.load.turned_away > _MAX_REJECTED_KEYS:
        wrong.append(f"{sync.load.turned_away} requests were made with the revoked key")
    return wrong


def last_faults(sync: Sync) -> list[str]:
    """Return what must not remain once the faults are over, one line each."""
    wrong = _faults(sync, faulty=set())
    if sync.exit_code != 0:
        wrong.append(f"the run ended with exit code {sync.exit_code}")
    for tally in sync.tallies:
        if tally.up_to_date + tally.missing < tally.contacts:
            wrong.append(f"{tally.client}: contacts are refused or pending, but none should be")
    return wrong


def _faults(sync: Sync, *, faulty: set[str]) -> list[str]:
    wrong = [
        f"{tally.client}: {tally.missing} contacts that did not change are missing"
        for tally in sync.tallies
        if tally.missing and tally.client not in faulty
    ]
    if sync.load.peak_connections > _CONNECTIONS or sync.load.too_many:
        wrong.append(f"{sync.load.too_many} requests exceeded an account's limit of {_CONNECTIONS} connections")
    return wrong


def _show(sync: Sync) -> None:
    rows = [
        {
            "client": tally.client, "at Mailchimp": tally.contacts, "up to date at the target": tally.up_to_date,
            "refused": tally.refused, "pending": tally.pending, "missing": tally.missing,
            "verdict": _verdict(tally, sync),
        }
        for tally in sync.tallies
    ]  # fmt: skip
    print(textwrap.indent(pd.DataFrame(rows).to_string(index=False), "   "))
    if any(tally.pending for tally in sync.tallies):
        print("   Pending: changed less than a minute before the run or during it; the next sync imports them.")
    if sync.problems:
        print("   The run's failures, with their remedies:")
    for problem in sync.problems.values():
        print(textwrap.fill(problem, _WIDTH, initial_indent="   ", subsequent_indent="     "))
    load, arrived = sync.load, sum(tally.up_to_date for tally in sync.tallies)
    print(
        f"   {arrived} contacts in {load.seconds:.1f} s, {arrived / max(load.seconds, 0.1):.0f} a second; at most "
        f"{load.peak_connections} connections to an account at once; {load.turned_away} requests with a refused key.",
        flush=True,
    )


def _verdict(tally: ClientTally, sync: Sync) -> str:
    if tally.missing:
        return "missing: see below"
    if tally.client in sync.problems:
        return "imported but for the refused: see below"
    return "imported but for the pending" if tally.pending else "imported"


def _say(text: str) -> None:
    print(f"\n{textwrap.fill(text, _WIDTH, subsequent_indent='   ')}", flush=True)


def _settings() -> Path:
    """Return the project's settings for a Dagster instance; they are not in the installed package."""
    return Path(importer_pipeline.__file__).parents[1] / "dagster.yaml"


if __name__ == "__main__":
    sys.exit(main())
