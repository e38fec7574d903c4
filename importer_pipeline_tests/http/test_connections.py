"""Connections to a target are shared by all of its clients; each Mailchimp account has its own."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import TargetMisplaced
from importer_pipeline.http.faults import Fault
from importer_pipeline.mailchimp.client import MailchimpClient, MailchimpLimits
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.target.client import TargetClient, TargetLimits
from importer_pipeline_tests.support.loopback import Loopback, Received, reply

ACCEPTED = reply(200, b'{"response": 0}')


def target(server: Loopback, *, path: str = "", key: str = "sesame") -> TargetClient:
    return TargetClient(f"{server.url}{path}", SecretStr(key), limits=TargetLimits())


def test_clients_of_one_host_share_their_connections() -> None:
    keys: list[str | None] = []

    def answer(request: Received) -> list[bytes]:
        keys.append(request.headers.get("authorization"))
        return [ACCEPTED]

    with Loopback(answer) as server:
        clients = [target(server, path=f"/of/{number}", key=f"key {number}") for number in range(20)]
        receipts = [client.probe() for client in clients for _ in range(2)]
        for client in clients:
            client.close()
    assert receipts == [Receipt(sent=0, accepted=0)] * 40
    assert keys == [f"key {number}" for number in range(20) for _ in range(2)]
    assert server.connections == 1


def test_shared_connections_last_until_the_last_client_closes() -> None:
    with Loopback(lambda _: [ACCEPTED]) as server:
        first, second = target(server), target(server)
        first.probe()
        first.close()
        first.close()  # The second time means nothing, and takes nothing from others.
        second.probe()
        assert server.connections == 1
        second.close()
        third = target(server)
        third.probe()
        third.close()
    assert server.connections == 2


def test_all_connections_that_were_in_use_stay_open() -> None:
    with Loopback(lambda _: [0.2, ACCEPTED]) as server, ThreadPoolExecutor(40) as threads:
        client = target(server)
        for _ in range(2):
            wait([threads.submit(client.probe) for _ in range(40)])
        client.close()
    assert server.connections == 40


def test_accounts_of_one_host_have_their_own_connections() -> None:
    credentials = Credentials(kind=CredentialKind.API_KEY, secret=SecretStr("sesame-us1"))
    with Loopback(lambda _: [reply(200, b"{}")]) as server:
        accounts = [MailchimpClient(credentials, base_url=server.url, limits=MailchimpLimits()) for _ in range(3)]
        for account in [*accounts, *accounts]:
            account.ping()
        for account in accounts:
            account.close()
    assert server.connections == 3


def test_a_url_without_a_host_is_reported_when_it_is_used() -> None:
    client = TargetClient("http://", SecretStr("sesame"), limits=TargetLimits())
    with pytest.raises(TargetMisplaced, match=Fault.UNSENDABLE.value):
        client.probe()
    client.close()
