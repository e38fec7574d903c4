"""`python -m benchmarks [NAME ...]`: runs them, prints a table, and ends with 1 if a limit is broken."""

import argparse
import os
import platform
import sys

from benchmarks.measures import AT_SCALE, BENCHMARKS
from benchmarks.rows import BenchmarkFailed, Row, table

_EVERY = BENCHMARKS | AT_SCALE


def main(arguments: list[str] | None = None) -> int:
    """Run the named benchmarks, or all. The exit code is 0 if every limit is kept."""
    names = _parser().parse_args(arguments).names or list(BENCHMARKS)
    rows: list[tuple[str, Row]] = []
    for name in names:
        try:
            rows += [(name, row) for row in _EVERY[name]()]
        except BenchmarkFailed as error:
            print(f"{name}: {error}", file=sys.stderr)
            rows.append((name, Row(what="could not be measured", seen="", kept=False)))
    load = ", ".join(f"{figure:.1f}" for figure in os.getloadavg())
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, load {load}\n")
    print(table(rows))
    broken = sum(not row.kept for _, row in rows)
    print(f"\n{broken} of {sum(bool(row.limit) or not row.kept for _, row in rows)} limits broken")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the pipeline's speed beside its limits. All of it takes five minutes.",
    )
    # Not `choices`: with "*", argparse would want the empty list to be one of them.
    parser.add_argument(
        "names",
        nargs="*",
        type=_known,
        metavar="NAME",
        help=f"of {', '.join(_EVERY)}; by default all but {', '.join(AT_SCALE)}",
    )
    return parser


def _known(name: str) -> str:
    if name not in _EVERY:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(_EVERY)}, not {name!r}")
    return name


if __name__ == "__main__":
    sys.exit(main())
