"""Run seeds: `python -m importer_pipeline_tests.simulation --seeds 300`, or one of them: `--first 17 --seeds 1`."""

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from importer_pipeline_tests.simulation.days import run_days
from importer_pipeline_tests.simulation.run import run_seed
from importer_pipeline_tests.simulation.worlds import WORLDS

_KINDS = {"syncs": run_seed, "days": run_days}


def _attempt(seed: int, kind: str, forced: Sequence[str]) -> tuple[int, str, Counter[str]]:
    try:
        return seed, "", _KINDS[kind](seed, forced=forced)
    except Exception as error:
        return seed, "".join(traceback.format_exception(error)[-3:]), Counter()


def _attempts(
    seeds: range, kind: str, forced: Sequence[str], processes: int
) -> Iterator[tuple[int, str, Counter[str]]]:
    attempt = partial(_attempt, kind=kind, forced=forced)
    if processes == 1:
        yield from map(attempt, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(attempt, seeds, chunksize=5)
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; return 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--processes", type=int, default=2, help="number of processes")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--kind", choices=tuple(_KINDS), help="full syncs, or days of hourly syncs; both by default")
    parser.add_argument(
        "--world",
        action="append",
        choices=tuple(WORLDS),
        default=[],
        help="a dimension of the world to turn on in all seeds",
    )
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    kinds = [chosen.kind] if chosen.kind else list(_KINDS)
    failed = 0
    for kind in kinds:
        failed += _run(seeds, kind, chosen)
        if failed and chosen.until_failure:
            break
    return 1 if failed else 0


def _run(seeds: range, kind: str, chosen: argparse.Namespace) -> int:
    started, failed, happened = time.monotonic(), 0, Counter[str]()
    for seed, failure, counts in _attempts(seeds, kind, chosen.world, chosen.processes):
        happened.update(counts)
        if failure:
            failed += 1
            again = "".join(f" --world '{name}'" for name in chosen.world)
            print(
                f"{kind} {seed} failed; repeat with: --kind {kind} --first {seed} --seeds 1{again}\n{failure}",
                flush=True,
            )
            if chosen.until_failure:
                return failed
    counts = ", ".join(f"{n} {what}" for what, n in sorted(happened.items()))
    print(f"{kind}, {time.monotonic() - started:.0f} s: {counts}")
    print(f"{kind}: {len(seeds) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
