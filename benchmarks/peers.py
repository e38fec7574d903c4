"""The same audience read by others: Singer's tap-mailchimp and Airbyte's source-mailchimp, from the package index.

Each is installed into an environment of its own and reads the sandbox in place of Mailchimp. What it prints is counted
and thrown away: the others only read, where the importer posts everything to a target, too.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import commands
from benchmarks.rows import BenchmarkFailed, Row, at_most, beside, progress
from benchmarks.worlds import Clock, ServedHere, options, served_here
from importer_pipeline.sandbox.faults import Latency
from importer_pipeline.sandbox.members import ARCHIVED
from importer_pipeline_tests.support.processes import neutral_environment
from importer_pipeline_tests.support.usage import wait_for

_CONTACTS = 30_000
_ARCHIVED_SHARE = 0.05
_CHANGES_PER_SECOND = 60.0
_PAGE_SECONDS = 0.5
_SINCE = "2000-01-01T00:00:00.000Z"
_DATA_CENTER = "us1"
_STREAM = "list_members"
"""Both call contacts so."""

_FIELDS = ("email_address", "status", "merge_fields", "last_changed")
"""What the default mapping reads, besides the ID."""

_REDIRECTION = Path(__file__).parent / "redirected"


class _Peer(ABC):
    """Another system, which reads contacts in an environment of its own and prints them, one message a line.

    Args:
        folder: where the environment is made, and the files of a run are written.

    Attributes:
        packages: its package and what it needs, with their versions in the index.
        command: its console script.
    """

    packages: tuple[str, ...]
    command: str

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = folder / self.command
        progress(f"peers: installing {self.packages[0]}")
        _must([sys.executable, "-m", "venv", str(self._environment)])
        _must([str(self._environment / "bin" / "pip"), "install", "--quiet", *self.packages])

    @abstractmethod
    def arguments(self, key: str, sandbox_url: str) -> Sequence[str]:
        """Write the files for a run that reads all contacts, and return its arguments."""

    @abstractmethod
    def id_in(self, message: Mapping[str, Any]) -> str | None:
        """Return the ID of the contact in a message; None for messages of other kinds."""

    def read(self, key: str, sandbox_url: str) -> "_Read":
        """Read all contacts.

        Raises:
            BenchmarkFailed: it did not succeed.
        """
        output, log = self._folder / "output.jsonl", self._folder / "log"
        command = [self._script, *self.arguments(key, sandbox_url)]
        with output.open("wb") as printed, log.open("wb") as logged:
            started = time.monotonic()
            process = subprocess.Popen(
                command, cwd=self._folder, env=_redirected(sandbox_url), stdout=printed, stderr=logged
            )
            cpu_seconds = wait_for(process).cpu_seconds
            wall_seconds = time.monotonic() - started
        if process.returncode:
            last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise BenchmarkFailed(f"exit code {process.returncode} of {self.command}\n{last}")
        with output.open(encoding="utf-8", errors="replace") as lines:
            ids = {self.id_in(json.loads(line)) for line in lines if line.startswith("{")}
        return _Read(wall_seconds=wall_seconds, cpu_seconds=cpu_seconds, ids=frozenset(filter(None, ids)))

    @property
    def _script(self) -> str:
        return str(self._environment / "bin" / self.command)

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        (self._folder / name).write_text(json.dumps(document), encoding="utf-8")


class _Singer(_Peer):
    packages = ("tap-mailchimp==1.3.3",)
    command = "tap-mailchimp"

    def arguments(self, key: str, sandbox_url: str) -> Sequence[str]:
        """Let the tap discover its catalog, and select the fields of contacts that the importer reads, too."""
        self._write("config.json", {"api_key": key, "dc": _DATA_CENTER, "start_date": _SINCE})
        discover = [self._script, "--config", "config.json", "--discover"]
        catalog = json.loads(_must(discover, folder=self._folder, environment=_redirected(sandbox_url)))
        chosen = [stream for stream in catalog["streams"] if stream["stream"] == _STREAM]
        for stream in chosen:
            for entry in stream["metadata"]:
                entry["metadata"]["selected"] = entry["breadcrumb"][-1] in _FIELDS
            stream["metadata"].append({"breadcrumb": [], "metadata": {"selected": True}})
        self._write("catalog.json", catalog)
        return ("--config", "config.json", "--catalog", "catalog.json")

    def id_in(self, message: Mapping[str, Any]) -> str | None:
        """Return the ID of the contact in one of Singer's messages."""
        return message["record"]["id"] if (message["type"], message.get("stream")) == ("RECORD", _STREAM) else None


class _Airbyte(_Peer):
    # It names no version of its framework, and ends with an AttributeError beside the newest.
    packages = ("airbyte-source-mailchimp==2.0.37", "airbyte-cdk==4.6.2")
    command = "source-mailchimp"

    def arguments(self, key: str, sandbox_url: str) -> Sequence[str]:
        """Select contacts only, as in a first sync."""
        credentials = {"auth_type": "apikey", "apikey": key}
        self._write("config.json", {"credentials": credentials, "data_center": _DATA_CENTER, "start_date": _SINCE})
        stream = {"name": _STREAM, "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
        chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
        self._write("catalog.json", {"streams": [chosen]})
        return ("read", "--config", "config.json", "--catalog", "catalog.json")

    def id_in(self, message: Mapping[str, Any]) -> str | None:
        """Return the ID of the contact in one of Airbyte's messages."""
        record = message.get("record") or {}
        return record["data"]["id"] if (message["type"], record.get("stream")) == ("RECORD", _STREAM) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was read, at what cost.

    Attributes:
        wall_seconds: from the start of the process to its end.
        cpu_seconds: of the process and its children.
        ids: IDs of the contacts.
    """

    wall_seconds: float
    cpu_seconds: float
    ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the sandbox saw of it.

    Attributes:
        connections: maximum number of requests in progress at once.
        bytes_per_contact: bytes fetched for each contact of the audience.
        lost: contacts that did not change meanwhile and were not read.
        archived: those of them that are archived.
    """

    connections: int
    bytes_per_contact: float
    lost: int
    archived: int


def peers() -> list[Row]:
    """Compare the importer with the two, while nothing changes and while contacts do."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="importer-bench-peers-") as folder:
        others = [peer(Path(folder)) for peer in (_Singer, _Airbyte)]
        for situation, changes_per_second in (("calm", 0.0), ("changing", _CHANGES_PER_SECOND)):
            rows += _measured(f"importer, {situation}", _imported, changes_per_second, limit=0)
            for peer in others:
                rows += _measured(f"{peer.command}, {situation}", partial(_read_by, peer), changes_per_second)
    return rows


def _measured(
    name: str, read: Callable[[ServedHere], _Read], changes_per_second: float, *, limit: int | None = None
) -> list[Row]:
    progress(f"peers: {name}")
    with _served(changes_per_second) as served:
        before = _standing(served)
        done = read(served)
        seen = _seen(served, before, done.ids)
    what, note = f"{name}: contacts lost of those that stood still", f"{seen.archived} of them archived"
    return [
        beside(f"{name}: wall time", done.wall_seconds, "s"),
        beside(f"{name}: CPU", done.cpu_seconds, "s"),
        beside(f"{name}: connections", seen.connections, ""),
        beside(f"{name}: bytes per contact", seen.bytes_per_contact, "bytes"),
        beside(what, seen.lost, "", note=note) if limit is None else at_most(what, seen.lost, limit, "", note=note),
    ]


def _imported(served: ServedHere) -> _Read:
    ran = commands.full_sync(served.clients)
    ids = frozenset(served.world.clients[0].target.records)
    return _Read(wall_seconds=ran.wall_seconds, cpu_seconds=ran.cpu_seconds, ids=ids)


def _read_by(peer: _Peer, served: ServedHere) -> _Read:
    key = next(iter(served.world.clients[0].account.secrets))
    return peer.read(key, served.server.url)


@contextmanager
def _served(changes_per_second: float) -> Generator[ServedHere]:
    page = Latency(least_seconds=_PAGE_SECONDS, most_seconds=_PAGE_SECONDS)
    world = dataclasses.replace(options(1, page, contacts=_CONTACTS), archived_share=_ARCHIVED_SHARE)
    with served_here(world, Clock(behind_seconds=0.0), changes_per_second=changes_per_second) as served:
        yield served


def _standing(served: ServedHere) -> dict[str, tuple[int, str]]:
    """Return each contact's last change and status, by ID."""
    return {member.id: (member.changed, member.status) for member in served.world.clients[0].lists[0]}


def _seen(served: ServedHere, before: Mapping[str, tuple[int, str]], read: frozenset[str]) -> _Seen:
    figures = served.world.clients[0].account.traffic.figures(time.time())
    lost = [
        status
        for contact, (changed, status) in _standing(served).items()
        if before.get(contact) == (changed, status) and contact not in read
    ]
    return _Seen(
        connections=figures.peak_in_progress,
        bytes_per_contact=figures.bytes_sent / _CONTACTS,
        lost=len(lost),
        archived=lost.count(ARCHIVED),
    )


def _redirected(sandbox_url: str) -> dict[str, str]:
    """Return an environment in which requests to Mailchimp go to the sandbox."""
    return {**neutral_environment(), "PYTHONPATH": str(_REDIRECTION), "SANDBOX_URL": sandbox_url}


def _must(command: Sequence[str], *, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that has to succeed; return its output."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkFailed(f"exit code {done.returncode} of {' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout
