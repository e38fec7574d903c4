"""Dozens of ticks of a real daemon while some clients hang, drip or are huge: the others must not be affected.

`python -m importer_pipeline_tests.soak --minutes 60`. Not among the tests, as it takes that long. First come some ticks
of ordinary clients alone, for comparison. An hour of Mailchimp's passes with each tick.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dagster._core.scheduler.instigation import TickStatus

from importer_pipeline.defs.names import changes_key
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key, last_second_over
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline_tests.support.commands import Commands
from importer_pipeline_tests.support.hostile import hostile_process
from importer_pipeline_tests.support.processes import let_children_be_interrupted
from importer_pipeline_tests.support.runs import run_config
from importer_pipeline_tests.support.served import ServedDagster
from importer_pipeline_tests.support.stage import Stage, half_past
from importer_pipeline_tests.support.ticks import Ticks

ORDINARY = tuple(f"ordinary-{number}" for number in range(5))
HOSTILE = {"hanging": "silence", "dripping": "dripped_body"}
"""Clients whose Mailchimp begins to behave so after hours of normal imports."""
UNSYNCED = "unsynced"
UNSYNCED_CONTACTS = 200_000
TICK_SECONDS = 120
_AHEAD_SECONDS = 5.0
"""Seconds from the end of an hour to the tick that imports it."""
_MAX_RECORDS = 10_000
"""Limit of records that are read, enough for thousands of ticks."""
_CHANGES_PER_SECOND = 5.0
_PAGE = Latency.fixed(0.3)
_UNSYNCED_PAGE = Latency.fixed(3.0)
_MAX_TIMES_USUAL = 1.5
"""Maximum ratio of a lag to the longest usual one: a process starts faster or slower on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A moment at which the schedules tick.

    Attributes:
        at: epoch seconds.
        hour: the newest hour that is over then by Mailchimp's clock.
    """

    at: float
    hour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """The time from each tick until the hour of a client was imported.

    Attributes:
        client: the name of the client.
        seconds: by tick; None for one whose hour was never imported.
    """

    client: str
    seconds: tuple[float | None, ...]

    @property
    def longest(self) -> float:
        """The longest; infinite if an hour was never imported."""
        return max((float("inf") if it is None else it for it in self.seconds), default=0.0)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median([float("inf") if it is None else it for it in self.seconds] or [0.0])

    def __str__(self) -> str:
        said = " ".join(map(_seconds, self.seconds))
        return f"{self.client:12} median {self.median:5.1f} s, longest {self.longest:5.1f} s: {said}"


class Soak:
    """A world whose clock moves by an hour with each tick.

    Args:
        stage: its clients.
        commands: the DAGSTER_HOME.
    """

    def __init__(self, stage: Stage, commands: Commands) -> None:
        self._stage = stage
        self._commands = commands

    def pass_ticks(self, count: int) -> list[Tick]:
        """Let so many ticks come; the runs that they start have the time until the next."""
        ticks = list[Tick]()
        for _ in range(count):
            due = (time.time() // TICK_SECONDS + 1) * TICK_SECONDS
            _sleep_until(due - _AHEAD_SECONDS)
            self._pass_hour()
            ticks.append(Tick(at=due, hour=hour_key(last_second_over(self._now()))))
            _sleep_until(due + TICK_SECONDS - 2 * _AHEAD_SECONDS)
            said = ", ".join(_seconds(it.seconds[0]) for it in self.lags(ticks[-1:]))
            _tell(f"tick {len(ticks)} of {count} for {ticks[-1].hour}: imported after {said} s")
        return ticks

    def lags(self, ticks: Sequence[Tick]) -> list[Lags]:
        """Return how long the ordinary clients' hours took."""
        return [self._lags_of(name, ticks) for name in ORDINARY]

    def missed(self, ticks: Sequence[Tick]) -> list[str]:
        """Return the ticks of the hourly sync that started no run, with the reasons."""
        first, last = ticks[0].at - 1, ticks[-1].at + 1
        return [
            f"{datetime.fromtimestamp(tick.timestamp, UTC):%H:%M} {tick.status.value}: {tick.skip_reason or tick.error}"
            for tick in Ticks(self._commands.instance).of("hourly_sync")
            if first <= tick.timestamp <= last and tick.status is not TickStatus.SUCCESS
        ]

    def _now(self) -> int:
        return self._stage.clients[ORDINARY[0]].account.now()

    def _pass_hour(self) -> None:
        with self._stage.sandbox.lock:
            for client in self._stage.clients.values():
                client.account.clock_offset_seconds += HOUR_SECONDS - TICK_SECONDS

    def _lags_of(self, client: str, ticks: Sequence[Tick]) -> Lags:
        key = changes_key(AudienceName(client, "newsletter"))
        found = self._commands.instance.fetch_materializations(key, limit=_MAX_RECORDS, ascending=True).records
        came = dict[str, float]()
        for record in found:
            came.setdefault(record.partition_key or "", record.timestamp)
        seconds = [came[tick.hour] - tick.at if tick.hour in came else None for tick in ticks]
        return Lags(client=client, seconds=tuple(seconds))


def soak(folder: Path, *, usual_ticks: int, ticks: int) -> bool:
    """Run the soak; return whether the ordinary clients were unaffected."""
    stage = Stage(folder, changes_per_second=_CHANGES_PER_SECOND)
    back_seconds = (usual_ticks + ticks + 4) * HOUR_SECONDS
    for name in (*ORDINARY, *HOSTILE):
        _add(stage, name, contacts=500, back_seconds=back_seconds)
    with hostile_process() as url, stage, _commands(folder, stage.write()) as commands:
        world = Soak(stage, commands)
        if commands.full_sync(run_config()):
            sys.exit(commands.printed)
        served = ServedDagster(commands)
        _tell(f"{usual_ticks} ticks of {len(ORDINARY)} ordinary clients, and two more that behave so far")
        usual_at = world.pass_ticks(usual_ticks)
        commands.stop(served.process)

        offset = stage.clients[ORDINARY[0]].account.clock_offset_seconds
        _add(stage, UNSYNCED, contacts=UNSYNCED_CONTACTS, back_seconds=-offset)
        stage.clients[UNSYNCED].account.fault_plan = FaultPlan(latency=_UNSYNCED_PAGE)
        declared = stage.declared()
        declared[UNSYNCED]["mailchimp"]["max_connections"] = 1
        for name, behaviour in HOSTILE.items():
            declared[name]["mailchimp"]["base_url"] = f"{url}/{behaviour}/3.0"
        stage.write(declared)
        ServedDagster(commands)
        _tell(
            f"{ticks} ticks with one that hangs, one that drips, and an unsynced one of {UNSYNCED_CONTACTS:,} contacts"
        )
        beside_at = world.pass_ticks(ticks)
        return _report(stage, world, usual_at, beside_at)


def _report(stage: Stage, world: Soak, usual_at: Sequence[Tick], beside_at: Sequence[Tick]) -> bool:
    usual, beside = world.lags(usual_at), world.lags(beside_at)
    print("\nusual lags")
    print(*usual, sep="\n")
    print("\nlags beside the others")
    print(*beside, sep="\n")
    missed_before, missed = world.missed(usual_at), world.missed(beside_at)
    print(
        "\nticks of the hourly sync that started no run: "
        f"{len(missed_before)} before, {len(missed)} of {len(beside_at)} then"
    )
    print(*missed, sep="\n")
    imported = len(stage.clients[UNSYNCED].target.records)
    print(f"\ncontacts of the unsynced client at its target: {imported:,} of {UNSYNCED_CONTACTS:,}")
    most = _MAX_TIMES_USUAL * max(lags.longest for lags in usual)
    late = [lags.client for lags in beside if lags.longest > most]
    print(
        f"clients with a lag above {most:.0f} s ({_MAX_TIMES_USUAL} times the longest usual one): "
        f"{', '.join(late) or 'none'}"
    )
    is_unaffected = not late and not missed
    print("the ordinary clients were unaffected" if is_unaffected else "ORDINARY CLIENTS WERE AFFECTED")
    return is_unaffected


def _add(stage: Stage, name: str, *, contacts: int, back_seconds: float) -> None:
    """Add a client whose clock at Mailchimp is so much earlier, at half past when a tick is due."""
    client = stage.add(name, contacts=0)
    account, listed = client.account, client.lists[0]
    account.fault_plan = FaultPlan(latency=_PAGE)
    others = [it.account.clock_offset_seconds for it in stage.clients.values() if it is not client]
    account.clock_offset_seconds = others[0] if others else half_past(hours_ago=back_seconds / HOUR_SECONDS)
    now = account.now()
    listed.fill(contacts, changed_between=(now - 24 * HOUR_SECONDS, now - HOUR_SECONDS), seed=len(stage.clients))


@contextmanager
def _commands(folder: Path, clients: Path) -> Generator[Commands]:
    variables = {
        "XDG_STATE_HOME": str(folder / "state"),
        "IMPORTER_HOURLY": "on",
        "IMPORTER_HOURLY_CRON": f"*/{TICK_SECONDS // 60} * * * *",
    }
    os.environ.update(variables)
    with Commands(folder, clients, module="importer_pipeline_tests.support.soak_location") as commands:
        yield commands


def _seconds(lag: float | None) -> str:
    return "-" if lag is None else f"{lag:.0f}"


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.time()))


def _tell(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def main() -> int:
    """Soak for as long as the command line says. The exit code is 0 if the ordinary clients were unaffected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="beside clients that hang, drip and are huge")
    parser.add_argument("--usual-minutes", type=float, default=8.0, help="before that, ordinary clients alone")
    chosen = parser.parse_args()
    let_children_be_interrupted()
    usual_ticks, ticks = (max(1, round(it * 60 / TICK_SECONDS)) for it in (chosen.usual_minutes, chosen.minutes))
    with tempfile.TemporaryDirectory(prefix="importer-soak-") as folder:
        return 0 if soak(Path(folder), usual_ticks=usual_ticks, ticks=ticks) else 1


if __name__ == "__main__":
    sys.exit(main())
