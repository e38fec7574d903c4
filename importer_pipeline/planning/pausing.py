"""Decides which Mailchimp accounts are paused, because their keys were refused tick after tick. Pure.

A tick is a run of the hourly schedule. A paused account is asked once a day, and is paused no more once Mailchimp accepts
a key of it. Clients that share an account are paused together. Stays out: keeping what is known between runs.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from importer_pipeline.engine.outcomes import AudienceDone
from importer_pipeline.errors import KeyRefused, ListNotFound
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.status import PAUSED_REMEDY, AudienceStatus, State

ASK_AGAIN_SECONDS = 23.5 * 3600.0
"""Seconds after which a paused account is asked again: once a day, in the same hour."""

_KEY_REFUSED = KeyRefused.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAccount:
    """An account none of whose keys Mailchimp accepted when it was asked last."""

    account: str
    clients: tuple[str, ...]
    """The clients that share it, sorted."""
    ticks: int
    """Ticks in a row since then, with those in which it was left out."""
    since: float
    """When the first of them was, in epoch seconds."""
    asked_at: float
    """When a run asked it last, in epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRule:
    """The rule by which accounts are paused."""

    after_ticks: int
    """Refusals in a row after which an account is paused; 0 for never."""

    def is_paused(self, refused: RefusedAccount) -> bool:
        """Return whether an account is paused."""
        return 0 < self.after_ticks <= refused.ticks

    def leaves_out(self, refused: RefusedAccount, *, now: float) -> bool:
        """Return whether a tick leaves an account out: it is paused, and was asked less than a day ago."""
        return self.is_paused(refused) and now - refused.asked_at < ASK_AGAIN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The audiences that a run asked Mailchimp about."""

    names: frozenset[AudienceName]
    """All that it asked about, whatever came of it."""
    accepted: frozenset[AudienceName]
    """Those for which Mailchimp accepted the key."""

    @classmethod
    def of(cls, done: Iterable[AudienceDone]) -> "Asked":
        """Return the audiences of a run by how they ended. An account that did not answer has accepted nothing."""
        everything = [it for it in done if it.totals.requests]
        return cls(
            names=frozenset(it.name for it in everything),
            accepted=frozenset(it.name for it in everything if _is_accepted(it)),
        )


def refused_accounts(
    before: Mapping[str, RefusedAccount],
    statuses: Sequence[AudienceStatus],
    asked: Asked,
    *,
    account_of: Mapping[AudienceName, str],
    now: float,
    is_tick: bool,
) -> Mapping[str, RefusedAccount]:
    """Return the accounts with refused keys after a run.

    An account that a run could not ask, or that gave no clear answer, stays as it is.

    Args:
        before: the accounts after the run before.
        statuses: the state of all audiences, after the run.
        asked: the audiences that the run asked Mailchimp about.
        account_of: the account of each audience.
        now: in epoch seconds.
        is_tick: True for a run of the schedule; those by hand do not count.
    """
    by_account: dict[str, list[AudienceStatus]] = defaultdict(list)
    for status in statuses:
        by_account[account_of[status.name]].append(status)
    found: dict[str, RefusedAccount] = {}
    for account, audiences in by_account.items():
        known = before.get(account)
        names = {it.name for it in audiences}
        is_refused = any(it.error == _KEY_REFUSED for it in audiences)
        if names & asked.accepted or not (is_refused or (known is not None and any(it.error for it in audiences))):
            continue
        clients = tuple(sorted({name.client for name in names}))
        if known is None:
            known = RefusedAccount(account=account, clients=clients, ticks=0, since=now, asked_at=now)
        found[account] = replace(
            known,
            clients=clients,
            ticks=known.ticks + (is_tick and is_refused),
            asked_at=now if names & asked.names else known.asked_at,
        )
    return found


def with_paused(
    statuses: Sequence[AudienceStatus],
    paused: Collection[str],
    before: Mapping[AudienceName, AudienceStatus],
    *,
    account_of: Mapping[AudienceName, str],
    now: float,
) -> list[AudienceStatus]:
    """Return the statuses with all audiences of the paused accounts as paused.

    Args:
        statuses: of audiences.
        paused: the paused accounts.
        before: their states as last reported.
        account_of: the account of each audience.
        now: in epoch seconds.
    """
    refused = {account_of[it.name]: it for it in statuses if it.error == _KEY_REFUSED}
    found = list[AudienceStatus]()
    for status in statuses:
        cause = refused.get(account_of[status.name])
        if account_of[status.name] not in paused or cause is None:
            found.append(status)
            continue
        earlier = before.get(status.name)
        found.append(
            replace(
                status,
                state=State.PAUSED,
                error=cause.error,
                reason=cause.reason,
                remedy=f"{cause.remedy}{PAUSED_REMEDY}",
                since=earlier.since if earlier is not None and earlier.state is State.PAUSED else now,
            )
        )
    return found


def _is_accepted(done: AudienceDone) -> bool:
    if isinstance(done.error, KeyRefused):
        return False
    return done.error is None or isinstance(done.error, ListNotFound) or done.run.accepted + done.run.refused > 0
