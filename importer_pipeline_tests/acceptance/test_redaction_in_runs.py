"""Ids with control characters or line breaks, from Mailchimp through whole runs: none is shown unredacted."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from importer_pipeline.defs.names import QUARANTINE_KEY
from importer_pipeline.defs.quarantine_events import read_entries
from importer_pipeline_tests.support.runs import full_sync, new_instance, redrive, run_config
from importer_pipeline_tests.support.stage import Stage
from importer_pipeline_tests.test_redaction import is_harmless

HOSTILE = [
    "a\nERROR all is lost",
    "\x1b[2Jgone",
    "\u202etxt.exe",
    "a\u2028b",
    "\x00",
    "\r\n- acme: all is well",
    "x" * 5000,
]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stage = Stage(tmp_path)
    stage.add("acme", contacts=20)
    with stage:
        yield stage


def shown_in(instance: dg.DagsterInstance) -> Iterator[str]:
    """Return every text that a person sees: in logs, failures, events and their tables."""
    for run in instance.get_runs():
        for entry in instance.all_logs(run.run_id):
            yield entry.user_message
            event = entry.dagster_event
            yield event.message or "" if event else ""
            if event is not None and event.is_step_failure and event.step_failure_data.error is not None:
                yield str(event.step_failure_data.error)
            made = entry.asset_materialization
            if made is not None:
                yield made.description or ""
                for name, value in made.metadata.items():
                    if isinstance(value, dg.TableMetadataValue):
                        yield from (str(cell) for record in value.records for cell in record.data.values())
                    elif name != "entry":
                        yield str(value.value)


@given(ids=st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=80), max_size=12))
# Without shrinking: each example is two runs.
@settings(
    max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_id_from_mailchimp_is_shown_unredacted(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    acme = stage.clients["acme"]
    wanted = list(dict.fromkeys([*HOSTILE, *ids]))
    for contact_id in wanted:  # Without an address they have no id at the target, and are refused.
        acme.lists[0].add("", oddities={"id": contact_id}, at=acme.account.now() - 5000)
    declared = stage.declared()
    declared["acme"]["audiences"]["newsletter"]["record"] = {"id": "email_address"}
    clients = stage.load(declared)
    with new_instance(tmp_path_factory) as instance:
        ran = full_sync(clients, instance=instance)
        held = set[str]().union(*(entry.contacts for entry in read_entries(instance)))
        assert held >= set(wanted)
        again = redrive(clients, run_config(op="retry_quarantined"), instance=instance)
        assert instance.get_latest_materialization_event(QUARANTINE_KEY) is not None
        for text in (ran.message, again.message, *shown_in(instance)):
            assert all(is_harmless(line) for line in text.split("\n")), ascii(text)
            assert not any(line.startswith(("ERROR all is lost", "- acme: all is well")) for line in text.split("\n"))
