"""`python -m importer_pipeline_tests.simulation.reach`: which statements of the modules that decide the seeds execute.

Runs seeds until they have executed enough of each module, those first that were found to differ most. When worlds are
drawn in another way, other seeds differ, and it takes longer; then choose these anew.
"""

import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import coverage

ENOUGH_PERCENT = 95.0

DECIDING = (
    "engine/audience_plan",
    "engine/audience_report",
    "engine/audience_sync",
    "planning/chain",
    "engine/contacts_report",
    "engine/delivery",
    "engine/fetch_queue",
    "engine/fetching",
    "engine/hours_report",
    "engine/posting",
    "planning/quarantine",
    "planning/resuming",
    "planning/retries",
    "listing/snapshots",
    "listing/spans",
    "engine/sync",
    "planning/resolver",
    "listing/walk",
    "listing/coverage",
    "listing/crowded_second",
    "listing/gaps",
    "listing/page_queue",
    "listing/window_states",
)
"""The modules that decide."""

_RARE = ("rate limits", "edges", "time budgets", "undeliverable records")
_SEEDS_OF_EACH = 80

_DIFFERENT: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("syncs", "as drawn"): (28, 34, 35, 15, 53, 45, 36, 22, 73, 33, 68, 69, 51, 63, 64),
    ("days", "as drawn"): (39, 48, 30, 8, 46, 79, 44, 45, 53),
    ("syncs", "rare"): (3,),
    ("days", "rare"): (25,),
    ("syncs", "lying clocks"): (11, 16),
    ("syncs", "all"): (19, 11, 8, 24, 13),
    ("days", "all"): (3, 29),
}
"""Seeds that differ most, by kind and by the dimensions that are turned on."""


def main() -> int:
    """Run seeds; return 0 as soon as they have executed enough, else print what they have not."""
    measured = coverage.Coverage.current()
    if measured is None:
        sys.exit("expected: python -m coverage run -m importer_pipeline_tests.simulation.reach")
    # Only now, so that the statements that importing executes are measured.
    from importer_pipeline_tests.simulation.days import run_days
    from importer_pipeline_tests.simulation.run import run_seed
    from importer_pipeline_tests.simulation.worlds import WORLDS

    forced = {"as drawn": (), "rare": _RARE, "lying clocks": ("lying clocks",), "all": tuple(WORLDS)}
    run = {"syncs": run_seed, "days": run_days}
    statements = {path: set(measured.analysis2(path)[1]) for path in _paths()}
    number, percents = 0, dict[str, float]()
    for number, (kind, worlds, seed) in enumerate(_seeds(), start=1):
        run[kind](seed, forced=forced[worlds])
        percents = {path: _percent(measured, path, wanted) for path, wanted in statements.items()}
        if min(percents.values()) >= ENOUGH_PERCENT:
            print(f"{number} seeds execute {ENOUGH_PERCENT:.0f} % of each module that decides")
            return 0
    for path, percent in percents.items():
        if percent < ENOUGH_PERCENT:
            print(f"{path}: {number} seeds execute {percent:.1f} % of its statements")
    return 1


def _paths() -> Iterator[str]:
    return (str(Path("importer_pipeline", f"{name}.py").resolve()) for name in DECIDING)


def _seeds() -> Iterator[tuple[str, str, int]]:
    different = ((*key, seed) for key, seeds in _DIFFERENT.items() for seed in seeds)
    others = ((*key, seed) for seed in range(_SEEDS_OF_EACH) for key in _DIFFERENT)
    return chain(different, others)


def _percent(measured: coverage.Coverage, path: str, statements: set[int]) -> float:
    executed = statements.intersection(measured.get_data().lines(path) or ())
    return 100.0 * len(executed) / len(statements)


if __name__ == "__main__":
    sys.exit(main())
