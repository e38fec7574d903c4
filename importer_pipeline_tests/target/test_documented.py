"""The examples of docs/targets.md, against fakes that answer as we understand the documentation of each API."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import SecretStr

from importer_pipeline.clients.clients_file import read_clients_file
from importer_pipeline.clients.declared_targets import DeclaredTargets
from importer_pipeline.clients.file_problems import Problem
from importer_pipeline.clients.target_settings import TargetSettings
from importer_pipeline.records.contacts import Contact
from importer_pipeline.records.receipt import Receipt, RefusedRecord
from importer_pipeline.records.shapes import ShapedMapping
from importer_pipeline.target.client import TargetLimits
from importer_pipeline.target.opening import open_target
from importer_pipeline.target.python import PythonTargetClient
from importer_pipeline_tests.support.loopback import Loopback, Received, Step, reply
from importer_pipeline_tests.support.postgres import Postgres

PAGE = (Path(__file__).parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")
JSON = {"Content-Type": "application/json"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def declared(name: str, url: str) -> TargetSettings:
    text = next(block for block in blocks("yaml") if block.startswith(f"{name}:"))
    section = yaml.load(text, Loader=yaml.BaseLoader)[name] | {"url": url}
    problems = list[Problem]()
    read = DeclaredTargets(None, file=Path("clients.yaml"), others={}, problems=problems).of_client(section, where=())
    assert problems == []
    assert read.settings is not None
    return read.settings


def members(*numbers: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"id{number}",
            "email_address": f"Ann{number}@example.com",
            "merge_fields": {"FNAME": "Ann", "LNAME": "Lee", "PHONE": ""},
            "status": "subscribed",
        }
        for number in numbers
    ]


def sent(name: str, answers: Callable[[str, Any], bytes], *numbers: int) -> tuple[Receipt, list[Received]]:
    """Return the receipt of these members, and the requests; the check comes first."""

    def steps(request: Received) -> list[Step]:
        return [answers(request.line.rpartition(" ")[0], json.loads(request.body) if request.body else None)]

    with Loopback(steps) as server:
        settings = declared(name, server.url)
        assert settings.record is not None
        contacts: list[Contact] = ShapedMapping.of(settings.record, list_id="a").contacts(members(*numbers))[0]
        target = open_target(server.url, settings.declaration(), {"api_key": SecretStr("k")}, limits=TargetLimits())
        target.probe()
        receipt = target.post([contact.record for contact in contacts if contact.record])
        target.close()
    return receipt, server.received


def test_hubspot_names_the_refused_by_their_trace() -> None:
    def answers(line: str, body: Any) -> bytes:
        if line == "GET /crm/v3/objects/contacts?limit=1":
            return reply(200, {"results": []}, headers=JSON)
        assert line == "POST /crm/v3/objects/contacts/batch/upsert"
        first = body["inputs"][0]
        assert first == {
            "idProperty": "email",
            "id": "ann1@example.com",
            "objectWriteTraceId": "id1",
            "properties": {"firstname": "Ann", "lastname": "Lee"},
        }
        error = {
            "status": "error",
            "category": "VALIDATION_ERROR",
            "message": "Property values were not valid",
            "context": {"objectWriteTraceId": ["id2"]},
        }
        done = {"status": "COMPLETE", "results": [{"id": "512", "new": True}], "numErrors": 1, "errors": [error]}
        return reply(207, done, headers=JSON)

    receipt, requests = sent("hubspot", answers, 1, 2, 3)
    assert receipt == Receipt(sent=3, accepted=2, refused=(RefusedRecord(id="id2", reason="VALIDATION_ERROR"),))
    assert requests[1].headers["authorization"] == "Bearer k"


def test_brevo_takes_one_contact_and_says_how_many_may_follow() -> None:
    def answers(line: str, body: Any) -> bytes:
        if line == "GET /account":
            return reply(200, {"email": "owner@example.com"}, headers=JSON)
        assert line == "POST /contacts"
        assert body == {
            "email": "ann1@example.com",
            "ext_id": "id1",
            "updateEnabled": True,
            "attributes": {"FIRSTNAME": "Ann", "LASTNAME": "Lee"},
        }
        return reply(204, headers={"x-sib-ratelimit-remaining": "0", "x-sib-ratelimit-reset": "2"})

    receipt, requests = sent("brevo", answers, 1)
    assert receipt == Receipt(sent=1, accepted=1, pause_seconds=2.0)
    assert requests[1].headers["api-key"] == "k"
    assert declared("brevo", "http://a").batch_records == 1


def test_customerio_names_the_refused_by_their_position() -> None:
    def answers(line: str, body: Any) -> bytes:
        if line == "GET /api/v1/accounts/region":
            return reply(200, {"region": "us"}, headers=JSON)
        assert line == "POST /api/v2/batch"
        assert body["batch"][0]["identifiers"] == {"id": "id1"}
        assert (body["batch"][0]["type"], body["batch"][0]["action"]) == ("person", "identify")
        error = {"batch_index": 1, "reason": "invalid", "field": "attributes", "message": "too long"}
        return reply(207, {"errors": [error]}, headers=JSON)

    receipt, requests = sent("customerio", answers, 1, 2)
    assert receipt == Receipt(sent=2, accepted=1, refused=(RefusedRecord(id="id2", reason="invalid"),))
    assert requests[1].headers["authorization"] == "Basic k"


def test_the_first_example_is_a_valid_clients_file(tmp_path: Path) -> None:
    (tmp_path / "clients.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    file = read_clients_file(tmp_path / "clients.yaml")
    assert file.problems == ()
    assert file.clients[0].audiences[0].record_mapping().sources[2].text == "{merge_fields.TELEFON}"


def test_the_examples_in_python_upsert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, database: str
) -> None:
    """Into Postgres by id, and into CSV files."""
    example, csv = blocks("python")
    assert len(example.strip().splitlines()) <= 32
    (tmp_path / "acme_targets.py").write_text(f"{example}\n{csv}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    postgres.execute("CREATE TABLE contacts (id text PRIMARY KEY, content jsonb)", database=database)
    settings = declared("hubspot", "http://a")
    assert settings.record is not None
    mapping = ShapedMapping.of(settings.record, list_id="a")
    secrets = {"dsn": SecretStr(postgres.url(database))}
    target = PythonTargetClient("acme_targets:PostgresTarget", {"table": "contacts"}, secrets)
    target.probe()
    for number in (1, 2):
        records = [it.record for it in mapping.contacts(members(1, number))[0] if it.record]
        assert target.post(records).complete
    target.close()
    rows = postgres.execute("SELECT id, content FROM contacts ORDER BY id", database=database)
    assert [(row[0], row[1]["properties"]["firstname"]) for row in rows] == [("id1", "Ann"), ("id2", "Ann")]
    files = PythonTargetClient("acme_targets:CsvTarget", {"folder": str(tmp_path)}, {})
    files.post([it.record for it in mapping.contacts(members(1, 2))[0] if it.record])
    (path,) = tmp_path.glob("*.csv")
    assert list(pd.read_csv(path)["properties.lastname"]) == ["Lee", "Lee"]
    sys.modules.pop("acme_targets")
