"""What an import tells Dagster's log; its events are in `test_history` and `test_event_metadata`."""

from pathlib import Path

from importer_pipeline_tests.support.runs import full_sync
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
