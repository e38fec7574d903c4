"""docs/runbook.md, compared with the code: every error, message and remedy; and what the command line says of each."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import importer_pipeline
from importer_pipeline import errors
from importer_pipeline.http.faults import Fault
from importer_pipeline.sandbox.faults import Fault as SandboxFault
from importer_pipeline.sandbox.faults import FaultPlan
from importer_pipeline.sandbox.target import Manner, Refusal
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.runs import ROOT
from importer_pipeline_tests.support.stage import Stage, in_order

PACKAGE = Path(importer_pipeline.__file__).parent
PAGE = re.sub(r"\s+", " ", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"))
SYMPTOMS = sorted(
    {
        message
        for entry in re.split(r" - (?=`)", PAGE)[1:]
        for message in re.findall(r"`([^`]+)`", re.split(r" (?:Cause|Do): ", entry)[0])
        if " " in message
    }
)
"""The messages that the page explains, with … for what differs."""

_OF_RUNS = ("defs", "engine", "listing", "locks", "mailchimp", "planning", "runner", "target", "exhaustion", "secret")
"""Rooms and modules whose remedies end runs. Those of the clients file are in docs/clients.md."""


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the literal texts below a node, with … for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(it.value) if isinstance(it, ast.Constant) else "…" for it in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def remedies(tree: ast.AST) -> Iterator[str]:
    """Yield the remedies that stand in a module: handed over, or kept in a variable of that name."""
    for node in ast.walk(tree):
        is_kept = isinstance(node, ast.Assign) and [getattr(it, "id", "") for it in node.targets] == ["remedy"]
        if is_kept or (isinstance(node, ast.keyword) and node.arg == "remedy"):
            yield from texts(node)


def fragments(message: str) -> list[str]:
    """Return the parts of a message between what differs, without quotation marks of Markdown."""
    return [part.strip(" `;:,.()") for part in re.sub(r"\s+", " ", message.replace("`", "")).split("…")]


TREES = {
    path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "sandbox" not in path.parts
}
IN_CODE = [re.sub(r"\s+", " ", text) for tree in TREES.values() for text in texts(tree)] + [it.value for it in Fault]
REMEDIES = sorted(
    {
        remedy
        for path, tree in TREES.items()
        if {*path.parts, path.stem} & set(_OF_RUNS)
        for remedy in remedies(tree)
        if " " in remedy
    }
)


def test_every_error_class_is_in_the_page() -> None:
    classes = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, errors.ImporterError)]
    assert [it.__name__ for it in classes if f"`{it.__name__}`" not in PAGE] == []


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_every_message_of_the_page_is_in_the_code(symptom: str) -> None:
    assert [part for part in fragments(symptom) if not any(part in text.replace("`", "") for text in IN_CODE)] == []


@pytest.mark.parametrize("remedy", REMEDIES)
def test_every_remedy_in_the_code_is_in_the_page(remedy: str) -> None:
    page = PAGE.replace("`", "")
    assert [part for part in fragments(remedy) if part not in page] == []


@pytest.mark.parametrize("fault", Fault)
def test_every_reason_for_no_answer_is_in_the_page(fault: Fault) -> None:
    assert f"| `{fault.value}` |" in PAGE


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the commands print about clients of which each has another problem."""
    folder = tmp_path_factory.mktemp("runbook")
    stage = Stage(folder)
    names = ("fine", "revoked", "unlisted", "rootless", "dead", "locked", "secretless", "down", "broken")
    for name in (*names, "picky", "plain"):
        stage.add(name, contacts=20)
    picky = stage.clients["picky"]
    picky.target.refusals = (Refusal.of_ids([in_order(picky.lists[0])[3].id], Manner.COUNT),)
    stage.clients["down"].account.fault_plan = FaultPlan(rates={SandboxFault.ERROR_500: 1.0})
    stage.clients["broken"].account.fault_plan = FaultPlan(rates={SandboxFault.BROKEN_JSON: 1.0})
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    run = folder / "run.yaml"
    run.write_text("resources: {mailchimp: {config: {retries: 0, retry_pause_seconds: 0.01}}}\n", encoding="utf-8")
    with stage, pytest.MonkeyPatch.context() as patch:
        declared = stage.declared()
        declared["revoked"]["mailchimp"]["api_key"] = stage.secret("revoked", f"{5:032x}-us1")
        declared["unlisted"]["audiences"]["newsletter"]["list_id"] = "0123456789"
        declared["rootless"]["mailchimp"]["base_url"] = stage.server.url
        declared["dead"]["target"]["url"] = "http://127.0.0.1:9/nowhere"
        declared["locked"]["target"]["api_key"] = stage.secret("locked", "wrong-key")
        declared["secretless"]["mailchimp"]["api_key"] = {"env": "NO_SUCH_VARIABLE"}
        declared["plain"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.NOBODY"}
        clients = stage.write(declared)
        said = [importer("status", clients=clients)]
        patch.setenv("DAGSTER_HOME", "nowhere")
        said.append(importer("status", clients=clients))
        patch.setenv("DAGSTER_HOME", str(home))
        said += [
            importer("check", clients=clients),
            importer("sync", "--full", "--config", str(run), clients=clients),
            importer("sync", "fin", clients=clients),
            importer("status", clients=folder / "none.yaml"),
        ]
        run.write_text("ops: {import_changes: {config: {clientz: [fine]}}}", encoding="utf-8")
        said.append(importer("sync", "--config", str(run), clients=clients))
        patch.setenv("IMPORTER_HOURLY_CRON", "often")
        said.append(importer("sync", clients=clients))
    return re.sub(r"\s+", " ", " ".join(it.out + it.err for it in said))


@pytest.mark.parametrize(
    "symptom",
    [
        "… is not set",
        "… is not set, so it is unknown where Dagster keeps what was imported",
        "… is …, which is not the absolute path of a folder",
        "…, … times",
        "…: none of its contacts has …; they are sent as empty text",
        "IMPORTER_HOURLY_CRON: expected a cron expression of five fields, found something else",
        "Incomplete: … of … audiences",
        "Mailchimp can't answer now",
        "Mailchimp has no such list in this account",
        "Mailchimp refuses the key: it is wrong or revoked, or belongs to another data centre",
        "expected …, got …",
        "no answer from the target: …",
        "no client … is declared and enabled",
        "refused: … contact",
        "the job … does not take this config",
        "the target accepted … of … records",
        "the target refuses the key",
        "there is no Mailchimp API at this URL",
        "there is no clients file at …",
    ],
)
def test_the_command_line_prints_the_message(printed: str, symptom: str) -> None:
    assert symptom in SYMPTOMS
    assert re.search(".+".join(re.escape(part) for part in symptom.split("…")), printed)
