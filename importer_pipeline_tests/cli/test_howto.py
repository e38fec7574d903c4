"""The commands of docs/howto.md, in the order of the page, in this process."""

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster._cli import create_dagster_cli

from importer_pipeline import definitions
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.pages import typed_lines
from importer_pipeline_tests.support.runs import ROOT
from importer_pipeline_tests.support.stage import Stage, key_of

_PROGRAMS = ("importer ", "dagster ")
"""Those of this environment; the others are curl and pip."""


@pytest.mark.filterwarnings("ignore")  # Dagster has other names for some of its commands, too.
def test_the_recipes_work_in_the_order_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path)
    client = stage.add("acme", contacts=20)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    now = datetime.now(UTC)
    hours = [f"{now - timedelta(hours=ago):%Y-%m-%d-%H:00}" for ago in (4, 3)]
    with stage:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("IMPORTER_CLIENTS", str(stage.write()))
        monkeypatch.setitem(vars(definitions), "defs", definitions.build_defs(stage.load()))
        for variable in ("ACME_MAILCHIMP_API_KEY", "ACME_MAILCHIMP_TOKEN"):
            monkeypatch.setenv(variable, key_of(client))
        ran = []
        for line in typed_lines(ROOT / "docs" / "howto.md"):
            if not line.startswith(_PROGRAMS):
                continue
            program, *words = shlex.split(line)
            if words[0] == "discover":
                words += ["--base-url", stage.server.mailchimp_url]
            if "--partition-range" in words:
                words[-1] = "...".join(hours)
            if program == "importer":
                printed = importer(*words)
                ran.append((words[0], printed.code, printed.err))
            else:
                result = CliRunner().invoke(create_dagster_cli(), words)
                ran.append((words[0], result.exit_code, ""))
        assert [it for it in ran if it[1:] != (0, "")] == []
        assert len(client.target.records) == 20
        assert "NOT SYNCED  acme/newsletter" in importer("status").out
