"""The values of a client's `record` section: paths into a Mailchimp member, and texts with paths in braces.

Knows which paths a member can have, and parses such texts. Stays out: the values of members (see `contacts`), and the
clients file (see `client`).
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from string import Formatter

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.redaction import quoted, shown

LIST_ID = "list_id"
"""The path that is filled in from the audience and never requested."""

_ID_SCALARS = {"id", "contact_id", "unique_email_id", "web_id", LIST_ID}
_PERSON_SCALARS = {"email_address", "full_name", "email_type", "email_client", "language", "vip", "member_rating"}
_STATUS_SCALARS = {"status", "unsubscribe_reason", "consents_to_one_to_one_messaging", "source", "tags_count"}
_SMS_SCALARS = {"sms_phone_number", "sms_subscription_status", "sms_subscription_last_updated"}
_TIME_SCALARS = {"ip_signup", "timestamp_signup", "ip_opt", "timestamp_opt", "last_changed"}
_SCALARS = frozenset(_ID_SCALARS | _PERSON_SCALARS | _STATUS_SCALARS | _SMS_SCALARS | _TIME_SCALARS)
_ARRAYS = frozenset({"tags", "marketing_permissions"})
_OBJECTS = {
    "stats": frozenset({"avg_open_rate", "avg_click_rate", "ecommerce_data"}),
    "stats.ecommerce_data": frozenset({"total_revenue", "number_of_orders", "currency_code"}),
    "location": frozenset({"latitude", "longitude", "gmtoff", "dstoff", "country_code", "timezone", "region"}),
    "last_note": frozenset({"note_id", "created_at", "created_by", "note"}),
}
_KEYED = frozenset({"merge_fields", "interests"})
_FIRST_PARTS = sorted(_SCALARS | _ARRAYS | _KEYED | {path for path in _OBJECTS if "." not in path})
_ADDRESS_PARTS = frozenset({"addr1", "addr2", "city", "state", "zip", "country"})
_IDENTIFYING = frozenset({"id", "contact_id", "unique_email_id", "email_address", "web_id", "sms_phone_number"})

_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_TAG = re.compile(r"[A-Z0-9_]{1,30}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A text with places for the values at `paths`.

    Attributes:
        literals: the texts before, between and after the values: one more than there are paths.
        paths: the paths of the values in a member.
    """

    literals: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def text(self) -> str:
        """The template as written in the clients file, in its normal form."""
        if self.literals == ("", "") or not self.paths:
            return "".join(self.paths)
        braced = [f"{_escaped(literal)}{{{path}}}" for literal, path in zip(self.literals, self.paths, strict=False)]
        return "".join(braced) + _escaped(self.literals[-1])

    @property
    def format_text(self) -> str:
        """The template as `str.format` takes it, with the values as positional arguments."""
        return "{}".join(_escaped(literal) for literal in self.literals)

    @property
    def identifies(self) -> bool:
        """True if a value of it differs from contact to contact, so that it can be an id."""
        return any(path in _IDENTIFYING or path.startswith("merge_fields.") for path in self.paths)

    def filled(self, path: str, value: str) -> "Template":
        """Return the template with `value` as fixed text in the place of `path`."""
        literals, paths = [self.literals[0]], []
        for own, literal in zip(self.paths, self.literals[1:], strict=True):
            if own == path:
                literals[-1] += value + literal
            else:
                paths.append(own)
                literals.append(literal)
        return Template(literals=tuple(literals), paths=tuple(paths))

    def renamed(self, path: str, other: str) -> "Template":
        """Return the template with `other` in the place of `path`."""
        return Template(literals=self.literals, paths=tuple(other if own == path else own for own in self.paths))


@lru_cache(maxsize=1024)
def parse_template(text: str) -> Template:
    """Read one value of a `record` section. An empty text is the template of an always empty value.

    Thousands of clients mostly have the same few.

    Raises:
        ClientsFileInvalid: unbalanced braces, no path in the braces, or a path that no member has.
    """
    if not text.strip():
        return Template(literals=("",), paths=())
    if "{" not in text and "}" not in text:
        check_path(text)
        return Template(literals=("", ""), paths=(text,))
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ClientsFileInvalid(
            f"unbalanced braces in {quoted(text)}",
            remedy="write a path as {path}, and a literal brace as {{ or }}",
        ) from None
    return _template_of(text, parts)


def check_path(path: str) -> None:
    """Check that a Mailchimp member can have a value at `path`.

    Raises:
        ClientsFileInvalid: it can't; the remedy suggests the nearest.
    """
    if not _PATH.fullmatch(path):
        raise ClientsFileInvalid(
            f"{quoted(path)} is not a path into a member",
            remedy='write a path such as merge_fields.FNAME, or a text with paths in braces such as "{list_id}-{id}"',
        )
    first, *rest = path.split(".")
    if first in _KEYED:
        _check_keyed(path, first, rest)
    elif first in _OBJECTS:
        _check_object(path, first, rest)
    elif first not in _SCALARS | _ARRAYS:
        raise ClientsFileInvalid(f"a member has no {quoted(first)}", remedy=_first_part_remedy(first, rest))
    elif rest:
        raise ClientsFileInvalid(f"{quoted(path)} leads into {first}, which has no parts", remedy=f"write {first}")


def _template_of(text: str, parts: list[tuple[str, str | None, str | None, str | None]]) -> Template:
    literals, paths = [""], []
    for literal, path, form, conversion in parts:
        literals[-1] += literal
        if path is None:
            continue
        if form or conversion:
            raise ClientsFileInvalid(f"{quoted(text)} formats a value", remedy="write only the path in the braces")
        check_path(path)
        paths.append(path)
        literals.append("")
    if not paths:
        raise ClientsFileInvalid(f"{quoted(text)} contains no path", remedy="write a path in braces: {email_address}")
    return Template(literals=tuple(literals), paths=tuple(paths))


def _check_keyed(path: str, first: str, rest: list[str]) -> None:
    if first == "interests":
        if len(rest) > 1:
            raise ClientsFileInvalid(f"{quoted(path)} leads into an interest, which has no parts", remedy="shorten it")
        return
    if rest and not _TAG.fullmatch(rest[0]):
        upper = rest[0].upper()
        remedy = f"write merge_fields.{upper}" if _TAG.fullmatch(upper) else "look it up in the audience's settings"
        raise ClientsFileInvalid(f"{quoted(rest[0])} is not a merge tag (capital letters, digits and _)", remedy=remedy)
    if len(rest) > 1 and (len(rest) > 2 or rest[1] not in _ADDRESS_PARTS):
        known = ", ".join(sorted(_ADDRESS_PARTS))
        raise ClientsFileInvalid(
            f"{quoted(path)} leads into a merge field, and only an address has parts", remedy=f"they are {known}"
        )


def _check_object(path: str, first: str, rest: list[str]) -> None:
    reached = first
    for part in rest:
        if reached not in _OBJECTS:
            problem = f"{quoted(path)} leads into {reached}, which has no parts"
            raise ClientsFileInvalid(problem, remedy=f"write {reached}")
        if part not in _OBJECTS[reached]:
            known = ", ".join(sorted(_OBJECTS[reached]))
            raise ClientsFileInvalid(f"{reached} has no {quoted(part)}", remedy=f"it has {known}")
        reached += f".{part}"


def _first_part_remedy(first: str, rest: list[str]) -> str:
    if first in {"members", "member"} and rest:
        return f"paths start in the member: write {shown('.'.join(rest))}"
    near = [known for known in _FIRST_PARTS if known.startswith(f"{first}_")] or get_close_matches(first, _FIRST_PARTS)
    if near:
        return f"did you mean {near[0]}?"
    if _TAG.fullmatch(first):
        return f"a merge field is written merge_fields.{first}"
    return f"it has {', '.join(_FIRST_PARTS)}"


def _escaped(literal: str) -> str:
    return literal.replace("{", "{{").replace("}", "}}")
