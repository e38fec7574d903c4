"""Reads YAML as people mean it: scalars stay texts, duplicate keys are found, and every key has its line number.

Stays out: the meaning of the keys (see `clients_file`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from importer_pipeline.clients.file_problems import Problem
from importer_pipeline.clients.regular_files import FileTooLarge, FileUnreadable, read_regular_file
from importer_pipeline.clients.yaml_mistakes import mistake_near
from importer_pipeline.redaction import shown

if TYPE_CHECKING or not yaml.__with_libyaml__:
    from yaml import SafeLoader as _FastestLoader
else:
    from yaml import CSafeLoader as _FastestLoader

_KEPT_TAGS = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}
_MAX_REASON = 200
_QUOTED = re.compile(r"'[^'\s]{2,}'")
MAX_BYTES = 10_000_000
"""Maximum size of one file: some twenty thousand clients, read within seconds."""


class _Loader(_FastestLoader):
    """Loads every scalar but an empty one as text: a list's id may be all digits, a client may be named `no`."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT_TAGS]
    for first, resolvers in _FastestLoader.yaml_implicit_resolvers.items()
}


class YamlUnreadable(Exception):
    """The file can't be read as YAML at all.

    Attributes:
        problem: the reason, without content of the file.
        line: its line number from 1, if known.
    """

    def __init__(self, problem: Problem, *, line: int | None) -> None:
        """Keep the problem and its line."""
        super().__init__(problem.what)
        self.problem = problem
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlSource:
    """The content of a YAML file, with line numbers.

    Attributes:
        data: mappings, lists, texts and None.
        problems: the duplicate keys.
        lines: line numbers from 1, by path of keys.
    """

    data: Any
    problems: tuple[Problem, ...]
    lines: dict[tuple[str, ...], int]

    def line(self, where: tuple[str, ...]) -> int | None:
        """Return the line of a path of keys, or of the nearest path above it in the file."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where)


def read_yaml(path: Path) -> YamlSource:
    """Read a file. YamlUnreadable if it can't be opened, or is not UTF-8 or not YAML."""
    try:
        content = read_regular_file(path, max_bytes=MAX_BYTES)
    except FileTooLarge:
        what = f"it has more than {MAX_BYTES // 1_000_000} MB, which is too much for one clients file"
        raise _unreadable(what, "split it into several files in one folder, and set IMPORTER_CLIENTS to that") from None
    except FileUnreadable as error:
        remedy = "put a file there that the importer's user may read, or remove it"
        raise _unreadable(f"it can't be read ({error})", remedy) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable("it is not UTF-8", "save it as UTF-8", line=line) from None
    return _parsed(text)


def _parsed(text: str) -> YamlSource:
    try:
        # Within the try: creating it reads the first characters, and fails if one of them is not allowed in YAML.
        loader = _Loader(text)
        try:
            return _source(loader)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = error.problem or "its structure is broken"
        if mark is not None and (found := mistake_near(text.split("\n"), mark.line, problem=words)) is not None:
            index, mistake = found
            raise _unreadable(f"not YAML: {mistake.what}", mistake.remedy, line=index + 1) from None
        why = _QUOTED.sub("'...'", words)
        place = "" if mark is None else f" (column {mark.column + 1})"
        line = None if mark is None else mark.line + 1
        remedy = "check the indentation, colons and quotes there"
        raise _unreadable(f"not YAML: {shown(why, max_characters=_MAX_REASON)}{place}", remedy, line=line) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _unreadable("not YAML: invalid characters or tags", "write plain text without tags") from None


def _source(loader: _Loader) -> YamlSource:
    node: yaml.Node | None = loader.get_single_node()
    if node is None:
        return YamlSource(data=None, problems=(), lines={})
    lines: dict[tuple[str, ...], int] = {}
    problems: list[Problem] = []
    _note_keys(node, (), lines=lines, problems=problems, seen=set())
    return YamlSource(data=loader.construct_document(node), problems=tuple(problems), lines=lines)


def _note_keys(
    node: yaml.Node,
    where: tuple[str, ...],
    *,
    lines: dict[tuple[str, ...], int],
    problems: list[Problem],
    seen: set[int],
) -> None:
    # An alias leads to a node that was visited already, perhaps to one above.
    if not isinstance(node, yaml.MappingNode) or id(node) in seen:
        return
    seen.add(id(node))
    first: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        place = (*where, key.value)
        # The last one counts, as it does for the data.
        lines[place] = key.start_mark.line + 1
        if key.value in first and key.tag not in _KEPT_TAGS:
            what = f"appears twice, first in line {first[key.value]}"
            problems.append(Problem(where=place, what=what, remedy="keep one, or rename one"))
        first.setdefault(key.value, lines[place])
        _note_keys(value, place, lines=lines, problems=problems, seen=seen)


def _unreadable(what: str, remedy: str, *, line: int | None = None) -> YamlUnreadable:
    return YamlUnreadable(Problem(where=(), what=what, remedy=remedy), line=line)
