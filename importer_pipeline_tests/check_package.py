"""`python -m importer_pipeline_tests.check_package`: the wheel, in an empty environment, as a user would install it.

It is built from a copy and used in another folder, so that the checkout can't hide what the wheel lacks: a module, a
dependency, the definitions that `dagster -m importer_pipeline` looks for.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
SOURCES = ("importer_pipeline", "pyproject.toml", "setup.py", "README.md", "LICENSE")

IMPORT_EVERYTHING = """
import importlib, pkgutil, importer_pipeline
for module in pkgutil.walk_packages(importer_pipeline.__path__, "importer_pipeline."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(importer_pipeline.__file__)
"""


class PackageBroken(Exception):
    """The wheel lacks something, or does not work."""


def main() -> int:
    """Build, install and use the wheel. The exit code is 0 if all of that succeeded."""
    with tempfile.TemporaryDirectory(prefix="importer-package-") as folder:
        try:
            check(Path(folder))
        except PackageBroken as error:
            print(f"package check: {error}", file=sys.stderr)
            return 1
    print("package check: the wheel installs, imports and loads")
    return 0


def check(folder: Path) -> None:
    """Build the wheel below the folder, and use it there."""
    wheel = build(folder)
    if surplus := sorted(set(names_in(wheel)) - set(names_in_checkout())):
        raise PackageBroken(f"the wheel holds files that the package does not: {', '.join(surplus)}")
    if lacking := sorted(set(names_in_checkout()) - set(names_in(wheel))):
        raise PackageBroken(f"the wheel lacks {', '.join(lacking)}")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    # Uncompiled, since only a few commands use it: a third of the time.
    run(*pip, "install", "--quiet", "--no-compile", "--constraint", CHECKOUT / "constraints.txt", wheel, at=elsewhere)
    run(*pip, "check", at=elsewhere)
    where = run(python, "-W", "error::ImportWarning", "-c", IMPORT_EVERYTHING, at=elsewhere)
    if not Path(where.strip().splitlines()[-1]).is_relative_to(folder):
        raise PackageBroken(f"the import came from {where.strip()}, not from the wheel")
    dagster = python.with_name("dagster")
    if "full_sync" not in (listed := run(dagster, "job", "list", "-m", "importer_pipeline", at=elsewhere)):
        raise PackageBroken(f"`dagster job list -m importer_pipeline` does not list full_sync:\n{listed}")
    run(dagster, "definitions", "validate", "-m", "importer_pipeline", at=elsewhere)


def build(folder: Path) -> Path:
    """Build the wheel of a copy of the sources."""
    copy = folder / "sources"
    copy.mkdir()
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", copy, at=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def names_in(wheel: Path) -> Iterator[str]:
    """Return the files of a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return iter([name for name in archive.namelist() if ".dist-info/" not in name])


def names_in_checkout() -> Iterator[str]:
    """Return the files that a wheel must hold."""
    files = (CHECKOUT / "importer_pipeline").rglob("*")
    return (str(path.relative_to(CHECKOUT)) for path in files if path.is_file() and "__pycache__" not in path.parts)


def run(*command: str | Path, at: Path) -> str:
    """Run a command without any of our variables in its environment; return its output if it succeeded."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER", "IMPORTER", "PYTHON"))}
    home = at / "dagster_home"
    home.mkdir(exist_ok=True)
    shutil.copy(CHECKOUT / "dagster.yaml", home)
    shown = " ".join(str(part) for part in command)
    print(f"package check: {shown.replace(IMPORT_EVERYTHING, '(import every module)')}", flush=True)
    done = subprocess.run(
        command, cwd=at, env=kept | {"DAGSTER_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PackageBroken(f"exit code {done.returncode} of {shown}\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
