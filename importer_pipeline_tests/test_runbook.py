"""docs/runbook.md, compared with the code: every error, message and remedy; and each message is seen in a test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import importer_pipeline
from importer_pipeline import errors
from importer_pipeline.http.faults import Fault
from importer_pipeline_tests.runbook import (
    test_answers,
    test_partitions,
    test_runs,
    test_secrets,
    test_settings,
    test_syncs,
)
from importer_pipeline_tests.support.runbook import PAGE, SYMPTOMS

PACKAGE = Path(importer_pipeline.__file__).parent
TESTS = Path(__file__).parent

_OF_RUNS = ("defs", "engine", "listing", "locks", "mailchimp", "planning", "runner", "target", "exhaustion", "secret")
"""Rooms and modules whose remedies end runs. Those of the clients file are in docs/clients.md."""


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the literal texts below a node, with … for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(it.value) if isinstance(it, ast.Constant) else "…" for it in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def remedies(tree: ast.AST) -> Iterator[str]:
    """Yield the remedies that stand in a module: handed over, or kept in a variable of that name."""
    for node in ast.walk(tree):
        is_kept = isinstance(node, ast.Assign) and [getattr(it, "id", "") for it in node.targets] == ["remedy"]
        if is_kept or (isinstance(node, ast.keyword) and node.arg == "remedy"):
            yield from texts(node)


def fragments(message: str) -> list[str]:
    """Return the parts of a message between what differs, without quotation marks of Markdown."""
    return [part.strip(" `;:,.()") for part in re.sub(r"\s+", " ", message.replace("`", "")).split("…")]


TREES = {
    path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "sandbox" not in path.parts
}
IN_CODE = [re.sub(r"\s+", " ", text) for tree in TREES.values() for text in texts(tree)] + [it.value for it in Fault]
REMEDIES = sorted(
    {
        remedy
        for path, tree in TREES.items()
        if {*path.parts, path.stem} & set(_OF_RUNS)
        for remedy in remedies(tree)
        if " " in remedy
    }
)


def test_every_error_class_is_in_the_page() -> None:
    classes = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, errors.ImporterError)]
    assert [it.__name__ for it in classes if f"`{it.__name__}`" not in PAGE] == []


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_every_message_of_the_page_is_in_the_code(symptom: str) -> None:
    assert [part for part in fragments(symptom) if not any(part in text.replace("`", "") for text in IN_CODE)] == []


@pytest.mark.parametrize("remedy", REMEDIES)
def test_every_remedy_in_the_code_is_in_the_page(remedy: str) -> None:
    page = PAGE.replace("`", "")
    assert [part for part in fragments(remedy) if part not in page] == []


@pytest.mark.parametrize("fault", Fault)
def test_every_reason_for_no_answer_is_in_the_page(fault: Fault) -> None:
    assert f"| `{fault.value}` |" in PAGE


SHOWN = {
    symptom
    for module in (test_answers, test_partitions, test_runs, test_secrets, test_settings, test_syncs)
    for symptom in module.SHOWN
}
"""What the command line prints in a test."""

_DISK = "acceptance/test_exhaustion.py::test_a_command_that_runs_out_names_the_resource"
_EXHAUSTED = "acceptance/test_exhaustion.py::test_the_exhausted_resource_is_found_below_its_effects"

ELSEWHERE = {
    "Mailchimp answered only 429 for … minutes": (
        "engine/test_sync.py::test_an_account_is_given_up_after_five_minutes_of_only_429"
    ),
    "Stopped. What was imported is recorded; the same command resumes from there.": (
        "cli/test_sync.py::test_ctrl_c_cancels_the_run_and_the_bar_is_shown"
    ),
    "an unexpected … at …": "runner/test_workers.py::test_an_unexpected_exception_fails_its_window",
    "never imported": "defs/test_status.py::test_a_client_that_never_worked_is_red_a_new_one_yellow",
    "the connection to the database that holds the accounts' locks was lost": (
        "acceptance/test_incremental_sync.py::test_a_run_that_loses_its_locks_makes_no_more_requests"
    ),
    "the database accepts no more connections": (
        "locks/test_postgres.py::test_a_refused_connection_is_exhaustion_of_the_database"
    ),
    "the database has no room for more locks: each account takes one while it is synced": (
        "locks/test_postgres.py::test_a_server_out_of_locks_is_reported_with_the_setting"
    ),
    "the database is behind a proxy that pools transactions, which loses the locks of a session": (
        "locks/test_postgres.py::test_a_transaction_pooling_proxy_is_refused"
    ),
    "the database that holds the locks can't be reached": (
        "locks/test_postgres.py::test_a_database_without_a_server_is_reported_as_unreachable"
    ),
    "the disk is full or fails, or a file has reached its size limit": _DISK,
    "the disk of DAGSTER_HOME or of the database can't be written to": _EXHAUSTED,
    "the target throttled every request for minutes": (
        "engine/test_target_patience.py::test_minutes_of_only_throttling_stop_that_client_alone"
    ),
    "the webhook answered HTTP …": "acceptance/test_alerts_served.py::test_the_daemon_tells_of_exactly_the_clients_in_trouble",
    "this process can't open more files or connections": (
        "acceptance/test_exhaustion.py::test_running_out_of_files_is_no_failure_of_the_server"
    ),
    "this process can't start more threads": (
        "acceptance/test_exhaustion.py::test_a_run_that_gets_no_threads_quarantines_nothing"
    ),
    "this process is out of memory": _EXHAUSTED,
}
"""What takes minutes, another process, a database or a broken machine to see, and the test that sees it."""


def test_every_symptom_of_the_page_is_seen_in_a_test() -> None:
    """Add a scenario below `runbook/` for a new line of the page, or the test that has one already."""
    assert sorted(set(SYMPTOMS) - SHOWN) == sorted(ELSEWHERE)
    assert sorted(SHOWN - set(SYMPTOMS)) == []


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_a_test_that_is_named_here_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"\ndef {name}(" in (TESTS / path).read_text(encoding="utf-8")
