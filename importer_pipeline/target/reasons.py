"""A target's own words for a refusal, without personal data: they are kept in Dagster's event log. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from importer_pipeline.redaction import looks_like_a_secret, shown

_MAX_REASON = 120
_HIDDEN = "..."
_SHORTEST = 3
# What is quoted is a value of the record, mostly; so is anything with an @, and any long number.
_PERSONAL = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\S*@\S*|\d[\d\s().+-]{4,}\d")


def reason_of(said: object, contents: Iterable[object] = ()) -> str:
    """Return the reason that an answer gives, with everything hidden that could be personal data; "" if it is no text.

    Args:
        said: the value in the answer.
        contents: the records that it may be about: none of their values is shown.
    """
    if not isinstance(said, str | int) or isinstance(said, bool):
        return ""
    text = _PERSONAL.sub(_HIDDEN, str(said)[: 10 * _MAX_REASON])
    lowered = text.lower()
    held = {value for content in contents for value in _texts(content) if value in lowered}
    for value in sorted(held, key=len, reverse=True):
        text = re.sub(re.escape(value), _HIDDEN, text, flags=re.IGNORECASE)
    return "" if looks_like_a_secret(text) else shown(text.strip(), max_characters=_MAX_REASON)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool) and len(text := str(value).strip().lower()) >= _SHORTEST:
        yield text
        # A name of two words may be named in part.
        yield from (part for part in text.split() if len(part) >= _SHORTEST)
