"""Mistakes in the clients file, the secrets and the environment: one clear message, and the rest is imported."""

from collections.abc import Callable
from pathlib import Path

import pytest

from importer_pipeline.clients.collection import Clients, load_clients
from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline_tests.support.runs import dagster, dagster_home, full_sync, full_sync_command, run_config
from importer_pipeline_tests.support.stage import Declared, Stage

KEY = "0123456789abcdef" * 2 + "-us6"

Mistake = Callable[[Stage, Declared], None]
"""Puts a mistake into the declaration of a client."""


def no_variable(_: Stage, declared: Declared) -> None:
    declared["mailchimp"]["api_key"] = {"env": "NO_SUCH_VARIABLE"}


def no_file(_: Stage, declared: Declared) -> None:
    declared["target"]["api_key"] = {"file": "nowhere/secret"}


def empty(stage: Stage, declared: Declared) -> None:
    declared["target"]["api_key"] = stage.secret("empty", "")


def no_data_centre(stage: Stage, declared: Declared) -> None:
    del declared["mailchimp"]["base_url"]
    declared["mailchimp"]["api_key"] = stage.secret("short", "0" * 32)


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        pytest.param(no_variable, "environment variable NO_SUCH_VARIABLE is not set: set it", id="variable not set"),
        pytest.param(no_file, "nowhere/secret can't be read", id="no such file"),
        pytest.param(empty, "is empty: put the secret into it", id="empty file"),
        pytest.param(no_data_centre, "does not end in its data centre, like -us6: copy the whole key", id="short key"),
    ],
)
def test_a_client_without_its_secret_is_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mistake: Mistake, text: str
) -> None:
    """The other clients are imported."""
    stage = Stage(tmp_path)
    stage.add("acme")
    stage.add("globex")
    with stage:
        declared = stage.declared()
        mistake(stage, declared["acme"])
        ran = full_sync(stage.load(declared))
    assert [line.count(text) for line in ran.message.splitlines()] == [0, 1]
    assert "- acme/newsletter: " in ran.message
    assert ran.materialized == ["globex/newsletter/contacts"]
    assert stage.missing("globex") == set()
    warned = [
        record.getMessage()
        for record in caplog.records
        if text in record.getMessage() and record.levelname == "WARNING"
    ]
    assert [line.split(".")[0] for line in warned] == ["acme"]


def test_a_disabled_client_is_skipped(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("acme")
    stage.add("globex")
    with stage:
        declared = stage.declared()
        declared["acme"]["enabled"] = False
        clients = stage.load(declared)
        ran = full_sync(clients)
        asked_for = full_sync(clients, run_config(clients=["acme"]))
    assert (ran.success, ran.materialized) == (True, ["globex/newsletter/contacts"])
    assert "no client acme is declared and enabled" in asked_for.message
    assert stage.sandbox.asked_about(stage.clients["acme"].lists[0].list_id) == 0


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        pytest.param("clients:\n  acme: [\n", "not YAML", id="broken YAML"),
        pytest.param("clients:\n  acme: {mailchmp: {}}\n", "did you mean mailchimp?", id="unknown key"),
        pytest.param(
            f"clients:\n  acme:\n    mailchimp: {{api_key: {KEY}}}\n",
            "must not be in the clients file itself",
            id="secret",
        ),
    ],
)
def test_a_file_error_has_its_line_and_not_its_text(tmp_path: Path, text: str, reported: str) -> None:
    """An error in a clients file is reported with its line number, and without what is written there."""
    path = tmp_path / "clients.yaml"
    path.write_text(text)
    with pytest.raises(ClientsFileInvalid) as caught:
        load_clients(path)
    assert any(reported in line and line.startswith(f"{path}, line ") for line in caught.value.problems)
    assert KEY not in str(caught.value)


def test_a_run_without_any_clients_fails_with_a_message() -> None:
    ran = full_sync(Clients(clients=(), problems=()))
    assert (ran.success, ran.message) == (False, "there are no clients to import: see the warnings above")


def test_the_definitions_are_valid_without_clients(tmp_path: Path) -> None:
    """On the command line, the definitions load without clients and say how to begin."""
    finished = dagster("definitions", "validate", folder=tmp_path, home=dagster_home(tmp_path))
    assert finished.code == 0
    assert f"no clients are declared: create {tmp_path / 'clients.yaml'}, or set IMPORTER_CLIENTS to" in finished.output
    assert "api_key: {env: ACME_MAILCHIMP_API_KEY}" in finished.output
    assert "Traceback" not in finished.output


@pytest.mark.parametrize("there", [False, True], ids=["no file", "broken file"])
def test_an_unusable_clients_file_is_named_with_the_remedy(tmp_path: Path, there: bool) -> None:
    """On the command line, as an operator sees it."""
    path = tmp_path / "other.yaml"
    if there:
        path.write_text(f"clients:\n  acme:\n    mailchimp: {{api_key: {KEY}}}\n")
    finished = dagster(*full_sync_command(tmp_path), folder=tmp_path, clients=path, home=dagster_home(tmp_path))
    assert finished.code != 0
    expected = (
        f"{path}, line 3: clients.acme.mailchimp.api_key: a secret must not" if there else f"no clients file at {path}"
    )
    assert expected in finished.output
    assert KEY not in finished.output


def test_a_broken_file_of_a_folder_does_not_stop_the_rest(
    tmp_path: Path,
) -> None:
    """On the command line, the broken file and a missing secret are reported, and the other clients are imported."""
    stage, home = Stage(tmp_path), dagster_home(tmp_path)
    stage.add("acme")
    stage.add("globex")
    with stage:
        declared = stage.declared()
        no_variable(stage, declared["acme"])
        folder = tmp_path / "clients"
        folder.mkdir()
        stage.write(declared).rename(folder / "good.yaml")
        (folder / "bad.yaml").write_text(f"clients:\n  hooli:\n    mailchimp: {{api_key: {KEY}}}\n")
        validated = dagster("definitions", "validate", folder=tmp_path, clients=folder, home=home)
        ran = dagster(*full_sync_command(tmp_path), folder=tmp_path, clients=folder, home=home)
    broken = f"{folder / 'bad.yaml'}, line 3: clients.hooli.mailchimp.api_key: a secret must not be in the clients file itself"
    for finished in (validated, ran):
        assert broken in finished.output
        assert "acme.mailchimp.api_key: the environment variable NO_SUCH_VARIABLE is not set" in finished.output
        assert "Traceback" not in finished.output
        assert KEY not in finished.output
    assert (validated.code, ran.code != 0) == (0, True)
    assert "- acme/newsletter: the environment variable NO_SUCH_VARIABLE is not set" in ran.output
    assert stage.missing("globex") == set()
