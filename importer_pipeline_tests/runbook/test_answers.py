"""What `importer check` prints about the answers of Mailchimp and of targets."""

from pathlib import Path

import pytest

from importer_pipeline.sandbox.faults import REFUSED, Fault, FaultPlan, Rule
from importer_pipeline.sandbox.messages import JSON, PROBLEM_JSON, SandboxAnswer, encoded, problem_document
from importer_pipeline.sandbox.twists import asks_for_patience, edge_page
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.loopback import Loopback, Received, reply
from importer_pipeline_tests.support.runbook import is_shown, lines_of
from importer_pipeline_tests.support.stage import Declared, Stage


def problem(status: int, title: str = "A Title") -> SandboxAnswer:
    """Return an answer with Mailchimp's problem document."""
    body = encoded(problem_document(status, title, "Some words.", "an id"))
    return SandboxAnswer(status=status, headers={"Content-Type": PROBLEM_JSON}, body=body)


def said(status: int, document: object = None) -> SandboxAnswer:
    """Return an answer with some JSON."""
    return SandboxAnswer(status=status, headers={"Content-Type": JSON}, body=encoded(document))


MAILCHIMP: dict[str, Fault | SandboxAnswer] = {
    "Mailchimp can't answer now": Fault.ERROR_500,
    "Mailchimp can't answer now, and says when to retry": asks_for_patience(503, "0"),
    "Mailchimp did not finish the request in time": Fault.GATEWAY_TIMEOUT,
    "Mailchimp refuses the key: …": problem(403, "Another Title"),
    "Mailchimp refuses the request": REFUSED,
    "Mailchimp waited too long for the request": problem(408),
    "Mailchimp's network blocks this machine's address": Fault.BLOCKED_HTML,
    "all ten connections of the Mailchimp account are in use": Fault.TOO_MANY_REQUESTS,
    "expected Mailchimp's problem document, got an answer from something in between": edge_page(404),
    "expected an answer from Mailchimp, got a redirect, which is not followed: it would send the key elsewhere": said(
        302
    ),
    "expected …, got …": Fault.BROKEN_JSON,
    "the account or its user is disabled": problem(403, "User Disabled"),
    "the key belongs to another data centre": problem(403, "WrongDatacenter"),
    "the key is wrong or revoked": problem(403, "APIKeyInvalid"),
    "the key's user may not read audiences": problem(403, "Forbidden"),
    "there is no Mailchimp API at this URL": problem(404),
}
"""The answers of accounts that a check names."""

TARGETS: dict[str, Fault | SandboxAnswer] = {
    'expected {"response": a number from 0 to …} from the target, got something else': said(200, {"done": True}),
    "no answer from the target: …": Fault.RESET,
    "the proxy requires a login": said(407),
    "the target answers with a redirect, which is not followed: it would send the key elsewhere": said(307),
    "the target can't answer now": said(500),
    "the target does not have this address": said(404),
    "the target is busy": asks_for_patience(429, "0"),
    "the target refuses the key": said(403),
    "the target waited too long for the batch": said(408),
}
"""The answers of targets that a check names."""

TOKENS = {
    "expected an access token from the token endpoint, got none": 200,
    "the token endpoint gives no token": 500,
    "the token endpoint refuses the client's id or secret": 401,
}
"""The statuses of token endpoints, none of which sends a token."""

OTHERS = {
    "expected a success or an error from the target, got neither": "odd",
    "Mailchimp has no such list in this account": "unlisted",
    "Mailchimp refuses the key: it is wrong or revoked, or belongs to another data centre": "revoked",
    "no answer from Mailchimp: …": "unreachable",
    "the target … failed: … at …": "raising",
    "there is no … to import": "missing",
}


def name_of(kind: str, number: int) -> str:
    return f"{kind}-{number}"


SHOWN = {
    **{symptom: name_of("mailchimp", number) for number, symptom in enumerate(MAILCHIMP)},
    **{symptom: name_of("target", number) for number, symptom in enumerate(TARGETS)},
    **{symptom: name_of("token", number) for number, symptom in enumerate(TOKENS)},
    **OTHERS,
}
"""The client of each message."""


def always(answer: Fault | SandboxAnswer) -> FaultPlan:
    """Answer every request alike."""
    return FaultPlan(rules=(Rule(applies=lambda _: True, fault=answer),))


def status_in_path(received: Received) -> list[bytes]:
    """Answer a request for /500, or for /500/record, with this status."""
    return [reply(int(received.line.split("/")[1].split()[0]), {})]


def an_oauth_target(stage: Stage, declared: Declared, token_url: str) -> None:
    """Give a client a target whose tokens are requested at a URL."""
    secret = stage.secret("oauth", "sesame")
    declared["target"] = {
        "url": declared["target"]["url"],
        "oauth": {"token_url": token_url, "client_id": secret, "client_secret": secret},
    }


def a_python_target(declared: Declared, entry_point: str) -> None:
    """Give a client a target in Python."""
    declared["target"] = {"python": entry_point, "record": {"id": "id"}}


def checked(folder: Path) -> list[str]:
    """Check clients of which each gets another answer."""
    stage = Stage(folder)
    for name in SHOWN.values():
        stage.add(name, contacts=1)
    for symptom, answer in MAILCHIMP.items():
        stage.clients[SHOWN[symptom]].account.fault_plan = always(answer)
    for symptom, answer in TARGETS.items():
        stage.clients[SHOWN[symptom]].target.fault_plan = always(answer)
    with stage, Loopback(status_in_path) as server:
        declared = stage.declared()
        declared["unlisted"]["audiences"]["newsletter"]["list_id"] = "0123456789"
        declared["revoked"]["mailchimp"]["api_key"] = stage.secret("revoked", f"{5:032x}-us1")
        declared["unreachable"]["mailchimp"]["base_url"] = "http://127.0.0.1:9/3.0"
        for symptom, status in TOKENS.items():
            an_oauth_target(stage, declared[SHOWN[symptom]], f"{server.url}/{status}")
        declared["odd"]["target"]["url"] = f"{server.url}/600"
        a_python_target(declared["missing"], "nowhere.at_all:Target")
        a_python_target(declared["raising"], "json:loads")
        printed = importer("check", clients=stage.write(declared))
    return lines_of(printed)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return checked(tmp_path_factory.mktemp("answers"))


@pytest.mark.parametrize("symptom", sorted(SHOWN))
def test_a_check_says_what_is_wrong(lines: list[str], symptom: str) -> None:
    assert is_shown(lines, symptom, SHOWN[symptom])


@pytest.mark.parametrize(
    ("symptom", "remedy"),
    [
        ("Mailchimp refuses the request", "report this line"),
        (
            "all ten connections of the Mailchimp account are in use",
            "check which other tools use the account, or lower",
        ),
        ("the target is busy", "ask the target's operator for its rate limit, and lower max_posts"),
        (
            "the target … failed: … at …",
            "correct what fails at that line; if it is a server that is down, run it again",
        ),
    ],
)
def test_a_check_advises_to_look_for_the_server_only_if_silent(lines: list[str], symptom: str, remedy: str) -> None:
    """A server that answers is up, and its address right: the remedy is another one."""
    assert is_shown(lines, f"-> {remedy}", SHOWN[symptom])
