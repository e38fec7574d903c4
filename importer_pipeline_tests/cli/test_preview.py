"""`importer preview`, against the sandbox: nothing is sent."""

from collections.abc import Iterator

import pytest

from importer_pipeline.sandbox.protocols import PROTOCOLS
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.stage import Stage


def _with(client: SandboxClient, *, email: str, archived: bool = False) -> None:
    listed = client.lists[0]
    names = {"FNAME": "Ada", "LNAME": "\x1b[31mLove\nlace", "PHONE": "5551234"}
    handle = listed.add(email, merge_fields=names, at=client.account.now() - 5000)
    if archived:
        listed.archive(handle, at=client.account.now() - 4000)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("preview"))
    for name in ("acme", "nameless", "gone", "empty", "own"):
        stage.add(name, contacts=0)
    _with(stage.clients["acme"], email="Ada@example.com")
    _with(stage.clients["nameless"], email="")
    _with(stage.clients["own"], email="ada@example.com")
    _with(stage.clients["gone"], email="ada@example.com", archived=True)
    stage.add("many", contacts=200)
    with stage:
        declared = stage.declared()
        record = {"id": "x-{id}", "firstname": "{merge_fields.FNAME}!", "lastname": "merge_fields.NOPE"}
        declared["acme"]["audiences"]["newsletter"]["record"] = record
        declared["own"]["target"] |= PROTOCOLS["one"].section("id")
        stage.write(declared)
        yield stage


def previewed(stage: Stage, *arguments: str) -> Printed:
    return importer("preview", *arguments, clients=stage.folder / "clients.yaml")


def test_records_stand_beside_what_mailchimp_holds(stage: Stage) -> None:
    printed = previewed(stage, "acme/newsletter")
    assert printed.code == 0
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["firstname", "Ada!", "{merge_fields.FNAME}!", "Ada"] in lines
    assert ["email", "Ada@example.com", "email_address", "Ada@example.com"] in lines
    assert ["lastname", "merge_fields.NOPE", "(missing)"] in lines
    assert "merge_fields.PHONE = 5551234" in printed.out
    assert r"merge_fields.LNAME = \x1b[31mLove\nlace" in printed.out
    assert "1 of 1 contacts have no merge_fields.NOPE" in printed.out
    assert not stage.clients["acme"].target.records


def test_the_exact_request_is_shown_with_its_secrets_masked(stage: Stage) -> None:
    printed = previewed(stage, "own/newsletter", "--count", "1")
    lines = [line.strip() for line in printed.out.splitlines()]
    assert f"PUT {stage.server.target_url}/people" in lines
    assert "Authorization: ***" in lines
    assert "Idempotency-Key: (made from the batch)" in lines
    assert '"names":["Ada",' in printed.out
    assert ["names.0", "Ada", "{merge_fields.FNAME}", "Ada"] in [line.split() for line in lines]
    assert stage.clients["own"].target.api_key not in printed.out
    assert "/record" in previewed(stage, "acme/newsletter").out


def test_a_contact_that_can_t_be_sent_says_why(stage: Stage) -> None:
    printed = previewed(stage, "nameless/newsletter")
    assert 'goes to the quarantine: no email address, so no id of its own: map record.id to "contact_id"' in printed.out


@pytest.mark.parametrize(
    ("name", "said"),
    [("gone", "1 of 1 archived contacts"), ("empty", "0 of 0 archived contacts")],
)
def test_archived_contacts_stand_in_for_others(stage: Stage, name: str, said: str) -> None:
    assert said in previewed(stage, f"{name}/newsletter").out


def test_programs_get_the_records_and_the_members(stage: Stage) -> None:
    document = previewed(stage, "many/newsletter", "--count", "7", "--json").document
    assert len(document["contacts"]) == 7
    contact = document["contacts"][0]
    assert contact["record"]["email"] == contact["mailchimp"]["email_address"]


def test_an_unknown_audience_is_named_with_the_nearest(stage: Stage) -> None:
    printed = previewed(stage, "acme/newsleter")
    assert printed.code == 2
    assert "did you mean acme/newsletter" in printed.err
