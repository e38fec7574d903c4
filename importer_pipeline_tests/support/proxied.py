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
# Hashed at a cost at which it is quickly made out.
USERS = f"{USER} $2b$04$9E2uzG8LZFdCdVf8/1qj3eRLqAOcVm7xHNDSN12HLbcWhi4kTrgbi\n"
"""What stands in the file with those who may enter."""


class Proxy:
    """Caddy as a deployment runs it.

    Args:
        processes: what it is started among.
        folder: for what it keeps.
        webserver: host and port of what it stands in front of.

    Attributes:
        url: where it is reached.
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
        """Start it, and wait until it is well. The variables stand in for its own."""
        command = [caddy(), "run", "--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"]
        self._processes.start("proxy", command, self._environment(variables))
        until(lambda: self.is_well)

    @property
    def is_well(self) -> bool:
        """What its health check asks."""
        assert self._processes.is_up("proxy")
        try:
            return requests.get(f"http://127.0.0.1:{self._health}/", timeout=None).ok
        except requests.ConnectionError:
            return False

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kept = {"XDG_DATA_HOME": str(self._folder), "XDG_CONFIG_HOME": str(self._folder), "HOME": str(self._folder)}
        return {**kept, **self._variables, **variables}


def caddy() -> str:
    """Where the proxy's program is."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which("caddy", path=path)
    assert found, "there is no Caddy: `make pytest` fetches it, or install Debian's package `caddy`"
    return found
