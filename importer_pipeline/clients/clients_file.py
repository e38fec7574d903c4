"""Reads and checks one clients file, and reports all its problems together.

Stays out: the checks of single fields (see `client`), and several files (see `collection`).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from importer_pipeline.clients.client import ONE_WAY_IN, Audience, Client
from importer_pipeline.clients.cross_checks import Register, audience_problems, name_problems
from importer_pipeline.clients.declared_targets import DeclaredTargets, NamedTarget, ReadTarget
from importer_pipeline.clients.file_problems import Problem, found, unknown_key, validated
from importer_pipeline.clients.regular_files import FileUnreadable, read_regular_file
from importer_pipeline.clients.secret import Secret
from importer_pipeline.clients.target_settings import TargetSettings
from importer_pipeline.clients.yaml_source import MAX_BYTES, YamlSource, YamlUnreadable, read_yaml
from importer_pipeline.redaction import shown_key

SMALLEST_FILE = """\
clients:
  acme:
    mailchimp:
      api_key: {env: ACME_MAILCHIMP_API_KEY}
    target:
      url: https://api.example.com
      api_key: {env: ACME_TARGET_API_KEY}
    audiences:
      newsletter:
        list_id: 1a2d7ebf82"""
"""The smallest valid clients file."""

_Model = TypeVar("_Model", bound=BaseModel)
_SECTIONS = ("clients", "targets")
_UNREAD = TargetSettings(url="http://unread", api_key=Secret(env="UNREAD"))
"""Stands for a target with a problem, so that the other problems of its client are found, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsFile:
    """The clients and problems in one file.

    Attributes:
        path: the file.
        clients: those without a problem, disabled ones too, in the order of the file.
        problems: all problems, a line each: file, line, keys, what was expected and found, and the remedy.
    """

    path: Path
    clients: tuple[Client, ...]
    problems: tuple[str, ...]


def read_clients_file(path: Path, targets: Mapping[str, NamedTarget] | None = None) -> ClientsFile:
    """Read and check one file. Never raises for its content: see `problems`.

    Args:
        path: the file.
        targets: the named targets of all files of its folder; None to read it for itself.
    """
    try:
        source = read_yaml(path)
    except YamlUnreadable as error:
        return ClientsFile(path=path, clients=(), problems=(error.problem.line(str(path), error.line),))
    reading = _Reading(path, source, targets)
    clients = reading.clients()
    lines = [(source.line(problem.where), problem) for problem in dict.fromkeys(reading.problems)]
    lines.sort(key=lambda numbered: numbered[0] or 0)
    problems = tuple(problem.line(str(path), number) for number, problem in lines)
    return ClientsFile(path=path, clients=clients, problems=problems)


def read_named_targets(paths: Iterable[Path]) -> Mapping[str, NamedTarget]:
    """Return the named targets of files; of several with the same name, the first. `read_clients_file` has the problems."""
    found: dict[str, NamedTarget] = {}
    for path in paths:
        with suppress(FileUnreadable, YamlUnreadable):
            # Most files of a folder have none, and parsing them for nothing would double the time of loading.
            if b"targets" not in read_regular_file(path, max_bytes=MAX_BYTES):
                continue
            targets = DeclaredTargets(_targets_in(read_yaml(path)), file=path, others={}, problems=[])
            for name, target in targets.named.items():
                found.setdefault(name, NamedTarget(file=path, target=target))
    return found


def _targets_in(source: YamlSource) -> Any:
    """Return the section with the named targets; None without one."""
    return source.data.get("targets") if isinstance(source.data, dict) else None


class _Reading:
    """One file while it is read: returns its valid parts, and collects `problems`."""

    def __init__(self, path: Path, source: YamlSource, targets: Mapping[str, NamedTarget] | None) -> None:
        self._path = path
        self._is_alone = targets is None
        self._data = source.data
        self.problems = list(source.problems)
        self._targets = DeclaredTargets(_targets_in(source), file=path, others=targets or {}, problems=self.problems)

    def clients(self) -> tuple[Client, ...]:
        data = self._data
        if not isinstance(data, dict) or not (data.get("clients") or (data.get("targets") and not self._is_alone)):
            self._report((), "no clients are declared here", f"start from this:\n{SMALLEST_FILE}")
            return ()
        self.problems.extend(unknown_key(str(key), _SECTIONS, where=()) for key in data if key not in _SECTIONS)
        if not data.get("clients"):
            return ()
        declared = data["clients"]
        if not isinstance(declared, dict):
            what = f"expected the clients by name, found {found(declared)}"
            self._report(("clients",), what, f"start from this:\n{SMALLEST_FILE}")
            return ()
        names = self._names(declared, where=("clients",))
        sound = [client for name in names if (client := self._client(name, declared[name])) is not None]
        register = Register()
        for client in sound:
            if client.enabled:
                self.problems.extend(register.add(client))
        return tuple(sound)

    def _client(self, name: str, written: Any) -> Client | None:
        where = ("clients", name)
        if not self._is_mapping(written, where):
            return None
        target = self._target(written, where=(*where, "target"))
        audiences = self._audiences(written.get("audiences"), target, where=(*where, "audiences"))
        self._check_one_way_in(written.get("mailchimp"), where=(*where, "mailchimp"))
        settings = {key: value for key, value in written.items() if key != "audiences"}
        if target is not None:
            settings["target"] = target.settings or _UNREAD
        # Problems of the audiences are reported by now, but not their absence.
        if written.get("audiences"):
            settings["audiences"] = tuple(audiences)
        client = self._validated(Client, settings, name=name, where=where)
        return None if target is not None and target.settings is None else client

    def _target(self, written: Mapping[Any, Any], *, where: tuple[str, ...]) -> ReadTarget | None:
        """Return the client's target; None if nothing is written, which the client's own check reports."""
        target = written.get("target")
        return None if target is None else self._targets.of_client(target, where=where)

    def _audiences(self, written: Any, target: ReadTarget | None, *, where: tuple[str, ...]) -> list[Audience]:
        if not written or not self._is_mapping(written, where):
            return []
        sound: list[Audience] = []
        for name in self._names(written, where=where):
            place = (*where, name)
            if self._is_mapping(written[name], place):
                audience = self._audience(written[name], target, name=name, where=place)
                sound += [audience] if audience is not None else []
        self.problems.extend(audience_problems(sound, where=where))
        return sound

    def _audience(
        self, written: Mapping[Any, Any], target: ReadTarget | None, *, name: str, where: tuple[str, ...]
    ) -> Audience | None:
        if target is None or not target.is_shaped:
            return self._validated(Audience, written, name=name, where=where)
        shape = self._targets.shape_of(target, written.get("record"), where=(*where, "record"))
        settings = {key: value for key, value in written.items() if key != "record"}
        audience = self._validated(Audience, settings, name=name, where=where)
        return None if audience is None or shape is None else audience.shaped(shape)

    def _names(self, written: Mapping[Any, Any], *, where: tuple[str, ...]) -> list[str]:
        names = [name for name in written if isinstance(name, str)]
        if len(names) < len(written):
            self._report(where, "a name is missing before a colon", "write one, such as acme")
        self.problems.extend(name_problems(names, where=where))
        return names

    def _check_one_way_in(self, written: Any, *, where: tuple[str, ...]) -> None:
        # The model checks the same in the same words, but only once all its fields are valid.
        if isinstance(written, dict) and (written.get("api_key") is None) == (written.get("access_token") is None):
            self._report(where, *ONE_WAY_IN)

    def _is_mapping(self, written: Any, where: tuple[str, ...]) -> bool:
        if not isinstance(written, dict):
            self._report(where, f"expected a mapping, found {found(written)}", "write its keys below it, indented")
        return isinstance(written, dict)

    def _validated(
        self, model: type[_Model], written: Mapping[Any, Any], *, name: str, where: tuple[str, ...]
    ) -> _Model | None:
        if "name" in written:
            self._report((*where, "name"), "unknown key", f"the name is the key itself: {shown_key(name)}")
        named = {**written, "name": name}
        sound, problems = validated(model, named, where=where, context={"folder": self._path.parent})
        for problem in problems:
            # The name is not a key of its own in the file, but the key above.
            place = where if problem.where == (*where, "name") else problem.where
            self._report(place, problem.what, problem.remedy)
        return sound

    def _report(self, where: tuple[str, ...], what: str, remedy: str) -> None:
        self.problems.append(Problem(where=where, what=what, remedy=remedy))
