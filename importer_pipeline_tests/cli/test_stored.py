"""`importer status` and `importer explain`, after real syncs of the sandbox."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from importer_pipeline.clients.collection import load_clients
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.leaks import contents, leaked
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.runs import full_sync, new_instance, run_config
from importer_pipeline_tests.support.stage import Stage, in_order, key_of

_ADDRESS = "Somebody@example.com"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Clients of which two were synced, with a contact that the target refuses and one that has changed since."""

    stage: Stage
    home: str
    refused: str
    changed: str
    archived: str

    def run(self, *arguments: str, said: str = "") -> Printed:
        """Run a command there."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", self.home)
            return importer(*arguments, clients=self.stage.folder / "clients.yaml", said=said)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    stage = Stage(tmp_path_factory.mktemp("stored"))
    for name in ("picky", "fine", "unsynced"):
        stage.add(name, contacts=40)
    picky = stage.clients["picky"]
    listed = picky.lists[0]
    refused, changed = in_order(listed)[3].id, in_order(listed)[5].id
    archived = next(member.id for member in listed if member.status == "archived")
    picky.target.refusals = (Refusal.of_ids([refused], Manner.COUNT),)
    with stage, new_instance(tmp_path_factory) as instance:
        path = stage.write()
        full_sync(load_clients(path), None, instance=instance)
        listed.update(changed, merge_fields={"FNAME": "Another"})
        declared = stage.declared()
        declared["unsynced"]["audiences"]["newsletter"]["record"] = {"firstname": ""}
        stage.write(declared)
        yield Deployment(stage=stage, home=instance.root_directory, refused=refused, changed=changed, archived=archived)


def test_the_worst_audience_comes_first(deployment: Deployment) -> None:
    printed = deployment.run("status")
    rows = [line.split()[:2] for line in printed.out.splitlines() if "/newsletter" in line]
    assert printed.code == 1
    assert rows == [["NOT", "SYNCED"], ["QUARANTINE", "picky/newsletter"], ["ok", "fine/newsletter"]]
    assert "the last sync was of another list, target or record mapping" in printed.out
    assert f"Read from DAGSTER_HOME {deployment.home} (SQLite)" in printed.out


def test_a_status_is_read_by_programs(deployment: Deployment) -> None:
    printed = deployment.run("status", "picky", "--json")
    (audience,) = printed.document["audiences"]
    assert (audience["state"], audience["quarantined_contacts"], audience["quarantined_parts"]) == ("quarantined", 1, 0)
    assert 0 <= audience["lag_seconds"] < 3600


def test_a_late_audience_is_a_problem(deployment: Deployment) -> None:
    assert deployment.run("status", "fine").code == 0
    printed = deployment.run("status", "fine", "--late-after", "0.001")
    assert printed.code == 1
    assert printed.out.splitlines()[1].startswith("LATE   fine/newsletter")


@pytest.mark.parametrize(
    ("home", "said"),
    [(None, "DAGSTER_HOME is not set"), ("nowhere", "is not the absolute path of a folder")],
)
@pytest.mark.parametrize("command", [["status"], ["explain", "fine", "0" * 32]])
def test_without_storage_there_is_a_message(
    deployment: Deployment, command: list[str], home: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("DAGSTER_HOME", home)
    printed = importer(*command, clients=deployment.stage.folder / "clients.yaml")
    assert printed.code == 2
    assert said in printed.err


def test_settings_that_dagster_refuses_are_a_message(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_url: 'postgresql://u:secret@127.0.0.1:9/x', no: no}}\n"
    )
    printed = importer("status", clients=deployment.stage.folder / "clients.yaml")
    assert printed.code == 2
    assert "can't be read" in printed.err
    assert "secret" not in printed.err + printed.out


def test_an_imported_contact_is_explained_with_its_window(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    address = in_order(deployment.stage.clients["fine"].lists[0])[0].email
    printed = deployment.run("explain", "fine", address)
    assert printed.code == 0
    assert address in printed.out
    assert address not in printed.err + caplog.text
    assert "fine/newsletter: IMPORTED" in printed.out
    assert "falls into    fine/newsletter/contact_windows/0" in printed.out


def test_an_archived_contact_is_in_a_window_of_its_own_walk(deployment: Deployment) -> None:
    printed = deployment.run("explain", "picky", deployment.archived)
    assert "at Mailchimp  archived" in printed.out
    assert "falls into    picky/newsletter/contact_windows/archived-0" in printed.out


def test_a_refused_contact_is_explained_by_its_reason(deployment: Deployment) -> None:
    printed = deployment.run("explain", "picky", said=deployment.refused + "\n")
    assert printed.code == 1
    assert "picky/newsletter: IN QUARANTINE" in printed.out
    assert "-> correct the cause, then: dagster job execute -m importer_pipeline -j redrive_quarantine" in printed.out


def test_a_change_after_the_watermark_waits_for_the_next_sync(deployment: Deployment) -> None:
    printed = deployment.run("explain", "picky", deployment.changed, "--json")
    (audience,) = printed.document["audiences"]
    assert (printed.code, audience["place"], audience["record"]["firstname"]) == (0, "ahead", "Another")
    assert audience["partition"].startswith("picky/newsletter/contact_changes/")


def test_an_unsynced_audience_says_why(deployment: Deployment) -> None:
    printed = deployment.run("explain", "unsynced", in_order(deployment.stage.clients["unsynced"].lists[0])[0].id)
    assert printed.code == 1
    assert "unsynced/newsletter: NOT IMPORTED" in printed.out
    assert "why           the audience needs a full sync: the last sync was of another list" in printed.out


def test_a_contact_that_nobody_has_is_a_problem(deployment: Deployment) -> None:
    printed = deployment.run("explain", "fine", said=_ADDRESS)
    assert printed.code == 1
    assert "NOT IN MAILCHIMP" in printed.out
    assert _ADDRESS not in printed.out + printed.err


def test_nothing_of_a_person_or_a_key_is_left_anywhere(deployment: Deployment, tmp_path: Path) -> None:
    client = deployment.stage.clients["fine"]
    contact = in_order(client.lists[0])[0]
    printed = [
        deployment.run("explain", "fine", said=contact.email),
        deployment.run("preview", "fine/newsletter"),
        deployment.run("check"),
        deployment.run("status"),
    ]
    for number, it in enumerate(printed):
        (tmp_path / f"{number}.err").write_text(it.err, encoding="utf-8")
    places = [*contents(Path(deployment.home)), *contents(tmp_path)]
    assert leaked([contact.email, client.target.api_key, key_of(client)], places) == set()
    assert leaked([client.target.api_key, key_of(client)], [("out", it.out.encode()) for it in printed]) == set()


def test_postgres_is_read_as_its_settings_say(
    deployment: Deployment, postgres: Postgres, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"storage": {"postgres": {"postgres_url": postgres.url(database)}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    path = deployment.stage.folder / "clients.yaml"
    with postgres.instance(tmp_path, database) as instance:
        full_sync(load_clients(path), run_config(clients=["fine"]), instance=instance)
    printed = importer("status", "fine", clients=path)
    assert (printed.code, printed.out.splitlines()[1].split()[:2]) == (0, ["ok", "fine/newsletter"])
    assert "(Postgres, as its dagster.yaml says)" in printed.out


def test_what_is_neither_address_nor_id_is_a_message(deployment: Deployment) -> None:
    printed = deployment.run("explain", "fine", said="somebody\n")
    assert printed.code == 2
    assert "Error: expected an email address, or Mailchimp's id" in printed.err
    assert "somebody" not in printed.err
