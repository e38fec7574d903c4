"""The pause that an answer asks for in its `RateLimit` headers. Pure.

There are two forms: `RateLimit-Remaining` and `RateLimit-Reset`, each often with a prefix such as `X-`, and one header
`RateLimit` with both (of the IETF's drafts, which differ in spelling).
"""

import re
from collections.abc import Mapping

_NAME = re.compile(r"(?:.*-)?rate-?limit-(remaining|reset)", re.IGNORECASE)
_IN_ONE = re.compile(r"\b(remaining|reset|r|t)=(\d+)")
_LONGEST_SECONDS = 86_400.0
_EPOCH = 1e9


def pause_seconds(headers: Mapping[str, str], *, now: float) -> float:
    """Return how long the next post has to wait: 0 while requests remain, or if the headers don't say.

    Args:
        headers: the headers of an answer.
        now: epoch seconds by the target's clock: some headers give the end of the period as such a time.
    """
    remaining, resets = list[float](), list[float]()
    for name, said in headers.items():
        if name.lower() == "ratelimit":
            for key, number in _IN_ONE.findall(said):
                (remaining if key in ("remaining", "r") else resets).append(float(number))
        elif (match := _NAME.fullmatch(name)) and (number := said.strip()).replace(".", "", 1).isdecimal():
            (remaining if match[1].lower() == "remaining" else resets).append(float(number))
    if not resets or not remaining or min(remaining) > 0:
        return 0.0
    ends = max(resets)
    return min(max(ends - now if ends >= _EPOCH else ends, 0.0), _LONGEST_SECONDS)
