"""What the event log has of a chain: as much as a history that forgets nothing, whatever was written, wiped or made up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import dagster as dg
import pytest

from importer_pipeline.defs import chain_evidence, event_log
from importer_pipeline.defs.chain_evidence import read_evidence
from importer_pipeline.defs.event_metadata import contacts_metadata, hour_metadata
from importer_pipeline.defs.names import changes_key, contacts_key, windows_key
from importer_pipeline.engine.outcomes import AudienceDone, FingerprintChanged, HourImported, Outcome
from importer_pipeline.errors import TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key
from importer_pipeline.listing.snapshots import AudienceName, Snapshot
from importer_pipeline.planning.chain import Chain, HourCompleted, SnapshotCompleted, View, chain_of, why_no_chain
from importer_pipeline_tests.defs.recorded import (
    NAME,
    done,
    known,
    many_events,
    record,
    run_and_record,
    snapshot,
    window_in,
)
from importer_pipeline_tests.support.memory_history import MemoryHistory

START = 1_700_000_000 // HOUR_SECONDS * HOUR_SECONDS
"""The first second of an hour."""

VIEW = View(now=START + 1000.0 * HOUR_SECONDS, oldest=0, tolerance_seconds=900.0)

OURS, OTHERS = "f00d", "cafe"
"""What the audience is, and what it was for a while."""


def taken(snapshot_id: str = "first", *, fingerprint: str = OURS, before: int = START + 1800) -> Snapshot:
    return replace(snapshot(snapshot_id), fingerprint=fingerprint, before=before)


def hour(number: int, *, chained: bool = True, fingerprint: str = OURS, name: AudienceName = NAME) -> HourImported:
    """An hour that was brought in, by a chain's sync or by itself."""
    return HourImported(
        name=name, hour=hour_key(START + number * HOUR_SECONDS), fingerprint=fingerprint,
        walk=TimeRange(START, START + HOUR_SECONDS), chain_from="first" if chained else None, read=2, accepted=2, refused=0,
        lag_seconds=None,
    )  # fmt: skip


def whole(of: Snapshot, *, name: AudienceName = NAME) -> list[Outcome]:
    """A snapshot is taken and brought in."""
    return [known(of, name=name), window_in("0", of, name=name), done(of, name=name)]


def but_for_the_quarantine(of: Snapshot) -> AudienceDone:
    """All of it is in, or in the quarantine."""
    return done(of, error=TriesUsedUp("no answer, 4 times"))


def chain(instance: dg.DagsterInstance, *, fingerprint: str = OURS, name: AudienceName = NAME) -> Chain | None:
    """The chain of the audience, by what the event log has."""
    return chain_of(read_evidence(instance, [name], VIEW)[name], fingerprint=fingerprint, view=VIEW)


def end_of(number: int) -> int:
    """The last second of an hour."""
    return START + (number + 1) * HOUR_SECONDS - 1


def test_an_audience_of_which_nothing_was_told_has_none(instance: dg.DagsterInstance) -> None:
    assert read_evidence(instance, [NAME], VIEW) == {NAME: []}
    assert read_evidence(instance, [], VIEW) == {}


def test_the_newest_hour_and_snapshot_prove_a_whole_chain(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, *whole(taken()), *(hour(number) for number in range(30)))
    found = read_evidence(instance, [NAME], VIEW)[NAME]
    assert found == [
        HourCompleted(fingerprint=OURS, hour=TimeRange(end_of(28) + 1, end_of(29)), chain_from="first"),
        SnapshotCompleted(fingerprint=OURS, snapshot="first", before=START + 1800),
    ]
    assert chain(instance) == Chain(snapshot="first", end=end_of(29), hours=frozenset())


Written = Sequence[Outcome]


@pytest.mark.parametrize(
    ("runs", "end"),
    [
        pytest.param([whole(taken())], START + 1800, id="a snapshot"),
        pytest.param([[known(taken()), but_for_the_quarantine(taken())]], START + 1800, id="but for the quarantine"),
        pytest.param([[known(taken()), done(taken(), left=1)]], None, id="a snapshot that is not in"),
        pytest.param([[*whole(taken()), hour(0)], [hour(1)]], end_of(1), id="hours behind it"),
        pytest.param([[*whole(taken()), hour(0)], [hour(4, chained=False)]], end_of(0), id="a later hour by itself"),
        pytest.param([[*whole(taken()), hour(0)], [hour(1, chained=False)]], end_of(1), id="one that is a link"),
        pytest.param(
            [[*whole(taken()), hour(0)], [hour(number, chained=False) for number in (3, 1, 2)]],
            end_of(3),
            id="some of them, in whatever order",
        ),
        pytest.param([[*whole(taken()), hour(5)], [hour(1, chained=False)]], end_of(5), id="an old hour again"),
        pytest.param(
            [[*whole(taken()), hour(0)], whole(taken("second", before=end_of(6)))], end_of(6), id="a newer snapshot"
        ),
        pytest.param(
            [[*whole(taken()), hour(0)], [known(taken("second")), but_for_the_quarantine(taken("second"))], [hour(1)]],
            end_of(1),
            id="one that is in but for the quarantine, and an hour",
        ),
        pytest.param(
            [[*whole(taken()), hour(0)], [known(taken("second")), window_in("0", taken("second"))]],
            end_of(0),
            id="a newer one that is not in",
        ),
        pytest.param(
            [[*whole(taken()), hour(0)], whole(taken("second", fingerprint=OTHERS))], None, id="another mapping since"
        ),
        pytest.param(
            [
                [*whole(taken()), hour(0)],
                [known(taken("second", fingerprint=OTHERS)), window_in("0", taken("second", fingerprint=OTHERS))],
            ],
            None,
            id="another mapping, only begun",
        ),
        pytest.param(
            [[*whole(taken()), hour(0)], [hour(0, chained=False, fingerprint=OTHERS)]],
            None,
            id="an hour by itself with another mapping",
        ),
        pytest.param(
            [whole(taken(fingerprint=OTHERS)), [*whole(taken("second")), hour(0)]], end_of(0), id="another one before"
        ),
    ],
)
def test_where_a_chain_ends(instance: dg.DagsterInstance, runs: Sequence[Written], end: int | None) -> None:
    for outcomes in runs:
        run_and_record(instance, *outcomes)
    found = chain(instance)
    assert (None if found is None else found.end) == end


@pytest.mark.parametrize(
    ("wiped", "is_one_in"),
    [
        pytest.param(False, False, id="no window is in"),
        pytest.param(False, True, id="a window is in"),
        pytest.param(True, False, id="no window is in, and those before were wiped"),
        pytest.param(True, True, id="a window is in, and those before were wiped"),
    ],
)
def test_another_mapping_that_was_only_begun_ends_it(
    instance: dg.DagsterInstance, wiped: bool, is_one_in: bool
) -> None:
    other = taken("second", fingerprint=OTHERS)
    run_and_record(instance, *whole(taken()), hour(0))
    if wiped:
        instance.wipe_assets([windows_key(NAME)])
    run_and_record(instance, hour(1))
    run_and_record(instance, known(other), *([window_in("0", other)] if is_one_in else []))
    assert chain(instance) is None


def test_the_run_is_told_why_there_is_none(instance: dg.DagsterInstance) -> None:
    run_and_record(instance, known(taken()), done(taken(), left=1))
    evidence = read_evidence(instance, [NAME], VIEW)[NAME]
    assert why_no_chain(evidence, fingerprint=OURS, view=VIEW) == "its snapshot is incomplete"
    assert why_no_chain(evidence, fingerprint=OTHERS, view=VIEW).startswith(
        "the last sync was of another list, target or record"
    )


def report_by_hand(instance: dg.DagsterInstance) -> None:
    """People say in the UI that this and that is in, and another version of ours wrote something."""
    for key in (contacts_key(NAME), changes_key(NAME)):
        for partition in (None, "some text", hour_key(end_of(9))):
            for metadata in ({}, {"fingerprint": OURS}, {"fingerprint": OURS, "chain_from": 7, "snapshot": "mine"}):
                event = dg.AssetMaterialization(key, partition=partition, metadata=metadata)
                instance.report_runless_asset_event(event)


def wipe(key: dg.AssetKey) -> Callable[[dg.DagsterInstance], object]:
    """Somebody wipes an asset."""
    return lambda instance: instance.wipe_assets([key])


def wipe_all(instance: dg.DagsterInstance) -> None:
    """Somebody wipes all that tells of the chain."""
    instance.wipe_assets([contacts_key(NAME), changes_key(NAME)])


@pytest.mark.parametrize(
    ("happens", "end"),
    [
        pytest.param(report_by_hand, end_of(3), id="reports by hand"),
        pytest.param(wipe(contacts_key(NAME)), end_of(3), id="contacts wiped"),
        pytest.param(wipe(windows_key(NAME)), end_of(3), id="windows wiped"),
        pytest.param(wipe(changes_key(NAME)), START + 1800, id="hours wiped"),
        pytest.param(wipe_all, None, id="both wiped"),
    ],
)
def test_where_it_ends_after_what_people_do(
    instance: dg.DagsterInstance, happens: Callable[[dg.DagsterInstance], object], end: int | None
) -> None:
    run_and_record(instance, *whole(taken()), *(hour(number) for number in range(4)))
    happens(instance)
    found = chain(instance)
    assert (None if found is None else found.end) == end


def test_the_search_goes_back_behind_any_number_of_manual_hours(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_evidence, "_PAGE", 3)
    run_and_record(instance, *whole(taken()), hour(0), *(hour(number, chained=False) for number in range(1, 12)))
    found = chain(instance)
    assert found is not None
    assert found.end == end_of(11)


OTHERS_EVENTS = (
    dg.AssetObservation(contacts_key(NAME)),
    dg.AssetMaterialization(contacts_key(NAME), metadata={"fingerprint": OURS}),
    dg.AssetMaterialization(contacts_key(NAME), partition="0"),
    dg.AssetMaterialization(changes_key(NAME), partition=hour_key(START)),
    dg.AssetMaterialization(changes_key(NAME), partition="some text"),
)


@pytest.mark.parametrize(
    ("runs", "end"),
    [
        pytest.param([[*whole(taken()), hour(0)]], end_of(0), id="hours"),
        pytest.param([whole(taken())], START + 1800, id="a snapshot"),
        pytest.param([[known(taken()), but_for_the_quarantine(taken())]], START + 1800, id="but for the quarantine"),
        pytest.param(
            [[*whole(taken()), hour(0)], [FingerprintChanged(name=NAME, fingerprint=OTHERS)]], None, id="another form"
        ),
        pytest.param(
            [[*whole(taken()), hour(0)], [known(taken("second", fingerprint=OTHERS))]], None, id="another mapping begun"
        ),
    ],
)
def test_nothing_hides_what_a_chain_rests_on(
    instance: dg.DagsterInstance, runs: Sequence[Written], end: int | None
) -> None:
    for outcomes in runs:
        run_and_record(instance, *outcomes)
        many_events(instance, *OTHERS_EVENTS)
    found = chain(instance)
    assert (None if found is None else found.end) == end


@pytest.mark.parametrize("is_hour", [True, False], ids=["an hour", "a snapshot"])
def test_what_is_of_the_future_hides_nothing(instance: dg.DagsterInstance, is_hour: bool) -> None:
    run_and_record(instance, *whole(taken()), hour(0))
    of_the_future = [hour(9000)] if is_hour else whole(taken("second", before=end_of(9000)))
    run_and_record(instance, *of_the_future)
    found = chain(instance)
    assert found is not None
    assert found.end == end_of(0)


def test_what_was_of_the_future_when_it_was_written_never_counts(instance: dg.DagsterInstance) -> None:
    in_an_hour = int(time.time()) + HOUR_SECONDS
    run_and_record(instance, *whole(taken()), *whole(taken("second", before=in_an_hour)))
    later = replace(VIEW, now=in_an_hour + 1000.0 * HOUR_SECONDS)
    found = chain_of(read_evidence(instance, [NAME], later)[NAME], fingerprint=OURS, view=later)
    assert found is not None
    assert (found.snapshot, found.end) == ("first", START + 1800)


def test_many_audiences_are_looked_up_together_and_told_apart(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "VALUES_AT_ONCE", 6)
    names = [AudienceName("acme", f"list-{number}") for number in range(9)]
    told = [it for number, name in enumerate(names) for it in (*whole(taken(), name=name), hour(number, name=name))]
    run_and_record(instance, *told)
    evidence = read_evidence(instance, [*names, NAME], VIEW)
    ends = [chain_of(evidence[name], fingerprint=OURS, view=VIEW) for name in names]
    assert [None if it is None else it.end for it in ends] == [end_of(number) for number in range(9)]
    assert evidence[NAME] == []


def story(rng: Random, name: AudienceName) -> list[list[Outcome]]:
    """What a run in each hour told of an audience whose mapping was edited now and then."""
    memory = MemoryHistory()
    runs: list[list[Outcome]] = [whole(taken(), name=name)]
    for number in range(1, rng.randint(3, 8)):
        record(memory, runs[-1])
        fingerprint = rng.choice([OURS, OURS, OTHERS])
        now = START + number * HOUR_SECONDS + rng.randrange(HOUR_SECONDS)
        of = taken(f"snapshot {number}", fingerprint=fingerprint, before=now)
        begun: list[Outcome] = [known(of, name=name), window_in("0", of, name=name)]
        so_far = chain_of(memory.evidence([name], VIEW)[name], fingerprint=fingerprint, view=VIEW)
        by_itself = [hour(rng.randrange(number), chained=False, fingerprint=fingerprint, name=name)]
        next_hour = 0 if so_far is None else (so_far.end + 1 - START) // HOUR_SECONDS
        kinds: list[list[Outcome]] = [
            begun,
            [*begun, done(of, name=name)],
            [*begun, replace(but_for_the_quarantine(of), name=name)],
            list(by_itself),
            list(by_itself) if so_far is None else [hour(next_hour, fingerprint=fingerprint, name=name)],
        ]
        runs.append(rng.choice(kinds))
    return runs


def test_the_event_log_claims_no_more_than_a_full_history(instance: dg.DagsterInstance) -> None:
    names = [AudienceName("acme", f"list-{number}") for number in range(30)]
    stories = {name: story(Random(f"0 {name}"), name) for name in names}
    memory = MemoryHistory()
    for number in range(max(map(len, stories.values()))):
        told = [it for runs in stories.values() if number < len(runs) for it in runs[number]]
        run_and_record(instance, *told)
        record(memory, told)
        found, kept = read_evidence(instance, names, VIEW), memory.evidence(names, VIEW)
        for name in names:
            for fingerprint in (OURS, OTHERS):
                read, true = (chain_of(it[name], fingerprint=fingerprint, view=VIEW) for it in (found, kept))
                assert (read is None) == (true is None)
                assert read is None or true is None or read.end <= true.end


def test_the_metadata_that_proves_it_is_that_of_our_events(instance: dg.DagsterInstance) -> None:
    """Whoever writes the same by hand is believed: there is nothing else to tell it by."""
    events = (
        (contacts_key(NAME), None, contacts_metadata(done(taken()), taken())),
        (changes_key(NAME), hour(0).hour, hour_metadata(hour(0))),
    )
    for key, partition, metadata in events:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, metadata=metadata))
    assert chain(instance) == Chain(snapshot="first", end=end_of(0), hours=frozenset())
