"""The examples of docs/targets.md, against fakes that answer as we understand the documentation of each API."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import yaml
from pydantic import SecretStr

from importer_pipeline.clients.clients_file import read_clients_file
from importer_pipeline.clients.declared_targets import DeclaredTargets
from importer_pipeline.clients.file_problems import Problem
from importer_pipeline.clients.target_settings import TargetSettings
from importer_pipeline.records.contacts import Contact, ShapedRecord
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


@pytest.fixture
def examples_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the examples in Python importable as `acme_targets`."""
    (tmp_path / "acme_targets.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("acme_targets", None)


def test_the_examples_in_python_are_short() -> None:
    assert [block for block in blocks("python") if len(block.splitlines()) > 32] == []


@pytest.mark.usefixtures("examples_in_python")
def test_the_postgres_example_upserts(postgres: Postgres, database: str) -> None:
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


def person(record_id: str, name: str | None, age: int | None, vip: bool | None) -> ShapedRecord:
    return ShapedRecord(record_id, {"person": {"name": name, "age": age}, "vip": vip, "tags": ["a"] if vip else []})


def rows_in(folder: Path) -> list[dict[str, Any]]:
    contacts_in = cast(Callable[[Path], pd.DataFrame], importlib.import_module("acme_targets").contacts_in)
    rows = contacts_in(folder).sort_values("id").to_dict("records")
    return [{str(key): None if value is pd.NA else value for key, value in row.items()} for row in rows]


@pytest.mark.usefixtures("examples_in_python")
def test_the_newest_parquet_file_counts(tmp_path: Path) -> None:
    target = PythonTargetClient("acme_targets:ParquetTarget", {"folder": str(tmp_path)}, {})
    for batch in (
        [person("1", "Amber", 40, True), person("2", "Alder", None, None)],
        [person("3", None, None, None), person("1", "Aspen", None, False)],
        [ShapedRecord("2", {"id": "a field of this name", "vip": True})],
    ):
        assert target.post(batch).complete
    assert len(list(tmp_path.glob("*.parquet"))) == 3
    first, second, third = rows_in(tmp_path)
    assert first == {"id": "1", "person.name": "Aspen", "person.age": None, "vip": False, "tags": []}
    assert (second["id"], second["vip"]) == ("2", True)
    assert third == {"id": "3", "person.name": None, "person.age": None, "vip": None, "tags": []}


@pytest.mark.usefixtures("examples_in_python")
def test_nulls_leave_the_types_in_parquet_alone(tmp_path: Path) -> None:
    target = PythonTargetClient("acme_targets:ParquetTarget", {"folder": str(tmp_path)}, {})
    target.post([person("1", "Amber", 40, True), person("2", None, None, None)])
    first, second = rows_in(tmp_path)
    assert repr(first["person.age"]) == "40"
    assert first["vip"] is True
    assert [second[key] for key in ("person.name", "person.age", "vip", "tags")] == [None, None, None, []]


KILLED_WHILE_IT_WRITES = """
import resource, signal, sys
from acme_targets import ParquetTarget
from importer_pipeline.records.contacts import ShapedRecord

records = [ShapedRecord(str(number), {"name": "Amber"}) for number in range(1000)]
target = ParquetTarget({"folder": sys.argv[1]}, {})
target.send(records[:500])
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
target.send(records)
"""
"""Sends a batch, and another, during which the operating system kills it once 100 bytes of the file are written."""


@pytest.mark.usefixtures("examples_in_python")
def test_no_half_written_parquet_file_is_read(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", KILLED_WHILE_IT_WRITES, str(tmp_path)]
    python_path = os.pathsep.join([str(tmp_path), *sys.path])
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": python_path}, check=False, timeout=120)
    assert killed.returncode == -signal.SIGXFSZ
    (half,) = tmp_path.glob("*.part")
    assert half.stat().st_size == 100
    assert len(rows_in(tmp_path)) == 500
    target = PythonTargetClient("acme_targets:ParquetTarget", {"folder": str(tmp_path)}, {})
    for start in (0, 500):
        assert target.post([ShapedRecord(str(start + number), {"name": "Aspen"}) for number in range(500)]).complete
    rows = rows_in(tmp_path)
    assert {row["id"] for row in rows} == {str(number) for number in range(1000)}
    assert {row["name"] for row in rows} == {"Aspen"}
    assert len(rows) == 1000
