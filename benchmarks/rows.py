"""Results of benchmarks: rows of figures beside their limits, and a table of them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


class BenchmarkFailed(Exception):
    """A benchmark could not be measured: something that it ran failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        what: the name of the figure.
        seen: the figure, with its unit.
        limit: its limit, in words; "" if it has none.
        kept: True if the limit is kept.
    """

    what: str
    seen: str
    limit: str = ""
    kept: bool = True


def at_most(what: str, seen: float, limit: float, unit: str, *, note: str = "") -> Row:
    """Make a row of a figure with an upper limit; `note` says where the figure or the limit comes from."""
    return Row(
        what=what, seen=_text(seen, unit), limit=f"at most {_text(limit, unit)}{_aside(note)}", kept=seen <= limit
    )


def at_least(what: str, seen: float, limit: float, unit: str, *, note: str = "") -> Row:
    """Make a row of a figure with a lower limit."""
    return Row(
        what=what, seen=_text(seen, unit), limit=f"at least {_text(limit, unit)}{_aside(note)}", kept=seen >= limit
    )


def beside(what: str, seen: float, unit: str, *, note: str = "") -> Row:
    """Make a row of a figure without a limit."""
    return Row(what=what, seen=f"{_text(seen, unit)}{_aside(note)}")


def progress(what: str) -> None:
    """Print progress."""
    print(what, file=sys.stderr, flush=True)


def table(rows: Sequence[tuple[str, Row]]) -> str:
    """Format the rows, each with its benchmark's name, in columns."""
    lines = [("benchmark", "figure", "seen", "limit", "")]
    lines += [(name, row.what, row.seen, row.limit, "" if row.kept else "BROKEN") for name, row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _text(figure: float, unit: str) -> str:
    return f"{figure:,.2f} {unit}".rstrip()


def _aside(note: str) -> str:
    return f" ({note})" if note else ""
