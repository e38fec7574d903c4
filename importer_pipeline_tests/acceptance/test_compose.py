"""The services of the compose file as processes: they survive `kill -9`."""

import re
from pathlib import Path

import dagster as dg

from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.names import POOL
from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.deployed import DEPLOY, Composed
from importer_pipeline_tests.support.deployed_world import World
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.processes import Processes
from importer_pipeline_tests.support.served import Ui

TICK_SECONDS = 240.0
EVERY_MINUTE = {"IMPORTER_HOURLY": "on", "IMPORTER_HOURLY_CRON": "* * * * *", TOLERANCE_VARIABLE: DAYS}
CHANGES = {"ops": {"import_changes": {"config": {"newcomers": False}}}}
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def test_the_compose_services_survive_being_killed_one_by_one(
    deployed_world: World, tmp_path: Path, postgres: Postgres, dagster_database: str
) -> None:
    clients = deployed_world.stage.write(deployed_world.stage.on_own_accounts())
    shares = [deployed_world.of_shard(Shard(index, 2)) for index in range(2)]
    assert all(shares)
    with Processes(tmp_path) as processes:
        composed = Composed(processes, tmp_path, clients=clients, postgres_port=postgres.port, variables=EVERY_MINUTE)
        assert composed.run("migrate") == 0
        with postgres.instance(tmp_path / "home", dagster_database) as instance:
            composed.start("shard-0", "shard-1", "webserver", "daemon")
            ui = Ui(composed.url)

            # The schedules fire in both shards.
            until(lambda: not deployed_world.missing, seconds=TICK_SECONDS)
            until(
                lambda: {run.tags["importer_pipeline/shard"] for run in runs(instance, "full_sync")} == {"0/2", "1/2"}
            )

            # A shard is killed in the middle of a sync. The other one continues; started again, it catches up.
            held = deployed_world.hold(shares[1])
            deployed_world.let_an_hour_pass()
            for location in ("shard-0", "shard-1"):
                ui.launch("incremental_sync", CHANGES, location=location)
            until(lambda: any(it.asked for it in held), seconds=TICK_SECONDS)
            processes.kill("shard-1")
            until(
                lambda: not set[str]().union(*(deployed_world.stage.missing(name) for name in shares[0])),
                seconds=TICK_SECONDS,
            )
            deployed_world.let_go()
            composed.start("shard-1")
            ui.launch("incremental_sync", CHANGES, location="shard-1")
            until(lambda: not deployed_world.missing, seconds=TICK_SECONDS)

            # The same for the sessions that hold the locks, the daemon and the webserver, all at once.
            held = deployed_world.hold([*shares[0], *shares[1]])
            deployed_world.let_an_hour_pass()
            for location in ("shard-0", "shard-1"):
                ui.launch("incremental_sync", CHANGES, location=location)
            until(lambda: sum(bool(it.asked) for it in held) > len(held) // 2, seconds=TICK_SECONDS)
            assert postgres.end_sessions(dagster_database)
            processes.kill("daemon")
            processes.kill("webserver")
            deployed_world.let_go()
            composed.start("webserver", "daemon")
            for location in ("shard-0", "shard-1"):
                ui.launch("incremental_sync", CHANGES, location=location)
            until(lambda: not deployed_world.missing, seconds=TICK_SECONDS)

            # Below its home, it writes only where the compose file allows it.
            written = {path.name for path in (tmp_path / "home").iterdir()} - {"dagster.yaml"}
            assert written <= folders_below_home()

            # Nothing is left behind: no endless run, no pool slot, no lock.
            processes.kill("daemon")
            without_daemon = (*OVER, dg.DagsterRunStatus.QUEUED)
            until(lambda: all(run.status in without_daemon for run in instance.get_runs()))
            until(lambda: not instance.event_log_storage.get_concurrency_info(POOL).pending_steps)
            until(lambda: postgres.advisory_locks(dagster_database) == 0)
            assert deployed_world.most_in_progress <= 10


def runs(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(job_name=job)))


def folders_below_home() -> set[str]:
    """Return the folders below DAGSTER_HOME that are writable in a container."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    return set(re.findall(r"- /opt/importer/home/([^:]+):uid=10001", text))
