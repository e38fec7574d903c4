"""Pages that are not as requested, as from a server that ignores an order, a filter or a count."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from importer_pipeline.http.wire import Answer


def lie(answer: Answer, rng: Random) -> Answer:
    """Falsify an answer in a way that must be detected; return it as it is where there is nothing to falsify."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return answer
    members = document.get("members") if answer.status == 200 and isinstance(document, dict) else None
    if not isinstance(members, list) or not members or not all(_makes_sense(member) for member in members):
        return answer
    if rng.randrange(len(_LIES) + 1) == 0:
        return replace(answer, headers={name: text for name, text in answer.headers.items() if name.lower() != "date"})
    rng.choice(_LIES)(members, rng)
    return replace(answer, body=json.dumps(document).encode())


def _makes_sense(member: Any) -> bool:
    return isinstance(member, dict) and isinstance(member.get("last_changed"), str)


def _unsorted(members: list[Any], rng: Random) -> None:
    rng.shuffle(members)


def _too_short(members: list[Any], rng: Random) -> None:
    del members[rng.randrange(len(members))]


def _too_many(members: list[Any], _rng: Random) -> None:
    members.extend(members * 20)


def _out_of_bounds(members: list[Any], _rng: Random) -> None:
    members[-1]["last_changed"] = "2099-01-01T00:00:00+00:00"


def _another_offset(members: list[Any], _rng: Random) -> None:
    members[0]["last_changed"] = members[0]["last_changed"].replace("+00:00", "-01:00")


def _no_time(members: list[Any], _rng: Random) -> None:
    members[0]["last_changed"] = "!"


_LIES: tuple[Callable[[list[Any], Random], None], ...] = (
    _unsorted,
    _too_short,
    _too_many,
    _out_of_bounds,
    _another_offset,
    _no_time,
)
