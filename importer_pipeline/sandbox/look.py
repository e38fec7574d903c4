"""`make dev`: a made-up world whose contacts change, and Dagster's UI for it, until Ctrl-C.

Dagster keeps its state in `DAGSTER_HOME`. The sandbox has another port each time, and its contacts end with it.
The exit code is 0 after Ctrl-C or SIGTERM, 1 if something else ended it or if it could not start.
"""

import argparse
import contextlib
import http.client
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from importer_pipeline.sandbox.children import DagsterChild, environment
from importer_pipeline.sandbox.first_world import FirstWorld

_CLIENTS = 5
_CONTACTS = 20_000
_CHANGES_PER_SECOND = 5.0
_HOST = "127.0.0.1"
_LOOK_EVERY_SECONDS = 0.3
_SLOW_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM. For the exit code, see the module."""
    parser = argparse.ArgumentParser(prog="make dev", description="A made-up world and Dagster's UI, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=3000, help="port of the UI on this machine (default: 3000)")
    chosen = parser.parse_args(arguments)
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the clean-up.
        if not stopping.is_set():
            stopping.set()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with contextlib.suppress(KeyboardInterrupt):
        problem = _problem(chosen.port) or _look(chosen.port)
        print(f"make dev: {problem}", file=sys.stderr)
        return 1
    print("\nStopped: the UI and the sandbox are down.", flush=True)
    return 0


def _problem(port: int) -> str | None:
    """Return why the UI can't be started, or None."""
    home = os.environ.get("DAGSTER_HOME", "")
    if not Path(home).is_absolute() or not Path(home).is_dir():
        return "DAGSTER_HOME must be the absolute path of a folder; `make dev` sets it, and copies dagster.yaml there"
    if not 0 < port < 65536:
        return f"{port} is not a port: expected one from 1 to 65535"
    try:
        socket.create_server((_HOST, port)).close()
    except OSError as error:
        return (
            f"port {port} is not available ({error.strerror}): "
            f"end what uses it, or choose another: make dev PORT={port + 1}"
        )
    return None


def _look(port: int) -> str:
    """Serve, and return only if Dagster ended by itself: the message about it."""
    print(
        f"Making up {_CLIENTS} clients with {_CONTACTS} contacts each, and starting Dagster (some seconds) ...",
        flush=True,
    )
    world = FirstWorld(clients=_CLIENTS, contacts=_CONTACTS)
    with (
        tempfile.TemporaryDirectory(prefix="importer-look-") as folder,
        world.served(changes_per_second=_CHANGES_PER_SECOND) as server,
    ):
        file = Path(folder) / "clients.yaml"
        world.write_clients_file(file, server)
        variables = environment(file, dagster_home=Path(os.environ["DAGSTER_HOME"]))
        # Show the user warnings and errors, but not what was started.
        command = ["dev", "-m", "importer_pipeline", "-h", _HOST, "-p", str(port), "--log-level", "warning"]
        with DagsterChild(command, variables=variables, output=sys.stderr) as child:
            if _wait_for_the_ui(child, port):
                _announce(world, server.url, file, port)
            while child.exit_code is None:
                time.sleep(_LOOK_EVERY_SECONDS)
            return f"dagster dev ended by itself, with exit code {child.exit_code}; its output is above"


def _wait_for_the_ui(child: DagsterChild, port: int) -> bool:
    """Wait until the UI answers; return False if Dagster has ended first."""
    slow_at = time.monotonic() + _SLOW_SECONDS
    while child.exit_code is None:
        if _answers(port):
            return True
        if time.monotonic() > slow_at:
            print("The UI does not answer yet; still waiting ...", flush=True)
            slow_at += _SLOW_SECONDS
        time.sleep(_LOOK_EVERY_SECONDS)
    return False


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _announce(world: FirstWorld, sandbox_url: str, clients_file: Path, port: int) -> None:
    root = f"http://{_HOST}:{port}"
    print(
        f"""
Dagster's UI   {root}
Sandbox        {sandbox_url}/sandbox/compare   (Mailchimp against the targets, in counts)
Clients        {clients_file}

1. A full sync:    {root}/locations/importer_pipeline/jobs/full_sync/playground   and there "Launch Run".
   It takes some seconds and fails on purpose: {world.revoked.name}'s Mailchimp key has been revoked, and
   {world.refusing.name}'s target refuses two contacts. The failure of the step says so, with the remedies.
2. Its result:     {root}/assets   has a group for each client; {world.clients[0].name} / newsletter / contacts tells
   how much was read, accepted and refused, and how fast. "Materialize" there syncs that audience alone.

Five contacts change every second. Ctrl-C ends everything.""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
