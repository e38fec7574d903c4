"""Runs launched in Dagster's UI: a backfill of scattered windows beside a full sync, and Terminate."""

from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from importer_pipeline.defs.names import windows_key
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline_tests.support.held_client import AUDIENCE, PAGE_SIZE, HeldClient, held_client
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.runs import plan_windows, run_config
from importer_pipeline_tests.support.served import ServedDagster

SCATTERED = [str(offset) for offset in range(20, 820, 100)]
CONNECTIONS = 10

CANCELED, STARTED, SUCCESS = dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS


class Served(NamedTuple):
    acme: HeldClient
    dagster: ServedDagster


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        with held_client(folder) as acme:
            yield Served(acme, ServedDagster(acme.commands))


def test_a_backfill_and_a_full_sync_succeed_beside_each_other(
    served: Served,
) -> None:
    """The backfill is of scattered windows; a full sync that is terminated is resumed."""
    acme, commands = served.acme, served.acme.commands
    config = run_config(mailchimp={"page_size": PAGE_SIZE}, op="register_windows")
    assert plan_windows(acme.clients, config, instance=commands.instance).success

    acme.hold(after_pages=0, seconds=1)
    terminated = served.dagster.launch("full_sync", acme.config)
    until(lambda: len(acme.reported) >= CONNECTIONS)
    served.dagster.terminate(terminated)
    until(lambda: commands.status(terminated) is CANCELED)
    with acme.account_taken() as is_free:
        assert (is_free, commands.in_pool) == (True, set())
    reported = acme.reported

    acme.hold(after_pages=0, seconds=10)  # Dagster looks for new backfills twice a minute.
    full_sync = served.dagster.launch("full_sync", acme.config)
    backfill = served.dagster.launch_backfill(windows_key(AudienceName(*AUDIENCE.split("/"))), SCATTERED)
    until(lambda: bool(commands.said("waiting for other syncs")))
    assert commands.status(full_sync) is STARTED
    held = acme.let_go()
    until(lambda: commands.status(full_sync) is SUCCESS)
    # Eight runs, two at a time, each a process that starts within seconds; Dagster checks for their end twice a
    # minute.
    until(lambda: commands.backfill_status(backfill) is BulkActionStatus.COMPLETED_SUCCESS, seconds=180)
    assert len(commands.runs_of_backfill(backfill)) == len(SCATTERED)
    assert not reported - acme.reported
    assert acme.reported == acme.keys
    assert acme.missing == set()
    assert acme.most_in_progress <= CONNECTIONS
    assert len(held.asked) <= len(acme.keys - reported) + len(SCATTERED)
