"""OAuth's client credentials: one token for many posts, renewed once when it is refused or has expired."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, TargetKeyRefused
from importer_pipeline.records.contacts import ShapedRecord
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.declaration import CLIENT_ID, CLIENT_SECRET, Declaration, RequestForm, TokenForm
from importer_pipeline.target.opening import open_target
from importer_pipeline.target.protocol import Target
from importer_pipeline_tests.support.loopback import Loopback, Received, Step, reply

SECRETS = {CLIENT_ID: SecretStr("me"), CLIENT_SECRET: SecretStr("s:1")}
RECORDS = [ShapedRecord("1", {"name": "Amber"})]


def token_of(url: str, *, is_in_body: bool = False) -> Target:
    form = RequestForm(headers={"Authorization": "Bearer {access_token}"})
    token = TokenForm(url=f"{url}/token", scope="write", is_in_body=is_in_body)
    return open_target(url, Declaration(request=form, token=token), SECRETS, limits=TargetLimits())


def answering(tokens: Iterator[object], good: str) -> "Loopback":
    def steps(request: Received) -> list[Step]:
        if "/token" in request.line:
            return [reply(200, next(tokens))]
        return [reply(200 if request.headers["authorization"] == f"Bearer {good}" else 401, {})]

    return Loopback(steps)


def test_a_token_is_requested_once_and_renewed_when_refused() -> None:
    answers = iter([{"access_token": "one", "expires_in": 3600}, {"access_token": "two", "expires_in": 3600}])
    with answering(answers, good="two") as server:
        target = token_of(server.url)
        for _ in range(3):
            assert target.post(RECORDS).complete
        target.close()
    lines = [request.line.split()[1] for request in server.received]
    assert lines == ["/token", "/record", "/token", "/record", "/record", "/record"]
    assert server.received[0].body == b"grant_type=client_credentials&scope=write"
    assert server.received[0].headers["authorization"] == "Basic bWU6cyUzQTE="


def test_a_token_that_is_refused_twice_is_the_keys_fault() -> None:
    answers = iter([{"access_token": "one", "expires_in": 0.1}, {"access_token": "three"}])
    with answering(answers, good="two") as server:
        target = token_of(server.url, is_in_body=True)
        with pytest.raises(TargetKeyRefused):
            target.post(RECORDS)
        target.close()
    assert b"client_secret=s%3A1" in server.received[0].body


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": "invalid_client"}, TargetKeyRefused),
        (200, {"token": "x"}, BrokenAnswer),
        (200, {"access_token": "a\nb"}, BrokenAnswer),
    ],
    ids=["refused", "none", "no header can hold it"],
)
def test_without_a_token_nothing_is_posted(status: int, body: object, kind: type[Exception]) -> None:
    with Loopback(lambda _: [reply(status, body)]) as server:
        target = token_of(server.url)
        with pytest.raises(kind) as caught:
            target.post(RECORDS)
        target.close()
    assert [request.line.split()[1] for request in server.received] == ["/token"]
    assert "s:1" not in str(caught.value)
