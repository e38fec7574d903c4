"""The cost of an hourly run with a thousand clients: without changes, with some, and after three days of downtime."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage
from sqlalchemy import text

from benchmarks import commands
from benchmarks.rows import Row, at_most, beside
from benchmarks.worlds import BenchWorld, Clock, ServedHere, options, served_here
from importer_pipeline.defs.names import CONTACT_CHANGES
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key, last_second_over
from importer_pipeline.sandbox.faults import Latency

_CLIENTS = 1000
_CONTACTS = 20
_DOWN_CLIENTS, _DOWN_HOURS = 100, 72
_HISTORY_HOURS = 1000
_PAGE_SECONDS = 0.2
_LATENCY = Latency(least_seconds=_PAGE_SECONDS, most_seconds=_PAGE_SECONDS)
_FIRST: dict[str, Any] = {"ops": {"import_contacts": {"config": {}}}}
_CONFIG: dict[str, Any] = {"ops": {"import_changes": {"config": {"newcomers": False}}}}


class _HourlyWorld(BenchWorld):
    """A thousand clients, and a clock."""

    def __init__(self, served: ServedHere) -> None:
        super().__init__(served.server.url, served.clients)
        self._world = served.world
        self.clock = served.clock

    def change(self) -> None:
        """Change all contacts in the last hour that is over."""
        at = last_second_over(int(time.time())) - HOUR_SECONDS // 3
        for client in self._world.clients:
            listed = client.lists[0]
            for member in list(listed):
                listed.update(member.contact_id, merge_fields={"FNAME": "Changed"}, at=at)


def hourly() -> list[Row]:
    """Measure the run of an hour, beside one without anything to import."""
    with _served(_CLIENTS, behind_seconds=_since_an_hour_began()) as world, commands.new_home() as home:
        commands.job("full_sync", clients=world.clients, home=home, config=_FIRST)
        world.clock.catch_up()
        quiet, quiet_pages = _run_and_count(world, home)
        start = _run(world, home)
        world.change()
        _wipe_hours(home)
        busy, _ = _run_and_count(world, home)
        world.check()
    with _served(_CLIENTS, behind_seconds=_since_an_hour_began() + HOUR_SECONDS) as world, commands.new_home() as home:
        commands.job("full_sync", clients=world.clients, home=home, config=_FIRST)
        world.clock.catch_up(but_for_seconds=HOUR_SECONDS)
        _run(world, home)
        _write_history(home, hours=_HISTORY_HOURS)
        world.clock.catch_up()
        late = _run(world, home)
        world.check()
    with _served(_DOWN_CLIENTS, behind_seconds=_DOWN_HOURS * HOUR_SECONDS) as world, commands.new_home() as home:
        commands.job("full_sync", clients=world.clients, home=home, config=_FIRST)
        world.clock.catch_up()
        world.change()
        down, down_pages = _run_and_count(world, home)
        world.check()
    return [
        beside("start: without anything to import", start.wall_seconds, "s", note=f"{start.cpu_seconds:.1f} s of CPU"),
        at_most(f"nothing new with {_CLIENTS} clients", quiet.wall_seconds, 15, "s"),
        at_most("its CPU", quiet.cpu_seconds, 12, "s"),
        at_most("its requests per client", quiet_pages / _CLIENTS, 2, ""),
        at_most(
            f"nothing new after {_HISTORY_HOURS} hours", late.wall_seconds, 15, "s",
            note=f"{late.cpu_seconds:.1f} s of CPU",
        ),
        at_most(f"{_CONTACTS} changes in each", busy.wall_seconds, 20, "s", note=f"{busy.cpu_seconds:.1f} s of CPU"),
        at_most(
            f"requests per client for {_DOWN_HOURS} hours", down_pages / _DOWN_CLIENTS, 2, "",
            note=f"{down.wall_seconds:.1f} s, {down.cpu_seconds:.1f} s of CPU",
        ),
    ]  # fmt: skip


def _run(world: _HourlyWorld, home: Path) -> commands.Ran:
    return commands.job("incremental_sync", clients=world.clients, home=home, config=_CONFIG)


def _run_and_count(world: _HourlyWorld, home: Path) -> tuple[commands.Ran, int]:
    world.forget()
    ran = _run(world, home)
    return ran, world.seen().pages


def _since_an_hour_began() -> float:
    """Return the seconds since the newest hour that is over began: a full sync of then leaves only that hour."""
    now = time.time()
    return now - (last_second_over(int(now)) - HOUR_SECONDS + 300)


def _write_history(home: Path, *, hours: int) -> None:
    """Write so many hours of each audience to the log, all older than those there: copies of the newest one."""
    copy = text(
        "INSERT INTO event_logs (id, run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition) "
        "SELECT -:back * 10000000 - id, run_id, replace(event, partition, :key), dagster_event_type, timestamp, "
        "step_key, asset_key, :key FROM event_logs "
        "WHERE id > 0 AND dagster_event_type = 'ASSET_MATERIALIZATION' AND partition = :newest"
    )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        storage = instance.event_log_storage
        assert isinstance(storage, SqlEventLogStorage)
        newest = last_second_over(int(time.time())) - HOUR_SECONDS
        for back in range(1, hours + 1):
            keys = {"key": hour_key(newest - back * HOUR_SECONDS), "newest": hour_key(newest)}
            with storage.index_connection() as connection:
                copied = connection.execute(copy, {"back": back, **keys}).rowcount
            assert copied == _CLIENTS, f"{copied} of {keys}"


def _wipe_hours(home: Path) -> None:
    """Wipe these hours, so that they are missing again."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.wipe_assets([key for key in instance.all_asset_keys() if key.path[-1] == CONTACT_CHANGES])


@contextmanager
def _served(clients: int, *, behind_seconds: float) -> Generator[_HourlyWorld]:
    with served_here(options(clients, _LATENCY, contacts=_CONTACTS), Clock(behind_seconds=behind_seconds)) as served:
        yield _HourlyWorld(served)
