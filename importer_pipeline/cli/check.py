"""`importer check`: what was found about each client, for a person and for programs.

Stays out: finding it (`checking/`).
"""

from collections.abc import Sequence
from typing import Any

import click

from importer_pipeline.checking.findings import CheckedClient, finding_lines
from importer_pipeline.cli.tables import cell


def show(checked: Sequence[CheckedClient], problems: Sequence[str]) -> None:
    """Print a line for each client, the worst first, with its findings and remedies under it."""
    width = max((len(client.name) for client in checked), default=0)
    for client in sorted(checked, key=lambda it: (it.is_well, it.name)):
        state = "ok     " if client.is_well else "PROBLEM"
        click.echo(f"{state}  {client.name:{width}}  {_sizes(client)}".rstrip())
        for finding in client.findings:
            for line in finding_lines(finding):
                click.echo(f"         {line}")
    for problem in problems:
        click.echo(f"PROBLEM  {problem}")
    well = sum(client.is_well for client in checked)
    total = f"{len(checked)} client" + ("" if len(checked) == 1 else "s")
    click.echo(f"{total} checked: {well} ok, {len(checked) - well} with problems")
    if problems:
        click.echo("The clients file has problems: see above. The clients concerned were not checked.")


def document(checked: Sequence[CheckedClient], problems: Sequence[str]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "clients": [
            {
                "client": client.name,
                "ok": client.is_well,
                "account_id": client.account_id,
                "audiences": [
                    {"audience": it.name, "list_name": it.list_name, "subscribed": it.subscribed}
                    for it in client.audiences
                ],
                "findings": [
                    {"where": it.where, "problem": it.problem, "remedy": it.remedy, "is_problem": it.is_problem}
                    for it in client.findings
                ],
            }
            for client in checked
        ],
        "problems": list(problems),
    }


def _sizes(client: CheckedClient) -> str:
    return "; ".join(
        f'{audience.name} "{cell(audience.list_name)}" {audience.subscribed:,} subscribed'
        for audience in client.audiences
    )
