"""The files of the shipped deployment: what they say, hold and start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from importer_pipeline.clients.secret import Secret
from importer_pipeline.defs.settings import Settings
from importer_pipeline_tests.support.deployed import DEPLOY, DEPLOY_PAGE, services
from importer_pipeline_tests.support.patience import ended, until
from importer_pipeline_tests.support.processes import Processes


def used() -> set[str]:
    """Return every variable in the files of the deployment, and those that the settings are read from."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(DEPLOY.iterdir()) if path.is_file())
    settings = {f"IMPORTER_{name.upper()}" for name in Settings.model_fields}
    return settings | set(re.findall(r"\b(?:DAGSTER|IMPORTER)_[A-Z0-9_]*[A-Z0-9]\b", text))


@pytest.mark.parametrize("name", sorted(used() - {"IMPORTER_SHARD_1_HOST", "IMPORTER_SHARD_1_PORT"}))
def test_every_variable_is_explained(name: str) -> None:
    assert f"`{name}`" in DEPLOY_PAGE.read_text(encoding="utf-8")


def test_the_example_environment_has_every_variable() -> None:
    """Every variable that the processes read."""
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "importer.env.example").read_text(encoding="utf-8"), re.MULTILINE))
    in_containers = {"DAGSTER_PG_PASSWORD_FILE", "IMPORTER_SHARD", "IMPORTER_WEBSERVER_PORT", "IMPORTER_SHARD_MEMORY"}
    in_containers |= {"IMPORTER_POSTGRES_IMAGE", "IMPORTER_CADDY_IMAGE", "IMPORTER_UI_NAME", "IMPORTER_UI_HEALTH_PORT"}
    assert used() - example - in_containers == {name for name in used() if name.endswith("_ON_HOST")}


@pytest.mark.parametrize("file", ["Dockerfile", "importer.env.example"])
def test_the_daemon_looks_at_all_assets_every_ten_minutes(file: str) -> None:
    """Dagster reads the variable, and no setting has the same."""
    text = (DEPLOY / file).read_text(encoding="utf-8")
    (setting,) = re.findall(r"\bFRESHNESS_DAEMON_INTERVAL_SECONDS=(\d+)", text)
    ask = "from dagster._daemon.freshness import FreshnessDaemon; print(FreshnessDaemon().interval_seconds)"
    environment = {**os.environ, "FRESHNESS_DAEMON_INTERVAL_SECONDS": setting}
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "600"


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


def started(processes: Processes, stubborn: str) -> subprocess.Popen[bytes]:
    """Start an init, and wait for its child: a check may come before it."""
    init = processes.start("init", [sys.executable, "-c", INIT, stubborn], os.environ)
    until(lambda: bool(psutil.Process(init.pid).children()))
    return init


@pytest.mark.parametrize("deaf", [False, True], ids=["ends when told to", "has to be killed"])
def test_only_what_is_unhealthy_three_times_in_a_row_is_ended(tmp_path: Path, deaf: bool) -> None:
    with Processes(tmp_path) as processes:
        stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
        init = started(processes, stubborn)

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
        init = started(processes, "")
        check = [str(DEPLOY / "healthy.sh"), str(init.pid), "false"]
        for _ in range(10):
            assert init.poll() is None
            subprocess.run(check, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        subprocess.run(check, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
        assert ended(init) == 9
