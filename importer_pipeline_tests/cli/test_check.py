"""`importer check`, against the sandbox."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline.sandbox.protocols import PROTOCOLS
from importer_pipeline_tests.cli.commands import Printed, importer
from importer_pipeline_tests.support.stage import Stage, key_of, once

_UNKNOWN_HOST = "http://127.0.0.1:9/nowhere"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("check"))
    for name in ("fine", "revoked", "misspelt", "unlisted", "dead", "locked", "one", "secretless", "busy", "rooted"):
        stage.add(name, contacts=20)
    stage.add("two-lists", contacts=20, audiences=2)
    stage.clients["busy"].account.fault_plan = FaultPlan(rules=(once(lambda _: True, Fault.TOO_MANY_REQUESTS),))
    with stage:
        yield stage


@pytest.fixture(scope="module")
def checked(stage: Stage) -> Printed:
    declared = stage.declared()
    declared["misspelt"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.FNAM"}
    declared["unlisted"]["audiences"]["newsletter"]["list_id"] = "0123456789"
    declared["dead"]["target"]["url"] = _UNKNOWN_HOST
    for name, protocol in (("fine", PROTOCOLS["one"]), ("locked", PROTOCOLS["lines"])):
        stage.clients[name].target.protocol = protocol
        declared[name]["target"] |= protocol.section("id")
    declared["locked"]["target"]["api_key"] = stage.secret("wrong", "wrong-key")
    declared["secretless"]["mailchimp"]["api_key"] = {"env": "NO_SUCH_VARIABLE"}
    declared["rooted"]["mailchimp"]["base_url"] = stage.server.url + "/nothing"
    declared["revoked"]["mailchimp"]["api_key"] = stage.secret("revoked", f"{5:032x}-us1")
    declared["other"] = {**declared["one"], "mailchimp": {**declared["one"]["mailchimp"], "account": "other"}}
    return importer("check", clients=stage.write(declared))


def _about(printed: Printed, client: str) -> str:
    """Return the lines about a client."""
    lines = printed.out.splitlines()
    begins = next(at for at, line in enumerate(lines) if line.split()[1:2] == [client])
    ends = next(at for at in range(begins + 1, len(lines)) if not lines[at].startswith("   "))
    return "\n".join(lines[begins:ends])


def test_all_problems_are_reported_and_counted(checked: Printed) -> None:
    assert checked.code == 1
    assert "12 clients checked: 3 ok, 9 with problems" in checked.out
    assert checked.out.startswith("PROBLEM")


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("fine", 'ok       fine        newsletter "newsletter" '),
        ("two-lists", "customers"),
        ("busy", "ok       busy"),
        ("revoked", "Mailchimp refuses the key"),
        ("misspelt", "no merge tag FNAM\n           -> did you mean merge_fields.FNAME?"),
        ("unlisted", "audiences.newsletter.list_id: Mailchimp has no such list"),
        ("dead", f"made (POST {_UNKNOWN_HOST}/record, an empty list)\n           -> check that it is up"),
        ("locked", "the target refuses the key (HTTP 401) (POST http://127.0.0.1:"),
        ("locked", "/target/import, without records)"),
        ("secretless", "NO_SUCH_VARIABLE is not set\n           -> set it"),
        ("rooted", "check mailchimp.base_url"),
        ("one", "shares its Mailchimp account with other and does not say so"),
        ("other", "-> write account: "),
    ],
)
def test_a_client_has_a_line_and_each_problem_its_remedy(checked: Printed, client: str, said: str) -> None:
    assert said in _about(checked, client)


def test_a_check_changes_nothing_at_the_target(checked: Printed, stage: Stage) -> None:
    assert checked.code
    assert not any(client.target.records for client in stage.clients.values())


def test_no_key_is_printed(checked: Printed, stage: Stage) -> None:
    keys = {key_of(client) for client in stage.clients.values()}
    keys |= {client.target.api_key for client in stage.clients.values()}
    assert not [key for key in keys if key in checked.out + checked.err]


def test_clients_can_be_selected_and_read_by_programs(stage: Stage) -> None:
    printed = importer("check", "two-lists", "--json", clients=stage.write())
    (client,) = printed.document["clients"]
    assert (printed.code, client["client"], client["ok"]) == (0, "two-lists", True)
    assert [it["audience"] for it in client["audiences"]] == ["newsletter", "customers"]


def test_an_unknown_client_is_named_with_the_nearest(stage: Stage) -> None:
    printed = importer("check", "revokd", clients=stage.write())
    assert printed.code == 2
    assert "Error: no client revokd is declared and enabled\n  -> did you mean revoked?" in printed.err


def test_a_missing_clients_file_is_a_message(tmp_path: Path) -> None:
    printed = importer("check", clients=tmp_path / "none.yaml")
    assert printed.code == 2
    assert printed.err.startswith(f"Error: there is no clients file at {tmp_path / 'none.yaml'}\n  -> write one")


def test_a_broken_clients_file_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "clients.yaml"
    path.write_text("clients:\n  acme: {mailchimp: 5}\n")
    printed = importer("check", clients=path)
    assert printed.code == 1
    assert "line 2: clients.acme.target: is missing: write target:" in printed.err
