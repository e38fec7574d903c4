"""What a person got wrong in a line that is not YAML, and how to write it: the parser only says what it expected. Pure.

Stays out: reading the file (`yaml_source.py`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake that a line shows.

    Attributes:
        what: the mistake, without content of the file.
        remedy: how to write it.
        shows: returns whether a line shows it.
    """

    what: str
    remedy: str
    shows: Callable[[str], object]


MISTAKES = (
    Mistake("a tab in the indentation", "indent with spaces", re.compile(r"\s*\t").match),
    Mistake(
        "a value that begins with a brace has no quotes",
        'write it in quotes, like id: "{list_id}-{id}"',
        re.compile(r"""[^'"#]*[:\s{,]\{[\w.]+\}\s*[^\s,}\]#]""").match,
    ),
    Mistake(
        "a value begins with a character that needs quotes",
        'write the value in quotes, like "@name"',
        re.compile(r"""[^'"#]*:\s+[@%`]""").match,
    ),
    Mistake(
        "a value contains a colon and a space, and has no quotes",
        'write it in quotes, like "team: crm"',
        re.compile(r"""\s*[\w-]+:\s+[^\s'"{\[#][^'"{\[#]*:\s""").match,
    ),
)
"""Those of the line at which the parser gives up, in the order in which they are looked for."""

UNCLOSED = (
    Mistake(
        "a brace or bracket is not closed",
        "close it in the line in which it is opened",
        lambda line: any(_without_quoted(line).count(a) > _without_quoted(line).count(b) for a, b in ("{}", "[]")),
    ),
    Mistake(
        "a quote is not closed", "close it in the line in which it is opened", lambda line: '"' in _without_quoted(line)
    ),
)
"""Those that the parser notices some lines later. A bracket may be closed there, so they are looked for only if the parser
misses the end of one."""

_LINES_BEFORE = 3
_MISSES_THE_END = re.compile(r"',' or|end of stream|unexpected end")

_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|#.*")


def mistake_near(lines: Sequence[str], at: int, *, problem: str) -> tuple[int, Mistake] | None:
    """Return the mistake at which the parser gave up, and the index of its line; None if it is not known.

    Args:
        lines: of the file.
        at: index of the line at which the parser gave up.
        problem: the parser's words.
    """
    line = lines[at] if at < len(lines) else ""
    if (own := next((mistake for mistake in MISTAKES if mistake.shows(line)), None)) is not None:
        return at, own
    if _MISSES_THE_END.search(problem):
        for index in range(min(at, len(lines) - 1), max(at - _LINES_BEFORE, 0) - 1, -1):
            for mistake in UNCLOSED:
                if mistake.shows(lines[index]):
                    return index, mistake
    return None


def _without_quoted(line: str) -> str:
    return _QUOTED.sub("", line)
