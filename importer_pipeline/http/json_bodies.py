"""Parses JSON from a server without trusting it. Pure.

A duplicate key in an object has two values, and parsers differ in which they take: such a body proves nothing. Pages
are the hot path: their own keys come before and after the members, so these parts are searched for duplicates, as
bytes, and the whole is parsed again, key by key, only if there are any. Searching all of it would cost a tenth of
parsing it.
"""

import json
import random
from collections.abc import Sequence
from typing import Any, cast

from pydantic_core import from_json

MIN_BYTES_OF_A_VALUE = 6
"""Minimum average in a large body. No expected answer is denser; parsed, `[[],[],[]...` takes twenty times its size."""

_LARGE_BYTES = 256 * 1024
_SAMPLES = 32
_SAMPLE_BYTES = 1024
_PROVING_KEYS = (b'"total_items"', b'"members"')


class NotJSON(ValueError):
    """The body is not JSON, or has a duplicate key."""


def page_document(body: bytes) -> object:
    """Parse a page, at half the CPU cost of the standard library.

    Raises:
        NotJSON: it is not JSON, is nested too deep or is too dense, or has one of its own keys twice.
    """
    if len(body) > _LARGE_BYTES and _is_dense(body):
        raise NotJSON("more values than such a page can have")
    try:
        parsed = from_json(body, cache_strings="keys")
    except ValueError:
        if b"\\u" not in body:
            raise NotJSON("not JSON") from None
        return _read_precisely(body)  # A lone surrogate, which only the standard library accepts.
    # Within a text, such a key has a backslash before its last quotation mark, so it does not match.
    opened = body.find(b"[") + 1
    around = body[:opened] + body[max(opened, body.rfind(b'"last_changed"')) :]
    return parsed if all(around.count(key) <= 1 for key in _PROVING_KEYS) else _read_precisely(body)


def small_document(body: bytes) -> dict[str, Any]:
    """Parse a small body with a JSON object; return an empty one if it is anything else, or has a key twice."""
    try:
        parsed = _read_precisely(body)
    except NotJSON:
        return {}
    return cast(dict[str, Any], parsed) if isinstance(parsed, dict) else {}


def any_document(body: bytes) -> Any:
    """Parse a body with any JSON.

    Raises:
        NotJSON: it is none, is nested too deep, or has a key twice.
    """
    return _read_precisely(body)


def _read_precisely(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise NotJSON("not JSON, or with a key twice") from None


def _without_duplicates(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJSON("a key twice")
    return found


def _is_dense(body: bytes) -> bool:
    """Return whether the body has more values than any page, judged by random samples."""
    start = random.randrange(_SAMPLE_BYTES)
    sample = b"".join(body[at : at + _SAMPLE_BYTES] for at in range(start, len(body), len(body) // _SAMPLES))
    return sum(map(sample.count, (b",", b"[", b"{"))) > len(sample) // MIN_BYTES_OF_A_VALUE
