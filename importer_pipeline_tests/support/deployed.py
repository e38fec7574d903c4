"""A deployment as processes of this machine: the services of `deploy/compose.yaml`, the commands of docs/deploy.md.

Stays out: Postgres (see `postgres`), the proxy (see `proxied`), and the imported clients (see `stage`).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.processes import Processes
from importer_pipeline_tests.support.runs import ROOT, outer_environment

DEPLOY = ROOT / "deploy"
DEPLOY_PAGE = ROOT / "docs" / "deploy.md"
HOST = "127.0.0.1"

_VARIABLE = re.compile(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")
_CONFINING = ("read_only", "cap_drop", "security_opt", "mem_limit", "pids_limit")
_BLOCK = re.compile(r"^ *```bash\n(?P<commands>.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service of the compose file, with the values of the compose file's own variables.

    Attributes:
        command: the command of its container.
        environment: its variables there.
        check: its health check, as in its container.
        confined: its settings that restrict it, of those that the compose file has for that.
        ports: its published ports.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    check: Sequence[str]
    confined: Mapping[str, Any]
    ports: Sequence[str]


def services(variables: Mapping[str, str]) -> dict[str, Service]:
    """Return the services of the compose file.

    Args:
        variables: of whoever calls `docker compose`.
    """

    def filled(value: Any) -> str:
        return _VARIABLE.sub(lambda found: variables.get(found["name"]) or found["default"], str(value))

    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return {
        name: Service(
            command=[filled(part) for part in service["command"]],
            environment={key: filled(value) for key, value in service["environment"].items()},
            check=[filled(part) for part in service.get("healthcheck", {}).get("test", ())],
            confined={key: service.get(key) for key in _CONFINING},
            ports=[filled(port) for port in service.get("ports", ())],
        )
        for name, service in document["services"].items()
    }


def blocks(page: Path) -> list[str]:
    """Return the commands that a page tells its reader to type, block by block."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return ["".join(f"{line.strip()}\n" for line in block["commands"].splitlines()) for block in found]


class Composed:
    """The services of the compose file as processes, all but Postgres and the proxy.

    Args:
        processes: the group that they are started in.
        folder: for their DAGSTER_HOME.
        clients: the clients file.
        postgres_port: the port of Postgres.
        variables: of whoever calls `docker compose`.

    Attributes:
        url: the webserver's.
    """

    def __init__(
        self, processes: Processes, folder: Path, *, clients: Path, postgres_port: int, variables: Mapping[str, str]
    ) -> None:
        self._services = services(variables)
        self._ports = {name: free_port() for name in ("shard-0", "shard-1", "webserver")}
        self._processes = processes
        self._home = folder / "home"
        self._home.mkdir()
        shutil.copy(DEPLOY / "dagster.yaml", self._home)
        password = folder / "password"
        password.write_text("any\n", encoding="utf-8")
        # Values that differ from those in a container: paths, hosts, ports.
        self._here = {
            "/etc/importer/clients.yaml": str(clients),
            "/opt/importer/workspace.yaml": str(DEPLOY / "workspace.yaml"),
            "/run/secrets/postgres_password": str(password),
            "importer-entrypoint": str(DEPLOY / "entrypoint.sh"),
            "importer-healthy": str(DEPLOY / "healthy.sh"),
            "1": "none",  # The process to end when unhealthy: here the test decides that.
            "python": sys.executable,
            "5432": str(postgres_port),
            "0.0.0.0": HOST,
            "postgres": HOST,
            "shard-0": HOST,
            "shard-1": HOST,
        }
        self.url = f"http://{HOST}:{self._ports['webserver']}"

    def run(self, name: str) -> int:
        """Run a service to its end; return its exit code."""
        return self._processes.run(name, self._command(name), self._environment(name))

    def start(self, *names: str) -> None:
        """Start services, and wait until they are healthy."""
        for name in names:
            self._processes.start(name, self._command(name), self._environment(name))
        for name in names:
            until(lambda name=name: self.is_well(name), seconds=120)
            assert self._processes.is_up(name)

    def is_well(self, name: str) -> bool:
        """Return whether its health check passes."""
        kind, *check = self._services[name].check
        assert kind == "CMD"
        command = [self._of(part, name) for part in check]
        done = subprocess.run(command, env=self._environment(name), capture_output=True, check=False)
        return done.returncode == 0

    def _command(self, name: str) -> list[str]:
        return [str(DEPLOY / "entrypoint.sh"), *(self._of(part, name) for part in self._services[name].command)]

    def _environment(self, name: str) -> dict[str, str]:
        own = {key: self._of(value, name) for key, value in self._services[name].environment.items()}
        for shard in ("shard-0", "shard-1"):
            own[f"IMPORTER_{shard.replace('-', '_').upper()}_PORT"] = str(self._ports[shard])
        temporary = self._home.parent / f"tmp-{name}"
        temporary.mkdir(exist_ok=True)
        return deployed_environment() | own | {"DAGSTER_HOME": str(self._home), "TMPDIR": str(temporary)}

    def _of(self, written: str, name: str) -> str:
        """Translate a part of a command, or a value, to this machine."""
        if written in self._here:
            return self._here[written]
        port = str(self._ports.get(name, 0))
        return port if written in {"4266", "3000"} else written.replace(":3000/", f":{port}/")


def deployed_environment() -> dict[str, str]:
    """Return this process's environment for a process of a deployment: interpreter, package, no proxy."""
    mine = outer_environment()
    path = os.pathsep.join([str(Path(sys.executable).parent), mine["PATH"]])
    return mine | {"PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": HOST, "NO_PROXY": HOST}
