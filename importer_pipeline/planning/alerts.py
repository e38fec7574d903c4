"""The message about clients that are in trouble, or well again: what it says, and when there is one. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from importer_pipeline.engine.outcomes import PartitionRef
from importer_pipeline.planning.status import AudienceStatus, State, worst_first
from importer_pipeline.redaction import shortened

_MAX_NAMED = 10

_QUARANTINED = "in the quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTrouble:
    """A client that is not well, by the worst of its audiences."""

    client: str
    kind: str
    """In a word or two: failing, paused, late, or with something in the quarantine."""
    text: str
    """The reason and the remedy, without personal data."""

    @property
    def is_paused(self) -> bool:
        """True if its Mailchimp account is paused."""
        return self.kind == State.PAUSED.value


def troubles_of(statuses: Iterable[AudienceStatus], quarantined: Iterable[PartitionRef]) -> list[ClientTrouble]:
    """Return the clients in trouble, the worst first.

    Args:
        statuses: of all audiences.
        quarantined: the open entries of the quarantine of these audiences.
    """
    found: dict[str, ClientTrouble] = {}
    for status in worst_first(it for it in statuses if it.is_troubled):
        text = ": ".join(text for text in (status.reason, status.remedy) if text)
        found.setdefault(
            status.name.client, ClientTrouble(client=status.name.client, kind=status.state.value, text=text)
        )
    for ref in sorted(quarantined, key=str):
        text = "look at the asset quarantine, and materialize its partitions once the cause is gone"
        found.setdefault(ref.name.client, ClientTrouble(client=ref.name.client, kind=_QUARANTINED, text=text))
    return list(found.values())


def alert_text(
    troubles: Sequence[ClientTrouble],
    *,
    told: Collection[str],
    told_paused: Collection[str],
    declared: Collection[str],
    link: str,
) -> str | None:
    """Return the message, or None if there is nothing to tell.

    Args:
        troubles: the clients in trouble now.
        told: the clients that the last message that arrived left in trouble.
        told_paused: those of them that it left paused.
        declared: all clients. Of one that is declared no more, nothing is told.
        link: leads to the run.
    """
    now = {it.client for it in troubles}
    new = [it for it in troubles if it.client not in told]
    paused = [it for it in troubles if it.is_paused and it.client in told and it.client not in told_paused]
    again = sorted(client for client in set(told) & set(declared) if client not in now)
    if not new and not paused and not again:
        return None
    lines = list[str]()
    if new:
        lines += [f"{_clients(len(new))} in trouble:", _named(new)]
    if paused:
        lines += [f"{_clients(len(paused))} paused, asked once a day from now on:", _named(paused)]
    if again:
        lines.append(f"Well again: {shortened(again, _MAX_NAMED)}")
    before = len(now) - len(new) - len(paused)
    if before:
        lines.append(f"Still in trouble: {_clients(before)}")
    elif not now:
        lines.append("All clients are well.")
    return "\n".join([*lines, link])


def _named(troubles: Sequence[ClientTrouble]) -> str:
    lines = [f"• {it.client} ({it.kind}): {it.text}" for it in troubles]
    return shortened(lines, _MAX_NAMED, separator="\n")


def _clients(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"
