"""The messages that `docs/runbook.md` explains, and whether one of them was printed.

Stays out: printing them (`importer_pipeline_tests/runbook/`), and the comparison with the code (`test_runbook.py`).
"""

import re

from importer_pipeline_tests.cli.commands import Printed
from importer_pipeline_tests.support.runs import ROOT

PAGE = re.sub(r"\s+", " ", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"))

SYMPTOMS = sorted(
    {
        message
        for entry in re.split(r" - (?=`)", PAGE)[1:]
        for message in re.findall(r"`([^`]+)`", re.split(r" (?:Cause|Do): ", entry)[0])
        if " " in message and not message.startswith("importer ")
    }
)
"""The messages that the page explains, with … for what differs."""

_HEADING = re.compile(r"(?:PROBLEM|ok) +(\S+)")


def lines_of(*printed: Printed) -> list[str]:
    """Return the lines of all outputs, without repeated spaces; of a check, each with the name of its client."""
    lines, name = list[str](), ""
    for line in (line for it in printed for line in (it.out + it.err).splitlines()):
        if (heading := _HEADING.match(line)) is not None:
            name = f"{heading[1]}: "
        lines.append(re.sub(r"\s+", " ", f"{name if line.startswith('  ') else ''}{line.strip()}"))
    return lines


def is_shown(lines: list[str], symptom: str, where: str) -> bool:
    """Return whether a line has a message of the page, and names its place."""
    pattern = re.compile(".+".join(re.escape(part) for part in symptom.split("…")))
    return any(where in line and pattern.search(line) is not None for line in lines)
