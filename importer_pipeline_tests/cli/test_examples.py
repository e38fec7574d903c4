"""The commands that the help and the documentation tell people to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from dagster._cli import create_dagster_cli

from importer_pipeline.cli.main import cli
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.deployed import blocks
from importer_pipeline_tests.support.pages import typed_lines, without_blocks
from importer_pipeline_tests.support.runs import ROOT, full_sync, new_instance
from importer_pipeline_tests.support.stage import Stage, key_of

_PAGE = ROOT / "docs" / "command_line.md"
_PAGES = (
    _PAGE,
    ROOT / "docs" / "howto.md",
    ROOT / "docs" / "runbook.md",
    ROOT / "docs" / "operations.md",
    ROOT / "README.md",
    ROOT / "importer_pipeline" / "cli" / "start" / "README.md",
)
_PLACEHOLDERS = {"[FOLDER]", "[CLIENT...]", "COMMAND"}


def typed(program: str) -> Iterator[str]:
    """Yield the commands of a program in the pages: those in blocks, and those in the text."""
    for page in _PAGES:
        yield from (line for line in typed_lines(page) if line.startswith(f"{program} "))
        yield from re.findall(rf"`({program} [^`]+)`", without_blocks(page))


def examples() -> Iterator[str]:
    """Yield each command in the help and in the pages, without comments, pipes and redirections."""
    texts = [cli.help or "", *(command.help or "" for command in cli.commands.values())]
    found = [line for text in texts for line in text.splitlines() if line.strip().startswith("importer ")]
    for line in [*found, *typed("importer")]:
        yield shown_command(line)


def shown_command(line: str) -> str:
    """Return a command without comments, pipes and redirections."""
    return re.split(r"  |[|<>&]", line.strip().replace("\n", " "))[0].strip()


@pytest.mark.parametrize("example", sorted(set(examples())))
def test_each_example_is_a_valid_command(example: str) -> None:
    _, name, *arguments = shlex.split(example)
    if name.startswith("-") or name in _PLACEHOLDERS:
        return
    command = cli.commands[name]
    given = [it for it in arguments if it not in _PLACEHOLDERS]
    assert isinstance(command.make_context(name, given, resilient_parsing="--help" in given), click.Context)


@pytest.mark.parametrize("example", sorted({shown_command(line) for line in typed("dagster")}))
def test_each_command_of_dagster_exists_with_its_options(example: str) -> None:
    """Dagster drops and renames commands with its versions."""
    words = shlex.split(example)[1:]
    group: click.Command = create_dagster_cli()
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in group.commands
        group, words = group.commands[words[0]], words[1:]
    assert group.make_context("dagster", words)


def test_the_commands_of_the_page_work_as_they_stand(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path)
    client = stage.add("acme", contacts=20)
    client.lists[0].add("urist.mcvankab@freddiesjokes.com", at=client.account.now() - 5000)
    with stage, new_instance(tmp_path_factory) as instance:
        full_sync(stage.load(), instance=instance)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DAGSTER_HOME", instance.root_directory)
        monkeypatch.setenv("ACME_MAILCHIMP_API_KEY", key_of(client))
        for line in "".join(blocks(_PAGE)).splitlines():
            _, *arguments = shlex.split(line)
            if arguments[0] == "discover":
                arguments += ["--base-url", stage.server.mailchimp_url]
            printed = importer(*arguments)
            assert printed.out
            assert (arguments[0], printed.code, printed.err) == (arguments[0], 0, "")
