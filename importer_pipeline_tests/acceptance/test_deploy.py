"""The shipped deployment as processes: its files, the commands of docs/deploy.md, and `kill -9`."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import requests

from importer_pipeline.clients.secret import Secret
from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.settings import Settings
from importer_pipeline.listing.hours import HOUR_SECONDS
from importer_pipeline.sandbox.children import DAYS, TOLERANCE_VARIABLE
from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline_tests.support.deployed import (
    DEPLOY,
    HOST,
    Composed,
    blocks,
    deployed_environment,
    services,
)
from importer_pipeline_tests.support.held_client import Holding
from importer_pipeline_tests.support.loopback import free_port
from importer_pipeline_tests.support.patience import ended, until
from importer_pipeline_tests.support.postgres import Postgres
from importer_pipeline_tests.support.processes import Processes
from importer_pipeline_tests.support.proxied import PASSWORD, USER, USERS
from importer_pipeline_tests.support.runs import ROOT
from importer_pipeline_tests.support.served import Ui
from importer_pipeline_tests.support.stage import Stage

NAMES = ("acme", "globex", "hooli", "initech", "umbrella", "vandelay")
TICK_SECONDS = 240.0
EVERY_MINUTE = {"IMPORTER_HOURLY": "on", "IMPORTER_HOURLY_CRON": "* * * * *", TOLERANCE_VARIABLE: DAYS}
CHANGES = {"ops": {"import_changes": {"config": {"newcomers": False}}}}
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
PAGE = ROOT / "docs" / "deploy.md"


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """Return an empty one, as docs/deploy.md asks for."""
    postgres.execute("CREATE ROLE dagster LOGIN PASSWORD 'any'")
    postgres.execute("CREATE DATABASE dagster OWNER dagster")
    yield "dagster"
    postgres.drop_database("dagster")
    postgres.execute("DROP ROLE dagster")


class World:
    """Some clients, six hours ago by Mailchimp's clock."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        for client in stage.clients.values():
            client.account.clock_offset_seconds = -6 * HOUR_SECONDS
            for listed in client.lists:
                for number, member in enumerate(list(listed)):
                    listed.restamp([member.contact_id], client.account.now() - HOUR_SECONDS - 60 * number)

    def of_shard(self, shard: Shard) -> list[str]:
        """Return the clients of a shard, each alone on its account."""
        return [client.name for client in self.stage.load(self.stage.on_own_accounts()).of_shard(shard).clients]

    @property
    def missing(self) -> set[str]:
        """Ids of contacts whose present values are not at their targets."""
        return set[str]().union(*(self.stage.missing(name) for name in self.stage.clients))

    def let_an_hour_pass(self) -> None:
        """Change contacts, and move Mailchimp's clock forward by an hour."""
        for client in self.stage.clients.values():
            for member in list(client.lists[0])[:3]:
                client.lists[0].update(member.contact_id, merge_fields={"FNAME": f"At {client.account.now()}"})
            client.account.clock_offset_seconds += HOUR_SECONDS

    def hold(self, names: list[str]) -> list[Holding]:
        """Answer their accounts very late from now on."""
        held = [Holding(quick_pages=0, held_seconds=60.0) for _ in names]
        for name, holding in zip(names, held, strict=True):
            self.stage.clients[name].account.fault_plan = holding
        return held

    def let_go(self) -> None:
        """Answer all at once from now on."""
        for client in self.stage.clients.values():
            client.account.fault_plan = FaultPlan()

    @property
    def most_in_progress(self) -> int:
        """Maximum number of our requests that an account had at once, including those it refused for that."""
        figures = [it.account.traffic.figures(self.stage.sandbox.clock()) for it in self.stage.clients.values()]
        return max(it.peak_in_progress + it.refused_429 for it in figures)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    stage = Stage(tmp_path)
    for name in NAMES:
        stage.add(name, contacts=30)
    with stage:
        yield World(stage)


def test_the_compose_services_survive_being_killed_one_by_one(
    world: World, tmp_path: Path, postgres: Postgres, database: str
) -> None:
    clients = world.stage.write(world.stage.on_own_accounts())
    shares = [world.of_shard(Shard(index, 2)) for index in range(2)]
    assert all(shares)
    with Processes(tmp_path) as processes:
        composed = Composed(processes, tmp_path, clients=clients, postgres_port=postgres.port, variables=EVERY_MINUTE)
        assert composed.run("migrate") == 0
        with postgres.instance(tmp_path / "home", database) as instance:
            composed.start("shard-0", "shard-1", "webserver", "daemon")
            ui = Ui(composed.url)

            # The schedules fire in both shards.
            until(lambda: not world.missing, seconds=TICK_SECONDS)
            until(
                lambda: {run.tags["importer_pipeline/shard"] for run in runs(instance, "full_sync")} == {"0/2", "1/2"}
            )

            # A shard is killed in the middle of a sync. The other one continues; started again, it catches up.
            held = world.hold(shares[1])
            world.let_an_hour_pass()
            for location in ("shard-0", "shard-1"):
                ui.launch("incremental_sync", CHANGES, location=location)
            until(lambda: any(it.asked for it in held), seconds=TICK_SECONDS)
            processes.kill("shard-1")
            until(
                lambda: not set[str]().union(*(world.stage.missing(name) for name in shares[0])), seconds=TICK_SECONDS
            )
            world.let_go()
            composed.start("shard-1")
            ui.launch("incremental_sync", CHANGES, location="shard-1")
            until(lambda: not world.missing, seconds=TICK_SECONDS)

            # The same for the sessions that hold the locks, the daemon and the webserver, all at once.
            held = world.hold([*shares[0], *shares[1]])
            world.let_an_hour_pass()
            for location in ("shard-0", "shard-1"):
                ui.launch("incremental_sync", CHANGES, location=location)
            until(lambda: sum(bool(it.asked) for it in held) > len(held) // 2, seconds=TICK_SECONDS)
            assert postgres.end_sessions(database)
            processes.kill("daemon")
            processes.kill("webserver")
            world.let_go()
            composed.start("webserver", "daemon")
            for location in ("shard-0", "shard-1"):
                ui.launch("incremental_sync", CHANGES, location=location)
            until(lambda: not world.missing, seconds=TICK_SECONDS)

            # Below its home, it writes only where the compose file allows it.
            written = {path.name for path in (tmp_path / "home").iterdir()} - {"dagster.yaml"}
            assert written <= folders_below_home()

            # Nothing is left behind: no endless run, no pool slot, no lock.
            processes.kill("daemon")
            without_daemon = (*OVER, dg.DagsterRunStatus.QUEUED)
            until(lambda: all(run.status in without_daemon for run in instance.get_runs()))
            until(lambda: not instance.event_log_storage.get_concurrency_info(POOL).pending_steps)
            until(lambda: postgres.advisory_locks(database) == 0)
            assert world.most_in_progress <= 10


def runs(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(job_name=job)))


def test_following_the_page_to_the_letter_sets_up_the_service(
    world: World, tmp_path: Path, postgres: Postgres, database: str
) -> None:
    folder = tmp_path / "checkout"
    for part in ("importer_pipeline", "deploy", "pyproject.toml", "setup.py", "constraints.txt", "README.md"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    install, say, load, prepare, shard_0, shard_1, webserver, daemon, proxy, check = blocks(PAGE)
    environment = deployed_environment()
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
            IMPORTER_CLIENTS=str(world.stage.write(world.stage.on_own_accounts())),
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
        until(lambda: not world.missing, seconds=TICK_SECONDS)
        locations = requests.post(
            f"http://{HOST}:{ui_port}/graphql",
            auth=(USER, PASSWORD),
            json={"query": "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"},
            timeout=None,
        ).json()["data"]["workspaceOrError"]["locationEntries"]
        assert locations == [{"name": f"shard-{index}", "loadStatus": "LOADED"} for index in range(2)]


def folders_below_home() -> set[str]:
    """Return the folders below DAGSTER_HOME that are writable in a container."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    return set(re.findall(r"- /opt/importer/home/([^:]+):uid=10001", text))


def edit(path: Path, **values: str) -> None:
    """Replace lines of a file with one variable each, which must be there."""
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=.*$", lambda _, line=f"{name}={value}": line, text, flags=re.MULTILINE)
        assert count == 1, name
    path.write_text(text, encoding="utf-8")


def used() -> set[str]:
    """Return every variable in the files of the deployment, and those that the settings are read from."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(DEPLOY.iterdir()) if path.is_file())
    settings = {f"IMPORTER_{name.upper()}" for name in Settings.model_fields}
    return settings | set(re.findall(r"\b(?:DAGSTER|IMPORTER)_[A-Z0-9_]*[A-Z0-9]\b", text))


@pytest.mark.parametrize("name", sorted(used() - {"IMPORTER_SHARD_1_HOST", "IMPORTER_SHARD_1_PORT"}))
def test_every_variable_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


def test_the_example_environment_has_every_variable() -> None:
    """Every variable that the processes read."""
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "importer.env.example").read_text(encoding="utf-8"), re.MULTILINE))
    in_containers = {"DAGSTER_PG_PASSWORD_FILE", "IMPORTER_SHARD", "IMPORTER_WEBSERVER_PORT", "IMPORTER_SHARD_MEMORY"}
    in_containers |= {"IMPORTER_POSTGRES_IMAGE", "IMPORTER_CADDY_IMAGE", "IMPORTER_UI_NAME", "IMPORTER_UI_HEALTH_PORT"}
    assert used() - example - in_containers == {name for name in used() if name.endswith("_ON_HOST")}


def test_only_services_that_need_keys_hold_them_none_is_root() -> None:
    assert "\nUSER 10001\n" in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    made = services({})
    assert [name for name, service in made.items() if "IMPORTER_CLIENTS" in service.environment] == [
        "shard-0",
        "shard-1",
    ]
    assert [made[f"shard-{index}"].environment["IMPORTER_SHARD"] for index in range(2)] == ["0/2", "1/2"]
    assert all(service.check for name, service in made.items() if name != "migrate")


@pytest.mark.parametrize("name", services({}))
def test_no_service_may_do_more_than_it_has_to(name: str) -> None:
    service = services({})[name]
    assert {**service.confined, "mem_limit": "", "pids_limit": 0} == {
        "read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "mem_limit": "",
        "pids_limit": 0,
    }  # fmt: skip
    assert service.confined["mem_limit"]
    assert service.confined["pids_limit"]


def test_only_the_proxy_is_published_and_on_loopback() -> None:
    ports = {name: service.ports for name, service in services({}).items() if service.ports}
    assert ports == {"proxy": ["127.0.0.1:3000:3000"]}


def test_no_image_is_taken_by_a_tag_that_moves_with_each_release() -> None:
    text = "".join((DEPLOY / name).read_text(encoding="utf-8") for name in ("compose.yaml", "Dockerfile"))
    images = re.findall(r"(?:image: \$\{\w+:-|PYTHON_IMAGE=)([a-z]+:[^}\s@]+)", text)
    assert {image.partition(":")[0] for image in images} == {"postgres", "caddy", "python"}
    assert all(re.search(r":\d+\.\d+", image) for image in images)


READ: dict[str, tuple[bytes, str]] = {
    "a line": (b"s3cr et\n", "s3cr et"),
    "no line's end": (b"s3cr et", "s3cr et"),
    "a carriage return": (b"s3cr et\r\n", "s3cr et"),
    "a byte order mark": (b"\xef\xbb\xbfs3cr et\r\n", "s3cr et"),
    "white space around it": (b" \t s3cr et \n\n", "s3cr et"),
    "more than ASCII": ("s3cr ét".encode(), "s3cr ét"),
    "what a shell would take": (b"$(false) `false` 'a\"*\\n%s\n", "$(false) `false` 'a\"*\\n%s"),
}


@pytest.mark.parametrize("variable", ["DAGSTER_PG_PASSWORD", "POSTGRES_PASSWORD"])
@pytest.mark.parametrize(("content", "read"), READ.values(), ids=READ)
def test_the_entrypoint_puts_the_password_into_the_environment(
    tmp_path: Path, variable: str, content: bytes, read: str
) -> None:
    (tmp_path / "password").write_bytes(content)
    done = entered(tmp_path, **{f"{variable}_FILE": "password"}, PRINT=variable)
    assert (done.returncode, done.stdout.decode()) == (0, read)
    assert read == Secret(file=tmp_path / "password").read().get_secret_value()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "can't be read"), (b"", "is empty"), (b"\xef\xbb\xbf \r\n", "is empty"), (b"a\nb\n", "several lines")],
    ids=["none", "empty", "nothing but a mark", "two lines"],
)
def test_the_entrypoint_reports_a_bad_password_in_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    done = entered(tmp_path, DAGSTER_PG_PASSWORD_FILE="password")
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode != 0
    assert line.startswith("importer-entrypoint: the password file password ")
    assert said in line


def test_without_a_password_the_entrypoint_starts_the_command(tmp_path: Path) -> None:
    """It does nothing else."""
    assert entered(tmp_path, PRINT="DAGSTER_PG_PASSWORD").stdout == b""


def entered(folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Return what a command prints of a variable after the entrypoint."""
    command = [str(DEPLOY / "entrypoint.sh"), sys.executable, "-c", PRINTS]
    mine = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}
    return subprocess.run(command, cwd=folder, env=mine | variables, capture_output=True, check=False)


PRINTS = "import os; print(os.environ.get(os.environ.get('PRINT', ''), ''), end='')"

INIT = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; " + sys.argv[1] + "time.sleep(1000)"])
sys.exit(9 if child.wait() else 0)
"""
"""An init like the container's: it ends when its child does."""


@pytest.mark.parametrize("deaf", [False, True], ids=["ends when told to", "has to be killed"])
def test_only_what_is_unhealthy_three_times_in_a_row_is_ended(tmp_path: Path, deaf: bool) -> None:
    with Processes(tmp_path) as processes:
        stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
        init = processes.start("init", [sys.executable, "-c", INIT, stubborn], os.environ)

        def checked(times: int, command: str) -> list[int]:
            check = [str(DEPLOY / "healthy.sh"), str(init.pid), command]
            environment = {**os.environ, "TMPDIR": str(tmp_path)}
            return [subprocess.run(check, env=environment, check=False).returncode for _ in range(times)]

        assert checked(9, "false") == [1] * 9  # It is still starting.
        assert checked(3, "true") == [0] * 3
        assert checked(2, "false") == [1] * 2
        assert checked(1, "true") == [0]
        assert checked(3, "false") == [1] * 3
        assert init.poll() is None
        assert checked(1, "true") == [1]
        assert ended(init) == 9


def test_what_never_becomes_healthy_is_ended_too(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        init = processes.start("init", [sys.executable, "-c", INIT, ""], os.environ)
        check = [str(DEPLOY / "healthy.sh"), str(init.pid), "false"]
        for _ in range(10):
            assert init.poll() is None
            subprocess.run(check, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        subprocess.run(check, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        assert ended(init) == 9
