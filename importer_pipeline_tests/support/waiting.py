"""Definitions that only take a pool slot and wait there, for runs in processes that are killed."""

import os
import time
from pathlib import Path

import dagster as dg

from importer_pipeline.defs.dead_runs import dead_runs_sensor
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.run_liveness import RunLiveness, sign_of_life

FOLDER = "WAITING_FOLDER"
"""The environment variable that names the folder shared by the runs and the test."""

GO = "go"
"""The file in that folder that ends the wait."""


def _wait(run_id: str) -> None:
    folder = Path(os.environ[FOLDER])
    (folder / f"{run_id}.new").write_text(str(os.getpid()), encoding="ascii")
    (folder / f"{run_id}.new").rename(folder / f"{run_id}.pid")
    while not (folder / GO).exists():
        time.sleep(0.05)


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def wait(context: dg.OpExecutionContext, sign_of_life: dg.ResourceParam[RunLiveness]) -> None:
    _wait(context.run_id)


@dg.job(executor_def=dg.in_process_executor)
def waiting_job() -> None:
    wait()


@dg.asset(pool=POOL)
def waiting_asset(context: dg.AssetExecutionContext, sign_of_life: dg.ResourceParam[RunLiveness]) -> None:
    _wait(context.run.run_id)


defs = dg.Definitions(
    assets=[waiting_asset],
    jobs=[waiting_job],
    sensors=[dead_runs_sensor],
    resources={"sign_of_life": sign_of_life},
    executor=dg.in_process_executor,
)
