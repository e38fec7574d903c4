import json

import pytest

from importer_pipeline.errors import (
    BrokenAnswer,
    ImporterError,
    KeyRefused,
    ListNotFound,
    RequestRefused,
    TooManyRequests,
    TooSlow,
    Unavailable,
)
from importer_pipeline.mailchimp import Answer
from importer_pipeline.mailchimp_errors import status_error

PERSONAL = "person@example.com"


def problem(status: int, **document: object) -> Answer:
    return Answer(status=status, headers={}, body=json.dumps({"detail": PERSONAL, **document}).encode())


def page(status: int, body: bytes = b"<html>person@example.com</html>") -> Answer:
    return Answer(status=status, headers={}, body=body)


BLOCKED = {"type": "akamai_error_message", "title": "akamai_503"}
CASES: dict[str, tuple[Answer, type[ImporterError], str]] = {
    "a wrong key": (problem(401, title="API Key Invalid"), KeyRefused, "data centre"),
    "401 without a document": (page(401), KeyRefused, "refuses the key"),
    "a disabled account": (problem(403, title="User Disabled"), KeyRefused, "disabled"),
    "another data centre": (problem(403, title="WrongDatacenter"), KeyRefused, "data centre"),
    "a role that is too low": (problem(403, title="Forbidden"), KeyRefused, "may not read"),
    "403 with a title that nobody knows": (problem(403, title=PERSONAL), KeyRefused, "disabled"),
    "403 without JSON": (page(403), Unavailable, "address"),
    "403 with JSON that is no document": (page(403, b"[1]"), Unavailable, "address"),
    "a blocked address, 403": (problem(403, **BLOCKED), Unavailable, "address"),
    "a blocked address, 503": (problem(503, **BLOCKED), Unavailable, "address"),
    "503 without JSON": (page(503), Unavailable, "can't answer"),
    "an unknown list": (problem(404, title="Resource Not Found"), ListNotFound, "list_id"),
    "a proxy that wants a login": (page(407), Unavailable, "proxy"),
    "a slow request": (page(408), Unavailable, ""),
    "too many connections": (problem(429, title="TooManyRequests"), TooManyRequests, "ten"),
    "too many connections without JSON": (page(429), TooManyRequests, "ten"),
    "a time-out of the network": (page(504), TooSlow, "in time"),
}


@pytest.mark.parametrize(("answer", "kind", "said"), CASES.values(), ids=CASES)
def test_a_status_with_a_meaning_of_its_own(answer: Answer, kind: type[ImporterError], said: str) -> None:
    error = status_error(answer)
    assert type(error) is kind
    assert said in str(error)
    assert f"HTTP {answer.status}" in str(error)


def by_class(status: int) -> type[ImporterError]:
    if status in (403, 407, 408):
        return Unavailable
    special = {401: KeyRefused, 404: ListNotFound, 429: TooManyRequests, 504: TooSlow}
    classes = {3: RequestRefused, 4: RequestRefused, 5: Unavailable}
    return special.get(status) or classes.get(status // 100, BrokenAnswer)


def test_every_status_has_one_meaning() -> None:
    for status in range(1000):
        assert type(status_error(page(status))) is by_class(status), status


def test_no_text_of_an_answer_is_repeated() -> None:
    for status in range(100, 600):
        for answer in (page(status), problem(status, title=PERSONAL, type=PERSONAL), page(status, b"[" * 999)):
            assert PERSONAL not in str(status_error(answer))
