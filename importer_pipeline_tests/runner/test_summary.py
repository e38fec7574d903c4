"""The log lines and the error message of an import, word for word."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    Outcome,
    Part,
    PartCounts,
    PartitionRef,
    Progress,
    ReadTotals,
    RefusedContact,
    RunCounts,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.errors import ImporterError, KeyRefused, TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.runner.summary import ImportSummary, done_line, progress_line, window_line
from importer_pipeline_tests.support.factories import imported, snapshot

NEWS, OTHER = AudienceName("acme", "news"), AudienceName("globex", "news")
DONE = AudienceDone(
    name=NEWS,
    part=Part.WINDOW,
    snapshot=snapshot(total=5000, archived_total=10),
    parts=PartCounts(total=7),
    is_proved=True,
    totals=ReadTotals(read=5060, accepted=5050, requests=9),
    run=RunCounts(accepted=5050, elapsed_seconds=12.34),
    lacking=(),
    error=None,
)
WINDOW = WindowImported(
    name=NEWS,
    snapshot_id="taken earlier",
    window="archived-990",
    imported=imported(TimeRange(0, 99), read=1000, accepted=997, refused=3),
    elapsed_seconds=0.5,
)
LOST = TriesUsedUp("Mailchimp can't answer now (HTTP 500), 4 times", remedy="run it again later")


def failed(*windows: str, error: ImporterError = LOST) -> AudienceDone:
    return replace(DONE, parts=replace(DONE.parts, failed=windows), error=error)


def with_left(done: AudienceDone, left: int) -> AudienceDone:
    return replace(done, parts=replace(done.parts, left=left), is_proved=False)


def with_refused(done: AudienceDone, count: int) -> AudienceDone:
    return replace(done, totals=replace(done.totals, refused=count), run=replace(done.run, refused=count))


def refused(name: AudienceName, window: str, *contacts: RefusedContact) -> Outcome:
    ref = PartitionRef(name=name, part=Part.WINDOW, key=window)
    return ContactsRefused(ref=ref, snapshot_id="taken earlier", fingerprint="of the list", contacts=contacts)


def refusing(*ids: str, reason: str = "HTTP 422: ask the target why") -> list[Outcome]:
    """The outcomes of an audience of which these contacts are refused, two to a window."""
    contacts = [RefusedContact(contact_id=contact_id, reason=reason) for contact_id in ids]
    return [
        *(refused(NEWS, str(at), *contacts[at : at + 2]) for at in range(0, len(contacts), 2)),
        with_refused(DONE, len(ids)),
    ]


def failure(*outcomes: Outcome) -> str | None:
    summary = ImportSummary()
    for outcome in outcomes:
        summary.note(outcome)
    return summary.failure


def test_a_complete_import_has_no_failure_message() -> None:
    assert failure(WINDOW, DONE) is None
    assert failure() is None


def test_a_failed_window_is_reported_with_its_audience_only() -> None:
    lost = WindowFailed(name=NEWS, snapshot_id="taken earlier", window="0", fingerprint="of the list", error=LOST)
    assert failure(lost) is None


@pytest.mark.parametrize(
    ("windows", "named"),
    [
        pytest.param(("990",), "window 990", id="one"),
        pytest.param(("0", "990"), "windows 0, 990", id="two"),
        pytest.param(("0", "990", "1980", "2970", "archived-0"), "windows 0, 990, 1980, 2970, archived-0", id="five"),
        pytest.param(tuple("123456"), "windows 1, 2, 3, 4, 5 and 1 more", id="six"),
        pytest.param(tuple("123456789"), "windows 1, 2, 3, 4, 5 and 4 more", id="nine"),
    ],
)
def test_up_to_five_failed_windows_are_named(windows: tuple[str, ...], named: str) -> None:
    assert failure(DONE, failed(*windows)) == (
        "Incomplete: 1 of 2 audiences. Everything else is imported.\n"
        f"- acme/news {named}: Mailchimp can't answer now (HTTP 500), 4 times: run it again later"
    )


def test_an_unreadable_audience_is_named_without_windows() -> None:
    error = KeyRefused("Mailchimp refuses the key (HTTP 401)", remedy="check the client's mailchimp secret")
    assert failure(replace(failed(error=error), snapshot=None, parts=PartCounts(), totals=ReadTotals())) == (
        "Incomplete: 1 of 1 audiences.\n"
        "- acme/news: Mailchimp refuses the key (HTTP 401): check the client's mailchimp secret"
    )


def test_a_stopped_audience_is_named_without_windows() -> None:
    """If no window of it has failed."""
    assert failure(failed()) == (
        "Incomplete: 1 of 1 audiences. Everything else is imported.\n"
        "- acme/news: Mailchimp can't answer now (HTTP 500), 4 times: run it again later"
    )


@pytest.mark.parametrize(
    ("ids", "heading", "named"),
    [
        pytest.param(("a",), "Refused: 1 contact", "contact a", id="one"),
        pytest.param(("a", "b"), "Refused: 2 contacts", "contacts a, b", id="two"),
        pytest.param(tuple("abcdefg"), "Refused: 7 contacts", "contacts a, b, c, d, e and 2 more", id="seven"),
        pytest.param(("",), "Refused: 1 contact", "contact (no id)", id="one without an id"),
    ],
)
def test_up_to_five_refused_contacts_are_named(ids: tuple[str, ...], heading: str, named: str) -> None:
    """With the reason of the first."""
    assert failure(*refusing(*ids)) == (
        f"{heading}. Everything else is imported.\n- acme/news {named}: HTTP 422: ask the target why"
    )


def test_a_contact_that_is_refused_in_two_windows_is_named_once() -> None:
    *told, _ = refusing("a", "a", "b", "a")
    assert failure(*told, with_refused(DONE, 2)) == (
        "Refused: 2 contacts. Everything else is imported.\n- acme/news contacts a, b: HTTP 422: ask the target why"
    )


def test_contacts_without_an_id_are_counted() -> None:
    *told, _ = refusing("", "")
    assert "contacts (no id) and 1 more:" in (failure(*told, with_refused(DONE, 2)) or "")


def test_one_message_names_windows_and_refused_contacts() -> None:
    """Those of several audiences."""
    *told, _ = refusing("a")
    other = replace(DONE, name=AudienceName("globex", "events"))
    assert failure(*told, other, with_refused(failed("990"), 1), replace(other, name=OTHER)) == (
        "Incomplete: 1 of 3 audiences, refused: 1 contact. Everything else is imported.\n"
        "- acme/news window 990: Mailchimp can't answer now (HTTP 500), 4 times: run it again later\n"
        "- acme/news contact a: HTTP 422: ask the target why"
    )


def test_refused_contacts_are_named_with_their_audience() -> None:
    bad = RefusedContact(contact_id="x", reason="no id")
    other = [
        refused(OTHER, "0", bad),
        with_refused(replace(DONE, name=OTHER), 1),
    ]
    assert failure(*refusing("a"), *other) == (
        "Refused: 2 contacts. Everything else is imported.\n"
        "- acme/news contact a: HTTP 422: ask the target why\n"
        "- globex/news contact x: no id"
    )


def failed_alike(count: int) -> list[AudienceDone]:
    return [replace(failed("0"), name=AudienceName(f"client-{number}", "news")) for number in range(count)]


def test_many_audiences_with_one_error_share_a_line() -> None:
    other = replace(failed(error=KeyRefused("Mailchimp refuses the key", remedy="check it")), name=OTHER)
    named = ", ".join(f"client-{number}/news" for number in range(10))
    assert failure(*failed_alike(500), other) == (
        "Incomplete: 501 of 501 audiences. Everything else is imported.\n"
        f"- {named} and 490 more: Mailchimp can't answer now (HTTP 500), 4 times: run it again later\n"
        "- globex/news: Mailchimp refuses the key: check it"
    )


@pytest.mark.parametrize(("count", "lines"), [(5, 5), (6, 1)], ids=["few", "many"])
def test_few_audiences_with_one_error_have_a_line_each(count: int, lines: int) -> None:
    assert len((failure(*failed_alike(count)) or "").splitlines()[1:]) == lines


def test_a_run_without_an_hour_that_is_over_says_when_one_is() -> None:
    summary = ImportSummary()
    summary.note(replace(DONE, part=Part.HOUR, snapshot=None, parts=PartCounts(), totals=ReadTotals(), run=RunCounts()))
    assert summary.closing_line(datetime(2026, 11, 24, 7, 30, tzinfo=UTC).timestamp()) == (
        "1 of 1 audiences imported; no hour was over since the last sync; the next one can be imported from "
        "2026-11-24T08:01:00+00:00; contacts accepted: 0"
    )


def test_known_failures_are_named_and_alone_no_failure() -> None:
    summary = ImportSummary()
    summary.note(replace(failed("0"), name=OTHER))
    assert summary.failure_besides({OTHER}) is None
    summary.note(
        replace(DONE, parts=PartCounts(total=5, left=3), error=KeyRefused("the key is refused", remedy="replace it"))
    )
    assert summary.failure_besides({OTHER}) == (
        "Incomplete: 1 of 2 audiences.\n"
        "- acme/news (3 windows left): the key is refused: replace it\n"
        "As in the last run, for the same reason: globex/news"
    )


def test_an_audience_that_failed_twice_with_one_error_is_one() -> None:
    assert len((failure(*failed_alike(5), *failed_alike(5)) or "").splitlines()[1:]) == 5


def test_an_error_is_repeated_once_enough_audiences_have_had_it() -> None:
    summary = ImportSummary()
    repeated = list[bool]()
    for done in failed_alike(7):
        summary.note(done)
        repeated.append(summary.is_repeated(done))
    assert repeated == [False] * 5 + [True] * 2
    summary.note(DONE)
    assert not summary.is_repeated(DONE)


def test_progress_shows_done_total_and_rate() -> None:
    progress = Progress(contacts=400_000, accepted=12_345, audiences=30, open_audiences=28)
    assert progress_line(progress, contacts_per_second=1234.5) == (
        "12345 of 400000 contacts imported, 1234 a second, 2 of 30 audiences done"
    )


def test_the_line_of_an_imported_audience_has_its_figures() -> None:
    assert done_line(DONE) == (
        "acme/news imported: 5060 contacts read, 5050 accepted, 0 refused, 7 windows, 9 requests, 12.3 s, 409 a second"
    )


def test_the_line_of_an_incomplete_audience_says_why() -> None:
    assert done_line(replace(failed("0"), totals=replace(DONE.totals, accepted=0), run=RunCounts())) == (
        "acme/news is incomplete (Mailchimp can't answer now (HTTP 500), 4 times: run it again later): "
        "5060 contacts read, 0 accepted, 0 refused, 7 windows, 9 requests, 0.0 s, 0 a second"
    )


def test_the_rate_counts_only_contacts_of_this_run() -> None:
    assert done_line(replace(DONE, run=RunCounts(accepted=123, elapsed_seconds=10.0))) == (
        "acme/news imported: 5060 contacts read, 5050 accepted, 0 refused, 7 windows, 9 requests, 10.0 s, 12 a second"
    )


@pytest.mark.parametrize(
    ("left", "windows", "told"),
    [
        pytest.param(
            6, 7, "has 6 windows left to import: 5060 contacts read, 5050 accepted, 0 refused, 7 windows", id="several"
        ),
        pytest.param(
            1, 1, "has 1 window left to import: 5060 contacts read, 5050 accepted, 0 refused, 1 window", id="one"
        ),
    ],
)
def test_the_line_says_how_many_windows_are_left(left: int, windows: int, told: str) -> None:
    assert done_line(replace(DONE, parts=PartCounts(total=windows, left=left), is_proved=False)).startswith(
        f"acme/news {told}, 9 requests"
    )


def test_an_audience_with_unproved_gaps_is_not_imported() -> None:
    """Even if all its windows are."""
    assert not done_line(replace(DONE, is_proved=False)).startswith("acme/news imported")


def test_contacts_refused_earlier_do_not_fail_this_run() -> None:
    assert failure(replace(DONE, totals=replace(DONE.totals, refused=3))) is None


def test_windows_left_mean_not_everything_is_imported() -> None:
    *told, done = refusing("a")
    assert isinstance(done, AudienceDone)
    assert failure(*told, with_left(done, 6)) == (
        "Refused: 1 contact.\n- acme/news contact a: HTTP 422: ask the target why"
    )


def test_windows_left_without_a_failure_do_not_fail_the_run() -> None:
    assert failure(with_left(DONE, 6)) is None


@pytest.mark.parametrize(
    ("done", "where"),
    [
        pytest.param(with_left(failed("0", "990"), 5), "windows 0, 990 (5 windows left)", id="beside failed ones"),
        pytest.param(with_left(failed("0"), 1), "window 0 (1 window left)", id="one"),
    ],
)
def test_windows_left_by_a_stop_are_counted(done: AudienceDone, where: str) -> None:
    assert failure(done) == (
        "Incomplete: 1 of 1 audiences. Everything else is imported.\n"
        f"- acme/news {where}: Mailchimp can't answer now (HTTP 500), 4 times: run it again later"
    )


def test_windows_that_are_left_are_counted_where_none_failed() -> None:
    assert "- acme/news (7 windows left): Mailchimp can't answer now" in (failure(with_left(failed(), 7)) or "")


def test_the_line_of_an_imported_window_has_its_figures() -> None:
    assert window_line(WINDOW) == (
        "acme/news window archived-990 imported: 1000 contacts read, 997 accepted, 3 refused"
    )


def test_complete_means_whole_and_without_an_error() -> None:
    assert DONE.complete
    assert not replace(DONE, is_proved=False).complete
    assert not failed("0").complete
