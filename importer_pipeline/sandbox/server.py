"""Serving a sandbox with uvicorn: in a thread for tests, in a child process for benchmarks, in the foreground."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from importer_pipeline.sandbox.app import TRANSPORT, build_app
from importer_pipeline.sandbox.core import TARGET_ROOT, Sandbox
from importer_pipeline.sandbox.mailchimp import ROOT
from importer_pipeline.sandbox.world import SandboxClient, World


class _Protocol(HttpToolsProtocol):
    """Passes the connection's transport to the application."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # pyright: ignore[reportGeneralTypeIssues]


class Urls:
    """The URLs of a sandbox.

    Attributes:
        url: the root.
        mailchimp_url: the `base_url` of its accounts.
        target_url: the `url` of its targets.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.mailchimp_url = f"{url}{ROOT}"
        self.target_url = f"{url}{TARGET_ROOT}"


class SandboxServer(Urls):
    """Serves a sandbox from a thread while the `with` block runs, on a free port of the loopback interface."""

    def __init__(
        self, sandbox: Sandbox, clients: Sequence[SandboxClient] = (), *, changes_per_second: float = 0.0
    ) -> None:
        self._socket = listening(0)
        super().__init__(url_of(self._socket))
        self.world = World(sandbox, clients)
        self._server = uvicorn_server(self.world, changes_per_second=changes_per_second)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()
        self._socket.close()


class SandboxProcess(Urls):
    """Serves a sandbox from a process of its own while the `with` block runs.

    Args:
        arguments: as on the command line of `python -m importer_pipeline.sandbox`; the port is a free one.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "importer_pipeline.sandbox", "--port", "0", "--json", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        super().__init__(self._ready()["url"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()

    def _ready(self) -> dict[str, Any]:
        """Read the line that the process prints once it listens."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the sandbox ended with exit code {self._process.wait()} before it listened")
        return json.loads(line)


def listening(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a socket that listens already: connections from now on wait for the server and are not refused."""
    return socket.create_server((host, port), backlog=1024)


def url_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def uvicorn_server(world: World, *, changes_per_second: float) -> uvicorn.Server:
    """Make a server of that world, not yet running. It sends only the sandbox's headers and logs nothing."""
    app = build_app(world, changes_per_second=changes_per_second)
    return uvicorn.Server(
        uvicorn.Config(
            app, http=_Protocol, ws="none", log_config=None, log_level="critical", access_log=False, lifespan="on",
            server_header=False, date_header=False, timeout_graceful_shutdown=1, timeout_keep_alive=60,
        )
    )  # fmt: skip
