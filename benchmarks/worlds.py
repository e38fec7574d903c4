"""The sandbox in a process of its own, and what it saw of a run."""

import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from benchmarks.rows import BenchmarkFailed
from importer_pipeline.sandbox.server import SandboxProcess

TARGET_SECONDS = 0.3
"""How long the target takes for a batch."""

_EVERY_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the sandbox has seen since it was last told to forget, of all accounts and targets together.

    Attributes:
        at: when this was told, epoch seconds.
        pages: pages of contacts asked for.
        refused: requests that found all ten connections of the account taken.
        bytes_sent: bytes of all bodies.
        in_progress: requests under way at that moment.
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
        clients: the clients file that leads to it.
    """

    def __init__(self, url: str, clients: Path) -> None:
        self.clients = clients
        self._url = url
        self._session = requests.Session()

    def forget(self) -> None:
        """Start the statistics anew."""
        self._session.post(f"{self._url}/sandbox/forget", timeout=30).raise_for_status()

    def seen(self) -> Seen:
        """What it has seen."""
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
        """Raise unless every contact is at the target as it is."""
        if not self._json("compare")["kept"]:
            raise BenchmarkFailed("after a run that ended well, the target differs from Mailchimp")

    def _json(self, what: str) -> dict[str, Any]:
        answer = self._session.get(f"{self._url}/sandbox/{what}", timeout=120)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def served(*options: str, latency_seconds: float) -> Generator[BenchWorld]:
    """A sandbox, for as long as the block runs.

    Args:
        options: as on the command line of `python -m importer_pipeline.sandbox`.
        latency_seconds: how long Mailchimp takes for a page.
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
        """Connections busy on average between the first and the last look that found all of them so."""
        return busy_between(self._looks, connections)

    def _look(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self._looks.append(self._world.seen())


def busy_between(looks: Sequence[Seen], connections: int) -> float:
    """See `Watch.busy_between_full_waves`; 0 where all were never busy at two looks."""
    full = [look for look in looks if look.in_progress >= connections]
    if len(full) < 2:
        return 0.0
    return (full[-1].busy_seconds - full[0].busy_seconds) / (full[-1].at - full[0].at)
