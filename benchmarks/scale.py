"""The cost of one, three and ten thousand clients in one shard: memory, starts, the hour, the database."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from benchmarks.commands import Command
from benchmarks.postgres_home import MAX_SECONDS, PostgresHome, postgres_home, start_job
from benchmarks.rows import BenchmarkFailed, Row, beside, progress
from benchmarks.worlds import Clock, options, served_here
from importer_pipeline.clients.shards import Shard
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.sandbox.faults import Latency
from importer_pipeline_tests.support.loopback import free_port

_SIZES = (1000, 3000, 10_000)
_CONTACTS = 5
_LATENCY = Latency(least_seconds=0.2, most_seconds=0.2)
_MAX_SECONDS = 300.0
_SETTLING_SECONDS = 45.0
"""Seconds that webserver and daemon run before their memory is measured."""

_HOST = "127.0.0.1"
_FULL: dict[str, Any] = {"ops": {"import_contacts": {"config": {}}}}
_CHANGES: dict[str, Any] = {"ops": {"import_changes": {"config": {"newcomers": False}}}}
_NOBODY: dict[str, Any] = {"ops": {"import_changes": {"config": {"newcomers": False, "clients": ["client-0001"]}}}}
_CATALOG = "{ assetNodes { assetKey { path } groupName } }"
_ONE_ASSET = """{ assetNodeOrError(assetKey: {path: ["client-0001", "newsletter", "contact_changes"]}) {
  ... on AssetNode { assetMaterializations(limit: 20) { timestamp } partitionStats { numMaterialized numFailed } }
} }"""


def scale() -> list[Row]:
    """Measure each figure at each size."""
    return [row for size in _SIZES for row in _of(size)]


def _of(size: int) -> list[Row]:
    # The sandbox's clock is an hour late until it catches up, so that the hour after the full sync is over then.
    world = options(size, _LATENCY, contacts=_CONTACTS)
    with served_here(world, Clock(behind_seconds=HOUR_SECONDS)) as served, postgres_home() as home:
        clients = served.clients
        progress(f"scale: {size} clients, a full sync")
        full = start_job(home, "full_sync", clients, _FULL, Shard()).ended(longest_seconds=MAX_SECONDS)
        served.clock.catch_up()
        start = start_job(home, "incremental_sync", clients, _NOBODY, Shard()).ended(longest_seconds=MAX_SECONDS)
        progress(f"scale: {size} clients, an hour")
        events, megabytes = _events(home), home.megabytes
        hour = start_job(home, "incremental_sync", clients, _CHANGES, Shard()).ended(longest_seconds=MAX_SECONDS)
        more_events, more_megabytes = _events(home) - events, home.megabytes - megabytes
        progress(f"scale: {size} clients, the servers")
        rows = _servers(home, clients)
    made = [
        beside("first full sync", full.wall_seconds, "s", note=f"{full.cpu_seconds:.1f} s of CPU"),
        beside(
            "start of dagster job execute, one client",
            start.wall_seconds,
            "s",
            note=f"{start.cpu_seconds:.1f} s of CPU",
        ),
        beside("an hourly run with nothing new", hour.wall_seconds, "s", note=f"{hour.cpu_seconds:.1f} s of CPU"),
        beside("events that it writes", more_events, ""),
        beside("growth of the database a day", more_megabytes * 24, "MB", note=f"{more_megabytes:.1f} MB an hour"),
        *rows,
    ]
    return [Row(what=f"{size:>6} clients: {row.what}", seen=row.seen, limit=row.limit, kept=row.kept) for row in made]


def _servers(home: PostgresHome, clients: Path) -> list[Row]:
    """Start code server, webserver and daemon, one after the other."""
    ports = {name: free_port() for name in ("code", "web")}
    workspace = home.folder / "workspace.yaml"
    server = f"{{host: {_HOST}, port: {ports['code']}, location_name: shard-0}}"
    workspace.write_text(f"load_from:\n  - grpc_server: {server}\n", encoding="utf-8")
    environment = home.environment(clients) | {"IMPORTER_HOURLY": "off"}
    url = f"http://{_HOST}:{ports['web']}"
    code = Command(
        ["dagster", "code-server", "start", "-m", "importer_pipeline", "-h", _HOST, "-p", str(ports["code"])],
        environment, home.folder / "code.txt",
    )  # fmt: skip
    check = ["dagster", "api", "grpc-health-check", "-p", str(ports["code"])]
    # Each look starts an interpreter, which is not part of the load.
    load = _until(lambda: _is_healthy(Command(check, environment, home.folder / "check.txt")))
    web = Command(
        ["dagster_webserver", "-w", str(workspace), "-h", _HOST, "-p", str(ports["web"])], environment,
        home.folder / "web.txt",
    )  # fmt: skip
    try:
        answers = _until(lambda: bool(_asked(url, _CATALOG, patient=False)))
        catalog = _timed(url, _CATALOG)
        one = _timed(url, _ONE_ASSET)
        daemon = Command(["dagster._daemon", "run", "-w", str(workspace)], environment, home.folder / "daemon.txt")
        try:
            time.sleep(_SETTLING_SECONDS)
            memory = {"code server": code, "webserver": web, "daemon": daemon}
            rows = [beside(f"memory of the {name}", it.megabytes(), "MB") for name, it in memory.items()]
        finally:
            daemon.kill()
    finally:
        web.kill()
        code.kill()
    return [
        beside("code server until it answers", load, "s"),
        beside("webserver until it shows all assets", answers, "s"),
        beside("the UI's list of all assets", catalog, "s"),
        beside("an asset's page", one, "s"),
        *rows,
    ]


def _is_healthy(check: Command) -> bool:
    try:
        check.ended()
    except BenchmarkFailed:
        return False
    return True


def _events(home: PostgresHome) -> int:
    ((count,),) = home.postgres.execute("SELECT count(*) FROM event_logs", database=home.database)
    return count


def _asked(url: str, query: str, *, patient: bool = True) -> Any:
    try:
        answer = requests.post(f"{url}/graphql", json={"query": query}, timeout=_MAX_SECONDS)
        found = answer.json()["data"]
    except (requests.ConnectionError, ValueError, KeyError):
        if patient:
            raise
        return None
    (value,) = found.values()
    return value


def _timed(url: str, query: str) -> float:
    began = time.monotonic()
    assert _asked(url, query)
    return time.monotonic() - began


def _until(holds: Callable[[], object]) -> float:
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > _MAX_SECONDS:
            raise BenchmarkFailed("a server did not start")
        time.sleep(0.1)
    return time.monotonic() - began
