"""A contact as Mailchimp sends it, a record as the target takes it, and the mapping between them.

Stays out: how the mapping is written and checked (see `mapping`), where members come from and records go.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Any, NamedTuple, Protocol

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.columns import ALWAYS, Columns, fields_of, member_fields_of
from importer_pipeline.records.mapping import LIST_ID, Template, parse_template

DEFAULT_RECORD: Mapping[str, str] = {
    "id": "id",
    "firstname": "merge_fields.FNAME",
    "lastname": "merge_fields.LNAME",
    "email": "email_address",
    "status": "status",
}
"""The default source of each value of a record."""

ID_OF_NO_ADDRESS = "d41d8cd98f00b204e9800998ecf8427e"
"""Mailchimp's `id` of a contact without an address: the MD5 of an empty text (D: `id` is the MD5 of the lower-case
address)."""


class Record(NamedTuple):
    """A contact in the default protocol. Its `repr` shows none of its values.

    Attributes:
        id: what the target upserts by.
        firstname: the given name, or "".
        lastname: the family name, or "".
        email: the address, or "".
        status: Mailchimp's word for it, such as "subscribed" or "archived".
    """

    id: str
    firstname: str
    lastname: str
    email: str
    status: str

    def __repr__(self) -> str:
        """Show nothing of the person."""
        return "Record(...)"

    @property
    def content(self) -> dict[str, Any]:
        """The content that is sent."""
        return self._asdict()


class ShapedRecord(NamedTuple):
    """A contact in the form that a target declares. Its `repr` shows none of its values.

    Attributes:
        id: what the target upserts by.
        content: what is sent: a JSON object.
    """

    id: str
    content: dict[str, Any]

    def __repr__(self) -> str:
        """Show nothing of the person."""
        return "ShapedRecord(...)"


AnyRecord = Record | ShapedRecord
"""A record as the default protocol takes it, or in a declared form."""


class Contact(NamedTuple):
    """One member of a page, mapped. Its `repr` shows nothing of the person but Mailchimp's id.

    Attributes:
        contact_id: Mailchimp's `id` of the member; "" if it has none.
        record: the record to send; None if there can be none.
        reason: why it can't be sent, and what to do; "" if it can.
    """

    contact_id: str
    record: AnyRecord | None
    reason: str

    def __repr__(self) -> str:
        """Show nothing of the person but Mailchimp's id."""
        return f"Contact(contact_id={self.contact_id!r}, sendable={self.record is not None})"


# The lengths are known to be right, so the checks of the generated constructors are skipped: a third of their cost.
_record = partial(tuple.__new__, Record)
_contact = partial(tuple.__new__, Contact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The source of one value of a record.

    Attributes:
        key: the value's key in the record, dotted where it is nested.
        text: the source as written, in its normal form.
        paths: the paths of a member that it reads.
    """

    key: str
    text: str
    paths: tuple[str, ...]


class ContactMapping(Protocol):
    """Turns the members of one audience into contacts with records."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of a member that are requested."""
        ...

    @property
    def fields(self) -> str:
        """The value of Mailchimp's `fields` parameter for a page of members."""
        ...

    @property
    def member_fields(self) -> str:
        """The same for a single member."""
        ...

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources of a record's values."""
        ...

    def contacts(self, members: Sequence[dict[str, Any]]) -> tuple[list[Contact], Counter[str]]:
        """Map the members of a page, in their order; also return how often each mapped path was missing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMapping:
    """The mapping from the members of one audience to records. Created by `of`.

    Attributes:
        paths: the paths of a member that are requested: `id` and `last_changed`, then what the mapping reads.
        fields: the value of Mailchimp's `fields` parameter that asks for these paths and for `total_items`.
        templates: one for each value of a record, in its order, with the list's id filled in.
        id_text: the id's template as the clients file has it.
    """

    paths: tuple[str, ...]
    fields: str
    templates: tuple[Template, ...]
    id_text: str

    @staticmethod
    def of(spec: Mapping[str, str], *, list_id: str) -> "RecordMapping":
        """Create a mapping from a spec: value of the record -> path, or text with paths in braces.

        Args:
            spec: keys as in `DEFAULT_RECORD`, which fills in those that are absent.
            list_id: the audience's list, for the path `list_id`.

        Raises:
            ClientsFileInvalid: an unknown key, an impossible path, or an empty id.
        """
        unknown = sorted(set(spec) - set(DEFAULT_RECORD))
        if unknown:
            raise ClientsFileInvalid(f"a record has no {unknown[0]}", remedy=f"it has {', '.join(DEFAULT_RECORD)}")
        written = [parse_template(spec.get(key, default)) for key, default in DEFAULT_RECORD.items()]
        if not written[0].paths:
            raise ClientsFileInvalid("a record needs an id", remedy="write id: id")
        templates = tuple(template.filled(LIST_ID, list_id) for template in written)
        paths = tuple(dict.fromkeys(chain(ALWAYS, *(template.paths for template in templates))))
        return RecordMapping(paths=paths, fields=fields_of(paths), templates=templates, id_text=written[0].text)

    @property
    def member_fields(self) -> str:
        """The same for a single member that is requested by its id: paths start at the member."""
        return member_fields_of(self.fields)

    @property
    def sources(self) -> "tuple[Source, ...]":
        """The sources of a record's values, in its order."""
        return tuple(
            Source(key=key, text=template.text, paths=template.paths)
            for key, template in zip(DEFAULT_RECORD, self.templates, strict=True)
        )

    def contacts(self, members: Sequence[dict[str, Any]]) -> tuple[list[Contact], Counter[str]]:
        """Map the members of a page, in their order.

        A missing value (no such key, or null, there or on the way) is sent as "" and counted. An empty text does not
        count as missing, and neither do the parts of an empty address. Numbers and booleans are sent as JSON writes
        them (3.0 as 3), objects and arrays as compact JSON. Lone surrogates, which UTF-8 can't hold, become U+FFFD.

        Returns:
            the contacts, and how often each mapped path was missing (only paths that were).
        """
        page = Columns(members)
        columns = {path: page.texts(path) for path in dict.fromkeys(["id", *self._mapped()])}
        lacking = Counter({path: page.lacking[path] for path in self._mapped() if page.lacking[path]})
        values = (_rendered(template, columns, len(members)) for template in self.templates)
        records = map(_record, zip(*values, strict=True))
        contacts = list(map(_contact, zip(columns["id"], records, repeat(""), strict=False)))
        for index, path in self._without_id(columns):
            contacts[index] = Contact(contact_id=columns["id"][index], record=None, reason=self._reason(path))
        return contacts, lacking

    def _mapped(self) -> Iterator[str]:
        return chain.from_iterable(template.paths for template in self.templates)

    def _without_id(self, columns: Mapping[str, list[str]]) -> Iterator[tuple[int, str]]:
        """Yield the positions of contacts whose record can't have an id, each with the path that causes it."""
        for path in self.templates[0].paths:
            useless = {"", ID_OF_NO_ADDRESS} if path == "id" else {""}
            if not useless.isdisjoint(columns[path]):
                yield from ((index, path) for index, text in enumerate(columns[path]) if text in useless)

    def _reason(self, path: str) -> str:
        if path not in {"id", "email_address", "unique_email_id"}:
            return f"no {path}, which record.id needs: map record.id to a field that every contact has, such as id"
        instead = parse_template(self.id_text).renamed(path, "contact_id").text
        return f'no email address, so no {path} of its own: map record.id to "{instead}" to import such contacts'


def _rendered(template: Template, columns: Mapping[str, list[str]], count: int) -> Sequence[str]:
    if template.literals == ("", ""):
        return columns[template.paths[0]]
    if not template.paths:
        return template.literals * count
    if len(template.paths) == 1:
        before, behind = template.literals
        return [f"{before}{text}{behind}" for text in columns[template.paths[0]]]
    return list(map(template.format_text.format, *(columns[path] for path in template.paths)))
