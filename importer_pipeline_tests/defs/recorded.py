"""What a sync tells of a made-up audience, and runs that write it into an event log and read it there.

Stays out: syncs (see `runs`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import dagster as dg
import yaml

from importer_pipeline.defs.event_writing import store_events
from importer_pipeline.defs.history import EventLogHistory
from importer_pipeline.engine.outcomes import (
    AudienceDone,
    Outcome,
    Part,
    PartCounts,
    ReadTotals,
    RunCounts,
    SnapshotKnown,
    WindowFailed,
    WindowImported,
)
from importer_pipeline.errors import ImporterError, TriesUsedUp
from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.snapshots import AudienceName, ImportedWindow, Latest, Snapshot

NAME = AudienceName("acme", "newsletter")

Result = TypeVar("Result")


def snapshot(snapshot_id: str = "first", *, total: int = 3000, archived_total: int | None = 100) -> Snapshot:
    """A snapshot; unless it says otherwise, its windows are 0, 990, 1980, 2970 and archived-0."""
    return Snapshot(
        id=snapshot_id, fingerprint="f00d", since=-1, before=1_700_000_000, total=total, archived_total=archived_total,
        page_size=1000, overlap=10,
    )  # fmt: skip


FIRST, SECOND = snapshot(), snapshot("second")


def imported(*, read: int = 1000, until: int = 500) -> ImportedWindow:
    """What is kept of a window."""
    return ImportedWindow(
        covered=(TimeRange(0, 100), TimeRange(200, until)), read=read, accepted=read - 2, refused=2, requests=3
    )


def known(taken: Snapshot = FIRST, *, name: AudienceName = NAME) -> SnapshotKnown:
    """A snapshot has been taken, or more of it is known."""
    return SnapshotKnown(name=name, snapshot=taken)


def window_in(
    key: str, taken: Snapshot = FIRST, *, name: AudienceName = NAME, window: ImportedWindow | None = None
) -> WindowImported:
    """A window is in."""
    return WindowImported(
        name=name, snapshot_id=taken.id, window=key, imported=window or imported(), elapsed_seconds=1.5
    )


def window_failed(key: str) -> WindowFailed:
    """A window could not be imported."""
    return WindowFailed(
        name=NAME,
        snapshot_id=FIRST.id,
        window=key,
        fingerprint=FIRST.fingerprint,
        error=TriesUsedUp("no answer, 4 times"),
    )


def done(
    taken: Snapshot | None = FIRST, *, name: AudienceName = NAME, left: int = 0, error: ImporterError | None = None
) -> AudienceDone:
    """Nothing more comes of the audience in this run."""
    return AudienceDone(
        name=name, part=Part.WINDOW, snapshot=taken, parts=PartCounts(total=5, left=left),
        is_proved=taken is not None and not left, totals=ReadTotals(read=3100, accepted=3098, refused=2, requests=6),
        run=RunCounts(accepted=3098, refused=2, elapsed_seconds=2.0), lacking=(), error=error,
    )  # fmt: skip


class Recorder(Protocol):
    """A history as a process has it: what earlier ones left, to be added to."""

    def latest(self, names: Sequence[AudienceName]) -> Mapping[AudienceName, Latest]:
        """See `history.History`."""
        ...

    def windows(self, name: AudienceName, snapshot: Snapshot) -> Mapping[str, ImportedWindow]:
        """See `history.History`."""
        ...

    def record(self, outcome: Outcome) -> None:
        """Add to it."""
        ...


def record(history: Recorder, outcomes: Iterable[Outcome]) -> None:
    """Add these, as a sync does: it looks first what there is."""
    told = list(outcomes)
    history.latest(sorted({outcome.name for outcome in told}))
    for outcome in told:
        history.record(outcome)
    if isinstance(history, EventLogHistory):
        history.flush()


def resume(history: Recorder, name: AudienceName) -> Snapshot:
    """Bring in what is missing of the newest snapshot if it is not completed, else of a new one."""
    found = history.latest([name]).get(name)
    taken = found.snapshot if found is not None and not found.completed else snapshot(f"new of {name}")
    missing = set(taken.keys) - set(history.windows(name, taken))
    told: list[Outcome] = [known(taken, name=name), *(window_in(key, taken, name=name) for key in sorted(missing))]
    record(history, [*told, done(taken, name=name)])
    return taken


def run(instance: dg.DagsterInstance, act: Callable[[dg.OpExecutionContext], Result]) -> Result:
    """What comes of something that is done within a run of a job of one op."""
    results: list[Result] = []

    @dg.op(out=dg.Out(dg.Nothing))
    def step(context: dg.OpExecutionContext) -> None:
        results.append(act(context))

    @dg.job(executor_def=dg.in_process_executor)
    def process() -> None:
        step()

    process.execute_in_process(instance=instance)
    return results[0]


def run_and_record(instance: dg.DagsterInstance, *outcomes: Outcome, fails: bool = False) -> None:
    """A run that records these, and fails at its end or does not."""

    def act(context: dg.OpExecutionContext) -> None:
        record(EventLogHistory(context), outcomes)
        if fails:
            raise dg.Failure("not all is in", allow_retries=False)

    try:
        run(instance, act)
    except dg.Failure:
        assert fails


def many_events(instance: dg.DagsterInstance, *events: dg.AssetMaterialization | dg.AssetObservation) -> None:
    """A run writes each of these a hundred times, and nothing of ours."""
    run(instance, lambda context: store_events(context, [event for event in events for _ in range(100)]))


def clients_file(folder: Path) -> Path:
    """A clients file with that audience in it."""
    secret, url = {"env": "PATH"}, "http://127.0.0.1:9"
    client = {
        "mailchimp": {"api_key": secret, "base_url": f"{url}/3.0"},
        "target": {"url": url, "api_key": secret},
        "audiences": {NAME.audience: {"list_id": "1a2d7ebf82"}},
    }
    path = folder / "clients.yaml"
    path.write_text(yaml.safe_dump({"clients": {NAME.client: client}}), encoding="utf-8")
    return path
