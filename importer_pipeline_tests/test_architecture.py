"""Who may import whom, and what every module owes its reader: `docs/architecture.md`, checked."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import importer_pipeline
from importer_pipeline import errors

PACKAGE = Path(importer_pipeline.__file__).parent

MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""Every module of the package, by its name."""

DAGSTER_ALLOWED = ("importer_pipeline.definitions", "importer_pipeline.defs")

HTTP_ALLOWED = {
    f"importer_pipeline.{name}" for name in ("faults", "mailchimp", "sockets", "target", "wire", "sandbox.adapter")
}
"""The two API clients, what they share, and the adapter that stands in for the network."""

CORE = {
    "windows": {"errors"},
    "hours": {"errors", "windows"},
    "chain": {"errors", "windows"},
    "snapshots": {"errors", "windows"},
    "spans": {"errors", "snapshots", "windows"},
    "walk": {"errors", "snapshots", "spans", "windows"},
    "audience_plan": {"chain", "errors", "hours", "snapshots", "windows"},
    "retries": {
        "contacts",
        "errors",
        "file_problems",
        "hours",
        "mapping",
        "outcomes",
        "quarantine",
        "redaction",
        "snapshots",
        "windows",
    },
    "redaction": set(),
    "mapping": {"errors", "file_problems", "redaction"},
    "contacts": {"errors", "file_problems", "mapping", "redaction"},
    "outcomes": {"errors", "snapshots", "windows"},
}
"""The modules at the bottom, each with all that it may need of the package, through others too."""

PURE = (
    "audience_plan",
    "audience_report",
    "audience_sync",
    "chain",
    "contacts_report",
    "delivery",
    "history",
    "hours",
    "hours_report",
    "lanes",
    "outcomes",
    "parcels",
    "posting",
    "quarantine",
    "resuming",
    "retries",
    "services",
    "shards",
    "snapshots",
    "spans",
    "summary",
    "sync",
    "tasks",
    "walk",
    "windows",
)
"""No thread is started, no time is read, nothing is sent: the simulation drives these as they are."""

IMPURE = {
    "asyncio",
    "concurrent",
    "multiprocessing",
    "os",
    "pathlib",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}


@cache
def tree(module: str) -> ast.Module:
    """The source of a module, parsed."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """All that a module imports, anywhere in it, by full name; a module of ours for a name taken from it."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(names & MODULES.keys() or {node.module})
    return frozenset(found)


def roots(module: str) -> set[str]:
    """The packages that a module imports from."""
    return {name.partition(".")[0] for name in imports(module)}


def reached(module: str) -> set[str]:
    """The modules of the package that a module imports, and those that they import."""
    found: set[str] = set()
    ahead = [module]
    while ahead:
        new = {name for name in imports(ahead.pop()) if name in MODULES} - found
        found |= new
        ahead += new
    return found


def drawn_tree(drawing: str) -> dict[str, str]:
    """Each class of a tree drawn with lines, and the class above it."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in drawing.splitlines():
        if match := re.match(r"    (?P<lines>(?:[│ ]   )*(?:[├└]── )?)(?P<name>[A-Z]\w+)(?:$|  )", line):
            depth = len(match["lines"]) // 4
            above[depth:] = [match["name"]]
            if depth:
                parents[match["name"]] = above[depth - 1]
    return parents


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(DAGSTER_ALLOWED)])
def test_only_what_dagster_sees_imports_dagster(module: str) -> None:
    assert not {name for name in roots(module) if name.startswith("dagster")}


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(DAGSTER_ALLOWED)])
def test_nothing_of_the_core_imports_what_dagster_sees(module: str) -> None:
    allowed = {"importer_pipeline.definitions"} if module == "importer_pipeline" else set[str]()
    assert not {name for name in imports(module) if name.startswith(DAGSTER_ALLOWED)} - allowed


@pytest.mark.parametrize("module", [name for name in MODULES if name not in HTTP_ALLOWED])
def test_only_what_speaks_http_imports_requests(module: str) -> None:
    assert not roots(module) & {"requests", "urllib3"}


@pytest.mark.parametrize(("module", "allowed"), CORE.items(), ids=CORE)
def test_a_module_at_the_bottom_knows_only_what_lies_below_it(module: str, allowed: set[str]) -> None:
    assert reached(f"importer_pipeline.{module}") == {f"importer_pipeline.{name}" for name in allowed}


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_that_waits_reads_or_sends(module: str) -> None:
    assert not roots(f"importer_pipeline.{module}") & IMPURE


@pytest.mark.parametrize("module", CORE)
def test_a_module_at_the_bottom_reaches_nothing_that_waits_reads_or_sends(module: str) -> None:
    name = f"importer_pipeline.{module}"
    strangers = set[str]().union(*(roots(each) for each in {name, *reached(name)})) - {"importer_pipeline", "pydantic"}
    assert strangers - {"pydantic_core"} <= set(sys.stdlib_module_names) - IMPURE


def test_what_the_sandbox_compares_with_comes_from_nowhere_else() -> None:
    """The sandbox judges the importer, so it may not share its mistakes."""
    outside = {name for name in MODULES if not name.startswith("importer_pipeline.sandbox")}
    assert not reached("importer_pipeline.sandbox.compare") & outside


@pytest.mark.parametrize("module", MODULES)
def test_a_module_opens_with_what_it_holds(module: str) -> None:
    assert ast.get_docstring(tree(module))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_called_by_its_subject(module: str) -> None:
    assert not set(module.split(".")) & {"utils", "util", "helpers", "helper", "common", "misc"}


def test_the_drawing_of_the_errors_is_their_tree() -> None:
    assert errors.__doc__ is not None
    classes = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, errors.ImporterError)]
    actual = {it.__name__: it.__bases__[0].__name__ for it in classes if it is not errors.ImporterError}
    assert drawn_tree(errors.__doc__) == actual
