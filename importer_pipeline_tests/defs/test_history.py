"""What earlier runs left: the history in memory, which the simulation uses, and that in the event log have to be alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import dagster as dg
import pytest

from importer_pipeline.defs.history import EventLogHistory
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    Outcome,
    Part,
    PartitionRef,
    RefusedContact,
    WindowImported,
)
from importer_pipeline.errors import TriesUsedUp
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Latest, Snapshot
from importer_pipeline_tests.conftest import NewInstance
from importer_pipeline_tests.defs.recorded import (
    FIRST,
    NAME,
    SECOND,
    Recorder,
    Result,
    done,
    imported,
    known,
    record,
    resume,
    run,
    snapshot,
    window_failed,
    window_in,
)
from importer_pipeline_tests.support.memory_history import MemoryHistory

OTHER = AudienceName("acme", "customers")
FAILED = TriesUsedUp("no answer, 4 times")


class Kept(Protocol):
    """What outlives the processes."""

    def process(self, act: Callable[[Recorder], Result]) -> Result:
        """What comes of something that one process does."""
        ...


class InMemory:
    """The history of the simulation."""

    def __init__(self) -> None:
        self._history = MemoryHistory()

    def process(self, act: Callable[[Recorder], Result]) -> Result:
        return act(self._history)


class InEventLog:
    """The history of Dagster's runs, each of which is a process."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def process(self, act: Callable[[Recorder], Result]) -> Result:
        return run(self.instance, lambda context: act(EventLogHistory(context)))


@pytest.fixture(params=["in memory", "sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, instance_of: NewInstance) -> Iterator[Kept]:
    if request.param == "in memory":
        yield InMemory()
        return
    with instance_of(request.param) as made:
        yield InEventLog(made)


def tell(kept: Kept, *outcomes: Outcome) -> None:
    """A process records these."""
    kept.process(lambda history: record(history, outcomes))


def latest(kept: Kept, *names: AudienceName) -> Mapping[AudienceName, Latest]:
    """The newest snapshots, as another process finds them."""
    return kept.process(lambda history: history.latest(names))


def windows(kept: Kept, *snapshots: Snapshot, name: AudienceName = NAME) -> list[Mapping[str, ImportedWindow]]:
    """What is in of these snapshots, as another process finds it."""
    return kept.process(lambda history: [history.windows(name, taken) for taken in snapshots])


def test_where_nothing_was_recorded_no_audience_is_known(kept: Kept) -> None:
    assert latest(kept, NAME, OTHER) == {}
    assert windows(kept, FIRST) == [{}]


def test_what_is_recorded_is_read_back(kept: Kept) -> None:
    told = {"0": imported(read=10), "990": replace(imported(), covered=()), "archived-0": imported(until=900)}
    tell(kept, known(), *(window_in(key, window=window) for key, window in told.items()))
    assert latest(kept, NAME) == {NAME: Latest(snapshot=FIRST, completed=False)}
    assert windows(kept, FIRST) == [told]


def test_a_process_reads_what_it_has_recorded_itself(kept: Kept) -> None:
    def act(history: Recorder) -> tuple[Mapping[AudienceName, Latest], Mapping[str, ImportedWindow]]:
        record(history, [known(), window_in("0")])
        return history.latest([NAME]), history.windows(NAME, FIRST)

    assert kept.process(act) == ({NAME: Latest(snapshot=FIRST, completed=False)}, {"0": imported()})


def test_only_audiences_with_a_snapshot_are_found(kept: Kept) -> None:
    theirs, third = snapshot("theirs", total=5), AudienceName("globex", "newsletter")
    tell(kept, known(), window_in("0"), known(theirs, name=OTHER), done(theirs, name=OTHER))
    assert latest(kept, third, OTHER, NAME) == {
        NAME: Latest(snapshot=FIRST, completed=False),
        OTHER: Latest(snapshot=theirs, completed=True),
    }
    assert windows(kept, FIRST, theirs) == [{"0": imported()}, {}]
    assert windows(kept, FIRST, theirs, name=OTHER) == [{}, {}]


@pytest.mark.parametrize("completed", [False, True], ids=["unfinished", "completed"])
def test_a_new_snapshot_hides_the_windows_of_the_old_one(kept: Kept, completed: bool) -> None:
    tell(kept, known(), window_in("0"), *([done()] if completed else []))
    tell(kept, known(SECOND))
    assert latest(kept, NAME) == {NAME: Latest(snapshot=SECOND, completed=False)}
    assert windows(kept, SECOND, FIRST) == [{}, {}]


def test_the_later_report_of_a_window_counts(kept: Kept) -> None:
    tell(kept, known(), window_in("0"), window_in("990"), window_in("0", window=imported(until=600)))
    assert windows(kept, FIRST) == [{"0": imported(until=600), "990": imported()}]
    tell(kept, window_in("0", window=imported(until=700)))
    assert windows(kept, FIRST) == [{"0": imported(until=700), "990": imported()}]


def test_a_window_of_another_snapshot_does_not_count(kept: Kept) -> None:
    tell(kept, known(), window_in("0"))
    tell(kept, known(SECOND), window_in("990", SECOND))
    tell(kept, window_in("0", FIRST), window_in("990", FIRST, window=imported(until=600)))
    assert windows(kept, SECOND) == [{"990": imported()}]


def test_a_snapshot_keeps_its_windows_when_more_is_known_of_it(kept: Kept) -> None:
    tell(kept, known(replace(FIRST, archived_total=None)), window_in("0"), known(), window_in("990"))
    assert latest(kept, NAME)[NAME].snapshot == FIRST
    more = replace(FIRST, archived_total=2000)
    tell(kept, known(more))
    assert latest(kept, NAME)[NAME].snapshot == more
    assert windows(kept, more) == [{"0": imported(), "990": imported()}]


@pytest.mark.parametrize(
    ("outcome", "completed"),
    [
        (done(), True),
        (done(left=1), False),
        (done(error=FAILED), False),
        (done(None, error=FAILED), False),
    ],
    ids=["all in", "a window left", "a window failed", "no snapshot"],
)
def test_a_snapshot_is_completed_when_all_of_it_is_in(kept: Kept, outcome: AudienceDone, completed: bool) -> None:
    tell(kept, known(), window_in("0"), outcome)
    assert latest(kept, NAME) == {NAME: Latest(snapshot=FIRST, completed=completed)}
    assert windows(kept, FIRST) == [{"0": imported()}]


def test_a_completed_older_snapshot_completes_no_newer_one(kept: Kept) -> None:
    tell(kept, known(), done())
    tell(kept, known(SECOND), done(FIRST))
    assert latest(kept, NAME) == {NAME: Latest(snapshot=SECOND, completed=False)}


def test_failed_windows_and_refusals_are_not_resumed_from(kept: Kept) -> None:
    refused = ContactsRefused(
        ref=PartitionRef(name=NAME, part=Part.WINDOW, key="0"),
        snapshot_id=FIRST.id,
        fingerprint=FIRST.fingerprint,
        contacts=(RefusedContact(contact_id="c0de", reason="bad"),),
    )
    tell(kept, known(), window_failed("990"), refused, window_in("0"))
    assert windows(kept, FIRST) == [{"0": imported()}]


def test_to_record_the_same_twice_changes_nothing(kept: Kept) -> None:
    told = (known(), window_in("0"), window_in("archived-0"), done())
    tell(kept, *told, *told)
    tell(kept, *(outcome for outcome in told for _ in range(2)))
    assert latest(kept, NAME) == {NAME: Latest(snapshot=FIRST, completed=True)}
    assert windows(kept, FIRST) == [{"0": imported(), "archived-0": imported()}]


def story(name: AudienceName) -> list[Outcome]:
    """Three runs: the first leaves three windows, the second brings them in, the third takes a new snapshot."""
    first, second = snapshot(f"first of {name}"), snapshot(f"second of {name}")
    runs: list[list[Outcome]] = [
        [known(replace(first, archived_total=None)), window_in("0", first), known(first), window_in("990", first)],
        [known(first), *(window_in(key, first) for key in ("1980", "2970", "archived-0")), done(first)],
        [known(second), window_in("0", second), done(second, left=4)],
    ]
    return [replace(outcome, name=name) for outcomes in runs for outcome in outcomes]


def test_after_a_death_between_any_two_records_it_can_be_resumed(kept: Kept) -> None:
    audiences = [AudienceName("acme", f"dies-after-{records}") for records in range(len(story(NAME)) + 1)]
    told = {name: story(name)[:records] for records, name in enumerate(audiences)}
    kept.process(lambda history: record(history, [outcome for outcomes in told.values() for outcome in outcomes]))
    found = kept.process(
        lambda history: {
            name: (latest.snapshot.id, set(history.windows(name, latest.snapshot)))
            for name, latest in history.latest(list(told)).items()
        }
    )
    assert set(found) == set(audiences[1:])
    for name, (snapshot_id, keys) in found.items():
        assert keys == {
            it.window for it in told[name] if isinstance(it, WindowImported) and it.snapshot_id == snapshot_id
        }
    taken = kept.process(lambda history: {name: resume(history, name) for name in told})
    assert latest(kept, *told) == {name: Latest(snapshot=one, completed=True) for name, one in taken.items()}
    rest = kept.process(lambda history: {name: set(history.windows(name, one)) for name, one in taken.items()})
    assert rest == {name: set(one.keys) for name, one in taken.items()}
