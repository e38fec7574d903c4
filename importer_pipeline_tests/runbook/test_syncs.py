"""What `importer sync` prints about clients that it can't import whole."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from importer_pipeline.http.faults import Fault as HttpFault
from importer_pipeline.sandbox.core import METADATA
from importer_pipeline.sandbox.faults import Fault, FaultPlan
from importer_pipeline.sandbox.members import Member
from importer_pipeline.sandbox.messages import SandboxAnswer, SandboxRequest
from importer_pipeline.sandbox.protocols import TargetRecord
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline.sandbox.twists import Twist, with_date, with_total
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.runbook.scenes import config_file
from importer_pipeline_tests.support.loopback import Loopback, reply
from importer_pipeline_tests.support.runbook import is_shown, lines_of
from importer_pipeline_tests.support.runs import dagster_home
from importer_pipeline_tests.support.stage import Stage, in_order

SHOWN = {
    "Incomplete: … of … audiences": "",
    "Mailchimp does not know the OAuth token": "unknown-token/newsletter",
    "Mailchimp gave no answer … times in a row": "broken/newsletter",
    "a proxy or firewall rejects this machine's requests for every account": "blocked/newsletter",
    "expected Mailchimp's clock near … (our time), found …": "wrong-clock/newsletter",
    "expected one Date header, found several": "two-dates/newsletter",
    "expected …, found …": "two-dates/newsletter",
    "refused: … contact": "",
    "the audience made no progress for … minutes": "hanging/newsletter",
    "the target accepted … of … records": "picky/newsletter",
    "the target did not accept … consecutive windows": "target-down/newsletter",
    "the target refuses the batch": "strict/newsletter",
    "the target rejects most records of several consecutive windows": "hateful/newsletter",
    "the token was not sent there": "strange-token/newsletter",
    "what changed from … to … can't be read whole": "large-total/newsletter",
    "window …": "crowded/newsletter",
    "… contacts share the second … and came in another order at each of … rounds": "crowded/newsletter",
    "…, and finding the rejected contacts takes too many posts": "half-hateful/newsletter",
    "…, … times": "target-down/newsletter",
    "…, found another": "strange-token/newsletter",
    "…: none of its contacts has …; they are sent as empty text": "wrong-tag/newsletter",
}
"""The audience of each message."""

BLOCKED = ("blocked", "blocked-too")
"""Clients whose problem ends the run for all others."""

ALONE = (*BLOCKED, "hanging", "strange-token")
"""Clients in runs of their own."""

OP = "import_contacts"

SIZES = {"crowded": 110, "half-hateful": 100, "hateful": 900, "large-total": 1, "target-down": 300}
"""How many contacts a client has whose problem needs several pages; the others have three.

Of `hateful`, three full pages must end one after the other, though its last pages are short.
"""

_OLD_DATES = ("Wed, 23 Feb 2022 19:29:27 GMT", "Wed, 23 Feb 2022 19:29:28 GMT")


def hidden(member: Member, behind: Member) -> Twist:
    """Show another member in the place of one."""

    def twist(_: SandboxRequest, answer: SandboxAnswer) -> SandboxAnswer:
        return replace(answer, body=answer.body.replace(member.id.encode(), behind.id.encode()))

    return twist


def refuse(client: SandboxClient, manner: Manner, refuses: Callable[[TargetRecord], bool]) -> None:
    """Let a client's target refuse records."""
    client.target.refusals = (Refusal(manner=manner, refuses=refuses),)


def put_in_trouble(clients: Mapping[str, SandboxClient]) -> None:
    """Give each client the problem of its name, if that is one of the servers."""
    clients["broken"].account.fault_plan = FaultPlan(rates={Fault.BROKEN_JSON: 1.0})
    clients["target-down"].target.fault_plan = FaultPlan(rates={Fault.ERROR_500: 1.0})
    clients["hanging"].account.fault_plan = FaultPlan(rates={Fault.HANG: 1.0})
    for name in BLOCKED:
        clients[name].account.fault_plan = FaultPlan(rates={Fault.BLOCKED_HTML: 1.0})
    clients["two-dates"].account.twists = [with_date(*_OLD_DATES)]
    clients["wrong-clock"].account.twists = [with_date(_OLD_DATES[0])]
    clients["large-total"].account.twists = [with_total(lambda total: total + 1 if total else 0)]
    (crowd,) = clients["crowded"].lists
    crowd.restamp([member.contact_id for member in crowd], at=clients["crowded"].account.now() - 1000)
    clients["crowded"].account.twists = [hidden(*in_order(crowd)[:2])]
    for name, manner in (("picky", Manner.COUNT), ("strict", Manner.REJECT)):
        wanted = in_order(clients[name].lists[0])[0].id
        refuse(clients[name], manner, lambda record, wanted=wanted: record.id == wanted)
    refuse(clients["hateful"], Manner.COUNT, lambda _: True)
    refuse(clients["half-hateful"], Manner.COUNT, lambda record: record.id[-1] in "02468ace")


def synced(folder: Path) -> list[str]:
    """Sync clients in full of which each has another problem."""
    stage = Stage(folder)
    names = {it.partition("/")[0] for it in SHOWN.values()} - {""}
    for name in sorted(names | {"blocked-too"}):
        stage.add(name, contacts=SIZES.get(name, 3))
    put_in_trouble(stage.clients)
    # Without a host, since a metadata server of one's own may name any.
    nowhere = Loopback(lambda _: [reply(body={"api_endpoint": "nowhere"})])
    with stage, nowhere, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(dagster_home(folder)))
        metadata = f"{stage.server.url}{METADATA}"
        patient = config_file(folder, OP, mailchimp={"page_size": 100, "oauth_metadata_url": metadata})
        misled = config_file(folder, OP, mailchimp={"oauth_metadata_url": nowhere.url})
        impatient = config_file(folder, OP, mailchimp={"read_timeout_seconds": 0.5, "stall_minutes": 0.005})
        declared = stage.declared()
        declared["unknown-token"]["mailchimp"] = {"access_token": stage.secret("token", "unknown")}
        declared["strange-token"]["mailchimp"] = {"access_token": stage.secret("strange-token", "sesame")}
        declared["wrong-tag"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.NOBODY"}
        clients = stage.write(declared)
        together = sorted(name for name in stage.clients if name not in ALONE)
        runs = [(together, patient), (BLOCKED, patient), (["hanging"], impatient), (["strange-token"], misled)]
        printed = [importer("sync", "--full", *names, "--config", run, clients=clients) for names, run in runs]
    return lines_of(*printed)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return synced(tmp_path_factory.mktemp("syncs"))


@pytest.mark.parametrize("symptom", sorted(SHOWN))
def test_a_full_sync_says_what_is_missing_and_why(lines: list[str], symptom: str) -> None:
    assert is_shown(lines, symptom, SHOWN[symptom])


def test_a_server_that_keeps_silent_is_named(lines: list[str]) -> None:
    assert is_shown(lines, f"no answer from Mailchimp: {HttpFault.SLOW.value}", "hanging")
