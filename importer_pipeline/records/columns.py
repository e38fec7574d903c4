"""The members of a page by columns: the values at one path, as text or as they are. Pure.

Stays out: what a record is made of (see `contacts` and `shapes`).
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

ALWAYS = ("id", "last_changed")
"""Paths that are requested of every member."""

_DEEPEST_FIELD = 2
_MAX_WHOLE_FLOAT = 1e15
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_SURROGATE = re.compile("[\ud800-\udfff]")


class Columns:
    """The members of a page by columns: the values at one path, as text. This is cheaper than value by value."""

    def __init__(self, members: Sequence[Any]) -> None:
        self._values: dict[str, list[Any]] = {"": list(members)}
        self._texts: dict[str, list[str]] = {}
        self.lacking: Counter[str] = Counter()

    def texts(self, path: str) -> list[str]:
        """Return the values at `path`, and count in `lacking` how many members have none."""
        if path not in self._texts:
            self._texts[path] = self._as_texts(path)
        return self._texts[path]

    def values(self, path: str) -> list[Any]:
        """Return the values at `path` as Mailchimp sends them; None where there is none."""
        if path not in self._values:
            above, _, key = path.rpartition(".")
            parents = self.values(above)
            try:
                self._values[path] = list(map(itemgetter(key), parents))
            except (KeyError, TypeError):
                self._values[path] = [_child(parent, key) for parent in parents]
        return self._values[path]

    def _as_texts(self, path: str) -> list[str]:
        values = self.values(path)
        if not set(map(type, values)) <= {str}:
            if path == "id":
                values = [value if isinstance(value, str) else None for value in values]
            self.lacking[path] = values.count(None)
            values = [value if type(value) is str else text_of(value) for value in values]
        return values if _encodable(values) else [_SURROGATE.sub("\ufffd", value) for value in values]


def _child(parent: Any, key: str) -> Any:
    if isinstance(parent, dict):
        return parent.get(key)
    # An address that is not set is "" instead of an object (V): its parts are empty, too.
    return "" if parent == "" else None


def text_of(value: Any) -> str:
    """Return a value as text: numbers and booleans as JSON writes them, objects and arrays as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _MAX_WHOLE_FLOAT else repr(value)
    return _JSON.encode(value)


def fields_of(paths: Sequence[str]) -> str:
    """Return the value of Mailchimp's `fields` parameter that asks for these paths of members, and for `total_items`."""
    # A wrong path is ignored silently (D), and none deeper than merge_fields.FNAME was ever seen to work: anything
    # deeper is requested with the whole object above it.
    asked = [".".join(path.split(".")[:_DEEPEST_FIELD]) for path in paths]
    whole = [path for path in asked if path.partition(".")[0] == path or path.partition(".")[0] not in asked]
    return ",".join([*(f"members.{path}" for path in dict.fromkeys(whole)), "total_items"])


def member_fields_of(fields: str) -> str:
    """Return the same for a single member that is requested by its id: paths start at the member."""
    return ",".join(path.removeprefix("members.") for path in fields.split(",") if path != "total_items")


def well_formed(text: str) -> str:
    """Return a text with lone surrogates, which UTF-8 can't hold, replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _encodable(texts: Sequence[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
