"""JSON as a server sent it, read without more belief than it has earned. Pure.

A key that stands twice in an object has two values, and parsers differ in which they take: such a body proves nothing. A
page is the hot path: its own keys stand before its members and behind them, so they are looked for there, as bytes, and only
where there are too many of them the whole is read again, key by key. A scan of the whole would cost as much as a tenth of
parsing it.
"""

import json
import random
from collections.abc import Sequence
from typing import Any, cast

from pydantic_core import from_json

MIN_BYTES_OF_A_VALUE = 6
"""On average, in a large body. Nothing that is asked for is denser, and `[[],[],[]...` takes twenty times its size parsed."""

_LARGE_BYTES = 256 * 1024
_SAMPLES = 32
_SAMPLE_BYTES = 1024
_PROVING_KEYS = (b'"total_items"', b'"members"')


class NotJSON(ValueError):
    """The body is not JSON, or JSON that says two things at once."""


def page_document(body: bytes) -> object:
    """Return the JSON of a page, at half the CPU of the standard library.

    Raises:
        NotJSON: it is none, is nested too deep or is dense beyond belief, or has one of its keys twice.
    """
    if len(body) > _LARGE_BYTES and _is_dense(body):
        raise NotJSON("more values than such a page can have")
    try:
        parsed = from_json(body, cache_strings="keys")
    except ValueError:
        if b"\\u" not in body:
            raise NotJSON("not JSON") from None
        return _read_precisely(body)  # Half a surrogate pair, which only the standard library lets pass.
    # The bytes of a key in a text have a backslash before their last quotation mark, so they are not these.
    opened = body.find(b"[") + 1
    around = body[:opened] + body[max(opened, body.rfind(b'"last_changed"')) :]
    return parsed if all(around.count(key) <= 1 for key in _PROVING_KEYS) else _read_precisely(body)


def small_document(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a small body holds; an empty one if it holds none, or has a key twice."""
    try:
        parsed = _read_precisely(body)
    except NotJSON:
        return {}
    return cast(dict[str, Any], parsed) if isinstance(parsed, dict) else {}


def _read_precisely(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        raise NotJSON("not JSON, or with a key twice") from None


def _without_doubles(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJSON("a key twice")
    return found


def _is_dense(body: bytes) -> bool:
    """Return whether there are more values in the body than any page holds, judged by samples that nobody can foresee."""
    start = random.randrange(_SAMPLE_BYTES)
    sample = b"".join(body[at : at + _SAMPLE_BYTES] for at in range(start, len(body), len(body) // _SAMPLES))
    return sum(map(sample.count, (b",", b"[", b"{"))) > len(sample) // MIN_BYTES_OF_A_VALUE
