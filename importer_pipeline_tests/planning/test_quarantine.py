"""The quarantine after each outcome: entries are opened, changed and closed, and none is lost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    ContactsRefusedAgain,
    ContactsSettled,
    HourFailed,
    HourImported,
    Outcome,
    Part,
    PartCounts,
    PartitionRef,
    ReadTotals,
    RefusedContact,
    RunCounts,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.errors import KeyRefused, ListNotFound, TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Failure, Quarantine, RetryRule
from importer_pipeline.records.contacts import ID_OF_NO_ADDRESS
from importer_pipeline_tests.support.factories import imported, snapshot

NEWS = AudienceName("acme", "news")
HOUR = "2026-11-24-07:00"
LATER_HOUR = "2026-11-24-09:00"
END_OF_HOUR = 1_795_507_199
"""The last second of HOUR."""
NOW = 1_795_600_000.0
LOST = TriesUsedUp("no answer, 4 times", remedy="run it again later")

FIRST, SECOND = replace(snapshot(before=END_OF_HOUR), id="first"), replace(snapshot(before=END_OF_HOUR), id="second")
WINDOW_0, THE_HOUR = (
    PartitionRef(name=NEWS, part=Part.WINDOW, key="0"),
    PartitionRef(name=NEWS, part=Part.HOUR, key=HOUR),
)


def refused(ref: PartitionRef, *ids: str, of: str | None = None) -> ContactsRefused:
    contacts = tuple(RefusedContact(contact_id=contact_id, reason=f"{contact_id} is bad") for contact_id in ids)
    snapshot_id = of or ("first" if ref.part is Part.WINDOW else None)
    return ContactsRefused(ref=ref, snapshot_id=snapshot_id, fingerprint="f", contacts=contacts)


def again(*ids: str) -> ContactsRefusedAgain:
    contacts = tuple(RefusedContact(contact_id=contact_id, reason="still bad") for contact_id in ids)
    return ContactsRefusedAgain(name=NEWS, contacts=contacts)


def settled(*ids: str) -> ContactsSettled:
    return ContactsSettled(name=NEWS, contact_ids=frozenset(ids))


def window_failed(key: str = "0", *, of: str = "first") -> WindowFailed:
    return WindowFailed(name=NEWS, snapshot_id=of, window=key, fingerprint="f", error=LOST)


def window_in(key: str = "0", *, of: str = "first") -> WindowImported:
    return WindowImported(name=NEWS, snapshot_id=of, window=key, imported=imported(), elapsed_seconds=1.0)


def hour_failed(key: str = HOUR) -> HourFailed:
    return HourFailed(name=NEWS, hour=key, fingerprint="f", error=LOST)


def hour_in(key: str = HOUR) -> HourImported:
    return HourImported(
        name=NEWS, hour=key, fingerprint="f", walk=TimeRange(0, 1), chain_from=None, read=1, accepted=1, refused=0,
        lag_seconds=None,
    )  # fmt: skip


def done(
    taken: str = "first", *, failed: tuple[str, ...] = (), left: int = 0, error: Exception | None = None
) -> Outcome:
    is_proved = not failed and not left and error is None
    return AudienceDone(
        name=NEWS, part=Part.WINDOW, snapshot=FIRST if taken == "first" else SECOND,
        parts=PartCounts(total=4, failed=failed, left=left), is_proved=is_proved,
        totals=ReadTotals(read=9, accepted=9, requests=4), run=RunCounts(accepted=9), lacking=(),
        error=error or (LOST if failed else None),  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def after(*outcomes: Outcome, began: float = 0.0) -> Quarantine:
    """The quarantine once these have been told, a second apart."""
    quarantine = Quarantine(began=began)
    for number, outcome in enumerate(outcomes):
        quarantine.note(outcome, now=NOW + number)
    return quarantine


def what_is_open(quarantine: Quarantine) -> dict[str, tuple[set[str], set[str]]]:
    """Of each entry, the snapshots of its failures, and its contacts."""
    return {str(ref): (set(it.failures), set(it.contacts)) for ref, it in quarantine.entries.items()}


WINDOW_KEY, HOUR_KEY = "acme/news/contact_windows/0", f"acme/news/contact_changes/{HOUR}"


@pytest.mark.parametrize(
    ("outcomes", "left"),
    [
        pytest.param([refused(WINDOW_0, "a", "b")], {WINDOW_KEY: (set(), {"a", "b"})}, id="refused"),
        pytest.param(
            [refused(WINDOW_0, "a"), refused(THE_HOUR, "a")],
            {WINDOW_KEY: (set(), {"a"}), HOUR_KEY: (set(), {"a"})},
            id="one contact in two pieces",
        ),
        pytest.param([refused(WINDOW_0, "a", "b"), settled("a")], {WINDOW_KEY: (set(), {"b"})}, id="one is settled"),
        pytest.param([refused(WINDOW_0, "a"), refused(THE_HOUR, "a"), settled("a")], {}, id="settled in all pieces"),
        pytest.param([refused(WINDOW_0, "a"), settled("b")], {WINDOW_KEY: (set(), {"a"})}, id="another is settled"),
        pytest.param([refused(WINDOW_0, "a"), window_in()], {WINDOW_KEY: (set(), {"a"})}, id="its window is in"),
        pytest.param([refused(THE_HOUR, "a"), hour_in()], {HOUR_KEY: (set(), {"a"})}, id="its hour is in"),
        pytest.param([window_failed()], {WINDOW_KEY: ({"first"}, set())}, id="window failed"),
        pytest.param([hour_failed()], {HOUR_KEY: ({""}, set())}, id="hour failed"),
        pytest.param([hour_failed(), hour_in()], {}, id="failed hour in"),
        pytest.param([hour_failed(), hour_in(LATER_HOUR)], {HOUR_KEY: ({""}, set())}, id="another hour in"),
        pytest.param(
            [window_failed(), window_in()], {WINDOW_KEY: ({"first"}, set())}, id="a failed window is in: not yet"
        ),
        pytest.param([window_failed(), window_in(), done(left=2)], {}, id="and what lies around it is read: now"),
        pytest.param(
            [window_failed(), window_in(), done(left=2, error=KeyRefused("refused"))],
            {WINDOW_KEY: ({"first"}, set())},
            id="stopped before what lies around it was read",
        ),
        pytest.param(
            [window_failed(), window_failed("4"), window_in(), done(failed=("4",))],
            {"acme/news/contact_windows/4": ({"first"}, set())},
            id="another window failed",
        ),
        pytest.param(
            [window_failed(), done("second", left=1)], {WINDOW_KEY: ({"first"}, set())}, id="a newer snapshot, unfinished"
        ),
        pytest.param([window_failed(), refused(THE_HOUR, "a"), done("second")], {}, id="a newer snapshot is all in"),
        pytest.param(
            [hour_failed(LATER_HOUR), done("second")],
            {f"acme/news/contact_changes/{LATER_HOUR}": ({""}, set())},
            id="an hour after the snapshot stays",
        ),
        pytest.param(
            [window_failed(), window_failed(of="second"), done("second", failed=("0",))],
            {WINDOW_KEY: ({"second"}, set())},
            id="one key in two snapshots: the older goes",
        ),
        pytest.param(
            [window_failed(), window_failed(of="second"), window_in(of="second"), done("second", left=1)],
            {WINDOW_KEY: ({"first"}, set())},
            id="one key in two snapshots: the newer goes",
        ),
        pytest.param(
            [refused(WINDOW_0, "a"), refused(WINDOW_0, "b", of="second"), done("second")],
            {WINDOW_KEY: (set(), {"b"})},
            id="of an accounted snapshot its own refused stay",
        ),
    ],
)  # fmt: skip
def test_what_is_open_after_these_outcomes(outcomes: list[Outcome], left: dict[str, tuple[set[str], set[str]]]) -> None:
    assert what_is_open(after(*outcomes)) == left


@pytest.mark.parametrize("error", [KeyRefused("refused"), ListNotFound("no list")], ids=["client", "audience"])
def test_what_fails_with_its_account_or_list_stays_out(error: KeyRefused | ListNotFound) -> None:
    told = (replace(window_failed(), error=error), replace(hour_failed(), error=error))
    assert after(*told).entries == {}


def test_each_attempt_is_counted_and_the_first_is_remembered() -> None:
    entry = after(refused(WINDOW_0, "a"), again("a", "b"), again("a")).entries[WINDOW_0]
    assert entry.contacts == {
        "a": Failure(reason="still bad", snapshot="first", attempts=3, first_seen=int(NOW), last_seen=int(NOW) + 2)
    }


def test_note_returns_the_changed_entries() -> None:
    quarantine = Quarantine(began=0.0)
    assert quarantine.note(refused(WINDOW_0, "a"), now=NOW) == [WINDOW_0]
    assert quarantine.note(settled("b"), now=NOW) == []
    assert quarantine.note(hour_failed(), now=NOW) == [THE_HOUR]
    assert quarantine.note(window_in(), now=NOW) == []
    assert quarantine.note(settled("a"), now=NOW) == [WINDOW_0]


@pytest.mark.parametrize("contact_id", ["", ID_OF_NO_ADDRESS])
def test_contacts_without_an_id_share_one_entry(contact_id: str) -> None:
    told = (refused(THE_HOUR, contact_id), refused(THE_HOUR, ""))
    assert set(after(*told).entries[THE_HOUR].contacts) == {""}
    assert after(*told).entries[THE_HOUR].contact_ids == frozenset()
    assert after(*told, settled("", contact_id)).entries != {}


def test_contacts_of_an_hour_leave_when_read_without_them() -> None:
    """Contacts of a window stay."""
    told = (refused(THE_HOUR, ""), refused(WINDOW_0, ""))
    later = Quarantine(after(*told).entries.values(), began=NOW + 100)
    later.note(hour_in(), now=NOW + 101)
    later.note(window_in(), now=NOW + 101)
    assert set(later.entries) == {WINDOW_0}
    still_there = Quarantine(after(*told).entries.values(), began=NOW + 100)
    still_there.note(refused(THE_HOUR, ""), now=NOW + 101)
    still_there.note(hour_in(), now=NOW + 102)
    assert set(still_there.entries) == {WINDOW_0, THE_HOUR}


@pytest.mark.parametrize(
    ("told", "is_left"),
    [
        pytest.param([window_in(), done(left=3)], False, id="read again without them"),
        pytest.param([window_in()], True, id="not yet: what lies around it may hold them"),
        pytest.param([refused(WINDOW_0, ""), window_in(), done(left=3)], True, id="still there"),
        pytest.param([replace(window_in(), is_kept=True), done()], True, id="only grown"),
        pytest.param([done()], True, id="not read"),
        pytest.param([window_in(of="second"), done("second", left=3)], True, id="read for another snapshot"),
        pytest.param([window_in(), done(failed=("0",))], True, id="failed in the end"),
        pytest.param([window_in(), done(left=3, error=KeyRefused("refused"))], True, id="stopped"),
    ],
)
def test_contacts_without_an_id_leave_with_their_window(told: list[Outcome], is_left: bool) -> None:
    """They leave when the window is read again without them."""
    later = Quarantine(after(refused(WINDOW_0, "", "a")).entries.values(), began=NOW + 100)
    for outcome in told:
        later.note(outcome, now=NOW + 101)
    assert ("" in later.entries[WINDOW_0].contacts) == is_left
    assert "a" in later.entries[WINDOW_0].contacts


def test_another_audience_is_left_alone() -> None:
    other = replace(WINDOW_0, name=AudienceName("globex", "news"))
    assert set(after(refused(other, "a"), settled("a"), done("second")).entries) == {other}


def test_an_entry_can_be_forgotten() -> None:
    quarantine = after(refused(WINDOW_0, "a"), hour_failed())
    quarantine.forget(WINDOW_0)
    assert set(quarantine.entries) == {THE_HOUR}


@pytest.mark.parametrize(
    ("attempts", "pause"), [(1, 3000), (2, 6000), (3, 12_000), (6, 24 * 3600), (9, 24 * 3600), (10, None)]
)
def test_pauses_between_retries_grow_up_to_a_day(attempts: int, pause: int | None) -> None:
    """After the last attempt, only a person retries."""
    trouble = Failure(reason="", snapshot="", attempts=attempts, first_seen=0, last_seen=1000)
    assert not RetryRule().is_due(trouble, now=1000 + (pause or 1e9) - 1)
    assert RetryRule().is_due(trouble, now=1000 + (pause or 1e9)) is (pause is not None)


steps = st.lists(
    st.one_of(
        st.builds(refused, st.sampled_from([WINDOW_0, THE_HOUR]), st.sampled_from("abc")),
        st.builds(again, st.sampled_from("abc")),
        st.builds(settled, st.sampled_from("abc")),
        st.sampled_from([window_in(), hour_in(), window_failed(), hour_failed(), done(left=1)]),
    ),
    max_size=15,
)


@given(steps)
def test_a_contact_that_was_refused_stays_until_it_is_settled(outcomes: list[Outcome]) -> None:
    known: set[str] = set()
    for outcome in outcomes:
        if isinstance(outcome, ContactsRefused):
            known |= {contact.contact_id for contact in outcome.contacts}
        elif isinstance(outcome, ContactsSettled):
            known -= outcome.contact_ids
    quarantine = after(*outcomes)
    assert {contact_id for entry in quarantine.of(NEWS) for contact_id in entry.contacts} == known
