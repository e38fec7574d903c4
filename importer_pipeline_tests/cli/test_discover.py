"""`importer discover`, against the sandbox: its output is a clients file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from importer_pipeline.clients.collection import load_clients
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.stage import Stage, key_of

_VARIABLE = "SOME_MAILCHIMP_KEY"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("discover"))
    stage.add("one", contacts=20)
    client = stage.add("many", contacts=0)
    client.account.add_list("0123456789", name="On", merge_fields=("VORNAME", "NACHNAME"))
    client.account.add_list("12345678e9", name="bad\n  name: \x1b[31m # {x}", merge_fields=())
    with stage:
        yield stage


def discovered(stage: Stage, client: SandboxClient, *more: str) -> Printed:
    return importer("discover", "--base-url", stage.server.mailchimp_url, *more, said=key_of(client) + "\n")


def test_the_stanza_loads_whatever_the_lists_are_called(stage: Stage, tmp_path: Path) -> None:
    printed = discovered(stage, stage.clients["many"])
    path = tmp_path / "clients.yaml"
    path.write_text(printed.out, encoding="utf-8")
    (client,) = load_clients(path).clients
    assert (printed.code, client.name) == (0, "many")
    assert [it.list_id for it in client.audiences] == list(stage.clients["many"].account.lists)
    assert [it.record.firstname for it in client.audiences] == ["merge_fields.FNAME", "merge_fields.VORNAME", ""]
    assert {it.record.id for it in client.audiences} == {"{list_id}-{id}"}


def test_sizes_and_merge_fields_are_comments(stage: Stage) -> None:
    printed = discovered(stage, stage.clients["one"])
    assert '# "newsletter": ' in printed.out
    assert "# merge fields: FNAME (First Name), LNAME (Last Name)" in printed.out


def test_the_key_comes_from_a_variable_that_the_stanza_names(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stage.clients["one"]
    monkeypatch.setenv(_VARIABLE, key_of(client))
    printed = importer(
        "discover", "--env", _VARIABLE, "--name", "acme", "--base-url", stage.server.mailchimp_url, "--json"
    )
    assert printed.document["lists"][0]["name"] == "newsletter"
    assert f"  acme:\n    mailchimp:\n      api_key: {{env: {_VARIABLE}}}" in printed.document["stanza"]
    assert key_of(client) not in printed.out + printed.err


@pytest.mark.parametrize(
    ("arguments", "said", "code", "message"),
    [
        (["--env", _VARIABLE], "", 2, f"the environment variable {_VARIABLE} is not set\n  -> put the key into it"),
        ([], "", 2, "no key was given"),
        ([], "not-a-key", 1, "the Mailchimp API key does not end in its data centre, like -us6\n  -> copy"),
        (["--name", "A b"], f"{7:032x}-us1", 2, "--name: a name has at most 63"),
    ],
    ids=["unset", "nothing", "malformed", "name"],
)
def test_a_mistake_is_a_message(arguments: list[str], said: str, code: int, message: str) -> None:
    printed = importer("discover", *arguments, said=said)
    assert printed.code == code
    assert f"Error: {message}" in printed.err


def test_a_wrong_key_is_a_message(stage: Stage) -> None:
    printed = importer("discover", "--base-url", stage.server.mailchimp_url, said=f"{7:032x}-us1")
    assert printed.code == 1
    assert "Error: Mailchimp refuses the key" in printed.err
