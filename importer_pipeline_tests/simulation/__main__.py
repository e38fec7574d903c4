"""Run seeds: `python -m importer_pipeline_tests.simulation --seeds 300`, or one of them: `--first 17 --seeds 1`."""

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from importer_pipeline_tests.simulation.run import run_seed


def _attempt(seed: int) -> tuple[int, str, Counter[str]]:
    try:
        return seed, "", run_seed(seed)
    except Exception as error:
        return seed, "".join(traceback.format_exception(error)[-3:]), Counter()


def _attempts(seeds: range, processes: int) -> Iterator[tuple[int, str, Counter[str]]]:
    if processes == 1:
        yield from map(_attempt, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(_attempt, seeds, chunksize=5)
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--until-failure", action="store_true", help="stop at the first seed that fails")
    chosen = parser.parse_args(arguments)
    started, failed, happened = time.monotonic(), 0, Counter[str]()
    for seed, trouble, counts in _attempts(range(chosen.first, chosen.first + chosen.seeds), chosen.processes):
        happened.update(counts)
        if trouble:
            failed += 1
            print(f"seed {seed} failed; again: --first {seed} --seeds 1\n{trouble}", flush=True)
            if chosen.until_failure:
                return 1
    print(f"{time.monotonic() - started:.0f} s: " + ", ".join(f"{n} {what}" for what, n in sorted(happened.items())))
    print(f"{chosen.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
