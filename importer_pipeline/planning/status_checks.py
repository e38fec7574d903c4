"""What a run has done, in numbers, and whether that and the state of the audiences is as it should be. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from importer_pipeline.engine.outcomes import AudienceDone, Part
from importer_pipeline.errors import ImporterError, KeyRefused, SecretMissing, TargetKeyRefused
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.status import Attempt, AudienceStatus, Figures
from importer_pipeline.redaction import shortened

_OF_KEYS = frozenset(error.__name__ for error in (KeyRefused, TargetKeyRefused, SecretMissing))

_WARN_SHARE, _ERROR_SHARE = 0.01, 0.05
"""Shares of refused contacts from which `accepted` warns, and fails."""

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSums:
    """What a run has read and delivered, by what its audiences reported; retries of single contacts do not count."""

    read: int
    """Contacts read, each counted once."""
    read_again: int
    """How often one of them was read again, since windows overlap."""
    accepted: int
    """Contacts that the targets accepted."""
    refused: int
    """Different contacts that went to the quarantine."""
    unaccounted: int
    """Contacts read that are neither accepted nor quarantined: none, unless there is a defect."""
    requests: int
    """Requests to Mailchimp, also for single contacts."""

    @classmethod
    def of(cls, done: Iterable[AudienceDone]) -> "RunSums":
        """Return the sums of a run."""
        everything = list(done)
        lists = [it for it in everything if it.part is not Part.CONTACT]
        return cls(
            read=sum(_read_now(it) for it in lists),
            read_again=sum(it.totals.read_again for it in lists),
            accepted=sum(it.run.accepted for it in lists),
            refused=sum(it.run.refused for it in lists),
            unaccounted=sum(_unaccounted(it) for it in lists),
            requests=sum(it.totals.requests for it in everything),
        )

    @property
    def refused_share(self) -> float:
        """Share of the delivered contacts that the targets refused; 0 if there were none."""
        sent = self.accepted + self.refused
        return self.refused / sent if sent else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of a check."""

    check: str
    passed: bool
    is_warning: bool = False
    """True if it is no error, though it did not pass."""
    text: str


CHECKS: Mapping[str, str] = {
    "on_time": "At most 5 % of the audiences lag behind by more than IMPORTER_LATE_AFTER_HOURS.",
    "complete": "Every contact that the run read is at its target or in the quarantine.",
    "accepted": "The targets refused less than 1 % of the run's contacts; from 5 % on it is an error.",
    "quarantine_empty": "Nothing is in the quarantine.",
    "keys_accepted": "Mailchimp and the targets accept the keys of all clients.",
}
"""The checks, by name, with what passes them."""


def attempts_of(done: Iterable[AudienceDone]) -> Mapping[AudienceName, Attempt]:
    """Return the result of each audience of a run: its first error, if it had one."""
    attempts: dict[AudienceName, Attempt] = {}
    for it in done:
        if it.name not in attempts or not attempts[it.name].error:
            attempts[it.name] = _attempt(it.error)
    return attempts


def verdicts(
    statuses: Sequence[AudienceStatus],
    figures: Figures,
    counts: RunSums,
    entries: Sequence[Entry],
    *,
    late_after_seconds: float,
) -> list[Verdict]:
    """Return the result of each check.

    Args:
        statuses: of all audiences.
        figures: of all audiences.
        counts: of the run.
        entries: the open entries of the quarantine.
        late_after_seconds: the longest lag of an audience that is not late.
    """
    share = counts.refused_share
    keys = [f"{it.name} ({it.error})" for it in statuses if it.error in _OF_KEYS]
    audiences = sorted({str(entry.ref.name) for entry in entries})
    return [
        Verdict(
            check="on_time",
            passed=figures.p95_lag_seconds <= late_after_seconds,
            text=f"95 % of the audiences lag behind by at most {figures.p95_lag_seconds / 3600:.1f} hours",
        ),
        Verdict(
            check="complete",
            passed=counts.unaccounted == 0,
            text=f"{counts.read} contacts read, {counts.accepted} accepted, {counts.refused} to the quarantine",
        ),
        Verdict(
            check="accepted",
            passed=share < _WARN_SHARE,
            is_warning=share < _ERROR_SHARE,
            text=f"{100 * share:.1f} % of the contacts were refused",
        ),
        Verdict(
            check="quarantine_empty",
            passed=not entries,
            is_warning=True,
            text=f"{len(entries)} entries: {shortened(audiences, _MAX_NAMED)}" if entries else "nothing is in it",
        ),
        Verdict(
            check="keys_accepted",
            passed=not keys,
            text=f"not those of {shortened(keys, _MAX_NAMED)}" if keys else "all keys are accepted",
        ),
    ]


def _attempt(error: ImporterError | None) -> Attempt:
    if error is None:
        return Attempt()
    return Attempt(error=type(error).__name__, reason=error.problem, remedy=error.remedy)


def _read_now(done: AudienceDone) -> int:
    """Return the contacts read in this run: those of earlier ones are all accepted or refused."""
    totals, run = done.totals, done.run
    return totals.read - (totals.accepted - run.accepted) - (totals.refused - run.refused)


def _unaccounted(done: AudienceDone) -> int:
    """Return the contacts that are missing in the sum; a refused one may have been read with several pages."""
    return 0 if done.totals.refused else abs(done.totals.read - done.totals.accepted)
