"""The jobs and their config."""

import dagster as dg
import pytest

from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.jobs import full_sync_job
from importer_pipeline_tests.defs.declared import client, declared
from importer_pipeline_tests.runs import full_sync, run_config

CLIENTS = declared(client("acme", audiences=2), client("globex"))


def job() -> dg.JobDefinition:
    return build_defs(CLIENTS).resolve_job_def("full_sync")


@pytest.mark.parametrize(
    "config",
    [{}, run_config(), run_config(clients=["acme"], audiences=["globex/list-0"], target={"max_posts": 3})],
    ids=["none", "retries", "all"],
)
def test_a_config_may_select_and_set_or_leave_it(config: dict[str, object]) -> None:
    assert dg.validate_run_config(job(), config)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"ops": {"import_contacts": {"config": {"client": ["acme"]}}}}, "client"),
        ({"ops": {"import_contacts": {"config": {"clients": "acme"}}}}, "clients"),
        ({"resources": {"mailchimp": {"config": {"retry_pause": 1}}}}, "retry_pause"),
    ],
    ids=["unknown key", "no list", "unknown setting"],
)
def test_a_config_that_is_wrong_is_refused_before_anything_runs(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=text):
        dg.validate_run_config(job(), wrong)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (run_config(clients=["acne"]), "no client acne is declared and enabled: did you mean acme?"),
        (
            run_config(audiences=["acme/list-7"]),
            "no audience acme/list-7 is declared and enabled: did you mean acme/list-",
        ),
    ],
    ids=["client", "audience"],
)
def test_a_selection_of_what_is_not_declared_fails_with_the_nearest(config: dict[str, object], text: str) -> None:
    ran = full_sync(CLIENTS, config)
    assert (ran.success, ran.message.startswith(text)) == (False, True)


def test_a_step_takes_a_place_in_the_pool_and_is_no_process_of_its_own() -> None:
    made = full_sync_job(CLIENTS)
    assert [node.definition.pool for node in made.graph.nodes if isinstance(node.definition, dg.OpDefinition)] == [
        "mailchimp"
    ]
    assert made.executor_def is dg.in_process_executor
