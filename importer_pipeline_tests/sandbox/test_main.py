"""The sandbox from the command line."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from importer_pipeline.clients.collection import load_clients
from importer_pipeline.sandbox.__main__ import main
from importer_pipeline.sandbox.server import SandboxProcess, listening


def test_it_serves_the_clients_of_the_file_it_wrote(tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    world = ["--clients", "3", "--audiences", "2", "--contacts", "40", "--archived", "0.5"]
    fault_plan = ["--revoked-client", "--hanging-client", "--refused-contacts", "2", "--refusal", "reject"]
    with SandboxProcess([*world, *fault_plan, "--write-clients", str(file)]) as process:
        declared = load_clients(file)
        assert declared.problems == ()
        assert [client.name for client in declared.clients] == ["client-0001", "client-0002", "client-0003"]
        statuses = []
        for name in ("client-0001", "client-0003"):
            key = (tmp_path / "clients.secrets" / f"{name}.mailchimp").read_text().strip()
            response = requests.get(f"{process.mailchimp_url}/lists", auth=("anyone", key), timeout=None)
            statuses.append(response.status_code)
        compared = requests.get(f"{process.url}/sandbox/compare", timeout=None).json()["clients"]
    assert statuses == [200, 401]
    assert {tuple(client.values()) for client in compared.values()} == {(False, 80, 80, 0, 0, 4)}


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "is in use"), ("203.0.113.1", "can't be used")])
def test_a_port_that_is_taken_is_one_message(capsys: pytest.CaptureFixture[str], host: str, said: str) -> None:
    with listening(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["--port", str(port), "--host", host])
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert error.endswith(f"error: port {port} of {host} {said}: choose another with --port (0 for a free one)")


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with SandboxProcess(["--contacts", "1", "--write-clients", str(tmp_path / "clients.yaml")]):
        files = list((tmp_path / "clients.secrets").iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_exits_with_0_on_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "importer_pipeline.sandbox", "--port", "0", "--contacts", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        os.kill(process.pid, number)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert [line.split()[0] for line in lines] == ["Mailchimp", "Target", "Statistics", "Comparison", "Serving"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--contacts", "0"], "a whole number from 1", id="no contacts"),
        pytest.param(["--archived", "2"], "a share from 0 to 1", id="more than all"),
        pytest.param(["--cut", "often"], "a share from 0 to 1", id="no number"),
        pytest.param(["--latency", "soon"], "seconds or LEAST-MOST", id="no seconds"),
    ],
)
def test_invalid_options_are_refused(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert text in capsys.readouterr().err


def test_help_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--error-500", "--cut", "--reset", "--hang", "--write-clients"))
