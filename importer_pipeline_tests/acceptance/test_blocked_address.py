"""Mailchimp's edge blocks this machine's address for all of 500 clients: a handful of requests, one message."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest

from importer_pipeline_tests.support.loopback import Loopback, reply
from importer_pipeline_tests.support.runs import Ran, full_sync, new_instance, run_config
from importer_pipeline_tests.support.stage import Stage

CLIENTS = 500
MAX_REQUESTS = 15
"""Three before any good answer, two of them repeated, and five turns; far fewer than there are clients."""


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """The run, and its traces."""

    ran: Ran
    requests: int
    quarantined: list[str]


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blocked]:
    stage = Stage(tmp_path_factory.mktemp("blocked"))
    for number in range(CLIENTS):
        stage.add(f"client-{number}", contacts=0)
    page = reply(403, b"<html>Access Denied</html>", headers={"Content-Type": "text/html"})
    with Loopback(lambda _: [page]) as edge, new_instance(tmp_path_factory) as instance, stage:
        declared = stage.declared()
        for client in declared.values():
            client["mailchimp"]["base_url"] = f"{edge.url}/3.0"
        ran = full_sync(stage.load(declared), run_config(mailchimp={"retry_pause_seconds": 0.1}), instance=instance)
        yield Blocked(ran=ran, requests=len(edge.received), quarantined=_quarantined(instance))


def _quarantined(instance: dg.DagsterInstance) -> list[str]:
    return list(instance.get_dynamic_partitions("quarantine"))


def test_a_block_costs_a_handful_of_requests_in_all(blocked: Blocked) -> None:
    assert 1 <= blocked.requests <= MAX_REQUESTS


def test_nothing_is_quarantined_for_it(blocked: Blocked) -> None:
    assert blocked.quarantined == []


def test_it_is_one_message_that_says_what_to_do(blocked: Blocked) -> None:
    heading, *lines = blocked.ran.message.splitlines()
    assert heading == f"Incomplete: {CLIENTS} of {CLIENTS} audiences."
    (line,) = lines
    assert f" and {CLIENTS - 10} more: " in line
    assert "a proxy or firewall rejects this machine's requests for every account" in line
    assert "ask Mailchimp support to unblock the address" in line


def test_the_log_has_few_lines_of_it(blocked: Blocked) -> None:
    said = [line.text for line in blocked.ran.log if line.level == logging.ERROR and "turns this machine" in line.text]
    assert len(said) <= 6
