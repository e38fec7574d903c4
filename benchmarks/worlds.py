"""The sandbox in a separate process, with its statistics of a run; or in this one, where its clock can be set."""

import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from benchmarks.rows import BenchmarkFailed
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.demo import DemoOptions, build_world, write_clients_file
from importer_pipeline.sandbox.faults import Latency
from importer_pipeline.sandbox.members import no_collecting
from importer_pipeline.sandbox.server import SandboxProcess, SandboxServer
from importer_pipeline.sandbox.target import Manner
from importer_pipeline.sandbox.world import World

TARGET_SECONDS = 0.3
"""Latency of the target."""

_EVERY_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Statistics of the sandbox since they were last reset, over all accounts and targets.

    Attributes:
        at: time of these statistics, epoch seconds.
        pages: requested pages of contacts.
        refused: requests that found all ten connections of the account taken.
        bytes_sent: bytes of all bodies.
        in_progress: requests in progress at that moment.
        busy_seconds: the integral of that over time.
        carrying_seconds: from the first request for a page to the end of the last page or post.
    """

    at: float
    pages: int
    refused: int
    bytes_sent: int
    in_progress: int
    busy_seconds: float
    carrying_seconds: float


class BenchWorld:
    """A served sandbox.

    Attributes:
        clients: its clients file.
    """

    def __init__(self, url: str, clients: Path) -> None:
        self.clients = clients
        self._url = url
        self._session = requests.Session()

    def forget(self) -> None:
        """Reset the statistics."""
        self._session.post(f"{self._url}/sandbox/forget", timeout=30).raise_for_status()

    def seen(self) -> Seen:
        """Return the statistics of the sandbox."""
        stats = self._json("stats")
        accounts: list[dict[str, Any]] = list(stats["accounts"].values())
        begins = [account["first_at"] for account in accounts if account["first_at"] is not None]
        ends = [side["last_at"] for side in (*accounts, *stats["targets"].values()) if side["last_at"] is not None]
        return Seen(
            at=stats["now"],
            pages=sum(account["requests"].get("GET /lists/{list_id}/members", 0) for account in accounts),
            refused=sum(account["refused_429"] for account in accounts),
            bytes_sent=sum(account["bytes_sent"] for account in accounts),
            in_progress=sum(account["in_progress"] for account in accounts),
            busy_seconds=sum(account["busy_seconds"] for account in accounts),
            carrying_seconds=max(ends) - min(begins) if ends else 0.0,
        )

    def check(self) -> None:
        """Raise unless the targets hold the present values of every contact."""
        if not self._json("compare")["kept"]:
            raise BenchmarkFailed("after a successful run, the target differs from Mailchimp")

    def _json(self, what: str) -> dict[str, Any]:
        answer = self._session.get(f"{self._url}/sandbox/{what}", timeout=120)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def served(*options: str, latency_seconds: float) -> Generator[BenchWorld]:
    """Serve a sandbox for the `with` block.

    Args:
        options: as on the command line of `python -m importer_pipeline.sandbox`.
        latency_seconds: latency of Mailchimp for a page.
    """
    with tempfile.TemporaryDirectory(prefix="importer-bench-") as folder:
        clients = Path(folder, "clients.yaml")
        latencies = ("--latency", str(latency_seconds), "--target-latency", str(TARGET_SECONDS))
        with SandboxProcess((*latencies, "--write-clients", str(clients), *options)) as process:
            yield BenchWorld(process.url, clients)


class Watch:
    """Looks at a sandbox ten times a second while the `with` block runs."""

    def __init__(self, world: BenchWorld) -> None:
        self._world = world
        self._looks: list[Seen] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def busy_between_full_waves(self, connections: int) -> float:
        """Return the connections busy on average between the first and the last look that found all of them so."""
        return busy_between(self._looks, connections)

    def _look(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self._looks.append(self._world.seen())


def busy_between(looks: Sequence[Seen], connections: int) -> float:
    """Compute `Watch.busy_between_full_waves`; 0 unless two looks found all connections busy."""
    full = [look for look in looks if look.in_progress >= connections]
    if len(full) < 2:
        return 0.0
    return (full[-1].busy_seconds - full[0].busy_seconds) / (full[-1].at - full[0].at)


class Clock:
    """The sandbox's clock, which can be moved forward."""

    def __init__(self, *, behind_seconds: float) -> None:
        self._behind = behind_seconds

    def __call__(self) -> float:
        """Return epoch seconds."""
        return time.time() - self._behind

    def catch_up(self, *, but_for_seconds: float = 0.0) -> None:
        """Set it right, as Mailchimp's is: a sync guesses by its own clock what hour it is there."""
        self._behind = but_for_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHere:
    """A sandbox served by this process, which therefore has full access to it.

    Attributes:
        clock: its clock.
        world: its clients.
        server: its server.
        clients: its clients file.
    """

    clock: Clock
    world: World
    server: SandboxServer
    clients: Path


@contextmanager
def served_here(
    options: DemoOptions, clock: Clock, *, fill: Callable[[World], None] | None = None, changes_per_second: float = 0.0
) -> Generator[ServedHere]:
    """Serve such a sandbox for the `with` block.

    Args:
        options: the options of its world.
        clock: its clock.
        fill: adds contacts before it is served.
        changes_per_second: changes to contacts while it is.
    """
    sandbox = Sandbox(clock=clock)
    world, keys = build_world(options, sandbox)
    if fill is not None:
        fill(world)
    with (
        no_collecting(),  # The records that its targets keep are no garbage, either.
        tempfile.TemporaryDirectory(prefix="importer-bench-") as folder,
        SandboxServer(sandbox, world.clients, changes_per_second=changes_per_second) as server,
    ):
        file = Path(folder, "clients.yaml")
        write_clients_file(file, world, keys, server)
        yield ServedHere(clock=clock, world=world, server=server, clients=file)


def options(clients: int, latency: Latency, *, contacts: int) -> DemoOptions:
    """Return options of a world without faults."""
    none = Latency(least_seconds=0.0, most_seconds=0.0)
    return DemoOptions(
        clients=clients, audiences=1, contacts=contacts, archived_share=0.0, latency=latency, target_latency=none,
        rates={}, target_rates={}, target_rates_after_storing={}, page_limit=None, revoked=False, hanging=False,
        refused=0, manner=Manner.REJECT, seed=0,
    )  # fmt: skip
