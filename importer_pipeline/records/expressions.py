"""The values of a declared record: paths, texts with places, constants, and a few functions. Pure.

    email_address                              a path, as text
    "{merge_fields.FNAME} {merge_fields.LNAME}"  a text with places
    "{email_address | trim | lower}"           functions, from left to right
    "{merge_fields.MOBILE or merge_fields.PHONE or 'none'}"  the first that is not empty
    "=true", "=5", "=customer"                 a constant: JSON, or else text

Stays out: the form of a record (see `shapes`), and which paths there are (see `mapping`).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.columns import Columns, well_formed
from importer_pipeline.records.mapping import LIST_ID, Template, check_path
from importer_pipeline.redaction import quoted

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_CONSTANT = re.compile(r"'([^']*)'")
_DAY_OF_MONTH = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_TRUE, _FALSE = frozenset({"true", "yes", "y", "1", "on"}), frozenset({"false", "no", "n", "0", "off"})


class Omitted:
    """The value of a field that is left out of the record."""


OMITTED = Omitted()


class Unfit(Exception):
    """A function can't be applied to a value. Its text names the function, never the value."""


def _date(text: str) -> str:
    """Return the day of a date or time as YYYY-MM-DD."""
    if match := _DAY_OF_MONTH.fullmatch(text):
        month, day, year = map(int, match.groups())
        return date(year, month, day).isoformat()
    return datetime.fromisoformat(text).date().isoformat()


def _boolean(text: str) -> bool:
    if (word := text.lower()) in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _integer(text: str) -> int:
    return int(text.removesuffix(".0"))


_TEXT_FUNCTIONS: Mapping[str, Callable[[str], str]] = {"lower": str.lower, "trim": str.strip, "date": _date}
_TYPED_FUNCTIONS: Mapping[str, Callable[[str], Any]] = {"boolean": _boolean, "integer": _integer}
_CONVERSIONS = {"date": "a date", "boolean": "true or false", "integer": "a whole number"}
_RAW = "json"
_OPTIONAL = "optional"
FUNCTIONS = (*_TEXT_FUNCTIONS, *_TYPED_FUNCTIONS, _RAW, _OPTIONAL)
"""The functions, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place for a value: the first path that is not empty, and the functions that are applied.

    Attributes:
        paths: in the order in which they are tried.
        default: the text if all are empty.
        functions: in the order in which they are applied.
    """

    paths: tuple[str, ...]
    default: str
    functions: tuple[str, ...]

    @property
    def text(self) -> str:
        """The place as written, in its normal form."""
        tried = [*self.paths, *([f"'{self.default}'"] if self.default else [])]
        return "{" + " | ".join([" or ".join(tried), *self.functions]) + "}"

    def value(self, columns: Columns, row: int) -> Any:
        """Return the value for a member.

        Raises:
            Unfit: a function can't be applied to it.
        """
        if _RAW in self.functions:
            values = (columns.values(path)[row] for path in self.paths)
            found = next((value for value in values if value not in (None, "")), None)
            return OMITTED if found is None and _OPTIONAL in self.functions else _clean(found)
        texts = (columns.texts(path)[row] for path in self.paths)
        value: Any = next((text for text in texts if text.strip()), self.default)
        for function in self.functions:
            if function == _OPTIONAL:
                return OMITTED if value in (None, "") else value
            value = _applied(function, value)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A value of a declared record.

    Attributes:
        literals: the texts before, between and after the places: one more than there are places.
        places: the places.
        constant: the constant as JSON; "" if there is none.
    """

    literals: tuple[str, ...] = ("",)
    places: tuple[Place, ...] = ()
    constant: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it reads."""
        return tuple(path for place in self.places for path in place.paths)

    @property
    def text(self) -> str:
        """The expression in its normal form: equal for equal values."""
        if self.constant:
            return f"={self.constant}"
        pieces = (f"{place.text}{_escaped(after)}" for place, after in zip(self.places, self.literals[1:], strict=True))
        return _escaped(self.literals[0]) + "".join(pieces)

    @property
    def template(self) -> Template:
        """The same without functions, to judge whether two ids may be equal."""
        return Template(literals=self.literals, paths=tuple(place.paths[0] for place in self.places))

    def filled(self, list_id: str) -> "Expression":
        """Return the expression with an audience's list in the places of `list_id`."""
        literals, places = [self.literals[0]], list[Place]()
        for place, after in zip(self.places, self.literals[1:], strict=True):
            if place.paths == (LIST_ID,):
                literals[-1] += list_id + after
            else:
                places.append(place)
                literals.append(after)
        return Expression(literals=tuple(literals), places=tuple(places), constant=self.constant)

    def value(self, columns: Columns, row: int) -> Any:
        """Return the value for a member: any JSON if it is a single place or a constant, else a text.

        Raises:
            Unfit: a function can't be applied.
        """
        if self.constant:
            return json.loads(self.constant)
        if self.literals == ("", ""):
            return self.places[0].value(columns, row)
        texts = [self.literals[0]]
        for place, after in zip(self.places, self.literals[1:], strict=True):
            texts += [place.value(columns, row), after]
        return "".join(texts)


def parse_expression(text: str) -> Expression:
    """Parse a value of a declared record.

    Raises:
        ClientsFileInvalid: unbalanced braces, an impossible path, an unknown function.
    """
    if text.startswith("="):
        return Expression(constant=json.dumps(parse_constant(text[1:]), ensure_ascii=False, sort_keys=True))
    if not text.strip():
        return Expression(constant='""')
    if "{" not in text and "}" not in text:
        check_path(text)
        return Expression(literals=("", ""), places=(Place(paths=(text,), default="", functions=()),))
    literals, places, end = [""], list[Place](), 0
    for match in _PIECE.finditer(text):
        literals[-1] += text[end : match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            literals[-1] += match[0][0]
        elif match[1] is None:
            raise ClientsFileInvalid(
                f"unbalanced braces in {quoted(text)}",
                remedy="write a path as {path}, and a literal brace as {{ or }}",
            )
        else:
            places.append(_place(match[1]))
            literals.append("")
    literals[-1] += text[end:]
    if not places:
        raise ClientsFileInvalid(f"{quoted(text)} contains no path", remedy=f'write a constant as "={text}"')
    if literals != ["", ""]:
        for place in places:
            _check_textual(place)
    return Expression(literals=tuple(literals), places=tuple(places))


def parse_constant(written: str) -> Any:
    """Return the value of a constant, from what stands behind its `=`: JSON, or else a text."""
    try:
        return json.loads(written)
    except ValueError:
        return written


def _place(written: str) -> Place:
    first, *functions = (part.strip() for part in written.split("|"))
    *tried, last = re.split(r"\s+or\s+", first)
    constant = _CONSTANT.fullmatch(last)
    paths = [*tried, *([] if constant else [last])]
    if not paths:
        raise ClientsFileInvalid(f"{quoted(written)} contains no path", remedy="write a path before the constant")
    for path in paths:
        check_path(path)
    if LIST_ID in paths and (len(paths) > 1 or functions or constant):
        raise ClientsFileInvalid("list_id is never empty, and needs no function", remedy="write {list_id}")
    for function in functions:
        if function not in FUNCTIONS:
            raise ClientsFileInvalid(
                f"there is no function {quoted(function)}", remedy=f"the functions are {', '.join(FUNCTIONS)}"
            )
    _check_order(functions)
    return Place(paths=tuple(paths), default=constant[1] if constant else "", functions=tuple(functions))


def _check_order(functions: list[str]) -> None:
    if _OPTIONAL in functions[:-1]:
        raise ClientsFileInvalid("optional stands before another function", remedy="write optional last")
    others = [function for function in functions if function != _OPTIONAL]
    if _RAW in others and len(others) > 1:
        raise ClientsFileInvalid("json is combined with another function", remedy="write json alone")
    if any(function in _TYPED_FUNCTIONS for function in others[:-1]):
        raise ClientsFileInvalid(
            "boolean or integer stands before another function", remedy="write it behind those that return a text"
        )


def _check_textual(place: Place) -> None:
    if wrong := [it for it in place.functions if it not in _TEXT_FUNCTIONS]:
        raise ClientsFileInvalid(f"{wrong[0]} stands within a text", remedy="write nothing around its braces")


def _applied(function: str, value: Any) -> Any:
    if value == "":
        return value if function in _TEXT_FUNCTIONS else None
    apply = _TEXT_FUNCTIONS.get(function) or _TYPED_FUNCTIONS[function]
    try:
        return apply(value)
    except ValueError:
        raise Unfit(f"is not {_CONVERSIONS[function]}") from None


def _clean(value: Any) -> Any:
    """Return a value that JSON can hold in UTF-8."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): _clean(item) for key, item in value.items()}
    return value


def _escaped(literal: str) -> str:
    return literal.replace("{", "{{").replace("}", "}}")
