"""A made-up world of clients for a first run and for benchmarks, and its clients file."""

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import Fault, FaultPlan, Latency
from importer_pipeline.sandbox.members import MemberList
from importer_pipeline.sandbox.protocols import LIMITED, PROTOCOLS, SEED, Protocol
from importer_pipeline.sandbox.server import Urls
from importer_pipeline.sandbox.target import Manner, RateLimit, Refusal
from importer_pipeline.sandbox.world import SandboxClient, World

_PAST_SECONDS = 30 * 24 * 3600
_QUIET_SECONDS = 120
_ID_BY_LIST = "{list_id}-{id}"
_A_POST_A_SECOND = RateLimit(posts=60, seconds=60.0)
_AUDIENCES = ("newsletter", "customers", "events", "partners")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options of a made-up world.

    Attributes:
        clients: number of clients.
        audiences: number of audiences of each client.
        contacts: number of contacts of each audience.
        archived_share: share of archived contacts.
        latency: latency of Mailchimp.
        target_latency: latency of the target.
        rates: probability of each fault of a request to Mailchimp.
        target_rates: the same for the target, before the batch is stored.
        target_rates_after_storing: the same after the batch is stored.
        page_limit: larger pages get a 504; None for no limit.
        revoked: True to refuse the last client's key.
        hanging: True to leave the second to last client without any answer from Mailchimp.
        refused: number of contacts of each audience that its target refuses.
        manner: the way it refuses them.
        protocol: the name of the targets' protocol.
        seed: the same seed makes the same world.
    """

    clients: int
    audiences: int
    contacts: int
    archived_share: float
    latency: Latency
    target_latency: Latency
    rates: dict[Fault, float]
    target_rates: dict[Fault, float]
    target_rates_after_storing: dict[Fault, float]
    page_limit: int | None
    revoked: bool
    hanging: bool
    refused: int
    manner: Manner
    seed: int
    protocol: str = SEED.name


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Keys:
    """The keys of a client's accounts.

    Attributes:
        mailchimp: an API key, 32 hexadecimal digits and a data centre.
        target: the key at the target.
    """

    mailchimp: str
    target: str


def build_world(options: DemoOptions, sandbox: Sandbox) -> tuple[World, dict[str, Keys]]:
    """Build the world; return it with each client's keys as a clients file must hold them."""
    random = Random(options.seed)
    keys = {
        f"client-{number:04}": Keys(
            mailchimp=f"{random.getrandbits(128):032x}-us1", target=f"{random.getrandbits(256):064x}"
        )
        for number in range(1, options.clients + 1)
    }
    clients = [_client(name, opened_by, options, sandbox, random) for name, opened_by in keys.items()]
    faults = FaultPlan(rates=options.rates, page_limit=options.page_limit, latency=options.latency)
    for client in clients:
        client.account.fault_plan = faults
        client.target.fault_plan = FaultPlan(
            rates=options.target_rates, rates_after_storing=options.target_rates_after_storing,
            latency=options.target_latency,
        )  # fmt: skip
    if options.revoked:
        clients[-1].account.secrets.clear()
    if options.hanging:
        clients[-2 % len(clients)].account.fault_plan = FaultPlan(rates={Fault.HANG: 1.0})
    return World(sandbox, clients), keys


def write_clients_file(path: Path, world: World, keys: dict[str, Keys], urls: Urls) -> None:
    """Write a clients file for the sandbox, and the secrets beside it, readable by their owner only."""
    secrets = path.resolve().with_suffix(".secrets")
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    document: dict[str, Any] = {}
    for client in world.clients:
        several = len(client.lists) > 1
        opened_by = keys[client.name]
        document[client.name] = {
            "mailchimp": {
                "api_key": {"file": _secret_file(secrets / f"{client.name}.mailchimp", opened_by.mailchimp)},
                "base_url": urls.mailchimp_url,
            },
            "target": {
                "url": urls.target_url,
                "api_key": {"file": _secret_file(secrets / f"{client.name}.target", opened_by.target)},
                **client.target.protocol.section(_ID_BY_LIST if several else "id"),
            },
            "audiences": {
                listed.name: {"list_id": listed.list_id, **_own_id(client.target.protocol, several)}
                for listed in client.lists
            },
        }  # fmt: skip
    path.write_text(yaml.safe_dump({"clients": document}, sort_keys=False), encoding="utf-8")


def _own_id(protocol: Protocol, several: bool) -> dict[str, Any]:
    return {"record": {"id": _ID_BY_LIST}} if several and protocol is SEED else {}


def _client(name: str, keys: Keys, options: DemoOptions, sandbox: Sandbox, random: Random) -> SandboxClient:
    account = sandbox.add_account(name, api_key=keys.mailchimp)
    target = sandbox.add_target(keys.target, name=name, protocol=PROTOCOLS[options.protocol])
    if options.protocol == LIMITED:
        target.rate_limit = _A_POST_A_SECOND
    for number in range(options.audiences):
        title = _AUDIENCES[number] if number < len(_AUDIENCES) else f"audience-{number + 1}"
        listed = account.add_list(f"{random.getrandbits(40):010x}", name=title)
        now = account.now()
        listed.fill(
            options.contacts, changed_between=(now - _PAST_SECONDS, now - _QUIET_SECONDS),
            seed=random.getrandbits(32), archived_share=options.archived_share,
        )  # fmt: skip
    client = SandboxClient(name=name, account=account, target=target)
    if options.refused:
        refused = {record_id for listed in client.lists for record_id in _first_ids(client, listed, options.refused)}
        target.refusals = (Refusal.of_ids(refused, options.manner),)
    return client


def _first_ids(client: SandboxClient, listed: MemberList, n: int) -> list[str]:
    """Return the ids of n records of a list, spread over it."""
    records = [record for member in listed if (record := client.record_of(member, listed))]
    return [record.id for record in records[:: max(1, len(records) // n)][:n]]


def _secret_file(path: Path, secret: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secret}\n")
    return str(path)
