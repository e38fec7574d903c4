"""A full sync from Dagster's launchpad: its progress, its end, and its termination."""

import time
from typing import Any

from importer_pipeline.sandbox.faults import FaultPlan, Latency
from importer_pipeline_tests.support.stage import Stage
from importer_pipeline_tests.ui.fixtures import SYNCED, TERMINATED
from importer_pipeline_tests.ui.screens import Ui

SLOW = FaultPlan(latency=Latency.fixed(2.0))
QUICK = FaultPlan()


def full_sync_of(client: str, *, connections: int = 10) -> dict[str, Any]:
    return {
        "ops": {"import_contacts": {"config": {"clients": [client]}}},
        "resources": {"mailchimp": {"config": {"max_connections": connections}}},
    }


def requests_of(client: str, stage: Stage) -> int:
    """Count the requests to a client's account and its target."""
    ends, now = stage.clients[client], stage.sandbox.clock()
    return sum(sum(end.traffic.figures(now).requests.values()) for end in (ends.account, ends.target))


def test_a_second_sync_empties_and_refills_the_windows(ui: Ui, stage: Stage) -> None:
    """It fills them while it runs."""
    ui.launch("full_sync", full_sync_of(SYNCED)).expect_end("Success")
    every = ui.windows(SYNCED).wait_for(lambda counts: counts.missing == 0).materialized

    stage.clients[SYNCED].account.fault_plan = SLOW
    run = ui.launch("full_sync", full_sync_of(SYNCED, connections=2))
    windows = ui.windows(SYNCED)
    some = windows.wait_for(lambda counts: 0 < counts.materialized < every)
    assert some.missing == every - some.materialized
    more = windows.wait_for(lambda counts: counts.materialized > some.materialized)
    assert more.materialized < every

    stage.clients[SYNCED].account.fault_plan = QUICK
    windows.wait_for(lambda counts: counts.materialized == every and counts.missing == 0)
    ui.back_to(run).expect_end("Success")
    ui.expect_contacts_from(run, SYNCED)


def test_a_terminated_sync_is_canceled_and_stops_requesting(ui: Ui, stage: Stage) -> None:
    stage.clients[TERMINATED].account.fault_plan = SLOW
    run = ui.launch("full_sync", full_sync_of(TERMINATED))
    ui.windows(TERMINATED).wait_for(lambda counts: counts.materialized > 0)
    run = ui.back_to(run)

    run.terminate()
    run.expect_end("Canceled", within_seconds=15)
    asked = requests_of(TERMINATED, stage)
    time.sleep(3 * SLOW.latency.most_seconds)
    assert requests_of(TERMINATED, stage) == asked

    counts = ui.windows(TERMINATED).counts()
    assert counts.materialized > 0
    assert counts.missing > 0
    assert counts.failed == 0
