"""The problems of a clients file in words: the place, what was expected and found, and the remedy.

Holds the words for pydantic's errors, too. Stays out: the checks (see `client`, `clients_file` and
`cross_checks`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from importer_pipeline.redaction import shown_key, shown_path

_REFUSAL = "refusal"
_Model = TypeVar("_Model", bound=BaseModel)

_EXPECTED = {
    "string_type": "a text",
    "dict_type": "a mapping (its keys indented below it)",
    "model_type": "a mapping (its keys indented below it)",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "tuple_type": "a path such as results.errors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem in a clients file.

    Attributes:
        where: the path of keys to it, from the top of the file.
        what: what was expected and found; nothing that might be a secret.
        remedy: what to write instead.
    """

    where: tuple[str, ...]
    what: str
    remedy: str

    def line(self, file: str, number: int | None) -> str:
        """Return the problem as a line of text, with the file's name and, if known, the line number."""
        path = shown_path(file)
        place = path if number is None else f"{path}, line {number}"
        keys = ".".join(shown_key(key) for key in self.where)
        return f"{place}: {keys}: {self.what}: {self.remedy}" if keys else f"{place}: {self.what}: {self.remedy}"


def refusal(what: str, remedy: str) -> PydanticCustomError:
    """Return the error to raise in a pydantic validator; the user sees its words unchanged."""
    return PydanticCustomError(_REFUSAL, "{what}: {remedy}", {"what": what, "remedy": remedy})


def problem_of(error: ErrorDetails, *, model: type[BaseModel], where: tuple[str, ...]) -> Problem:
    """Convert an error of pydantic to a problem.

    Args:
        error: as `ValidationError.errors()` gives it.
        model: what was being validated.
        where: the path of keys to it.
    """
    keys = tuple(str(part) for part in error["loc"] if part != "[key]")
    what, remedy = _words(error, fields=_fields_at(model, keys[:-1]), key=keys[-1] if keys else "")
    return Problem(where=where + keys, what=what, remedy=remedy)


def validated(
    model: type[_Model], written: Any, *, where: tuple[str, ...], context: Mapping[str, Any]
) -> tuple[_Model | None, list[Problem]]:
    """Return the model that is written; or None, and all its problems.

    Args:
        model: what to validate.
        written: the keys and values in the file.
        where: the path of keys to it.
        context: for validators: the file's folder, and the like.
    """
    try:
        return model.model_validate(written, context=dict(context)), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, [problem_of(detail, model=model, where=where) for detail in details]


def unknown_key(key: str, known: Iterable[str], *, where: tuple[str, ...]) -> Problem:
    """Return the problem of an unknown key; the remedy suggests the nearest known one."""
    return Problem(where=(*where, key), what="unknown key", remedy=nearest(key, list(known)))


def nearest(key: str, known: list[str]) -> str:
    """Return a remedy that names the nearest known key, or all of them."""
    near = get_close_matches(key, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def found(value: Any) -> str:
    """Return the kind of a value in the file. Never the value itself: it may be a secret in the wrong place."""
    if isinstance(value, dict) and value and set(cast(dict[str, Any], value).values()) == {None}:
        return "a mapping, because a value that begins with a brace needs quotes"
    kinds = {dict: "a mapping", list: "a list", str: "a text", type(None): "nothing"}
    return kinds.get(type(value), "a value")


def _words(error: ErrorDetails, *, fields: Mapping[str, Any], key: str) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    example = _example(fields, key)
    if kind == _REFUSAL:
        return context["what"], context["remedy"]
    if kind == "missing":
        return "is missing", f"write {example}"
    if kind == "extra_forbidden":
        return "unknown key", nearest(key, [name for name in fields if name != "name"])
    if kind == "greater_than_equal":
        return f"expected a number of at least {context['ge']}", f"write {example}"
    if kind == "less_than_equal":
        return f"expected a number of at most {context['le']}", f"write {example}"
    if kind == "greater_than":
        return f"expected a number above {context['gt']:g}", f"write {example}"
    if kind == "string_pattern_mismatch":
        return "expected lower-case letters, digits and _", "write a name such as account"
    if kind in ("enum", "literal_error"):
        return f"expected {context['expected'].replace(chr(39), '')}", f"write {example}"
    expected = _EXPECTED.get(kind, "something else")
    optional = key in fields and not fields[key].is_required()
    remedy = f"write {example}, or leave the key out" if optional else f"write {example}"
    return f"expected {expected}, found {found(error['input'])}", remedy


def _fields_at(model: type[BaseModel], keys: tuple[str, ...]) -> Mapping[str, Any]:
    for key in keys:
        field = model.model_fields.get(key)
        inner = next((kind for kind in _kinds(field.annotation if field else None) if _is_model(kind)), None)
        if inner is None:
            return {}
        model = inner
    return model.model_fields


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _example(fields: Mapping[str, Any], key: str) -> str:
    field = fields.get(key)
    examples = field.examples if field is not None else None
    return f"{key}: {examples[0]}" if examples else f"{key}: ..."
