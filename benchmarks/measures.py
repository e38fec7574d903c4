"""The benchmarks of whole syncs and of loading, with the limits of their figures. Each returns its rows."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import commands
from benchmarks.commands import Ran
from benchmarks.hourly import hourly
from benchmarks.peers import peers
from benchmarks.resuming import resume
from benchmarks.rows import Row, at_least, at_most, beside, progress
from benchmarks.scale import scale
from benchmarks.shards import shards
from benchmarks.trouble import trouble
from benchmarks.worlds import BenchWorld, Seen, Watch, served

_CONNECTIONS = 10
_PAGE_SECONDS = 0.5
_REPEATS = 3
_CONTACTS = 200_000
_CHANGES_PER_SECOND = 60
_FEW_CONTACTS, _MANY_CONTACTS = 50_000, 1_000_000
_CLIENTS, _CONTACTS_OF_EACH = 100, 500
_AUDIENCES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A large sync, and the same job with one contact just before it, under the same load of the machine.

    Attributes:
        start: the job with one contact.
        start_seen: the sandbox's statistics of that.
        ran: the large sync.
        seen: the sandbox's statistics of it.
        busy: connections busy on average between its first and its last full wave.
    """

    start: Ran
    start_seen: Seen
    ran: Ran
    seen: Seen
    busy: float

    @property
    def more_wall_seconds(self) -> float:
        """Wall time that the contacts took beyond the start."""
        return self.ran.wall_seconds - self.start.wall_seconds

    @property
    def more_cpu_seconds(self) -> float:
        """CPU that the contacts took beyond the start."""
        return self.ran.cpu_seconds - self.start.cpu_seconds


def full() -> list[Row]:
    """Measure a full sync of a large audience, beside the minimum of ten connections and ten bare threads."""
    with (
        served(*_one_audience(1), latency_seconds=_PAGE_SECONDS) as one,
        served(*_one_audience(_CONTACTS), latency_seconds=_PAGE_SECONDS) as world,
    ):
        pairs: list[_Pair] = []
        for number in range(1, _REPEATS + 1):
            progress(f"full: one contact, then {_CONTACTS:,}, {number} of {_REPEATS}")
            pairs.append(_pair(one, world))
        progress("full: ten bare threads")
        bare = json.loads(commands.module("benchmarks.bare", str(_CONTACTS), clients=world.clients).output)
    return [*_wall_rows(pairs), *_cost_rows(pairs, bare)]


def _wall_rows(pairs: Sequence[_Pair]) -> list[Row]:
    start = statistics.median(pair.start.wall_seconds for pair in pairs)
    windows = pairs[0].ran.windows
    wire = windows * _PAGE_SECONDS / _CONNECTIONS
    more = [pair.more_wall_seconds for pair in pairs]
    carrying = [pair.seen.carrying_seconds for pair in pairs]
    most_carrying = 1.1 * wire + statistics.median(pair.start_seen.carrying_seconds for pair in pairs)
    return [
        beside("start: the same job with one contact", start, "s"),
        beside("ten connections, always busy", wire, "s", note=f"{windows} windows"),
        at_most("wall time beyond start", statistics.median(more), 1.1 * wire, "s", note=_best(more, "s")),
        beside("its ratio to ten busy connections", statistics.median(more) / wire, "x", note=_best(more, "x", wire)),
        at_most(
            "first request to last answer", statistics.median(carrying), most_carrying, "s", note=_best(carrying, "s")
        ),
        at_least("connections busy between full waves", statistics.median(pair.busy for pair in pairs), 9.5, "of 10"),
    ]


def _cost_rows(pairs: Sequence[_Pair], bare: dict[str, float]) -> list[Row]:
    cpu = [_thousandth_ms(pair.more_cpu_seconds, _CONTACTS) for pair in pairs]
    bare_cpu = _thousandth_ms(bare["cpu_seconds"], round(bare["contacts"]))
    middle, seen = statistics.median(cpu), pairs[0].seen
    return [
        at_most("CPU per 1000 contacts, beyond start", middle, 25, "ms", note=_best(cpu, "ms")),
        beside("the same of ten bare threads", bare_cpu, "ms", note=f"in {bare['wall_seconds']:.1f} s"),
        beside("ratio of the two", middle / bare_cpu, "x"),
        at_most("bytes fetched per contact", seen.bytes_sent / _CONTACTS, 230, "bytes"),
        _requests_row(pairs[0].ran, seen, 1.02),
    ]


def changing() -> list[Row]:
    """Measure the same audience while its contacts change."""
    options = (*_one_audience(_CONTACTS), "--changes-per-second", str(_CHANGES_PER_SECOND))
    with served(*options, latency_seconds=_PAGE_SECONDS) as world:
        progress(f"changing: {_CONTACTS:,} contacts, {_CHANGES_PER_SECOND} changes a second")
        world.forget()
        ran = commands.full_sync(world.clients)
        seen = world.seen()
    return [beside("wall time", ran.wall_seconds, "s"), _requests_row(ran, seen, 1.10)]


def memory() -> list[Row]:
    """Compare the memory of a small and a large audience."""
    peaks: list[float] = []
    rows: list[Row] = []
    for contacts in (_FEW_CONTACTS, _MANY_CONTACTS):
        progress(f"memory: {contacts:,} contacts")
        with served(*_one_audience(contacts), latency_seconds=0.05) as world:
            ran = commands.full_sync(world.clients)
            world.check()
        peaks.append(ran.peak_megabytes)
        rows.append(beside(f"peak at {contacts:,} contacts", peaks[-1], "MB", note=f"{ran.wall_seconds:.0f} s"))
    return [*rows, at_most("difference", abs(peaks[1] - peaks[0]), 20, "MB")]


def clients() -> list[Row]:
    """Measure many small clients, whose work should overlap."""
    progress(f"clients: {_CLIENTS} clients of {_CONTACTS_OF_EACH} contacts")
    options = ("--clients", str(_CLIENTS), "--contacts", str(_CONTACTS_OF_EACH))
    with served(*options, latency_seconds=_PAGE_SECONDS) as world:
        runs = [commands.full_sync(world.clients) for _ in range(_REPEATS)]
        world.check()
    walls = [ran.wall_seconds for ran in runs]
    return [at_most("wall time in all", statistics.median(walls), 8, "s", note=_best(walls, "s"))]


def load() -> list[Row]:
    """Compare the time Dagster takes to load many audiences and one."""
    few: list[float] = []
    many: list[float] = []
    with (
        served("--clients", "1", "--contacts", "1", latency_seconds=0) as one,
        served("--clients", str(_AUDIENCES // 4), "--audiences", "4", "--contacts", "1", latency_seconds=0) as thousand,
    ):
        for number in range(1, _REPEATS + 1):
            progress(f"load: one audience and {_AUDIENCES}, {number} of {_REPEATS}")
            few.append(commands.validate(one.clients).wall_seconds)
            many.append(commands.validate(thousand.clients).wall_seconds)
    slower = statistics.median(many) - statistics.median(few)
    return [
        beside("definitions validate, one audience", statistics.median(few), "s", note=_best(few, "s")),
        beside(f"the same, {_AUDIENCES} audiences", statistics.median(many), "s", note=_best(many, "s")),
        at_most("difference", slower, 1.5, "s"),
    ]


BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    measure.__name__: measure for measure in (full, changing, memory, clients, load, resume, hourly)
}
"""Benchmarks by name, in the order in which they are run."""

_AT_SCALE = (shards, scale, trouble, peers)
AT_SCALE: dict[str, Callable[[], list[Row]]] = {measure.__name__: measure for measure in _AT_SCALE}
"""Benchmarks that take minutes or install something, and run only when named."""


def _pair(one: BenchWorld, world: BenchWorld) -> _Pair:
    one.forget()
    start = commands.full_sync(one.clients)
    start_seen = one.seen()
    world.forget()
    with Watch(world) as watch:
        ran = commands.full_sync(world.clients)
    world.check()
    return _Pair(
        start=start, start_seen=start_seen, ran=ran, seen=world.seen(), busy=watch.busy_between_full_waves(_CONNECTIONS)
    )


def _one_audience(contacts: int) -> tuple[str, ...]:
    return ("--clients", "1", "--contacts", str(contacts))


def _requests_row(ran: Ran, seen: Seen, most: float) -> Row:
    note = f"{seen.pages} for {ran.windows} windows, {seen.refused} of them 429"
    return at_most("requests per window", seen.pages / ran.windows, most, "", note=note)


def _best(figures: Sequence[float], unit: str, base: float = 1.0) -> str:
    return f"best {min(figures) / base:.2f} {unit}"


def _thousandth_ms(cpu_seconds: float, contacts: int) -> float:
    """Return CPU per 1000 contacts, in milliseconds."""
    return cpu_seconds * 1000 / (contacts / 1000)
