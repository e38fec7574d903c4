"""The world of a first run: made-up clients, two of them faulty, served from this process; and their state.

Stays out: running anything against it (see `first_run` and `look`).
"""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from importer_pipeline.sandbox.core import Sandbox, is_mailchimp
from importer_pipeline.sandbox.demo import DemoOptions, Keys, build_world, write_clients_file
from importer_pipeline.sandbox.faults import Latency
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.server import SandboxServer
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.sandbox.world import SandboxClient, World

MAILCHIMP_LATENCY = Latency(least_seconds=0.3, most_seconds=0.7)
"""The latency of a page: what a real account needs for a thousand contacts."""

SNAPSHOT_AGE_SECONDS = 60
"""Maximum age of a full sync's snapshot by Mailchimp's clock: contacts changed later may be left to the next sync."""

_TARGET_LATENCY = Latency(least_seconds=0.02, most_seconds=0.06)
_REFUSED = 2
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTally:
    """The contacts of a client by their state at its target. The four numbers after `contacts` add up to it.

    Attributes:
        client: the client's name.
        contacts: number at Mailchimp, archived ones included.
        up_to_date: number that the target holds with their present values.
        refused: number of the others that did not change and that the target refuses.
        pending: number of the others that changed too late for the snapshot.
        missing: all others. None may be, unless the client's key is refused.
    """

    client: str
    contacts: int
    up_to_date: int
    refused: int
    pending: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests of the importer to the sandbox since its statistics were last reset.

    Attributes:
        peak_connections: maximum number of requests that any account at Mailchimp had in progress at once.
        too_many: requests beyond the ten that an account may have in progress: answered with 429.
        turned_away: requests to Mailchimp with a key that is refused.
        seconds: from the first request to Mailchimp to the last answer of a target.
    """

    peak_connections: int
    too_many: int
    turned_away: int
    seconds: float


class _CountingSandbox(Sandbox):
    """Counts requests to Mailchimp whose key opens no account: they are in no account's statistics."""

    def __init__(self) -> None:
        super().__init__(seed=_SEED)
        self.turned_away = 0

    def answer(self, request: SandboxRequest) -> SandboxAnswer:
        """Answer as the sandbox does, and count refused keys."""
        with self.lock:
            if is_mailchimp(request) and self.account_of(request) is None:
                self.turned_away += 1
        return super().answer(request)


class FirstWorld:
    """Clients of a sandbox. The last one's Mailchimp key is revoked; the target of the one before refuses two contacts.

    Args:
        clients: number of clients, at least two.
        contacts: number of contacts of each.
    """

    def __init__(self, *, clients: int, contacts: int) -> None:
        self._sandbox = _CountingSandbox()
        self._world, self._keys = build_world(_options(clients, contacts), self._sandbox)
        self.refusing, self.revoked = self._world.clients[-2:]
        apart = max(1, contacts // _REFUSED)
        ids = {member.id for member in list(self.refusing.lists[0])[apart // 2 :: apart]}
        self.refusing.target.refusals = (Refusal.of_ids(ids, Manner.REJECT),)

    @property
    def world(self) -> World:
        """The world of its clients."""
        return self._world

    @property
    def clients(self) -> Sequence[SandboxClient]:
        """The clients, the faulty ones last."""
        return self._world.clients

    def served(self, *, changes_per_second: float) -> SandboxServer:
        """Return a server of the world, whose contacts change at that rate while it serves."""
        return SandboxServer(self._sandbox, self.clients, changes_per_second=changes_per_second)

    def write_clients_file(self, path: Path, server: SandboxServer) -> None:
        """Write the clients file for the server, and the secrets beside it."""
        write_clients_file(path, self._world, self._keys, server)

    def mend(self) -> None:
        """End the faults: the revoked key is valid again, nothing is refused any more."""
        with self._sandbox.lock:
            keys: Keys = self._keys[self.revoked.name]
            self.revoked.account.secrets.add(keys.mailchimp)
            self.refusing.target.refusals = ()

    def let_time_pass(self, seconds: float) -> None:
        """Move Mailchimp's clocks forward."""
        for client in self.clients:
            client.account.clock_offset_seconds += seconds

    def tallies(self, *, began: int) -> list[ClientTally]:
        """Tally each client after a full sync that began at that moment, epoch seconds of Mailchimp's clock."""
        with self._sandbox.lock:
            return [_tally(client, still_until=began - SNAPSHOT_AGE_SECONDS) for client in self.clients]

    def load(self) -> Load:
        """Return what was requested of the sandbox."""
        now = self._sandbox.clock()
        accounts = [client.account.traffic.figures(now) for client in self.clients]
        targets = [client.target.traffic.figures(now) for client in self.clients]
        first = min((figures.first_at for figures in accounts if figures.first_at is not None), default=0.0)
        last = max((figures.last_at for figures in targets if figures.last_at is not None), default=first)
        return Load(
            peak_connections=max(figures.peak_in_progress for figures in accounts),
            too_many=sum(figures.refused_429 for figures in accounts),
            turned_away=self._sandbox.turned_away,
            seconds=last - first,
        )

    def forget(self) -> None:
        """Reset the statistics."""
        self._world.forget()
        self._sandbox.turned_away = 0


def pause_changes(server: SandboxServer) -> None:
    """Stop the changes of a served world."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    connection.request("POST", "/sandbox/pause")
    connection.getresponse().read()
    connection.close()


def _options(clients: int, contacts: int) -> DemoOptions:
    return DemoOptions(
        clients=clients, audiences=1, contacts=contacts, archived_share=0.1, latency=MAILCHIMP_LATENCY,
        target_latency=_TARGET_LATENCY, rates={}, target_rates={}, target_rates_after_storing={}, page_limit=None,
        revoked=True, hanging=False, refused=0, manner=Manner.REJECT, seed=_SEED,
    )  # fmt: skip


def _tally(client: SandboxClient, *, still_until: int) -> ClientTally:
    up_to_date = refused = pending = missing = contacts = 0
    for listed in client.lists:
        for member in listed:
            contacts += 1
            record = client.record_of(member, listed)
            if record is None or client.target.records.get(record.id) == record:
                up_to_date += 1
            elif member.changed > still_until:
                pending += 1
            elif client.target.refuses(record):
                refused += 1
            else:
                missing += 1
    return ClientTally(
        client=client.name, contacts=contacts, up_to_date=up_to_date, refused=refused, pending=pending, missing=missing
    )
