"""Old runs go, and nothing that a later run goes by does: through Dagster's own runs, with SQLite and with Postgres."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.runs import SqlRunStorage
from sqlalchemy import text

from importer_pipeline.clients.client import fingerprint
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.chain_evidence import read_evidence
from importer_pipeline.defs.names import changes_key
from importer_pipeline.defs.pruning import PruneConfig
from importer_pipeline.defs.settings import Settings
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.chain import chain_of
from importer_pipeline_tests.support.newsletter import Newsletter, newsletter_of_before
from importer_pipeline_tests.support.runs import Ran, ran_of

NAME = AudienceName("acme", "newsletter")


@pytest.fixture
def news(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newsletter]:
    """One that has been synced in full, and hour by hour since."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with newsletter_of_before(tmp_path, instance, hours=6) as made:
        assert made.full_sync().success
        for _ in range(3):
            an_hour_passes(made)
        yield made


def an_hour_passes(news: Newsletter) -> None:
    news.change(0, 1)
    news.let_hours_pass()
    assert news.incremental_sync().success


def requests_of_an_hour(news: Newsletter) -> int:
    """What the next hourly run asks for."""
    news.asked()
    an_hour_passes(news)
    return len(news.asked())


def let_runs_age(news: Newsletter, *, days: int) -> None:
    """All that has run so far ran so many days ago."""
    storage = news.instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    with storage.connect() as connection:
        for run in news.instance.get_runs():
            at = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
            connection.execute(
                text("UPDATE runs SET create_timestamp = :at WHERE run_id = :id"), {"at": at, "id": run.run_id}
            )


def prune(news: Newsletter, *, days: int | None = 30) -> Ran:
    config = {"ops": {"delete_old_runs": {"config": {} if days is None else {"older_than_days": days}}}}
    job = build_defs(news.clients).resolve_job_def("prune_history")
    return ran_of(job.execute_in_process(instance=news.instance, run_config=config), news.instance)


def runs(news: Newsletter, job: str) -> int:
    return len(news.instance.get_runs(dg.RunsFilter(job_name=job)))


def watermark(news: Newsletter) -> int:
    """The last second that is in without a gap."""
    view = Settings(clock_tolerance_minutes=100_000).view(datetime.now(UTC))
    (client,) = news.clients.clients
    now = fingerprint(client, client.audiences[0])
    chain = chain_of(read_evidence(news.instance, [NAME], view)[NAME], fingerprint=now, view=view)
    assert chain is not None
    return chain.end


def test_after_pruning_the_next_sync_continues_the_chain(news: Newsletter) -> None:
    usual = requests_of_an_hour(news)
    before = watermark(news)
    let_runs_age(news, days=31)
    ran = prune(news)
    assert "3 are deleted" in str([line.text for line in ran.log])
    # Of the hourly runs, the newest says how far the audience is; the full sync, what its windows are.
    assert (runs(news, "incremental_sync"), runs(news, "full_sync")) == (1, 1)
    assert watermark(news) == before
    assert news.shown.green == {"0", "40", "archived-0"}
    assert requests_of_an_hour(news) == usual
    assert news.missing == set()


def green_hours(news: Newsletter) -> int:
    """Return the number of hours that the UI shows as imported, from what Dagster has computed before."""
    key = changes_key(NAME)
    hours = build_defs(news.clients).resolve_asset_graph().get(key).partitions_def
    assert hours is not None
    status = get_and_update_asset_status_cache_value(news.instance, key, hours)
    assert status is not None
    return len(status.deserialize_materialized_partition_subsets(hours))


def test_hours_whose_runs_were_deleted_are_shown_as_missing(news: Newsletter) -> None:
    assert green_hours(news) == 3
    let_runs_age(news, days=31)
    prune(news)
    assert green_hours(news) == 1


def test_runs_that_imported_windows_of_a_former_snapshot_go(news: Newsletter) -> None:
    assert news.plan_windows(restart=True).success
    assert news.import_windows("0").success
    let_runs_age(news, days=31)
    prune(news)
    assert runs(news, "__ASSET_JOB") == 1
    assert news.full_sync(restart=True).success
    let_runs_age(news, days=31)
    prune(news)
    assert runs(news, "__ASSET_JOB") == 0


def test_what_is_young_stays(news: Newsletter) -> None:
    let_runs_age(news, days=29)
    prune(news)
    assert runs(news, "incremental_sync") == 3


def test_without_a_number_the_hours_in_view_stay(news: Newsletter) -> None:
    let_runs_age(news, days=40)
    prune(news, days=None)
    assert runs(news, "incremental_sync") == 3
    let_runs_age(news, days=130)
    prune(news, days=None)
    assert runs(news, "incremental_sync") == 1


def test_hours_by_hand_since_the_chain_s_end_stay_with_it(news: Newsletter) -> None:
    before = watermark(news)
    assert news.import_hours(news.hour(ago=1)).success
    let_runs_age(news, days=31)
    prune(news)
    assert (runs(news, "incremental_sync"), runs(news, "__ASSET_JOB")) == (1, 1)
    assert watermark(news) == before


def test_what_is_in_the_quarantine_is_not_lost(news: Newsletter) -> None:
    (refused,) = news.change(5)
    news.refuse(refused)
    news.let_hours_pass()
    assert not news.incremental_sync().success
    before = news.quarantined
    for _ in range(2):
        an_hour_passes_badly(news)
    let_runs_age(news, days=31)
    prune(news)
    after = news.quarantined
    assert before.keys() == after.keys()
    assert all(refused in entry.contacts for entry in after.values())
    news.refuse()
    assert news.redrive().success
    assert news.missing == set()


def an_hour_passes_badly(news: Newsletter) -> None:
    news.change(0, 1)
    news.let_hours_pass()
    news.incremental_sync()


def test_a_client_that_is_not_declared_any_more_loses_nothing(news: Newsletter) -> None:
    usual = requests_of_an_hour(news)
    before = watermark(news)
    let_runs_age(news, days=31)
    everyone = news.clients
    news.stage.add("globex", contacts=5)
    news.clients = news.stage.load({"globex": news.stage.declared()["globex"]})
    prune(news)
    news.clients = everyone
    assert watermark(news) == before
    assert requests_of_an_hour(news) == usual


def test_a_run_that_goes_on_stays_however_old_it_is(news: Newsletter) -> None:
    job = build_defs(news.clients).resolve_job_def("full_sync")
    begun = news.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    let_runs_age(news, days=400)
    prune(news)
    assert news.instance.has_run(begun.run_id)


@pytest.mark.parametrize("instance", ["sqlite"], indirect=True)
def test_the_files_of_deleted_runs_are_gone(news: Newsletter) -> None:
    storage = news.instance.event_log_storage
    assert isinstance(storage, SqliteEventLogStorage)
    every = [Path(storage.path_for_shard(run.run_id)) for run in news.instance.get_runs()]
    assert all(path.exists() for path in every)
    let_runs_age(news, days=31)
    prune(news)
    assert sum(path.exists() for path in every) == 2


def test_no_less_than_a_redrive_looks_back_can_be_asked_for() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 8"):
        PruneConfig(older_than_days=7)
    now = datetime(2026, 11, 26, 17, tzinfo=UTC)
    assert PruneConfig().cutoff(Settings(), now) == datetime(2026, 8, 1, tzinfo=UTC)
