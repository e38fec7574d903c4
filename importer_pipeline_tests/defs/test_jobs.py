"""The jobs and their config."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from importer_pipeline.clients.collection import Clients
from importer_pipeline.definitions import build_defs
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.support.runs import Ran, full_sync, plan_windows, run_config

CLIENTS = declared(client("acme", audiences=2), client("globex"))

JOBS = pytest.mark.parametrize(
    ("job", "op"), [("full_sync", "import_contacts"), ("plan_windows", "register_windows")], ids=str
)

Run = Callable[[Clients, dict[str, Any]], Ran]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"audiences": ["globex/list-0"]},
        {"clients": ["acme"], "audiences": ["globex/list-0"], "restart": True, "resume_within_hours": 0.5},
    ],
    ids=["none", "some", "all"],
)
@JOBS
def test_a_config_may_select_and_set_or_leave_it(job: str, op: str, config: dict[str, Any]) -> None:
    made = build_defs(CLIENTS).resolve_job_def(job)
    assert dg.validate_run_config(made, {})
    assert dg.validate_run_config(made, run_config(op=op, target={"max_posts": 3}, **config))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"client": ["acme"]}, "client"),
        ({"clients": "acme"}, "clients"),
        ({"restart": "today"}, "restart"),
    ],
    ids=["unknown key", "no list", "no yes or no"],
)
@JOBS
def test_a_config_that_is_wrong_is_refused_before_anything_runs(
    job: str, op: str, wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=text):
        dg.validate_run_config(build_defs(CLIENTS).resolve_job_def(job), {"ops": {op: {"config": wrong}}})


@JOBS
def test_an_unknown_config_field_is_refused_before_anything_runs(job: str, op: str) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="retry_pause"):
        dg.validate_run_config(
            build_defs(CLIENTS).resolve_job_def(job), run_config(op=op, mailchimp={"retry_pause": 1})
        )


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"clients": ["acne"]}, "no client acne is declared and enabled: did you mean acme?"),
        ({"audiences": ["acme/list-7"]}, "no audience acme/list-7 is declared and enabled: did you mean acme/list-"),
    ],
    ids=["client", "audience"],
)
@pytest.mark.parametrize(
    ("run", "op"),
    [(full_sync, "import_contacts"), (plan_windows, "register_windows")],
    ids=["full_sync", "plan_windows"],
)
def test_an_undeclared_selection_fails_and_names_the_nearest(
    run: Run, op: str, config: dict[str, Any], text: str
) -> None:
    ran = run(CLIENTS, run_config(op=op, **config))
    assert (ran.success, ran.message.startswith(text)) == (False, True)


@pytest.mark.parametrize("name", ["full_sync", "plan_windows", "incremental_sync", "redrive_quarantine"])
def test_a_step_takes_a_pool_slot_and_runs_in_process(name: str) -> None:
    job = build_defs(CLIENTS).resolve_job_def(name)
    assert [node.definition.pool for node in job.graph.nodes if isinstance(node.definition, dg.OpDefinition)] == [
        "mailchimp"
    ]
    assert job.executor_def.name == "in_process"
