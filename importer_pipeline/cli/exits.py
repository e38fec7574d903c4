"""How a command ends: exit codes, and an error as a person reads it.

Stays out: the errors themselves (`errors.py`).
"""

from enum import IntEnum
from typing import IO, Any

import click

from importer_pipeline.errors import (
    ClientsFileInvalid,
    ImporterError,
    RunConfigInvalid,
    SelectionUnknown,
    SettingsInvalid,
)


class ExitCode(IntEnum):
    """What a script can rely on."""

    WELL = 0
    PROBLEMS = 1
    """Something is wrong: in the clients file, at Mailchimp, at a target, or with what was imported."""
    USAGE = 2
    """The command can't be carried out as it was typed: an unknown client, a file or a variable that is missing."""


class CommandRefused(ImporterError):
    """The command can't be carried out as it was typed, or here."""


class Failed(click.ClickException):
    """An error of ours that ends the command: one message with the problem and the remedy."""

    exit_code = ExitCode.PROBLEMS

    def __init__(self, error: ImporterError) -> None:
        super().__init__(error.problem)
        self._remedy = error.remedy

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error, the remedy on a line of its own."""
        click.echo(f"Error: {self.message}", file=file, err=file is None)
        if self._remedy:
            click.echo(f"  -> {self._remedy}", file=file, err=file is None)


class _FailedAsTyped(Failed):
    exit_code = ExitCode.USAGE


def failure(error: ImporterError) -> Failed:
    """Return the end of a command for an error of ours."""
    is_file = isinstance(error, ClientsFileInvalid) and not error.problems
    is_usage = isinstance(error, CommandRefused | RunConfigInvalid | SelectionUnknown | SettingsInvalid)
    return _FailedAsTyped(error) if is_file or is_usage else Failed(error)
