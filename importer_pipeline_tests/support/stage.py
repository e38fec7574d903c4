"""Made-up clients of a sandbox, served over HTTP, and their clients file.

Stays out: running the pipeline against it (see `runs`).
"""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from importer_pipeline.clients.collection import Clients, load_clients
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import Fault, Rule
from importer_pipeline.sandbox.members import Member, MemberList
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.server import SandboxServer
from importer_pipeline.sandbox.world import SandboxClient

Declared = dict[str, Any]
"""The part below a client's name in the clients file."""

_DAY_SECONDS = 24 * 3600
_QUIET_SECONDS = 200


class WatchedSandbox(Sandbox):
    """Keeps every request that it answered, even with an invalid key."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.answered: list[SandboxRequest] = []

    def answer(self, request: SandboxRequest) -> SandboxAnswer:
        """Answer as the sandbox does, and keep the request."""
        self.answered.append(request)
        return super().answer(request)

    def asked_about(self, list_id: str) -> int:
        """Count the requests that named a list."""
        return sum(f"/lists/{list_id}/" in request.path for request in self.answered)


class Stage:
    """Clients of a sandbox that is served while the `with` block runs.

    Args:
        folder: for the clients file and the secrets.
        changes_per_second: changes to contacts while it serves.
    """

    def __init__(self, folder: Path, *, changes_per_second: float = 0.0) -> None:
        self.folder = folder
        self.sandbox = WatchedSandbox(seed=1)
        self.clients: dict[str, SandboxClient] = {}
        self._changes_per_second = changes_per_second
        self._still: set[str] = set()
        self._random = random.Random(1)
        self._server: SandboxServer | None = None

    def __enter__(self) -> Self:
        clients = [client for client in self.clients.values() if client.name not in self._still]
        self._server = SandboxServer(self.sandbox, clients, changes_per_second=self._changes_per_second)
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    @property
    def server(self) -> SandboxServer:
        """The server of its sandbox."""
        assert self._server is not None
        return self._server

    def add(self, name: str, *, contacts: int = 200, audiences: int = 1, still: bool = False) -> SandboxClient:
        """Add a client.

        Args:
            name: its name.
            contacts: number of contacts of each of its audiences, a tenth of them archived.
            audiences: number of its audiences; the first is the newsletter.
            still: True if its contacts do not change while others do.
        """
        self._still |= {name} if still else set()
        account = self.sandbox.add_account(name, api_key=f"{self._random.getrandbits(128):032x}-us1")
        target = self.sandbox.add_target(f"{self._random.getrandbits(256):064x}", name=name)
        for title in ("newsletter", "customers", "events")[:audiences]:
            listed = account.add_list(f"{self._random.getrandbits(40):010x}", name=title)
            now = account.now()
            listed.fill(
                contacts, changed_between=(now - _DAY_SECONDS, now - _QUIET_SECONDS), archived_share=0.1,
                seed=self._random.getrandbits(32),
            )  # fmt: skip
        self.clients[name] = SandboxClient(name=name, account=account, target=target)
        return self.clients[name]

    def pause(self) -> None:
        """Stop all changes from now on."""
        requests.post(f"{self.server.url}/sandbox/pause", timeout=None)

    def declared(self) -> dict[str, Declared]:
        """Return the contents of the clients file, by client, for a test to alter. Secrets are in separate files."""
        return {name: self._declared(client) for name, client in self.clients.items()}

    def on_own_accounts(self) -> dict[str, Declared]:
        """Return the same with accounts named like their clients, so that their shards are known."""
        declared = self.declared()
        for name, client in declared.items():
            client["mailchimp"]["account"] = name
        return declared

    def secret(self, name: str, text: str) -> dict[str, str]:
        """Write a secret to a file; return it as the clients file names it."""
        path = self.folder / "secrets" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        return {"file": str(path)}

    def write(self, declared: Mapping[str, Declared] | None = None) -> Path:
        """Write a clients file of these clients, or of all as they are."""
        path = self.folder / "clients.yaml"
        document = {"clients": dict(self.declared() if declared is None else declared)}
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return path

    def load(self, declared: Mapping[str, Declared] | None = None) -> Clients:
        """Write and load it."""
        return load_clients(self.write(declared))

    def missing(self, name: str, *, changed_before: float | None = None) -> set[str]:
        """Return ids of contacts whose present values are not at the target; later changes than that don't count."""
        client = self.clients[name]
        with self.sandbox.lock:
            wanted = {
                member.id: client.record_of(member, listed)
                for listed in client.lists
                for member in listed
                if changed_before is None or member.changed < changed_before
            }
            held = client.target.records
            return {key for key, record in wanted.items() if record is not None and held.get(record.id) != record}

    def unchanged_since(self, name: str, moment: float) -> int:
        """Return how many contacts of a client have not changed since a moment."""
        with self.sandbox.lock:
            return sum(member.changed < moment for listed in self.clients[name].lists for member in listed)

    def _declared(self, client: SandboxClient) -> Declared:
        several = len(client.lists) > 1
        return {
            "mailchimp": {
                "api_key": self.secret(f"{client.name}.mailchimp", key_of(client)),
                "base_url": self.server.mailchimp_url,
                # Connections are counted by account for the whole process, and tests must not affect each other.
                "account": f"{client.name}-{self.server.url.rpartition(':')[2]}",
            },
            "target": {
                "url": self.server.target_url,
                "api_key": self.secret(f"{client.name}.target", client.target.api_key),
            },
            "audiences": {
                listed.name: {"list_id": listed.list_id, **({"record": {"id": "{list_id}-{id}"}} if several else {})}
                for listed in client.lists
            },
        }


def key_of(client: SandboxClient) -> str:
    """Return the client's Mailchimp key."""
    (key,) = client.account.secrets
    return key


def half_past(*, hours_ago: float) -> float:
    """Return the offset of a clock to half past, up to an hour more ago, so that no hour ends during a test."""
    return -hours_ago * HOUR_SECONDS - (time.time() - HOUR_SECONDS / 2) % HOUR_SECONDS


def in_order(listed: MemberList) -> list[Member]:
    """Return the members of the default listing, as a walk by `last_changed` meets them."""
    return sorted((member for member in listed if member.status != "archived"), key=lambda member: member.changed)


def once(applies: Callable[[SandboxRequest], bool], fault: Fault) -> Rule:
    """Make a rule that strikes only the first request that matches."""
    struck: list[SandboxRequest] = []

    def first(request: SandboxRequest) -> bool:
        if struck or not applies(request):
            return False
        struck.append(request)
        return True

    return Rule(applies=first, fault=fault)
