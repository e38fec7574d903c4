"""What `importer` prints about commands, files and variables that can't be used: nothing is read or sent."""

import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.runbook import is_shown, lines_of
from importer_pipeline_tests.support.runs import dagster_home
from importer_pipeline_tests.support.stage import Stage

SHOWN = {
    "IMPORTER_HOURLY_CRON: expected a cron expression of five fields, found something else": "",
    "NOT SYNCED": "acme/newsletter",
    "a database below DAGSTER_HOME can't be opened": "",
    "a value of the run's config is out of bounds: …": "page_size",
    "no audience … is declared and enabled": "acme/newslettr",
    "no client … is declared and enabled": "acne",
    "the clients file … has …": "",
    "the folder … can't be read": "closed",
    "the job … does not take this config": "incremental_sync",
    "the storage of Dagster in … can't be read (…)": "strange",
    "there is no clients file at …": "none.yaml",
    "… is not set, so it is unknown where Dagster keeps what was imported": "DAGSTER_HOME",
    "… is …, which is not the absolute path of a folder": "DAGSTER_HOME",
}
"""What each message names."""

_NOBODY = 65534


def refused(folder: Path) -> list[str]:
    """Run commands that can't be carried out."""
    stage, home = Stage(folder), dagster_home(folder)
    stage.add("acme", contacts=1)
    run, said = folder / "run.yaml", list[Printed]()
    with stage, pytest.MonkeyPatch.context() as patch:
        clients = stage.write()

        def say(*arguments: str, clients: Path = clients) -> None:
            said.append(importer(*arguments, clients=clients))

        for value in (None, "nowhere", str(strange_home(folder)), str(home_without_database(folder)), str(home)):
            if value is None:
                patch.delenv("DAGSTER_HOME", raising=False)
            else:
                patch.setenv("DAGSTER_HOME", value)
            say("status")
        say("check", "acne")
        say("sync", "acme/newslettr")
        say("check", clients=folder / "none.yaml")
        with closed_folder() as closed:
            say("check", clients=closed)
        (folder / "wrong.yaml").write_text("clients: {acme: {}}", encoding="utf-8")
        say("check", clients=folder / "wrong.yaml")
        run.write_text("ops: {import_changes: {config: {clientz: [acme]}}}", encoding="utf-8")
        say("sync", "--config", str(run))
        run.write_text("resources: {mailchimp: {config: {page_size: 5}}}", encoding="utf-8")
        say("sync", "--config", str(run))
        patch.setenv("IMPORTER_HOURLY_CRON", "often")
        say("sync")
    return lines_of(*said)


def strange_home(folder: Path) -> Path:
    """Make a folder for DAGSTER_HOME whose settings name no storage that there is."""
    home = folder / "strange"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage: {postgres: {}}", encoding="utf-8")
    return home


def home_without_database(folder: Path) -> Path:
    """Make a folder for DAGSTER_HOME with something else in the place of a database."""
    home = folder / "damaged"
    (home / "history" / "runs" / "index.db").mkdir(parents=True)
    return home


@contextmanager
def closed_folder() -> Generator[Path]:
    """Make a folder that this process may not list while the `with` block runs."""
    # In a place that everybody can reach, as root may list any folder, and becomes somebody else meanwhile.
    with tempfile.TemporaryDirectory(dir="/tmp", suffix="closed") as folder:
        os.chmod(folder, 0)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(_NOBODY)
            yield Path(folder)
        finally:
            os.seteuid(user)
            os.chmod(folder, stat.S_IRWXU)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return refused(tmp_path_factory.mktemp("settings"))


@pytest.mark.parametrize("symptom", sorted(SHOWN))
def test_a_command_says_why_it_cannot_be_carried_out(lines: list[str], symptom: str) -> None:
    assert is_shown(lines, symptom, SHOWN[symptom])
