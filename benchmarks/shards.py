"""Two shards over one Postgres: a thousand clients of all sizes, ten hours under change; and one shard beside two."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import requests

from benchmarks.postgres_home import MAX_SECONDS, PostgresHome, postgres_home, run_shards, start_job
from benchmarks.rows import Row, at_most, beside, progress
from benchmarks.worlds import Clock, ServedHere, options, served_here
from importer_pipeline.clients.shards import Shard
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.sandbox.faults import Latency
from importer_pipeline.sandbox.world import World

_CLIENTS, _MEAN_CONTACTS, _MAX_CONTACTS, _HOURS = 1000, 2000, 200_000, 10
_CHANGES_PER_SECOND, _CHANGES_AN_HOUR = 20, 5000
_PAGE_SECONDS = 0.5
_BOUND_CLIENTS, _BOUND_SECONDS = 2000, 3.0
_CONNECTIONS_OF_A_RUN = 100
_DAY_SECONDS = 24 * HOUR_SECONDS

_FULL: dict[str, Any] = {"ops": {"import_contacts": {"config": {}}}}
_CHANGES: dict[str, Any] = {"ops": {"import_changes": {"config": {"newcomers": False}}}}
_ONE, _TWO = [Shard(0, 1)], [Shard(0, 2), Shard(1, 2)]


class _Shared:
    """The world of several shards."""

    def __init__(self, served: ServedHere) -> None:
        self.clock, self.world, self.clients = served.clock, served.world, served.clients
        self._served = served

    def rest(self) -> None:
        """Stop all changes."""
        requests.post(f"{self._served.server.url}/sandbox/pause", timeout=60).raise_for_status()

    @property
    def pages(self) -> int:
        """Number of pages of one walk of everything, active and archived."""
        return sum(2 + len(client.lists[0]) // 990 for client in self.world.clients)

    @property
    def contacts(self) -> int:
        """Number of contacts."""
        return sum(len(client.lists[0]) for client in self.world.clients)

    @property
    def most_at_once(self) -> int:
        """Maximum number of requests that any account had at once, including those it refused for that."""
        figures = [client.account.traffic.figures(self.clock()) for client in self.world.clients]
        return max(it.peak_in_progress + it.refused_429 for it in figures)

    def differing(self) -> tuple[int, int]:
        """Count the contacts that are missing at their targets, and those that are there with other values."""
        compared = self.world.compare()["clients"].values()
        return sum(it["missing"] for it in compared), sum(it["stale"] for it in compared)


def shards() -> list[Row]:
    """Measure ten hours under change, and one shard beside two."""
    return [*_ten_hours(), *_one_and_two()]


def _ten_hours() -> list[Row]:
    sizes = _pareto(_CLIENTS, Random(0))
    behind = (_HOURS + 3) * HOUR_SECONDS
    with (
        _served(sizes, _PAGE_SECONDS, behind_seconds=behind, changes_per_second=_CHANGES_PER_SECOND) as served,
        postgres_home() as home,
    ):
        progress(f"shards: a full sync of {served.contacts:,} contacts of {_CLIENTS} clients")
        wire = served.pages * _PAGE_SECONDS / (len(_TWO) * _CONNECTIONS_OF_A_RUN)
        full_wall, full_cpu = run_shards(home, "full_sync", served.clients, _FULL, _TWO)
        walls: list[float] = []
        for hour in range(1, _HOURS + 1):
            served.world.change(_CHANGES_AN_HOUR)
            served.clock.catch_up(but_for_seconds=behind - hour * HOUR_SECONDS)
            walls.append(run_shards(home, "incremental_sync", served.clients, _CHANGES, _TWO)[0])
            progress(f"shards: hour {hour} took {walls[-1]:.1f} s")
        served.rest()
        served.clock.catch_up()
        run_shards(home, "incremental_sync", served.clients, _CHANGES, _TWO)
        missing, stale = served.differing()
        most = served.most_at_once
        together = _both_with_the_same(served, home)
    return [
        beside(f"full sync of {_CLIENTS} clients", full_wall, "s", note=f"{full_cpu:.0f} s of CPU on both"),
        beside(
            "network time alone, all connections busy", wire, "s", note=f"{served.pages} pages of {_PAGE_SECONDS} s"
        ),
        beside("an hour under change, on average", sum(walls) / len(walls), "s", note=f"longest {max(walls):.1f} s"),
        at_most("missing at rest", missing, 0, ""),
        at_most("stale at rest", stale, 0, ""),
        at_most("maximum requests at once of an account", most, 10, ""),
        at_most("the same, two shards with the same clients", together, 10, ""),
    ]


def _both_with_the_same(served: _Shared, home: PostgresHome) -> int:
    """Run two shards that both have all clients; return the maximum number of requests of an account at once."""
    progress("shards: two with the same clients")
    served.world.forget()
    served.world.change(_CHANGES_AN_HOUR)
    served.clock.catch_up(but_for_seconds=-2 * HOUR_SECONDS)
    started = [start_job(home, "incremental_sync", served.clients, _CHANGES, _ONE[0]) for _ in range(2)]
    for each in started:
        each.ended(longest_seconds=MAX_SECONDS)
    assert served.differing() == (0, 0)
    return served.most_at_once


def _one_and_two() -> list[Row]:
    walls: list[float] = []
    for several in (_ONE, _TWO):
        progress(f"shards: {_BOUND_CLIENTS} clients, pages of {_BOUND_SECONDS} s, {len(several)}")
        with (
            _served([5] * _BOUND_CLIENTS, _BOUND_SECONDS, behind_seconds=0, changes_per_second=0) as served,
            postgres_home() as home,
        ):
            walls.append(run_shards(home, "full_sync", served.clients, _FULL, several)[0])
            assert served.differing() == (0, 0)
    one, two = walls
    return [
        beside("latency-bound, one shard", one, "s"),
        beside("the same, two shards", two, "s"),
        at_most("ratio of the two", two / one, 0.6, "x"),
    ]


def _pareto(count: int, random: Random) -> list[int]:
    """Draw sizes of clients, most of them small, with the mean that is wanted."""
    drawn = [random.paretovariate(1.5) for _ in range(count)]
    mean = sum(drawn) / count
    return [min(_MAX_CONTACTS, round(each / mean * _MEAN_CONTACTS)) for each in drawn]


@contextmanager
def _served(
    sizes: Sequence[int], page_seconds: float, *, behind_seconds: float, changes_per_second: float
) -> Generator[_Shared]:
    clock = Clock(behind_seconds=behind_seconds)
    now = int(clock())

    def fill(world: World) -> None:
        for number, (client, size) in enumerate(zip(world.clients, sizes, strict=True)):
            changed = (now - 30 * _DAY_SECONDS, now - HOUR_SECONDS)
            client.lists[0].fill(size, changed_between=changed, seed=number, archived_share=0.1)

    latency = Latency(least_seconds=page_seconds, most_seconds=page_seconds)
    empty = options(len(sizes), latency, contacts=0)
    with served_here(empty, clock, fill=fill, changes_per_second=changes_per_second) as served:
        yield _Shared(served)
