"""The commands of docs/deploy.md, typed in word for word."""

import re
import shutil
from pathlib import Path

import requests

from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline_tests.support.deployed import DEPLOY_PAGE, HOST, blocks, deployed_environment
from importer_pipeline_tests.support.deployed_world import World
from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import until
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.processes import Processes
from importer_pipeline_tests.support.proxied import PASSWORD, USER, USERS
from importer_pipeline_tests.support.runs import ROOT

TICK_SECONDS = 240.0


def test_following_the_page_to_the_letter_sets_up_the_service(
    deployed_world: World, tmp_path: Path, postgres: Postgres, dagster_database: str
) -> None:
    folder = tmp_path / "checkout"
    files = ("pyproject.toml", "setup.py", "constraints.txt", "README.md", "LICENSE")
    for part in ("importer_pipeline", "deploy", *files):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    install, say, load, prepare, shard_0, shard_1, webserver, daemon, proxy, check = blocks(DEPLOY_PAGE)
    environment = deployed_environment() | {"PIP_COMPILE": "0"}  # A few commands use it: half of the time.
    del environment["PYTHONPATH"]
    port, ui_port = free_port(), free_port()
    with Processes(folder) as processes:

        def type_in(name: str, *commands: str) -> int:
            return processes.run(name, ["bash", "-e", "-c", "".join(commands)], environment)

        assert type_in("install", install, say) == 0
        edit(
            folder / "importer.env",
            DAGSTER_HOME=str(folder / "home"),
            DAGSTER_PG_PORT=str(postgres.port),
            IMPORTER_CLIENTS=str(deployed_world.stage.write(deployed_world.stage.on_own_accounts())),
            IMPORTER_HOURLY_CRON='"* * * * *"',
            **{TOLERANCE_VARIABLE: DAYS},
            IMPORTER_SHARD_0_PORT=str(free_port()),
            IMPORTER_SHARD_1_PORT=str(free_port()),
            IMPORTER_UI_USERS_FILE=str(folder / "ui_users"),
            IMPORTER_UI_ADDRESS=f"http://127.0.0.1:{ui_port}",
            IMPORTER_UI_PORT=str(ui_port),
            IMPORTER_UI_WEBSERVER=f"{HOST}:{port}",
        )
        (folder / "ui_users").write_text(USERS, encoding="utf-8")
        environment["IMPORTER_UI_HEALTH_PORT"] = str(free_port())
        environment["IMPORTER_WEBSERVER_PORT"] = str(port)
        assert type_in("prepare", load, prepare) == 0
        commands = {"0": shard_0, "1": shard_1, "webserver": webserver, "daemon": daemon, "proxy": proxy}
        for name, command in commands.items():
            processes.start(name, ["bash", "-e", "-c", load + command], environment)
        until(lambda: type_in("check", load, check) == 0, seconds=120)
        until(lambda: not deployed_world.missing, seconds=TICK_SECONDS)
        locations = requests.post(
            f"http://{HOST}:{ui_port}/graphql",
            auth=(USER, PASSWORD),
            json={"query": "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"},
            timeout=None,
        ).json()["data"]["workspaceOrError"]["locationEntries"]
        assert locations == [{"name": f"shard-{index}", "loadStatus": "LOADED"} for index in range(2)]


def edit(path: Path, **values: str) -> None:
    """Replace lines of a file with one variable each, which must be there."""
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=.*$", lambda _, line=f"{name}={value}": line, text, flags=re.MULTILINE)
        assert count == 1, name
    path.write_text(text, encoding="utf-8")
