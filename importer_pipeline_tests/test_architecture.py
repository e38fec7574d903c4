"""Checks `docs/architecture.md`: the imports between rooms. And docstrings: of modules, and of arguments."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import pytest

import importer_pipeline
from importer_pipeline import errors

PACKAGE = Path(importer_pipeline.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "architecture.md"

SOURCES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text(
        encoding="utf-8"
    )
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""The source of every module of the package, by its name."""

DOCUMENTED = [
    path
    for folder in ("importer_pipeline", "importer_pipeline_tests", "benchmarks")
    for path in sorted((PACKAGE.parent / folder).rglob("*.py"))
]
"""Files of which each `Args:` is compared with the code."""

ROOMS: Mapping[str, set[str]] = {
    "records": set(),
    "listing": set(),
    "http": set(),
    "locks": set(),
    "engine": {"records", "listing"},
    "planning": {"engine", "records", "listing"},
    "mailchimp": {"http", "engine", "records", "listing"},
    "target": {"http", "records"},
    "clients": {"mailchimp", "target", "records"},
    "runner": {"clients", "mailchimp", "target", "planning", "engine", "locks", "http", "records", "listing"},
    "checking": {"clients", "mailchimp", "target", "records"},
    "defs": {
        "runner",
        "checking",
        "clients",
        "mailchimp",
        "target",
        "planning",
        "engine",
        "locks",
        "records",
        "listing",
    },
    "cli": {"defs", "checking", "clients", "mailchimp", "target", "planning", "engine", "records", "listing"},
    "sandbox": {"clients", "listing"},
}
"""The rooms that each may import, besides the modules of the root that belong to none."""

ROOT = {"errors", "redaction", "exhaustion"}
"""Modules that any room may import. `definitions` assembles everything, and nothing imports it but the package
itself."""

STRANGERS: Mapping[str, set[str]] = {
    "requests": {"http", "mailchimp", "target", "runner", "checking", "defs", "cli", "sandbox"},
    "urllib3": {"http", "mailchimp", "target", "runner", "checking", "defs", "cli", "sandbox"},
    "dagster": {"defs", "cli"},
}
"""The rooms that may load a heavy library at all, be it through others."""

DIRECTLY: Mapping[str, set[str]] = {
    "requests": {"http", "sandbox"},
    "urllib3": {"http", "sandbox"},
    "dagster": {"defs"},
}
"""Those that may import it themselves. The sandbox has one module that stands in for the network."""

PURE = {"records", "listing", "engine", "planning"}
"""Rooms in which no thread is started, no time is read and nothing is sent: the simulation drives them as they are."""

IMPURE = {
    "asyncio", "concurrent", "multiprocessing", "os", "pathlib", "socket", "subprocess", "tempfile", "threading",
    "time",
}  # fmt: skip

COUNTS_FOR_THE_PROCESS = {"engine.concurrency"}
"""Counts requests of all runs in a process, whose threads it keeps apart."""


class Imports:
    """The imports of the modules of a package.

    Args:
        sources: the source of each module, by its name.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    @cached_property
    def direct(self) -> Mapping[str, frozenset[str]]:
        """Return all imports of each module by full name; for a name of one of our modules, that module."""
        return {module: frozenset(self._of(module, ast.parse(source))) for module, source in self._sources.items()}

    def reached(self, module: str) -> set[str]:
        """Return all that importing a module loads, of the package and from outside, whatever it goes through."""
        found: set[str] = set()
        ahead = [module]
        while ahead:
            for name in self.direct[ahead.pop()] - found:
                found.add(name)
                # The package itself loads `definitions` only for who asks it for them.
                ahead += [name] if name in self._sources and name != "importer_pipeline" else []
        return found

    def crossings(self) -> Iterator[str]:
        """Yield each import that the tables above don't allow, as `module -> what it imports`."""
        for module, names in self.direct.items():
            room = room_of(module)
            if room is None:
                continue
            allowed = ROOMS[room] | {room}
            for name in sorted(names):
                outside, theirs = name.partition(".")[0], room_of(name)
                if outside == "importer_pipeline":
                    is_allowed = theirs in allowed or name.removeprefix("importer_pipeline.") in {
                        *ROOT,
                        "importer_pipeline",
                    }
                else:
                    is_allowed = room in DIRECTLY.get(library_of(name), {room})
                if not is_allowed:
                    yield f"{module} -> {name}"
            for name in sorted({library_of(it) for it in self.reached(module)}):
                if room not in STRANGERS.get(name, {room}):
                    yield f"{module} -> ... -> {name}"

    def _of(self, module: str, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} imports relatively"
                assert node.module is not None
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                yield from names & self._sources.keys() or {node.module}


IMPORTS = Imports(SOURCES)


def room_of(module: str) -> str | None:
    """Return the room that a module is in; None for those of the root, and of other packages."""
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return room if package == "importer_pipeline" and room in ROOMS else None


def library_of(module: str) -> str:
    """Return the library that a module belongs to; Dagster's libraries are one."""
    name = module.partition(".")[0]
    return "dagster" if name.startswith("dagster") else name


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


def documented_arguments(docstring: str) -> list[str]:
    """Return the names in the section `Args:` of a docstring."""
    section = re.search(r"^Args:\n((?:(?: .*)?\n)*)", f"{docstring}\n", re.MULTILINE)
    return re.findall(r"^    (\w+):", section[1], re.MULTILINE) if section else []


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names of a function's parameters, in their order."""
    spec = function.args
    found = [*spec.posonlyargs, *spec.args, spec.vararg, *spec.kwonlyargs, spec.kwarg]
    return [it.arg for it in found if it is not None and it.arg not in ("self", "cls")]


def wrong_arguments(source: str) -> list[str]:
    """Return each function or class whose docstring has an `Args:` with other names than its parameters."""
    wrong = list[str]()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        documented = documented_arguments(ast.get_docstring(node) or "")
        makers = node.body if isinstance(node, ast.ClassDef) else []
        init = next((it for it in makers if isinstance(it, ast.FunctionDef) and it.name == "__init__"), None)
        function = init if isinstance(node, ast.ClassDef) else node
        if documented and documented != (parameters(function) if function else []):
            wrong.append(f"{node.name}, line {node.lineno}")
    return wrong


def test_every_import_goes_along_an_arrow_of_the_table() -> None:
    assert list(IMPORTS.crossings()) == []


@pytest.mark.parametrize(
    ("module", "line", "crossing"),
    [
        (
            "listing.coverage",
            "import importer_pipeline.engine.sync",
            "listing.coverage -> importer_pipeline.engine.sync",
        ),
        ("records.mapping", "import requests", "records.mapping -> requests"),
        ("records.mapping", "import requests", "engine.sync -> ... -> requests"),
        ("redaction", "from dagster_shared import seven", "engine.delivery -> ... -> dagster"),
        ("target.client", "    import dagster", "runner.api_clients -> ... -> dagster"),
        (
            "clients.client",
            "from importer_pipeline import definitions",
            "clients.client -> importer_pipeline.definitions",
        ),
    ],
)
def test_an_import_against_the_table_is_found(module: str, line: str, crossing: str) -> None:
    name = f"importer_pipeline.{module}"
    added = f"\ndef late() -> None:\n    {line.strip()}\n" if line.startswith(" ") else f"\n{line}\n"
    crossings = list(Imports({**SOURCES, name: SOURCES[name] + added}).crossings())
    assert f"importer_pipeline.{crossing}" in crossings


def test_the_table_of_rooms_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(ROOMS):
        next_level = {room for room, below in ROOMS.items() if room not in done and below <= done}
        assert next_level, set(ROOMS) - done
        done |= next_level


def test_no_module_imports_itself_through_others() -> None:
    assert [module for module in SOURCES if module != "importer_pipeline" and module in IMPORTS.reached(module)] == []


def test_the_document_shows_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert {room: set(re.findall(r"`(\w+)`", allowed)) for room, allowed in rows} == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_is_in_it_and_what_is_not(room: str) -> None:
    described = ast.get_docstring(ast.parse(SOURCES[f"importer_pipeline.{room}"]))
    assert described is not None
    assert re.search(r"Stays out: [^.]+\.", described)
    assert re.search(r"May import [^.]+\.", described)


@pytest.mark.parametrize("module", [name for name in SOURCES if room_of(name) in PURE])
def test_a_pure_module_imports_nothing_that_waits_reads_or_sends(module: str) -> None:
    found = {library_of(name) for name in IMPORTS.reached(module)} & IMPURE
    counts = {f"importer_pipeline.{name}" for name in COUNTS_FOR_THE_PROCESS}
    assert found <= ({"threading"} if {module, *IMPORTS.reached(module)} & counts else set())


def test_what_the_sandbox_compares_with_comes_from_nowhere_else() -> None:
    """The sandbox judges the importer, so it may not share its mistakes."""
    outside = {name for name in SOURCES if not name.startswith("importer_pipeline.sandbox")}
    assert not IMPORTS.reached("importer_pipeline.sandbox.compare") & outside


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_opens_with_what_it_holds(module: str) -> None:
    assert ast.get_docstring(ast.parse(SOURCES[module]))


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_is_called_by_its_subject(module: str) -> None:
    assert not set(module.split(".")) & {"utils", "util", "helpers", "helper", "common", "misc"}


def test_the_drawing_of_the_errors_is_their_tree() -> None:
    assert errors.__doc__ is not None
    classes = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, errors.ImporterError)]
    actual = {it.__name__: it.__bases__[0].__name__ for it in classes if it is not errors.ImporterError}
    assert drawn_tree(errors.__doc__) == actual


def test_every_docstring_names_the_arguments_in_their_order() -> None:
    wrong = {path.relative_to(PACKAGE.parent): wrong_arguments(path.read_text(encoding="utf-8")) for path in DOCUMENTED}
    assert {path: found for path, found in wrong.items() if found} == {}


FUNCTION = '''
def some({}):
    """Do it.

    Args:
        first: the
            one: before.
        others: the others.
        last: the last.

    Raises:
        ValueError: never.
    """
'''
CLASS = (
    FUNCTION.replace("def some({}):", "class Some:")
    + """
    def __init__(self, {}) -> None:
        pass
"""
)


@pytest.mark.parametrize("source", [FUNCTION, CLASS])
@pytest.mark.parametrize(
    ("written", "is_wrong"),
    [
        ("first, *others, last=None", False),
        ("first, *others, last=None, more", True),
        ("first, *others", True),
        ("first, *others, later=None", True),
        ("last, *others, first=None", True),
    ],
)
def test_wrong_arguments_are_found(source: str, written: str, is_wrong: bool) -> None:
    assert bool(wrong_arguments(source.format(written))) is is_wrong
