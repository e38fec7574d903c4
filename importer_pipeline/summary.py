"""What became of an import, in words: for the log while it runs, and for the message that a failed run ends with. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from importer_pipeline.outcomes import AudienceDone, ContactsRefused, Outcome, Progress, RefusedContact

_MOST_NAMED = 5


@dataclass(slots=True)
class ImportSummary:
    """The outcomes of an import that a person has to know about."""

    done: list[AudienceDone] = field(default_factory=list[AudienceDone])
    """Every audience, in the order in which they ended."""
    refused: dict[tuple[str, str], dict[str, RefusedContact]] = field(
        default_factory=dict[tuple[str, str], dict[str, RefusedContact]]
    )
    """Refused contacts by audience and id; of many, the first."""

    def note(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        if isinstance(outcome, AudienceDone):
            self.done.append(outcome)
        elif isinstance(outcome, ContactsRefused):
            known = self.refused.setdefault((outcome.client, outcome.audience), {})
            for contact in outcome.contacts:
                if len(known) < _MOST_NAMED:
                    known.setdefault(contact.contact_id, contact)

    @property
    def failure(self) -> str | None:
        """What a person has to see to, or None if all is in: a line for each audience that is not, and for its refused."""
        lines = [line for done in self.done for line in self._lines(done)]
        if not lines:
            return None
        incomplete = sum(not done.complete for done in self.done)
        refused = sum(done.refused for done in self.done)
        head = [f"Not all in: {incomplete} of {len(self.done)} audiences"] if incomplete else []
        head += [f"refused: {refused} contact{'' if refused == 1 else 's'}"] if refused else []
        first = ", ".join(head)
        return "\n".join([f"{first[0].upper()}{first[1:]}. Everything else is in.", *lines])

    def _lines(self, done: AudienceDone) -> list[str]:
        name, lines = f"{done.client}/{done.audience}", list[str]()
        if done.error is not None:
            where = f" {_named('window', done.failed)}" if done.failed and done.snapshot else ""
            lines.append(f"- {name}{where}: {done.error}")
        if done.refused:
            known = self.refused.get((done.client, done.audience), {})
            ids = [contact_id or "(no id)" for contact_id in known]
            reason = next(iter(known.values())).reason if known else ""
            lines.append(f"- {name} {_named('contact', ids, count=done.refused)}: {reason}")
        return lines


def progress_line(progress: Progress, *, contacts_per_second: float) -> str:
    """How far an import is: done, total, rate."""
    done = progress.audiences - progress.open_audiences
    return (
        f"{progress.accepted} of {progress.contacts} contacts imported, {contacts_per_second:.0f} a second, "
        f"{done} of {progress.audiences} audiences done"
    )


def done_line(done: AudienceDone) -> str:
    """What became of one audience."""
    rate = done.accepted / done.elapsed_seconds if done.elapsed_seconds else 0.0
    verdict = "is in" if done.complete else f"is not all in ({done.error})"
    return (
        f"{done.client}/{done.audience} {verdict}: {done.read} contacts read, {done.accepted} accepted, "
        f"{done.refused} refused, {done.windows} windows, {done.requests} requests, {done.elapsed_seconds:.1f} s, "
        f"{rate:.0f} a second"
    )


def _named(kind: str, names: Sequence[str], *, count: int | None = None) -> str:
    total = len(names) if count is None else count
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {total - min(len(names), _MOST_NAMED)} more" if total > min(len(names), _MOST_NAMED) else ""
    return f"{kind if total == 1 else kind + 's'} {shown}{more}"
