"""The world of a first run: made-up clients, two of whom are in trouble, served from this process; and how it stands.

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
"""How long a page takes: what a real account needs for one of a thousand contacts."""

SNAPSHOT_AGE_SECONDS = 60
"""How far a full sync's snapshot may lie in the past by Mailchimp's clock: a contact changed later may be left to the next."""

_TARGET_LATENCY = Latency(least_seconds=0.02, most_seconds=0.06)
_REFUSED = 2
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTally:
    """How the contacts of a client stand at its target. The four numbers after `contacts` add up to it.

    Attributes:
        client: the client's name.
        contacts: how many Mailchimp holds, archived ones too.
        as_they_are: how many the target holds with their present values.
        refused: how many of the others stood still and are refused by the target.
        to_come: how many of the others changed too late for the snapshot.
        not_in: all others. They must be in, unless the client's key is refused.
    """

    client: str
    contacts: int
    as_they_are: int
    refused: int
    to_come: int
    not_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the importer asked of the sandbox since its statistics were last started anew.

    Attributes:
        peak_connections: the most requests that any account of Mailchimp had in progress at once.
        too_many: requests beyond the ten that an account may have in progress: answered with 429.
        turned_away: requests to Mailchimp with a key that is refused.
        seconds: from the first request to Mailchimp to the last answer of a target.
    """

    peak_connections: int
    too_many: int
    turned_away: int
    seconds: float


class _CountingSandbox(Sandbox):
    """Counts requests to Mailchimp whose key opens nothing: they belong to no account's statistics."""

    def __init__(self) -> None:
        super().__init__(seed=_SEED)
        self.turned_away = 0

    def answer(self, request: SandboxRequest) -> SandboxAnswer:
        """As the sandbox does."""
        with self.lock:
            if is_mailchimp(request) and self.account_of(request) is None:
                self.turned_away += 1
        return super().answer(request)


class FirstWorld:
    """Clients of a sandbox. The last one's Mailchimp key is revoked; the target of the one before refuses two contacts.

    Args:
        clients: how many clients, at least two.
        contacts: how many contacts each has.
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
        """All of it."""
        return self._world

    @property
    def clients(self) -> Sequence[SandboxClient]:
        """The clients, those in trouble last."""
        return self._world.clients

    def served(self, *, changes_per_second: float) -> SandboxServer:
        """A server of it, whose contacts change at that rate while it serves."""
        return SandboxServer(self._sandbox, self.clients, changes_per_second=changes_per_second)

    def write_clients_file(self, path: Path, server: SandboxServer) -> None:
        """Writes the clients file that leads to the server, and the secrets beside it."""
        write_clients_file(path, self._world, self._keys, server)

    def mend(self) -> None:
        """Ends the trouble: the revoked key is good again, nothing is refused any more."""
        with self._sandbox.lock:
            keys: Keys = self._keys[self.revoked.name]
            self.revoked.account.secrets.add(keys.mailchimp)
            self.refusing.target.refusals = ()

    def let_time_pass(self, seconds: float) -> None:
        """Puts Mailchimp's clocks ahead."""
        for client in self.clients:
            client.account.clock_offset_seconds += seconds

    def standings(self, *, began: int) -> list[ClientTally]:
        """How each client stands after a full sync that began at that moment, epoch seconds of Mailchimp's clock."""
        with self._sandbox.lock:
            return [_standing(client, still_until=began - SNAPSHOT_AGE_SECONDS) for client in self.clients]

    def load(self) -> Load:
        """What was asked of it."""
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
        """Starts the statistics anew."""
        self._world.forget()
        self._sandbox.turned_away = 0


def stand_still(server: SandboxServer) -> None:
    """Stops the changes of a world that is served."""
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


def _standing(client: SandboxClient, *, still_until: int) -> ClientTally:
    as_they_are = refused = to_come = not_in = contacts = 0
    for listed in client.lists:
        for member in listed:
            contacts += 1
            record = client.record_of(member, listed)
            if record is None or client.target.records.get(record.id) == record:
                as_they_are += 1
            elif member.changed > still_until:
                to_come += 1
            elif client.target.refuses(record):
                refused += 1
            else:
                not_in += 1
    return ClientTally(
        client=client.name, contacts=contacts, as_they_are=as_they_are, refused=refused, to_come=to_come, not_in=not_in
    )
