"""The form of a record that a target declares: any fields, nested, and the mapping of members to it. Pure.

Stays out: single values (see `expressions`), and the default record with its five texts (see `contacts`).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.columns import ALWAYS, Columns, fields_of, member_fields_of
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS, Contact, ShapedRecord, Source
from importer_pipeline.records.expressions import OMITTED, Expression, Unfit, parse_expression
from importer_pipeline.records.mapping import LIST_ID

Fields = Mapping[str, "Field"]
Field = Expression | Fields | tuple["Field", ...]
"""A field of a record: a value, an object with fields, or a list."""

DEFAULT_ID = "id"
"""What the target upserts by, if neither `record_id` nor a field `id` is declared: Mailchimp's `id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A problem of a declared record.

    Attributes:
        where: the path of keys to it in the record.
        problem: what is wrong.
        remedy: what to write.
    """

    where: tuple[str, ...]
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The form of a record.

    Attributes:
        id: what the target upserts by.
        fields: the fields, by key.
    """

    id: Expression
    fields: Fields

    @property
    def normal_form(self) -> str:
        """The shape as text, equal for equal records: a part of the fingerprint."""
        return json.dumps([self.id.text, _plain(self.fields)], sort_keys=True)

    def with_fields(self, fields: Fields) -> "Shape":
        """Return the shape with other values of some fields; objects are merged, key by key."""
        return Shape(id=self.id, fields=_merged(self.fields, fields))


def read_fields(written: Mapping[Any, Any], flaws: list[Flaw]) -> Fields:
    """Read the fields of a declared record, and add all their problems to `flaws`."""
    return _fields(written, (), flaws)


def id_of(record_id: Expression | None, fields: Fields) -> Expression:
    """Return what the target upserts by: as declared, or the field `id`, or Mailchimp's `id`.

    Raises:
        ClientsFileInvalid: it is the same for all contacts.
    """
    field = fields.get("id")
    chosen = record_id or (field if isinstance(field, Expression) else parse_expression(DEFAULT_ID))
    if chosen.constant or not chosen.template.identifies:
        raise ClientsFileInvalid(
            "this id is the same for all contacts: they would overwrite each other",
            remedy='write record_id: id, or record_id: "{email_address | lower}"',
        )
    if any(function not in ("lower", "trim") for place in chosen.places for function in place.functions):
        raise ClientsFileInvalid("an id is a text", remedy="write no function but lower and trim")
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedMapping:
    """The mapping from the members of one audience to records of a declared form. Created by `of`.

    Attributes:
        shape: the form, with the list's id filled in.
        paths: the paths of a member that are requested.
        fields: the value of Mailchimp's `fields` parameter.
        sources: the sources of the values.
    """

    shape: Shape
    paths: tuple[str, ...]
    fields: str
    sources: tuple[Source, ...]

    @staticmethod
    def of(shape: Shape, *, list_id: str) -> "ShapedMapping":
        """Create the mapping of an audience with this list."""
        written = [*_leaves(shape.fields)]
        read = [path for _, leaf in (*written, ("", shape.id)) for path in leaf.paths if path != LIST_ID]
        paths = tuple(dict.fromkeys([*ALWAYS, *read]))
        filled = Shape(id=shape.id.filled(list_id), fields=_filled(shape.fields, list_id))
        sources = tuple(Source(key=key, text=leaf.text, paths=leaf.paths) for key, leaf in written)
        return ShapedMapping(shape=filled, paths=paths, fields=fields_of(paths), sources=sources)

    @property
    def member_fields(self) -> str:
        """The `fields` for a single member that is requested by its id."""
        return member_fields_of(self.fields)

    def contacts(self, members: Sequence[dict[str, Any]]) -> tuple[list[Contact], Counter[str]]:
        """Map the members of a page, in their order, and count how often each mapped path was missing."""
        columns = Columns(members)
        ids = columns.texts("id")
        contacts = [self._contact(columns, row, contact_id) for row, contact_id in enumerate(ids)]
        mapped = {path for path in self.paths if path not in ALWAYS or path in self.shape.id.paths}
        for path in mapped:
            columns.texts(path)
        return contacts, Counter({path: columns.lacking[path] for path in mapped if columns.lacking[path]})

    def _contact(self, columns: Columns, row: int, contact_id: str) -> Contact:
        for place in self.shape.id.places:
            value = place.value(columns, row)
            if not value or (place.paths == ("id",) and value == ID_OF_NO_ADDRESS):
                reason = f"no {' or '.join(place.paths)}, which record_id needs: map record_id to a path that every "
                return Contact(contact_id, None, f"{reason}contact has, such as contact_id")
        try:
            content = _content(self.shape.fields, columns, row, ())
        except _Unsendable as error:
            return Contact(contact_id, None, str(error))
        return Contact(contact_id, ShapedRecord(self.shape.id.value(columns, row), content), "")


class _Unsendable(Exception):
    """No record can be made of a member."""


def _content(field: Field, columns: Columns, row: int, where: tuple[str, ...]) -> Any:
    if isinstance(field, Expression):
        try:
            return field.value(columns, row)
        except Unfit as error:
            source = " or ".join(dict.fromkeys(field.paths))
            raise _Unsendable(
                f"{source} {error}, which record.{'.'.join(where)} needs: correct it in Mailchimp, or map another"
            ) from None
    if isinstance(field, tuple):
        items = [_content(item, columns, row, (*where, str(index))) for index, item in enumerate(field)]
        return [item for item in items if item is not OMITTED]
    values = {key: _content(item, columns, row, (*where, key)) for key, item in field.items()}
    return {key: value for key, value in values.items() if value is not OMITTED}


def _fields(written: Mapping[Any, Any], where: tuple[str, ...], flaws: list[Flaw]) -> dict[str, Field]:
    fields = dict[str, Field]()
    for key, value in written.items():
        if not isinstance(key, str):
            flaws.append(Flaw(where=where, problem="a name is missing before a colon", remedy="write one"))
        elif (field := _field(value, (*where, key), flaws)) is not None:
            fields[key] = field
    return fields


def _field(written: Any, where: tuple[str, ...], flaws: list[Flaw]) -> Field | None:
    if isinstance(written, dict):
        return _fields(written, where, flaws)
    if isinstance(written, list):
        items = [_field(item, where, flaws) for item in written]
        return tuple(item for item in items if item is not None)
    if not isinstance(written, str):
        flaws.append(
            Flaw(where=where, problem="expected a value, found nothing", remedy='write a path, or "" for none')
        )
        return None
    try:
        return parse_expression(written)
    except ClientsFileInvalid as error:
        flaws.append(Flaw(where=where, problem=error.problem, remedy=error.remedy))
        return None


def _leaves(field: Field, where: tuple[str, ...] = ()) -> Iterator[tuple[str, Expression]]:
    if isinstance(field, Expression):
        yield ".".join(where), field
        return
    items = enumerate(field) if isinstance(field, tuple) else field.items()
    for key, item in items:
        yield from _leaves(item, (*where, str(key)))


def _filled(field: Any, list_id: str) -> Any:
    if isinstance(field, Expression):
        return field.filled(list_id)
    if isinstance(field, tuple):
        return tuple(_filled(item, list_id) for item in field)
    return {key: _filled(item, list_id) for key, item in field.items()}


def _merged(field: Fields, other: Fields) -> Fields:
    merged = dict(field)
    for key, value in other.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(before, value)
        else:
            merged[key] = value
    return merged


def _plain(field: Field) -> Any:
    if isinstance(field, Expression):
        return field.text
    if isinstance(field, tuple):
        return [_plain(item) for item in field]
    return {key: _plain(item) for key, item in field.items()}
