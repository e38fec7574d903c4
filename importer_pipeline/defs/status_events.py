"""The state of the audiences in Dagster's event log: a check of each one, and the status asset with its checks.

The newest evaluation of an audience's check is also what a later run knows of its state before.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from pydantic import BaseModel, ValidationError

from importer_pipeline.defs.event_log import newest_evaluations
from importer_pipeline.defs.event_metadata import Metadata, moment_in_words
from importer_pipeline.defs.names import UP_TO_DATE, contacts_key, up_to_date_key
from importer_pipeline.defs.stored import Values
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.status import AudienceStatus, Comparison, Figures, Reported, State, worst_first
from importer_pipeline.planning.status_checks import CHECKS, RunSums, Verdict

_MAX_ROWS = 50
"""Audiences of the table, the worst first."""

_BY_ALL, _BY_SOME = "incremental_sync", "full_sync"
"""What reported the state of an audience."""

_COUNT_NAMES = {
    State.WELL: "audiences_in_time",
    State.LATE: "audiences_late",
    State.FAILING: "audiences_failing",
    State.PAUSED: "audiences_paused",
    State.UNSYNCED: "audiences_unsynced",
}


class _StoredStatus(BaseModel):
    """A state as it stands in an event."""

    state: State
    imported_up_to: float | None = None
    error: str
    reason: str
    remedy: str
    since: float
    reported_by: str


def up_to_date_spec(name: AudienceName) -> dg.AssetCheckSpec:
    """Return the spec of the check that an audience is up to date."""
    return dg.AssetCheckSpec(
        UP_TO_DATE, asset=contacts_key(name), description="The last import succeeded, and not too long ago."
    )


def status_check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks of the status asset."""
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in CHECKS.items()]


def up_to_date_evaluation(status: AudienceStatus, *, in_all: bool) -> dg.AssetCheckEvaluation:
    """Return the evaluation that records the state of an audience; `in_all` as in `Reported`."""
    lag = {} if status.lag_seconds is None else {"lag_seconds": dg.MetadataValue.float(round(status.lag_seconds, 1))}
    end = {} if status.imported_up_to is None else {"imported_up_to": _timestamp(status.imported_up_to)}
    return dg.AssetCheckEvaluation(
        asset_key=contacts_key(status.name),
        check_name=UP_TO_DATE,
        passed=status.state is State.WELL,
        severity=dg.AssetCheckSeverity.WARN if status.state is State.UNSYNCED else dg.AssetCheckSeverity.ERROR,
        description=status_line(status),
        metadata={
            "state": dg.MetadataValue.text(status.state.value),
            **end,
            **lag,
            "error": dg.MetadataValue.text(status.error),
            "reason": dg.MetadataValue.text(status.reason),
            "remedy": dg.MetadataValue.text(status.remedy),
            "since": _timestamp(status.since),
            "reported_by": dg.MetadataValue.text(_BY_ALL if in_all else _BY_SOME),
        },
    )


def read_reported(instance: dg.DagsterInstance, names: Sequence[AudienceName]) -> Mapping[AudienceName, Reported]:
    """Return the last reported state of each of the audiences that has one."""
    by_key = {up_to_date_key(name): name for name in names}
    return {
        by_key[key]: reported
        for key, evaluated in newest_evaluations(instance, list(by_key)).items()
        if (reported := _read(by_key[key], evaluated.values, evaluated.timestamp)) is not None
    }


def status_evaluation(key: dg.AssetKey, verdict: Verdict) -> dg.AssetCheckEvaluation:
    """Return the evaluation of a check of the status asset."""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=verdict.check,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN if verdict.is_warning else dg.AssetCheckSeverity.ERROR,
        description=verdict.text,
    )


def status_metadata(
    statuses: Sequence[AudienceStatus],
    figures: Figures,
    counts: RunSums,
    entries: Sequence[Entry],
    changed: Comparison,
    *,
    seconds: float,
) -> Metadata:
    """Return the metadata of the status asset: figures that Dagster plots, and a table of the worst audiences."""
    numbers = {
        **{_COUNT_NAMES[state]: count for state, count in figures.counts.items()},
        "audiences_newly_in_trouble": len(changed.new),
        "audiences_recovered": len(changed.recovered),
        "lag_median_seconds": round(figures.median_lag_seconds, 1),
        "lag_p95_seconds": round(figures.p95_lag_seconds, 1),
        "lag_max_seconds": round(figures.max_lag_seconds, 1),
        "contacts_read": counts.read,
        "contacts_read_again": counts.read_again,
        "contacts_accepted": counts.accepted,
        "contacts_refused": counts.refused,
        "quarantine_entries": len(entries),
        "quarantine_contacts": sum(len(entry.contacts) for entry in entries),
        "requests": counts.requests,
        "rate_limited": counts.rate_limited,
        "seconds": round(seconds, 1),
    }
    return {
        **{
            name: dg.MetadataValue.int(number) if isinstance(number, int) else dg.MetadataValue.float(number)
            for name, number in numbers.items()
        },
        "worst_audiences": _table(statuses, entries),
    }


def status_line(status: AudienceStatus) -> str:
    """Return the state of an audience in a line for people."""
    end = status.imported_up_to
    up_to = "never imported" if end is None else f"imported up to {moment_in_words(end)}"
    why = ": ".join(text for text in (status.reason, status.remedy) if text)
    return f"{status.state.value}{f' ({why})' if why else ''}; {up_to}"


def _read(name: AudienceName, values: Values, at: float) -> Reported | None:
    """Return the state that an evaluation records; None if it is not ours."""
    try:
        stored = _StoredStatus.model_validate(dict(values))
    except ValidationError:
        return None
    end = None if stored.imported_up_to is None else int(stored.imported_up_to)
    status = AudienceStatus(
        name=name,
        state=stored.state,
        imported_up_to=end,
        lag_seconds=None if end is None else max(0.0, at - end),
        error=stored.error,
        reason=stored.reason,
        remedy=stored.remedy,
        since=stored.since,
    )
    return Reported(status=status, at=at, in_all=stored.reported_by == _BY_ALL)


def _table(statuses: Sequence[AudienceStatus], entries: Sequence[Entry]) -> dg.TableMetadataValue:
    quarantined: dict[AudienceName, list[Entry]] = {}
    for entry in entries:
        quarantined.setdefault(entry.ref.name, []).append(entry)
    rows = [
        {
            "client": it.name.client,
            "audience": it.name.audience,
            "state": it.state.value,
            "imported_up_to": "" if it.imported_up_to is None else moment_in_words(it.imported_up_to),
            "lag_hours": "" if it.lag_seconds is None else f"{it.lag_seconds / 3600:.1f}",
            "in_quarantine": str(len(quarantined.get(it.name, ()))),
            "reason": it.reason or "; ".join(entry.reason for entry in quarantined.get(it.name, ())[:1]),
            "remedy": it.remedy,
            "since": moment_in_words(int(it.since)),
        }
        for it in worst_first(statuses, quarantined)[:_MAX_ROWS]
    ]
    return dg.MetadataValue.table(
        records=[dg.TableRecord(row) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in (rows[0] if rows else ())]),
    )


def _timestamp(moment: float) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(float(moment))
