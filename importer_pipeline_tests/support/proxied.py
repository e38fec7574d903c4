"""The proxy of the deployment (`deploy/Caddyfile`, run by the real Caddy) in front of a webserver of this machine."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import requests

from importer_pipeline_tests.support.deployed import DEPLOY
from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.processes import Processes

USER, PASSWORD = "anna", "sesame-open"
# Hashed at a low cost, so that checking it is quick.
USERS = f"{USER} $2b$04$9E2uzG8LZFdCdVf8/1qj3eRLqAOcVm7xHNDSN12HLbcWhi4kTrgbi\n"
"""Contents of the file with the users who may log in."""


class Proxy:
    """Caddy as a deployment runs it.

    Args:
        processes: the group that it is started in.
        folder: for its data.
        webserver: host and port of the server behind it.

    Attributes:
        url: its URL.
    """

    def __init__(self, processes: Processes, folder: Path, *, webserver: str) -> None:
        self._processes, self._folder = processes, folder
        self._port, self._health = free_port(), free_port()
        users = folder / "ui_users"
        users.write_text(USERS, encoding="utf-8")
        self.url = f"http://localhost:{self._port}"
        self._variables = {
            "IMPORTER_UI_ADDRESS": f"http://localhost:{self._port}, http://127.0.0.1:{self._port}",
            "IMPORTER_UI_PORT": str(self._port),
            "IMPORTER_UI_HEALTH_PORT": str(self._health),
            "IMPORTER_UI_USERS_FILE": str(users),
            "IMPORTER_UI_WEBSERVER": webserver,
        }

    def start(self, **variables: str) -> None:
        """Start the proxy, and wait until it is healthy. The variables replace its own."""
        command = [caddy(), "run", "--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"]
        self._processes.start("proxy", command, self._environment(variables))
        until(lambda: self.is_well)

    @property
    def is_well(self) -> bool:
        """True if its health check passes."""
        assert self._processes.is_up("proxy")
        try:
            return requests.get(f"http://127.0.0.1:{self._health}/", timeout=None).ok
        except requests.ConnectionError:
            return False

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kept = {"XDG_DATA_HOME": str(self._folder), "XDG_CONFIG_HOME": str(self._folder), "HOME": str(self._folder)}
        return {**kept, **self._variables, **variables}


def caddy() -> str:
    """Return the path of Caddy."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which("caddy", path=path)
    assert found, "there is no Caddy: `make pytest` fetches it, or install Debian's package `caddy`"
    return found
