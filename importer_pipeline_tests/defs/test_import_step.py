"""What an import tells Dagster's log; its events are in `test_history` and `test_event_metadata`."""

from pathlib import Path

import dagster as dg

from importer_pipeline_tests.support.runs import full_sync, run_config
from importer_pipeline_tests.support.stage import Stage


def test_a_path_that_no_contact_has_is_a_warning_with_a_remedy(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("acme")
    with stage:
        declared = stage.declared()
        declared["acme"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.VORNAME"}
        ran = full_sync(stage.load(declared))
    warned = [line.text for line in ran.log if line.level == 30 and "VORNAME" in line.text]
    assert len(warned) == 1
    assert warned[0].startswith("acme/newsletter: none of its contacts has merge_fields.VORNAME")
    assert "correct `record` in the clients file" in warned[0]
    assert (ran.success, ran.numbers("acme/newsletter/contacts")["contacts_accepted"]) == (True, 200)


def test_a_run_is_tagged_with_the_clients_that_it_takes(tmp_path: Path) -> None:
    """A run over more clients than a tag can name, and over all that there are, says so."""
    stage = Stage(tmp_path)
    for number in range(11):
        stage.add(f"client-{number}", contacts=1)
    with stage, dg.DagsterInstance.ephemeral() as instance:
        clients = stage.load()
        chosen = [["client-3", "client-1"], []]
        runs = [full_sync(clients, run_config(clients=names), instance=instance).run_id for names in chosen]
        tagged = [instance.get_run_by_id(run_id) for run_id in runs]
    assert [run.tags["importer_pipeline/clients"] for run in tagged if run] == ["client-1, client-3", "all"]
