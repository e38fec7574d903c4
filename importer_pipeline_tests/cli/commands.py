"""The command line in this process, and what it printed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from importer_pipeline.cli.main import cli


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a command printed.

    Attributes:
        code: its exit code.
        out: its standard output.
        err: its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


def importer(*arguments: str, clients: Path | None = None, said: str = "") -> Printed:
    """Run `importer ...`.

    Args:
        arguments: the command and its arguments.
        clients: the clients file; None to leave the option out.
        said: its standard input.
    """
    options = ["--clients", str(clients)] if clients is not None else []
    result = CliRunner().invoke(cli, [*arguments, *options], input=said, catch_exceptions=False, prog_name="importer")
    return Printed(code=result.exit_code, out=result.stdout, err=result.stderr)
