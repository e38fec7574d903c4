"""A declared target over real connections: its headers, bodies, and keys of posts that are tried again."""

import gzip
import json

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import SecretMissing, Unavailable
from importer_pipeline.records.contacts import ShapedRecord
from importer_pipeline.records.receipt import Receipt
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.declaration import Body, CheckForm, Declaration, Framing, RequestForm
from importer_pipeline.target.declared import DeclaredTarget
from importer_pipeline_tests.support.loopback import Loopback, reply

LIMITS = TargetLimits(read_timeout_seconds=2.0)
RECORDS = [ShapedRecord("1", {"name": "Zo\u00eb"}), ShapedRecord("2", {"name": ""}), ShapedRecord("1", {"name": "Zoe"})]
SECRETS = {"api_key": SecretStr("sesame"), "tenant": SecretStr("t7")}


def declared(request: RequestForm, check: CheckForm | None = None) -> Declaration:
    return Declaration(request=request, check=check)


def open_target(url: str, request: RequestForm, check: CheckForm | None = None) -> DeclaredTarget:
    return DeclaredTarget(url, declared(request, check), SECRETS, limits=LIMITS)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (Body(), b'[{"name":"Zoe"},{"name":""}]'),
        (Body(framing=Framing.LINES), b'{"name":"Zoe"}\n{"name":""}\n'),
        (Body(framing=Framing.OBJECT, before=b'{"c":', behind=b"}"), b'{"c":[{"name":"Zoe"},{"name":""}]}'),
    ],
    ids=["list", "lines", "object"],
)
def test_a_post_is_as_declared(body: Body, sent: bytes) -> None:
    form = RequestForm(
        method="PUT",
        path="/v1/c?up=1",
        headers={"Authorization": "Bearer {api_key}", "X-Tenant": "{tenant}"},
        body=body,
        content_type="application/x",
    )
    with Loopback(lambda _: [reply(200, {})]) as server:
        target = open_target(server.url, form)
        assert target.post(RECORDS) == Receipt(sent=2, accepted=2)
        target.close()
    (request,) = server.received
    assert request.line == "PUT /v1/c?up=1 HTTP/1.1"
    assert request.body == sent
    headers = [request.headers[name] for name in ("authorization", "x-tenant", "content-type")]
    assert headers == ["Bearer sesame", "t7", "application/x"]
    assert "sesame" not in repr(target)


def test_a_body_may_be_compressed() -> None:
    with Loopback(lambda _: [reply(200, {})]) as server:
        target = open_target(server.url, RequestForm(gzip=True))
        target.post(RECORDS)
        target.close()
    assert server.received[0].headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(server.received[0].body)) == [{"name": "Zoe"}, {"name": ""}]


def test_a_retried_post_has_the_same_key_and_a_later_one_another() -> None:
    """Else a target would ignore a record that has changed and changed back."""
    statuses = iter([500, 200, 200])
    with Loopback(lambda _: [reply(next(statuses), {})]) as server:
        target = open_target(server.url, RequestForm(idempotency_header="Idempotency-Key"))
        with pytest.raises(Unavailable):
            target.post(RECORDS)
        target.post(RECORDS)
        target.post(RECORDS)
        target.close()
    first, second, third = (request.headers["idempotency-key"] for request in server.received)
    assert first == second != third


def test_a_check_is_the_declared_request_or_an_empty_post() -> None:
    with Loopback(lambda _: [reply(200, {})]) as server:
        for check in (CheckForm(path="/account"), None):
            target = open_target(server.url, RequestForm(), check)
            assert target.probe() == Receipt(sent=0, accepted=0)
            target.close()
    assert [(it.line, it.body) for it in server.received] == [
        ("GET /account HTTP/1.1", b""),
        ("POST /record HTTP/1.1", b"[]"),
    ]


def test_a_secret_unfit_for_a_header_is_not_sent() -> None:
    with pytest.raises(SecretMissing, match="secret api_key") as caught:
        DeclaredTarget("http://a", declared(RequestForm()), {"api_key": SecretStr("a\nb")}, limits=LIMITS)
    assert "a\nb" not in str(caught.value)
