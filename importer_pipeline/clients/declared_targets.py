"""Reads the targets of clients files: the named ones, which many clients can use, and those of single clients.

Stays out: the fields and their checks (see `target_settings`), and clients (see `clients_file`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from importer_pipeline.clients.cross_checks import name_problems
from importer_pipeline.clients.file_problems import Problem, found, nearest, validated
from importer_pipeline.clients.target_settings import (
    IS_SHARED,
    TargetSettings,
    TargetUse,
    written_problems,
)
from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.expressions import Expression, parse_expression
from importer_pipeline.records.shapes import Fields, Flaw, Shape, id_of, read_fields
from importer_pipeline.redaction import quoted, shown, shown_path

_RECORD_KEYS = ("record", "record_id")
_EXAMPLE = "write api_key: {env: ACME_TARGET_API_KEY}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTarget:
    """A client's target, as far as it could be read.

    Attributes:
        settings: the target; None if it has a problem, which is reported.
        is_shaped: True if it declares the form of a record, so that audiences may change it.
    """

    settings: TargetSettings | None
    is_shaped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTarget:
    """A target under `targets`, which clients use by its name.

    Attributes:
        file: the clients file that declares it.
        target: the target.
    """

    file: Path
    target: ReadTarget


class DeclaredTargets:
    """The targets that the clients of a file can use.

    Args:
        written: the section `targets` of the file; None without one.
        file: the file; relative paths start at its folder.
        others: the named targets of all files of the folder, with those of this one.
        problems: where problems are added.
    """

    def __init__(self, written: Any, *, file: Path, others: Mapping[str, NamedTarget], problems: list[Problem]) -> None:
        self._folder = file.parent
        self._problems = problems
        self._named: dict[str, ReadTarget] = {}
        self._others = others
        if written is None:
            return
        if not isinstance(written, dict):
            self._report(("targets",), f"expected the targets by name, found {found(written)}", "write crm: below it")
            return
        names = [name for name in written if isinstance(name, str)]
        problems.extend(name_problems(names, where=("targets",)))
        for name in names:
            self._named[name] = self._inline(written[name], ("targets", name), is_shared=True)
            if name in others and others[name].file != file:
                what = f"the target {shown(name)} is already declared in {shown_path(others[name].file)}"
                self._report(("targets", name), what, "remove one of them, or rename it")

    @property
    def named(self) -> Mapping[str, ReadTarget]:
        """The targets that the file names."""
        return self._named

    def of_client(self, written: Any, *, where: tuple[str, ...]) -> ReadTarget:
        """Return the target of a client: the name of one, a named one with the client's secrets, or its own."""
        if isinstance(written, str):
            return self._used(written, None, where)
        if isinstance(written, dict) and "use" in written:
            use, found_problems = validated(TargetUse, written, where=where, context={"folder": self._folder})
            self._problems.extend(found_problems)
            return ReadTarget(settings=None, is_shaped=True) if use is None else self._used(use.use, use, where)
        return self._inline(written, where, is_shared=False)

    def shape_of(self, target: ReadTarget, written: Any, *, where: tuple[str, ...]) -> Shape | None:
        """Return the form of an audience's records: that of its target, with the audience's own fields."""
        base = None if target.settings is None else target.settings.record
        if written is None:
            return base
        if not isinstance(written, dict):
            self._report(where, f"expected a mapping, found {found(written)}", "write its keys below it, indented")
            return None
        fields = self._fields(written, where)
        return None if base is None or fields is None else base.with_fields(fields)

    def _used(self, name: str, use: TargetUse | None, where: tuple[str, ...]) -> ReadTarget:
        target = self._named.get(name)
        if target is None and name in self._others:
            target = self._others[name].target
            if target.settings is None:
                file = shown_path(self._others[name].file)
                self._report(where, f"the target {shown(name)} has a problem in {file}", "correct it there")
        if target is None:
            names = [*self._named, *self._others]
            known = nearest(name, names) if names else "declare it under targets, beside clients"
            self._report(where, f"there is no target {quoted(name)}", known)
            return ReadTarget(settings=None, is_shaped=True)
        if target.settings is None:
            return target
        own_key, own = (None, {}) if use is None else (use.api_key, use.secrets)
        settings = target.settings.used_by(name, own_key, own)
        if missing := settings.missing_secrets():
            what = f"the target {name} needs the secret {missing[0]}, which neither it nor this client has"
            secret = "api_key" if missing[0] == "api_key" else f"secrets.{missing[0]}"
            self._report(where, what, f"write {{use: {name}, {secret}: {{env: ...}}}}, or the same in targets.{name}")
            return ReadTarget(settings=None, is_shaped=target.is_shaped)
        return ReadTarget(settings=settings, is_shaped=target.is_shaped)

    def _inline(self, written: Any, where: tuple[str, ...], *, is_shared: bool) -> ReadTarget:
        if not isinstance(written, dict):
            self._report(where, f"expected a mapping (its keys indented below it), found {found(written)}", _EXAMPLE)
            return ReadTarget(settings=None, is_shaped=False)
        before = len(self._problems)
        settings = {key: value for key, value in written.items() if key not in _RECORD_KEYS}
        shape = self._shape(written, where)
        self._problems.extend(written_problems(written, where=where, is_shared=is_shared))
        context = {"folder": self._folder, IS_SHARED: is_shared}
        target, found_problems = validated(TargetSettings, settings, where=where, context=context)
        self._problems.extend(found_problems)
        is_sound = len(self._problems) == before
        if target is not None and shape is not None:
            target = target.shaped(shape)
        return ReadTarget(settings=target if is_sound else None, is_shaped="record" in written)

    def _shape(self, written: Mapping[Any, Any], where: tuple[str, ...]) -> Shape | None:
        record, record_id = written.get("record"), written.get("record_id")
        if record is None:
            if record_id is not None:
                self._report((*where, "record_id"), "there is no record beside it", "write record, or remove it")
            return None
        if not isinstance(record, dict) or not record:
            what = f"expected the fields of a record, found {found(record)}"
            self._report((*where, "record"), what, "write email: email_address below it")
            return None
        own_id = None if record_id is None else self._expression(record_id, (*where, "record_id"))
        fields = self._fields(record, (*where, "record"))
        if fields is None or (record_id is not None and own_id is None):
            return None
        try:
            return Shape(id=id_of(own_id, fields), fields=fields)
        except ClientsFileInvalid as error:
            place = "record_id" if record_id is not None else "record"
            self._report((*where, place), error.problem, error.remedy)
            return None

    def _expression(self, written: Any, where: tuple[str, ...]) -> Expression | None:
        if not isinstance(written, str):
            self._report(where, f"expected a text, found {found(written)}", "write record_id: id")
            return None
        try:
            return parse_expression(written)
        except ClientsFileInvalid as error:
            self._report(where, error.problem, error.remedy)
            return None

    def _fields(self, written: Mapping[Any, Any], where: tuple[str, ...]) -> Fields | None:
        flaws = list[Flaw]()
        fields = read_fields(written, flaws)
        for flaw in flaws:
            self._report((*where, *flaw.where), flaw.problem, flaw.remedy)
        return None if flaws else fields

    def _report(self, where: tuple[str, ...], what: str, remedy: str) -> None:
        self._problems.append(Problem(where=where, what=what, remedy=remedy))
