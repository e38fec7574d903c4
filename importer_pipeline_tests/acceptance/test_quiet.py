"""A run with every kind of failure leaks no key, token, name or address: not to the screen, nor to DAGSTER_HOME.

Nor do the commands of `importer`; `preview` and `explain` show contacts on standard output, which is for a person.
"""

import base64
import io
import json
import logging
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from importer_pipeline.sandbox.faults import Fault, FaultPlan, Rule, at_offsets
from importer_pipeline.sandbox.messages import SandboxRequest
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.leaks import contents, leaked
from importer_pipeline_tests.support.runs import Finished, dagster, dagster_home, full_sync_command, run_config
from importer_pipeline_tests.support.stage import Stage, in_order, key_of

PLAIN, FOREIGN, ADDRESS = "Zyxqvbnwfkplmz", "Жщыўџѫ-Ñýþðœ", "qzxwvkjhbnfd"
"""Each name holds the first two, each address the third, so that a leak of any part is found."""
MARKS = (PLAIN, FOREIGN, ADDRESS)

_FAULTS = {
    "broken": Fault.BROKEN_JSON,
    "misshaped": Fault.WRONG_SHAPE,
    "down": Fault.ERROR_500,
    "blocked": Fault.BLOCKED_HTML,
    "hanging": Fault.HANG,
}
"""Clients whose Mailchimp fails so from the second window on; the hanging one from the first."""
_OTHERS = ("fine", "revoked", "locked-out", "unknown-list", "picky", "strict", "nameless", "secretless", "token")
_CONTACTS = 130


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A run with every kind of failure, a validation of the definitions after it, and the commands of `importer`."""

    stage: Stage
    home: Path
    finished: Finished
    validated: Finished
    commands: Mapping[str, Printed]
    logged: str
    secrets: tuple[str, ...]

    def printed(self) -> list[tuple[str, bytes]]:
        """Return the output of both commands."""
        return [("run", self.finished.output.encode()), ("validate", self.validated.output.encode())]


def _fill(client: SandboxClient, *, without_address: int = 0) -> None:
    listed, now = client.lists[0], client.account.now()
    for number in range(_CONTACTS):
        email = f"{ADDRESS}.{number}@{client.name}.example.com" if number >= without_address else ""
        names = {"FNAME": f"{PLAIN}-{FOREIGN} {number}", "LNAME": f"{FOREIGN}'\"{number} {PLAIN}"}
        listed.add(email, merge_fields=names, at=now - 5000 + number)


def _is_first(request: SandboxRequest) -> bool:
    return at_offsets(0)(request) and "since_last_changed" not in request.query


def _set_up(stage: Stage) -> None:
    for name in (*_FAULTS, *_OTHERS):
        _fill(stage.add(name, contacts=0), without_address=5 if name == "nameless" else 0)
    for name, fault in _FAULTS.items():
        rule = Rule(applies=lambda request, fault=fault: fault is Fault.HANG or not _is_first(request), fault=fault)
        stage.clients[name].account.fault_plan = FaultPlan(rules=(rule,), hang_seconds=0.1)
    for name, manner in (("picky", Manner.COUNT), ("strict", Manner.REJECT)):
        ids = {in_order(stage.clients[name].lists[0])[position].id for position in (7, 100)}
        stage.clients[name].target.refusals = (Refusal.of_ids(ids, manner),)
    stage.clients["token"].account.secrets = {"q8" * 20}


def _declare(stage: Stage) -> tuple[str, ...]:
    """Write a folder of clients files, two of them broken, and return every secret there is."""
    declared = stage.declared()
    secrets = [key_of(client) for client in stage.clients.values()]
    secrets += [client.target.api_key for client in stage.clients.values()]
    wrong, written = "b7c9" * 16, "5f3a" * 8 + "-us9"
    declared["locked-out"]["target"]["api_key"] = stage.secret("locked-out.wrong", wrong)
    declared["unknown-list"]["audiences"]["newsletter"]["list_id"] = "0123456789"
    declared["secretless"]["mailchimp"]["api_key"] = {"env": "NO_SUCH_VARIABLE"}
    account = declared["token"]["mailchimp"]
    account["access_token"] = account.pop("api_key")
    del account["base_url"]
    stage.clients["revoked"].account.secrets.clear()
    folder = stage.folder / "clients"
    folder.mkdir()
    (folder / "good.yaml").write_text(yaml.safe_dump({"clients": declared}), encoding="utf-8")
    bad = f"clients:\n  careless:\n    mailchimp: {{api_key: {written}}}\n    target: {{api_key: {wrong}\n"
    (folder / "no-yaml.yaml").write_text(bad, encoding="utf-8")
    (folder / "no-secret.yaml").write_text(bad.replace(f"{{api_key: {wrong}", "{url: 5}"), encoding="utf-8")
    return (*secrets, wrong, written)


def _commands(stage: Stage) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """Yield commands with their arguments, whether they take a clients file, and their standard input."""
    contact = in_order(stage.clients["picky"].lists[0])[7]
    yield ("sync", "--full", "picky", "revoked", "broken", "--config", "run.yaml"), True, ""
    yield ("sync", "picky", "revoked", "--json"), True, ""
    answering = [name for name in stage.clients if name != "hanging"]
    yield ("check", *answering), True, ""
    yield ("status",), True, ""
    yield ("status", "--json"), True, ""
    for client in ("picky", "strict", "nameless", "broken", "revoked", "secretless", "unknown-list"):
        yield ("preview", f"{client}/newsletter"), True, ""
        yield ("explain", client), True, contact.email
    yield ("explain", "picky", "--json"), True, contact.id
    yield ("explain", "picky", contact.email.replace("@", "")), True, ""
    yield ("discover", "--env", "A_KEY", "--base-url", stage.server.mailchimp_url), False, ""
    yield ("discover", "--env", "A_KEY", "--base-url", "http://127.0.0.1:9/3.0", "--json"), False, ""
    yield ("init", "started"), False, ""


@contextmanager
def _everything_logged() -> Generator[io.StringIO]:
    """Collect the log of all libraries in this process, at its most talkative."""
    collected, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(collected), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield collected
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wrong]:
    folder = tmp_path_factory.mktemp("quiet")
    # All libraries log to Dagster's log, too.
    home = dagster_home(folder, more="\npython_logs:\n  python_log_level: DEBUG\n  managed_python_loggers: [root]\n")
    stage = Stage(folder)
    _set_up(stage)
    with stage:
        secrets = _declare(stage)
        patience = {
            "page_size": 50, "retries": 1, "read_timeout_seconds": 1.0,
            "oauth_metadata_url": f"{stage.server.url}/oauth2/metadata",
        }  # fmt: skip
        command, clients = full_sync_command(folder, run_config(mailchimp=patience)), folder / "clients"
        finished = dagster(*command, folder=folder, clients=clients, home=home)
        validated = dagster("definitions", "validate", folder=folder, clients=clients, home=home)
        with pytest.MonkeyPatch.context() as patch, _everything_logged() as logged:
            # Dagster waits for itself if what it logs while it reads the events of another run becomes an event, too.
            settings = home / "dagster.yaml"
            settings.write_text(settings.read_text(encoding="utf-8").partition("python_logs")[0], encoding="utf-8")
            patch.chdir(folder)
            patch.setenv("DAGSTER_HOME", str(home))
            patch.setenv("A_KEY", key_of(stage.clients["fine"]))
            (folder / "run.yaml").write_text(yaml.safe_dump(run_config(mailchimp=patience)), encoding="utf-8")
            commands = {
                " ".join(arguments): importer(*arguments, clients=clients if has_clients else None, said=said)
                for arguments, has_clients, said in _commands(stage)
            }
        yield Wrong(
            stage=stage, home=home, finished=finished, validated=validated, commands=commands,
            logged=logged.getvalue(), secrets=secrets,
        )  # fmt: skip


def test_every_kind_of_failure_has_occurred(wrong: Wrong) -> None:
    message = wrong.finished.output.partition("events.Failure: ")[2].partition("\n\n")[0]
    named = {line.split("/")[0].removeprefix("- ") for line in message.splitlines() if line.startswith("- ")}
    assert named == {*_FAULTS, *_OTHERS} - {"fine", "token"}
    assert [len(wrong.stage.clients[name].target.records) for name in ("fine", "token")] == [_CONTACTS] * 2
    for said in (
        "a secret must not be in the clients file itself",
        "not YAML",
        "NO_SUCH_VARIABLE is not set",
        "/members?",
    ):
        assert said in wrong.finished.output


def test_every_name_address_and_key_is_looked_for(wrong: Wrong) -> None:
    contacts = [member for client in wrong.stage.clients.values() for member in client.lists[0]]
    assert len(contacts) == _CONTACTS * len(wrong.stage.clients)
    assert all(ADDRESS in member.email for member in contacts if member.email)
    names = [name for member in contacts for name in (member.merge_values or ())[:2]]
    assert all(PLAIN in name and FOREIGN in name for name in names)
    assert len(set(wrong.secrets)) == 2 * len(wrong.stage.clients) + 2


def test_nothing_is_printed(wrong: Wrong) -> None:
    assert leaked([*MARKS, *wrong.secrets], wrong.printed()) == set()


def test_nothing_stands_below_dagster_home(wrong: Wrong) -> None:
    places = list(contents(wrong.home))
    assert sum(name.endswith(" as SQL") for name, _ in places) >= 3
    assert leaked([*MARKS, *wrong.secrets], places) == set()


_FOR_A_PERSON = ("preview", "explain")
"""Commands that show contacts on standard output."""


def test_the_commands_have_shown_contacts_and_failures(wrong: Wrong) -> None:
    shown = {name for name, printed in wrong.commands.items() if leaked(MARKS, [("out", printed.out.encode())])}
    assert {name.split()[0] for name in shown} == set(_FOR_A_PERSON)
    assert {printed.code for printed in wrong.commands.values()} == {0, 1, 2}
    assert "/lists/" in wrong.logged


def test_no_command_shows_a_key_or_logs_a_contact(wrong: Wrong) -> None:
    places = [("log", wrong.logged.encode())]
    places += [(f"{name}: errors", printed.err.encode()) for name, printed in wrong.commands.items()]
    others = [
        (name, printed.out.encode()) for name, printed in wrong.commands.items() if not name.startswith(_FOR_A_PERSON)
    ]
    assert leaked([*MARKS, *wrong.secrets], [*places, *others]) == set()
    assert leaked(wrong.secrets, [(name, it.out.encode()) for name, it in wrong.commands.items()]) == set()


def _as_text(text: str) -> bytes:
    return text.encode()


def _as_json(text: str) -> bytes:
    return json.dumps({"name": text}).encode("ascii")


def _as_compressed(text: str) -> bytes:
    return zlib.compress(_as_json(text))


def _as_json_in_json(text: str) -> bytes:
    return json.dumps(json.dumps({"name": text})).encode("ascii")


def _as_basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(f"importer:{text}".encode())


def _as_query(text: str) -> bytes:
    return b"?email=" + "".join(f"%{byte:02X}" if byte > 127 else chr(byte) for byte in text.encode()).encode()


def _as_repr(text: str) -> bytes:
    return repr(text.encode()).encode()


@pytest.mark.parametrize("planted", [_as_text, _as_json, _as_json_in_json, _as_basic, _as_query, _as_repr])
@pytest.mark.parametrize("what", ["name", "foreign name", "address", "key"])
def test_the_search_would_find_it_in_what_is_printed(wrong: Wrong, what: str, planted: Callable[[str], bytes]) -> None:
    text = _planted(wrong, what)
    places = [(name, content + planted(text)) for name, content in wrong.printed()]
    assert leaked([text], places) == {(text, "run"), (text, "validate")}


@pytest.mark.parametrize("what", ["name", "foreign name", "address", "key"])
def test_the_search_would_find_it_in_every_file(wrong: Wrong, tmp_path: Path, what: str) -> None:
    home, text = tmp_path / "home", _planted(wrong, what)
    shutil.copytree(wrong.home, home)
    for path in home.rglob("*"):
        if path.is_file():
            with path.open("ab") as file:
                file.write(_as_basic(text))
    files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert {name for _, name in leaked([text], contents(home))} == files


@pytest.mark.parametrize("value", [_as_json, _as_compressed], ids=["plain", "compressed"])
def test_the_search_would_find_it_in_a_row(wrong: Wrong, tmp_path: Path, value: Callable[[str], bytes]) -> None:
    home, text = tmp_path / "home", _planted(wrong, "key")
    shutil.copytree(wrong.home, home)
    connection = sqlite3.connect(home / "history" / "runs.db")
    connection.execute("UPDATE snapshots SET snapshot_body = ?", (value(text),))
    connection.commit()
    connection.close()
    assert (text, "history/runs.db as SQL") in leaked([text], contents(home))


def _planted(wrong: Wrong, what: str) -> str:
    return {"name": PLAIN, "foreign name": FOREIGN, "address": ADDRESS, "key": wrong.secrets[0]}[what]
