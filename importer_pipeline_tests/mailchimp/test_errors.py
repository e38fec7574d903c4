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
    TurnedAway,
    Unavailable,
)
from importer_pipeline.mailchimp.client import Answer
from importer_pipeline.mailchimp.errors import proves_absence, status_error

PERSONAL = "person@example.com"


def problem(status: int, **document: object) -> Answer:
    usual = {"type": "about:blank", "title": "", "detail": PERSONAL, "status": status}
    return Answer(status=status, headers={}, body=json.dumps(usual | document).encode())


def page(status: int, body: bytes = b"<html>person@example.com</html>") -> Answer:
    return Answer(status=status, headers={}, body=body)


BLOCKED = {"type": "akamai_error_message", "title": "akamai_503"}
CASES: dict[str, tuple[Answer, type[ImporterError], str]] = {
    "a wrong key": (problem(401, title="API Key Invalid"), KeyRefused, "data centre"),
    "401 without a document": (page(401), TurnedAway, "between"),
    "401 with the document of another status": (page(401, problem(500).body), TurnedAway, "between"),
    "400 with a document": (problem(400), RequestRefused, "refuses the request"),
    "a redirect": (page(302), TurnedAway, "base_url"),
    "a disabled account": (problem(403, title="User Disabled"), KeyRefused, "disabled"),
    "another data centre": (problem(403, title="WrongDatacenter"), KeyRefused, "data centre"),
    "a role that is too low": (problem(403, title="Forbidden"), KeyRefused, "may not read"),
    "403 with a title that nobody knows": (problem(403, title=PERSONAL), KeyRefused, "disabled"),
    "403 without JSON": (page(403), TurnedAway, "address"),
    "403 with JSON that is no document": (page(403, b"[1]"), TurnedAway, "address"),
    "a blocked address, 403": (problem(403, **BLOCKED), TurnedAway, "address"),
    "a blocked address, 503": (problem(503, **BLOCKED), TurnedAway, "address"),
    "503 without JSON": (page(503), Unavailable, "can't answer"),
    "an unknown list": (problem(404, title="Resource Not Found"), ListNotFound, "list_id"),
    "an unknown list, or a wrong URL": (problem(404), ListNotFound, "base_url, if the client has one: it ends in /3.0"),
    "a proxy that wants a login": (page(407), TurnedAway, "proxies"),
    "a slow request": (problem(408), Unavailable, "too long"),
    "an unknown list, as HTML says": (page(404), TurnedAway, "between"),
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


def by_class(status: int, *, own: bool) -> type[ImporterError]:
    special = {401: KeyRefused, 403: KeyRefused, 404: ListNotFound, 408: Unavailable, 504: TooSlow}
    classes = {3: TurnedAway, 4: RequestRefused, 5: Unavailable}
    if status == 429:
        return TooManyRequests
    if status // 100 == 4 and not own:
        return TurnedAway
    return special.get(status) or classes.get(status // 100, BrokenAnswer)


def test_every_status_has_one_meaning() -> None:
    """Only a 4xx of Mailchimp itself is a refusal."""
    for status in range(1000):
        assert type(status_error(page(status))) is by_class(status, own=False), status
        assert type(status_error(problem(status))) is by_class(status, own=True), status


@pytest.mark.parametrize("missing", ["type", "title", "detail", "status"])
def test_a_document_that_lacks_a_part_is_not_mailchimps(missing: str) -> None:
    answer = page(404, problem(404).body.replace(f'"{missing}"'.encode(), b'"other"'))
    assert type(status_error(answer)) is TurnedAway
    assert not proves_absence(answer)


def test_only_mailchimps_own_document_proves_absence() -> None:
    assert proves_absence(problem(404))
    assert not proves_absence(page(404))
    assert not proves_absence(page(404, b'{"type": "", "title": "", "detail": "", "status": 404, "status": 404}'))
    assert not proves_absence(problem(410))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("said", "seconds"), [("40", 40.0), ("soon", None), ("9" * 400, 86_400.0)])
def test_a_wait_that_is_asked_for_is_reported(status: int, said: str, seconds: float | None) -> None:
    error = status_error(Answer(status=status, headers={"Retry-After": said}, body=b"<html>"))
    assert isinstance(error, TooManyRequests)
    assert error.retry_after_seconds == seconds


def test_no_text_of_an_answer_is_repeated() -> None:
    for status in range(100, 600):
        for answer in (page(status), problem(status, title=PERSONAL, type=PERSONAL), page(status, b"[" * 999)):
            assert PERSONAL not in str(status_error(answer))
