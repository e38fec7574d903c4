"""Dagster's newer command line, `dg`, in this folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

from importer_pipeline_tests.support.runs import ROOT, dagster_home, outer_environment
from importer_pipeline_tests.support.stage import Stage

PREFIX = Path(sys.executable).parent.parent


def test_dg_lists_the_definitions_of_the_clients(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("acme", contacts=1)
    with stage:
        clients = stage.write()
    # As after `source .venv/bin/activate`.
    environment = outer_environment() | {
        "VIRTUAL_ENV": str(PREFIX), "PATH": f"{PREFIX / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT), "IMPORTER_CLIENTS": str(clients), "DAGSTER_HOME": str(dagster_home(tmp_path)),
    }  # fmt: skip
    done = subprocess.run(
        [PREFIX / "bin" / "dg", "list", "defs", "--json"], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    listed = json.loads(done.stdout)
    keys = {it["asset_key"] for it in listed["assets"]}
    parts = ("mailchimp", "contacts", "contact_windows", "contact_changes")
    assert keys == {"quarantine", "sync_status", *(f"acme/newsletter/{part}" for part in parts)}
    assert {"full_sync", "incremental_sync", "redrive_quarantine"} <= {it["name"] for it in listed["jobs"]}
    assert {"hourly_sync", "hourly_first_sync", "daily_prune"} <= {it["name"] for it in listed["schedules"]}
