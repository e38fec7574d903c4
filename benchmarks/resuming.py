"""The cost of resuming a snapshot of five thousand windows of which ten are missing, and of registering as many."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import commands
from benchmarks.rows import Row, at_most, beside
from benchmarks.worlds import BenchWorld
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.demo import DemoOptions, build_world, write_clients_file
from importer_pipeline.sandbox.faults import REFUSED, FaultPlan, Latency, Rule, at_offsets
from importer_pipeline.sandbox.server import SandboxServer
from importer_pipeline.sandbox.target import Manner

_PAGE = 30
_STEP = 20
_WINDOWS = 5000
_MISSING = 10
_LATENCY = Latency(least_seconds=0.05, most_seconds=0.05)


def resume() -> list[Row]:
    """Measure a resumed full sync, beside the same job with one contact; and a plan of as many windows."""
    config = _config(retries=0)
    with _served(_WINDOWS * _STEP) as world, _served(1) as one, commands.new_home() as home:
        commands.job("full_sync", clients=world.clients, home=home, config=config, fails=True)
        world.mend()
        with commands.new_home() as other:
            start = commands.job("full_sync", clients=one.clients, home=other, config=config)
        world.forget()
        ran = commands.job("full_sync", clients=world.clients, home=home, config=config)
        seen = world.seen()
        world.check()
        with commands.new_home() as new:
            plan = commands.job("plan_windows", clients=world.clients, home=new, config=_config("register_windows"))
    return [
        beside("start: the same job with one contact", start.wall_seconds, "s"),
        at_most(f"requests for {_MISSING} of {_WINDOWS} windows", seen.pages, 15, ""),
        at_most("wall time of these beyond start", ran.wall_seconds - start.wall_seconds, 3, "s"),
        at_most(f"registering {_WINDOWS} windows, beyond start", plan.wall_seconds - start.wall_seconds, 2, "s"),
    ]


class _MendedWorld(BenchWorld):
    """A world in which some windows fail until `mend`."""

    def __init__(self, url: str, clients: Path, server: SandboxServer) -> None:
        super().__init__(url, clients)
        self._server = server

    def mend(self) -> None:
        """End all failures."""
        for client in self._server.world.clients:
            client.account.fault_plan = FaultPlan(latency=_LATENCY)


@contextmanager
def _served(contacts: int) -> Generator[_MendedWorld]:
    """Serve one audience of which ten windows, spread over it, fail."""
    sandbox = Sandbox()
    world, keys = build_world(_options(contacts), sandbox)
    spread = _WINDOWS // _MISSING
    failing = at_offsets(*(number * spread * _STEP + _STEP for number in range(_MISSING)))
    for client in world.clients:
        client.account.fault_plan = FaultPlan(rules=(Rule(applies=failing, fault=REFUSED),))
    with (
        tempfile.TemporaryDirectory(prefix="importer-bench-") as folder,
        SandboxServer(sandbox, world.clients) as server,
    ):
        clients = Path(folder, "clients.yaml")
        write_clients_file(clients, world, keys, server)
        yield _MendedWorld(server.url, clients, server)


def _options(contacts: int) -> DemoOptions:
    none = Latency(least_seconds=0.0, most_seconds=0.0)
    return DemoOptions(
        clients=1, audiences=1, contacts=contacts, archived_share=0.0, latency=none, target_latency=none, rates={},
        target_rates={}, target_rates_after_storing={}, page_limit=None, revoked=False, hanging=False, refused=0,
        manner=Manner.REJECT, seed=0,
    )  # fmt: skip


def _config(op: str = "import_contacts", *, retries: int = 3) -> dict[str, Any]:
    return {
        "ops": {op: {"config": {}}},
        "resources": {"mailchimp": {"config": {"page_size": _PAGE, "retries": retries}}},
    }
