"""`importer init`: the files to start with."""

from pathlib import Path

from importer_pipeline.clients.collection import load_clients
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.runs import ROOT


def test_a_folder_to_start_with_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "imports"
    printed = importer("init", str(folder))
    assert printed.code == 0
    assert {path.name for path in folder.iterdir()} == {"clients.yaml", "dagster.yaml", ".env.example", "README.md"}
    assert load_clients(folder / "clients.yaml").clients[0].name == "acme"
    assert len((folder / "README.md").read_text().splitlines()) <= 10


def test_its_settings_of_dagster_are_those_of_the_checkout(tmp_path: Path) -> None:
    importer("init", str(tmp_path))
    assert (tmp_path / "dagster.yaml").read_text() == (ROOT / "dagster.yaml").read_text()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "clients.yaml").write_text("mine")
    printed = importer("init", str(tmp_path))
    assert printed.code == 2
    assert f"Error: {tmp_path} already has clients.yaml\n  -> nothing was written" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["clients.yaml"]


def test_a_folder_that_can_t_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    printed = importer("init", str(tmp_path / "file" / "folder"))
    assert printed.code == 2
    assert "the files can't be written to" in printed.err
