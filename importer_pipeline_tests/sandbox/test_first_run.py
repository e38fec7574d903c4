"""The first run and the look in separate processes, as `make demo` and `make dev` start them."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from importer_pipeline.sandbox.first_run import Sync, first_faults, last_faults
from importer_pipeline.sandbox.first_world import ClientTally, FirstWorld, Load
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.server import listening, url_of
from importer_pipeline_tests.support.runs import ROOT, dagster_home, outer_environment

_FIRST_RUN = "importer_pipeline.sandbox.first_run"
_LOOK = "importer_pipeline.sandbox.look"
_ROW = re.compile(r"   client-000(\d) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +([a-z].*)")


@contextmanager
def started(
    module: str, *arguments: str, folder: Path, variables: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[str]]:
    """Run a module, and end all of it with the block, whatever happens in it.

    Whatever it starts is recognized by its folder for temporary files.
    """
    environment = outer_environment()
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **(variables or {})}
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            while found := processes_of(folder):  # One that is killed may just have started another.
                for left in found:
                    left.kill()
                psutil.wait_procs(found)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the running processes that use the folder for temporary files."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def lines_until(process: subprocess.Popen[str], start: str) -> list[str]:
    """Return its output up to the first line that starts so."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            return lines
    raise AssertionError(f"it ended before a line with {start!r}:\n{''.join(lines)}")


def names_left(folder: Path) -> list[str]:
    """Return the names left in a folder, without their random part."""
    return [re.sub(r"-[^-.]+(\.|$)", r"\1", path.name) for path in folder.iterdir()]


def test_the_first_run_shows_faults_then_none_and_cleans_up(tmp_path: Path) -> None:
    """No process is left running."""
    with started(_FIRST_RUN, folder=tmp_path) as process:
        output, _ = process.communicate()
        assert (process.returncode, processes_of(tmp_path)) == (0, []), output
    rows = [[int(number) for number in row.groups()[:6]] for row in map(_ROW.fullmatch, output.splitlines()) if row]
    assert [row[0] for row in rows] == [1, 2, 3, 4, 1, 2, 3, 4]
    for client, contacts, up_to_date, refused, pending, missing in rows:
        assert contacts > 50_000, output
        assert up_to_date + refused + pending + missing == contacts
        assert missing == 0 or client == 4
    faulty, mended = rows[:4], rows[4:]
    # One of the two refused contacts may have changed while the run was under way: then it is pending.
    assert [row[3] > 0 for row in faulty] == [False, False, True, False]
    assert all(row[4] > 0 for row in faulty)
    assert (faulty[3][2], [row[1] == row[2] for row in mended]) == (0, [True] * 4)
    assert output.count("at most 10 connections to an account at once") == 2
    assert "- client-0004/newsletter: Mailchimp refuses the key" in output
    assert "1 requests with a refused key" in output
    # The folder with the secrets is gone, the log stays.
    assert names_left(tmp_path) == ["importer-first-run.log"]


def test_a_first_run_that_is_terminated_takes_everything_with_it(tmp_path: Path) -> None:
    with started(_FIRST_RUN, folder=tmp_path) as process:
        lines_until(process, "   | client-0004/newsletter is incomplete")
        assert len(processes_of(tmp_path)) > 1
        process.terminate()
        output, _ = process.communicate()
        assert (process.returncode, processes_of(tmp_path)) == (130, []), output
    assert output.endswith("\nStopped: no process is left running.\n")
    assert names_left(tmp_path) == ["importer-first-run.log"]


def test_the_look_serves_the_ui_until_ctrl_c(tmp_path: Path) -> None:
    folder, home = tmp_path / "temporary", dagster_home(tmp_path)
    folder.mkdir()
    with listening(0) as free:
        port = int(url_of(free).rpartition(":")[2])
    with started(_LOOK, "--port", str(port), folder=folder, variables={"DAGSTER_HOME": str(home)}) as process:
        said = "".join(lines_until(process, "Five contacts change"))
        assert f"http://127.0.0.1:{port}/locations/importer_pipeline/jobs/full_sync/" in said
        assert "superseded" not in said
        sandbox = int(re.findall(r"127\.0\.0\.1:(\d+)/sandbox", said)[0])
        assert (status_of(port, "/server_info"), status_of(sandbox, "/sandbox/stats")) == (200, 200)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
        assert (process.returncode, processes_of(folder)) == (0, []), output
    for closed in (port, sandbox):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", closed), timeout=1)
    assert not [name for name in names_left(folder) if name.startswith("importer")]


def status_of(port: int, path: str) -> int:
    """Return the status of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_port_in_use_is_reported_with_the_remedy(tmp_path: Path) -> None:
    home = dagster_home(tmp_path)
    with listening(0) as taken:
        port = url_of(taken).rpartition(":")[2]
        with started(_LOOK, "--port", port, folder=tmp_path, variables={"DAGSTER_HOME": str(home)}) as process:
            output, _ = process.communicate()
    assert process.returncode == 1
    assert output.startswith(f"make dev: port {port} is not available (")
    assert output.endswith(f"end what uses it, or choose another: make dev PORT={int(port) + 1}\n")


@pytest.mark.parametrize("home", ["", "relative", "/not/there"], ids=["none", "relative", "not there"])
def test_a_look_without_dagster_home_says_what_sets_it(home: str, tmp_path: Path) -> None:
    with started(_LOOK, folder=tmp_path, variables={"DAGSTER_HOME": home} if home else {}) as process:
        output, _ = process.communicate()
    assert (process.returncode, output.partition(";")[0]) == (
        1, "make dev: DAGSTER_HOME must be the absolute path of a folder",
    )  # fmt: skip


def test_a_standing_separates_refused_late_and_lost_contacts() -> None:
    world = FirstWorld(clients=2, contacts=10)
    client = world.refusing
    (listed,) = client.lists
    refused = [member for member in listed if client.target.refuses(record(member.id))]
    others = [member for member in listed if member not in refused]
    for member in others[:5]:
        expected = client.record_of(member, listed)
        assert expected is not None
        client.target.records[member.id] = expected
    began = client.account.now()
    for member in (refused[0], others[0], others[6]):
        listed.update(member.contact_id, merge_fields={"FNAME": "Sepia"}, at=began - 30)
    assert world.tallies(began=began)[0] == ClientTally(
        client="client-0001", contacts=10, up_to_date=4, refused=1, pending=3, missing=2
    )


def record(record_id: str) -> TargetRecord:
    """Make a record of which only the id matters."""
    return TargetRecord(record_id, "", "", "", "")


def tally(client: str, *, up_to_date: int = 9, refused: int = 0, pending: int = 0, missing: int = 0) -> ClientTally:
    """Make a client's tally."""
    return ClientTally(
        client=client, contacts=up_to_date + refused + pending + missing, up_to_date=up_to_date, refused=refused,
        pending=pending, missing=missing,
    )  # fmt: skip


def sync(
    *tallies: ClientTally, exit_code: int = 0, named: tuple[str, ...] = (), peak: int = 10, too_many: int = 0,
    turned_away: int = 0,
) -> Sync:  # fmt: skip
    """Make a sync that has ended."""
    load = Load(peak_connections=peak, too_many=too_many, turned_away=turned_away, seconds=1.0)
    return Sync(exit_code=exit_code, problems=dict.fromkeys(named, ""), tallies=list(tallies), load=load)


FINE, REFUSING = tally("fine", pending=3), tally("refusing", refused=2)
REVOKED = tally("revoked", up_to_date=0, missing=9)
FAULTY = ("refusing", "revoked")


@pytest.mark.parametrize(
    ("ended", "faults"),
    [
        pytest.param(
            sync(FINE, REFUSING, REVOKED, exit_code=1, named=FAULTY, turned_away=10), [], id="as it must be"
        ),
        pytest.param(
            sync(tally("fine", missing=1), REFUSING, REVOKED, exit_code=1, named=FAULTY),
            ["fine: 1 contacts that did not change are missing"], id="one is lost",
        ),
        pytest.param(
            sync(FINE, REFUSING, REVOKED, named=FAULTY), ["the run succeeded although not all was imported"],
            id="silent failure",
        ),
        pytest.param(
            sync(FINE, REFUSING, REVOKED, exit_code=1, named=("revoked",)),
            ["the run named revoked, not refusing and revoked"], id="one is not named",
        ),
        pytest.param(
            sync(FINE, REFUSING, REVOKED, exit_code=1, named=FAULTY, turned_away=11),
            ["11 requests were made with the revoked key"], id="too many requests with it",
        ),
        pytest.param(
            sync(FINE, REFUSING, REVOKED, exit_code=1, named=FAULTY, too_many=1),
            ["1 requests exceeded an account's limit of 10 connections"], id="an eleventh connection",
        ),
    ],
)  # fmt: skip
def test_what_must_not_happen_during_faults_is_reported(ended: Sync, faults: list[str]) -> None:
    assert first_faults(ended, revoked="revoked", refusing="refusing") == faults


@pytest.mark.parametrize(
    ("ended", "faults"),
    [
        pytest.param(sync(tally("fine")), [], id="as it must be"),
        pytest.param(
            sync(tally("fine"), exit_code=1), ["the run ended with exit code 1"], id="it failed nevertheless"
        ),
        pytest.param(
            sync(tally("late", pending=1)), ["late: contacts are refused or pending, but none should be"],
            id="one is late",
        ),
        pytest.param(
            sync(tally("lost", missing=2)), ["lost: 2 contacts that did not change are missing"], id="two are lost"
        ),
    ],
)  # fmt: skip
def test_what_must_not_remain_in_the_end_is_reported(ended: Sync, faults: list[str]) -> None:
    assert last_faults(ended) == faults
