"""The simulation bites: with a rule broken on purpose, seeds fail; and it goes through nearly all of the engine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from importer_pipeline_tests.simulation.run import run_seed

ROOT = Path(__file__).parents[1]
COVERAGE = (sys.executable, "-m", "coverage")


class Break(NamedTuple):
    """A rule of the engine, and a way to break it."""

    file: str
    rule: str
    broken: str


BREAKS = {
    "a page covers its first second": Break("windows.py", "else shape.first + 1", "else shape.first"),
    "a page covers its last second": Break("windows.py", "else shape.last - 1", "else shape.last"),
    "a short page is the end": Break(
        "windows.py",
        "shape.length < ask.count and ask.offset + shape.length >= shape.total",
        "shape.length <= ask.count",
    ),
    "what is missing is not read": Break("walk.py", "for gap in missing(span.bounds, known):", "for gap in known[:0]:"),
    "ids of a crowded second are counted against any total": Break(
        "windows.py", "if distinct == total:", "if len(self._lowest_total) >= total:"
    ),
    "one round of a crowded second is enough": Break(
        "walk.py", "if span.crowd.whole:", "if span.crowd.whole or span.open_pages == 1:"
    ),
    "windows don't overlap": Break("windows.py", "return self.page_size - self.overlap", "return self.page_size"),
    "halves don't overlap": Break(
        "windows.py", "start = ask.offset + half - paging.overlap", "start = ask.offset + half"
    ),
    "the second half is not asked for": Break(
        "walk.py", "for part in reversed(parts))", "for part in parts[:1])\n        span.open_pages -= 1"
    ),
    "half of a refused batch is not sent again": Break(
        "delivery.py", "        self._send(Batch(batch.contacts[middle:]))\n", ""
    ),
    "a batch that is accepted in part counts as accepted": Break(
        "delivery.py", "if receipt.complete:", "if receipt.accepted:"
    ),
    "a page counts before it is delivered": Break(
        "posting.py", "        if delivery.done:\n", "        if delivery.done or page.is_open:\n"
    ),
    "a failed window leaves its stretch unread and the audience counts as complete": Break(
        "audience_sync.py", "error=self.stopped or (failed[0][1] if failed else None)", "error=self.stopped"
    ),
    "archived contacts are not read": Break("mailchimp.py", 'query["status"] = "archived"', "pass"),
    "short pages are believed": Break("windows.py", "if length < expected or", "if"),
    "Mailchimp's clock is not asked": Break("audience_sync.py", "if age >= SNAPSHOT_AGE_SECONDS and (", "if True or ("),
}


def simulate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation of a copy of the project."""
    return subprocess.run(
        [sys.executable, "-m", "importer_pipeline_tests.simulation", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the engine and its simulation."""
    shutil.copytree(ROOT / "importer_pipeline", tmp_path / "importer_pipeline")
    shutil.copytree(
        ROOT / "importer_pipeline_tests" / "simulation", tmp_path / "importer_pipeline_tests" / "simulation"
    )
    (tmp_path / "importer_pipeline_tests" / "__init__.py").touch()
    return tmp_path


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
def test_a_broken_rule_makes_seeds_fail(broken: Break, copy: Path) -> None:
    module = copy / "importer_pipeline" / broken.file
    source = module.read_text()
    assert source.count(broken.rule) == 1
    module.write_text(source.replace(broken.rule, broken.broken))
    result = simulate(copy, "--seeds", "400", "--until-failure", "--processes", "2")
    assert result.returncode == 1, result.stdout
    assert "failed; again: --first" in result.stdout, result.stderr


def test_the_simulation_goes_through_the_engine(copy: Path) -> None:
    """At least 95 % of the statements of the modules that decide, by the simulation alone."""
    (copy / ".coveragerc").write_text("[run]\nsource = importer_pipeline\n")
    result = subprocess.run(
        [*COVERAGE, "run", "-m", "importer_pipeline_tests.simulation", "--seeds", "300", "--processes", "1"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    subprocess.run([*COVERAGE, "json", "-q"], cwd=copy, check=True)
    files = json.loads((copy / "coverage.json").read_text())["files"]
    for name in ("windows", "walk", "audience_sync", "sync", "posting", "delivery"):
        covered = files[f"importer_pipeline/{name}.py"]["summary"]["percent_covered"]
        assert covered >= 95, f"{name}: {covered:.1f} %"


def test_a_seed_can_be_replayed() -> None:
    assert run_seed(4) == run_seed(4)
