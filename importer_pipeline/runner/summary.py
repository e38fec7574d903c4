"""Writes the log lines of an import, and the error message of a failed run. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from importer_pipeline.engine.outcomes import (
    AudienceDone,
    ContactsRefused,
    HourImported,
    Outcome,
    Part,
    Progress,
    RefusedContact,
    WindowImported,
)
from importer_pipeline.listing.coverage import timestamp
from importer_pipeline.listing.hours import HOUR_SECONDS, SETTLED_SECONDS, last_second_over
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.redaction import shortened, shown

_MAX_NAMED = 5

MAX_ALONE = 5
"""Maximum number of audiences with the same error that have a line each; more share one."""

_MAX_TOGETHER = 10
"""Maximum number of audiences named in a shared line."""

_UNIT = {Part.WINDOW: "window", Part.HOUR: "hour", Part.CONTACT: "contact"}


@dataclass(slots=True)
class ImportSummary:
    """Collects the outcomes of an import that a person has to know about."""

    done: list[AudienceDone] = field(default_factory=list[AudienceDone])
    """All audiences, in the order in which they ended."""
    refused: dict[AudienceName, dict[str, RefusedContact]] = field(
        default_factory=dict[AudienceName, dict[str, RefusedContact]]
    )
    """Refused contacts by audience and id; of many, the first."""
    _failed: dict[str, dict[AudienceName, None]] = field(
        default_factory=dict[str, dict[AudienceName, None]], init=False
    )
    """Audiences that ended with an error, by its text."""

    def note(self, outcome: Outcome) -> None:
        """Take in one outcome."""
        if isinstance(outcome, AudienceDone):
            self.done.append(outcome)
            if outcome.error is not None:
                self._failed.setdefault(str(outcome.error), {})[outcome.name] = None
        elif isinstance(outcome, ContactsRefused):
            known = self.refused.setdefault(outcome.name, {})
            for contact in outcome.contacts:
                if len(known) < _MAX_NAMED:
                    known.setdefault(contact.contact_id, contact)

    def is_repeated(self, done: AudienceDone) -> bool:
        """Return whether so many audiences ended with this error that it needs no line of its own."""
        return done.error is not None and len(self._failed[str(done.error)]) > MAX_ALONE

    def closing_line(self, now: float) -> str:
        """Return the last line of the log, at a moment in epoch seconds."""
        done = [it for it in self.done if it.part is not Part.CONTACT]
        hours = sum(it.parts.total - it.parts.left - len(it.parts.failed) for it in done if it.part is Part.HOUR)
        said = [f"{sum(it.complete for it in done)} of {len(done)} audiences imported"] if done else []
        said += [f"{_parts(Part.HOUR, hours)} imported"] if hours else []
        if done and all(it.part is Part.HOUR and not it.parts.total and it.complete for it in done):
            due = last_second_over(int(now)) + 1 + HOUR_SECONDS + SETTLED_SECONDS
            said.append(f"no hour was over since the last sync; the next one can be imported from {timestamp(due)}")
        return "; ".join([*said, f"contacts accepted: {sum(it.run.accepted for it in self.done)}"])

    @property
    def failure(self) -> str | None:
        """The error message, or None if all is imported; see `failure_besides`."""
        return self.failure_besides(())

    def failure_besides(self, known: Collection[AudienceName]) -> str | None:
        """Return the error message: a line per incomplete audience and per refused contacts; None if there are none.

        Many audiences with one error, as when this machine's address is blocked, share a line.

        Args:
            known: audiences whose errors are no reason to fail; a last line has their names.
        """
        lines = list(dict.fromkeys(line for done in self.done for line in self._lines(done, known)))
        if not lines:
            return None
        incomplete = sum(done.error is not None and done.name not in known for done in self.done)
        as_before = [done.name for done in self.done if done.error is not None and done.name in known]
        if as_before:
            lines.append(f"As in the last run, for the same reason: {_some(list(dict.fromkeys(as_before)))}")
        refused = sum(_refused(done) for done in self.done)
        head = [f"Incomplete: {incomplete} of {len(self.done)} audiences"] if incomplete else []
        head += [f"refused: {refused} contact{'' if refused == 1 else 's'}"] if refused else []
        first = ", ".join(head)
        has_more = any(done.parts.left and done.error is None for done in self.done)
        nothing = not any(done.complete or done.totals.accepted for done in self.done)
        rest = "" if has_more or nothing or as_before else " Everything else is imported."
        return "\n".join([f"{first[0].upper()}{first[1:]}.{rest}", *lines])

    def _lines(self, done: AudienceDone, known: Collection[AudienceName]) -> list[str]:
        lines = list[str]()
        if done.error is not None and done.name in known:
            pass
        elif self.is_repeated(done):
            new = [name for name in self._failed[str(done.error)] if name not in known]
            lines.append(f"- {_some(new)}: {done.error}")
        elif done.error is not None:
            where = f" {_named(_UNIT[done.part], done.parts.failed)}" if done.parts.failed else ""
            left = f" ({_parts(done.part, done.parts.left)} left)" if done.parts.left else ""
            lines.append(f"- {done.name}{where}{left}: {done.error}")
        if _refused(done):
            contacts = self.refused.get(done.name, {})
            ids = [shown(contact_id) or "(no id)" for contact_id in contacts]
            reason = next(iter(contacts.values())).reason if contacts else ""
            lines.append(f"- {done.name} {_named('contact', ids, count=_refused(done))}: {reason}")
        return lines


def _refused(done: AudienceDone) -> int:
    """Return the number of contacts refused for the first time: the others are already in the quarantine."""
    return 0 if done.part is Part.CONTACT else done.run.refused


def progress_line(progress: Progress, *, contacts_per_second: float) -> str:
    """Return the progress of an import: done, total, rate."""
    done = progress.audiences - progress.open_audiences
    return (
        f"{progress.accepted} of {progress.contacts} contacts imported, {contacts_per_second:.0f} a second, "
        f"{done} of {progress.audiences} audiences done"
    )


def done_line(done: AudienceDone) -> str:
    """Return the log line of an audience."""
    parts, totals = done.parts, done.totals
    again = f" (and {totals.read_again} again, as windows overlap)" if totals.read_again else ""
    if done.part is Part.CONTACT:
        error = f" ({done.error})" if done.error is not None else ""
        return (
            f"{done.name}: {_parts(done.part, parts.total)} of the quarantine retried{error}: "
            f"{totals.accepted} accepted, {totals.refused} refused, "
            f"{parts.total - totals.accepted - totals.refused - parts.left} gone from Mailchimp"
        )
    return (
        f"{done.name} {_verdict(done)}: {totals.read} contacts read{again}, {totals.accepted} accepted, "
        f"{totals.refused} refused, {_parts(done.part, parts.total)}, {totals.requests} requests, "
        f"{done.run.elapsed_seconds:.1f} s, {done.run.accepted_per_second:.0f} a second"
    )


def window_line(outcome: WindowImported) -> str:
    """Return the log line of a window."""
    imported = outcome.imported
    return (
        f"{outcome.name} window {outcome.window} imported: {imported.read} contacts read, {imported.accepted} accepted, "
        f"{imported.refused} refused"
    )


def hour_line(outcome: HourImported) -> str:
    """Return the log line of an hour."""
    return (
        f"{outcome.name} hour {outcome.hour} imported: {outcome.read} contacts read, {outcome.accepted} accepted, "
        f"{outcome.refused} refused"
    )


def _verdict(done: AudienceDone) -> str:
    if done.error is not None:
        return f"is incomplete ({done.error})"
    if done.parts.left:
        return f"has {_parts(done.part, done.parts.left)} left to import"
    return "imported" if done.is_proved else "has all windows imported, but not yet all contacts between them"


def _parts(part: Part, count: int) -> str:
    return f"{count} {_UNIT[part]}{'' if count == 1 else 's'}"


def _some(names: Sequence[AudienceName]) -> str:
    return shortened([str(name) for name in names], _MAX_TOGETHER)


def _named(kind: str, names: Sequence[str], *, count: int | None = None) -> str:
    total = len(names) if count is None else count
    return f"{kind if total == 1 else kind + 's'} {shortened(names, _MAX_NAMED, total=total)}"
