"""A backfill of partitions that are removed meanwhile: it ends, and says so."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration

from importer_pipeline.defs.names import QUARANTINE_KEY
from importer_pipeline_tests.support.newsletter import Newsletter, newsletter_of_before
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.runs import dagster_home
from importer_pipeline_tests.support.stage import in_order

BACKFILL = "backfill"


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of Dagster's own daemon.


@pytest.fixture
def news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newsletter]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    home = dagster_home(tmp_path, more="code_servers: {wait_for_local_processes_on_shutdown: true}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("IMPORTER_CLIENTS", str(tmp_path / "clients.yaml"))
    with dg.DagsterInstance.from_config(str(home)) as instance, newsletter_of_before(tmp_path, instance) as newsletter:
        yield newsletter


@pytest.fixture
def daemon(news: Newsletter) -> Iterator[WorkspaceProcessContext]:
    target = ModuleTarget(
        "importer_pipeline", attribute=None, working_directory=None, location_name="importer_pipeline"
    )
    with create_test_daemon_workspace_context(target, news.instance) as context:
        yield context


def launch(daemon: WorkspaceProcessContext, asset: dg.AssetKey, *partitions: str) -> None:
    """Launch a backfill of these partitions, as the UI does, and take its first step."""
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id=BACKFILL,
        asset_graph=daemon.create_request_context().asset_graph,
        partition_names=list(partitions),
        asset_selection=[asset],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=daemon.instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    daemon.instance.add_backfill(backfill)
    assert after_a_look(daemon).status is BulkActionStatus.REQUESTED
    assert runs(daemon)


def after_a_look(daemon: WorkspaceProcessContext) -> PartitionBackfill:
    """Return the backfill after the daemon has looked at it once more."""
    list(execute_backfill_iteration(daemon, logging.getLogger(__name__)))
    found = daemon.instance.get_backfill(BACKFILL)
    assert found is not None
    return found


def runs(daemon: WorkspaceProcessContext) -> Sequence[dg.DagsterRun]:
    """Return the runs of the backfill, the first one first."""
    return daemon.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": BACKFILL}), ascending=True)


def quarantine_two(news: Newsletter) -> None:
    """Quarantine a contact of each of two windows, which the target would take now."""
    members = in_order(news.listed)
    news.refuse(members[0].id, members[-1].id)
    assert not news.full_sync().success
    news.refuse()


def test_a_backfill_of_the_quarantine_survives_imported_entries(
    news: Newsletter, daemon: WorkspaceProcessContext
) -> None:
    """It continues when the entries that it has tried are imported, and so no longer exist."""
    quarantine_two(news)
    first, second = news.quarantined
    launch(daemon, QUARANTINE_KEY, first, second)
    assert news.redrive(partitions=[first]).success
    assert list(news.quarantined) == [second]
    for _ in range(2):
        assert (after_a_look(daemon).status, after_a_look(daemon).error) == (BulkActionStatus.REQUESTED, None)
    assert {run.status for run in runs(daemon)} == {dg.DagsterRunStatus.QUEUED}
    for run in runs(daemon):
        daemon.instance.report_run_canceled(run)
    until(lambda: after_a_look(daemon).status not in (BulkActionStatus.REQUESTED, BulkActionStatus.FAILING))
    assert set(news.instance.get_dynamic_partitions("quarantine")) == {first, second}
    assert news.incremental_sync(newcomers=False).success
    assert news.instance.get_dynamic_partitions("quarantine") == [second]


def test_a_backfill_of_windows_that_no_longer_exist_names_them(
    news: Newsletter, daemon: WorkspaceProcessContext
) -> None:
    """A newer snapshot does not have them; the backfill ends."""
    assert news.plan_windows(page_size=30).success
    launch(daemon, dg.AssetKey.from_user_string(news.WINDOWS), "0", "20", "archived-0")
    assert news.full_sync(page_size=1000, restart=True).success
    until(lambda: after_a_look(daemon).status is BulkActionStatus.FAILED)
    error = after_a_look(daemon).error
    assert error is not None
    assert "Targeted partitions" in error.message
    assert "'20'" in error.message
    assert "'archived-0'" not in error.message
    assert {run.status for run in runs(daemon)} == {dg.DagsterRunStatus.CANCELED}
    assert news.missing == set()
