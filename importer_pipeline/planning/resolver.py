"""What is asked for of an audience, and what is to be read for it by what earlier runs left. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from importer_pipeline.engine.audience_plan import ContactsScope, HoursScope, Scope
from importer_pipeline.listing.coverage import TimeRange, timestamp
from importer_pipeline.listing.snapshots import AudienceName, Latest
from importer_pipeline.planning.chain import Chain, Evidence, View, chain_of, was_other_since_snapshot, why_no_chain
from importer_pipeline.planning.history import History
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.resuming import ResumeRule, resume_snapshot
from importer_pipeline.planning.retries import Retries, Wanted, retries


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsRequest:
    """Windows of a snapshot."""

    wanted: frozenset[str] | None
    """Keys of single windows to import. None for all that are not in; without any, the windows are only counted."""
    rule: ResumeRule
    """Which snapshots are gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursRequest:
    """Hours one behind the other, whatever is in of them."""

    hours: TimeRange
    """From the first second of the first to the last one of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsRequest:
    """Single contacts."""

    contact_ids: tuple[str, ...]
    """Mailchimp's `id` of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """What is in the quarantine of the audience."""

    wanted: Wanted
    """Which of it."""
    windows: WindowsRequest
    """How what only a whole snapshot can bring in is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesRequest:
    """All hours from the end of the audience's chain on, and then what is due in the quarantine."""

    retry: RetryRequest
    """What is due."""
    newcomers: WindowsRequest | None
    """What is done instead, and last, where there is no chain; None to leave such audiences to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSyncRequest:
    """A snapshot, unless the audience has a chain already."""

    windows: WindowsRequest
    """What is done where it has none."""


Request = WindowsRequest | HoursRequest | ContactsRequest | RetryRequest | ChangesRequest | FirstSyncRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for of an audience as it is now."""

    name: AudienceName
    fingerprint: str
    """What the audience is now."""
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What is to be read."""

    scope: Scope | None
    """What is to be read now; None for nothing."""
    later: tuple[Request, ...] = ()
    """What is to be asked for after that, one behind the other."""
    note: str = ""
    """What a person would like to know about it; "" where it goes without saying."""
    changes_form: bool = False
    """Whether contacts are sent for another fingerprint than the last ones: to be written down before the first is sent."""


class Resolver:
    """What is to be read for some audiences. What earlier runs left is read once for all of them.

    Args:
        asked: what is asked for, of different audiences.
        history: what earlier runs left.
        view: the present, and which evidence counts.
    """

    def __init__(self, asked: Sequence[Asked], history: History, view: View) -> None:
        self._history = history
        self._view = view
        self._evidence: Mapping[AudienceName, Sequence[Evidence]] = history.evidence([it.name for it in asked], view)
        self._entries: dict[AudienceName, list[Entry]] = {it.name: [] for it in asked}
        for entry in history.entries([it.name for it in asked]):
            self._entries[entry.ref.name].append(entry)
        by_snapshot = [it.name for it in asked if self._needs_snapshot(it)]
        self._latest: Mapping[AudienceName, Latest] = history.latest(by_snapshot) if by_snapshot else {}

    def quarantined(self, asked: Asked) -> frozenset[str]:
        """Ids of the audience's contacts that are in the quarantine."""
        return frozenset().union(*(it.contact_ids for it in self._entries_of(asked)))

    def resolve(self, asked: Asked) -> Resolved:
        """Return what is to be read.

        Args:
            asked: one of those.

        Raises:
            SnapshotUnusable: single windows are asked for that the newest snapshot can't have.
        """
        match asked.request:
            case HoursRequest(hours=hours):
                scope = HoursScope(first=hours.first, last=hours.last, chain_from=None, known=frozenset())
                return Resolved(scope=scope, changes_form=self._was_other(asked))
            case ContactsRequest(contact_ids=contact_ids):
                return Resolved(scope=ContactsScope(contact_ids=contact_ids), changes_form=self._was_other(asked))
            case RetryRequest() as request:
                return Resolved(scope=None, later=self._retries(asked, request))
            case ChangesRequest() as request:
                return self._resolve_changes(asked, request)
            case FirstSyncRequest(windows=windows):
                if self._chain(asked) is not None:
                    return Resolved(scope=None)
                return self._resolve_windows(asked, windows)
            case WindowsRequest() as request:
                return self._resolve_windows(asked, request)

    def _needs_snapshot(self, asked: Asked) -> bool:
        match asked.request:
            case WindowsRequest():
                return True
            case FirstSyncRequest():
                return self._chain(asked) is None
            case RetryRequest() | ChangesRequest():
                return bool(self._entries[asked.name])
            case _:
                return False

    def _entries_of(self, asked: Asked) -> list[Entry]:
        """Those of the same list, target and mapping, and those of which nobody knows. A full sync replaces the others."""
        return [entry for entry in self._entries[asked.name] if entry.fingerprint in ("", asked.fingerprint)]

    def _chain(self, asked: Asked) -> Chain | None:
        return chain_of(self._evidence[asked.name], fingerprint=asked.fingerprint, view=self._view)

    def _was_other(self, asked: Asked) -> bool:
        """Whether the last contacts of the audience were sent for another fingerprint."""
        evidence = self._evidence[asked.name]
        return bool(evidence) and evidence[0].fingerprint != asked.fingerprint

    def _resolve_windows(self, asked: Asked, request: WindowsRequest) -> Resolved:
        taken = resume_snapshot(
            asked.name,
            request.wanted,
            self._latest.get(asked.name),
            self._history,
            fingerprint=asked.fingerprint,
            was_other=was_other_since_snapshot(self._evidence[asked.name], fingerprint=asked.fingerprint),
            rule=request.rule,
            view=self._view,
        )
        return Resolved(scope=taken.scope, note=taken.note, changes_form=self._was_other(asked))

    def _resolve_changes(self, asked: Asked, request: ChangesRequest) -> Resolved:
        chain = self._chain(asked)
        if chain is None:
            why = why_no_chain(self._evidence[asked.name], fingerprint=asked.fingerprint, view=self._view)
            what = "a full sync of it comes last" if request.newcomers else "it is left to full_sync"
            return Resolved(
                scope=None,
                later=(request.newcomers,) if request.newcomers else (),
                note=f"{asked.name}: {what}, since {why}",
            )
        return Resolved(
            scope=HoursScope(first=chain.end + 1, last=None, chain_from=chain.snapshot, known=chain.hours),
            later=self._retries(asked, request.retry),
            note=f"{asked.name} goes on from {timestamp(chain.end)}" if chain.hours else "",
        )

    def _retries(self, asked: Asked, request: RetryRequest) -> tuple[Request, ...]:
        latest = self._latest.get(asked.name)
        found: Retries = retries(
            self._entries_of(asked),
            request.wanted,
            snapshot=None if latest is None else latest.snapshot,
            now=self._view.now,
        )
        requests: list[Request] = []
        if found.contact_ids:
            requests.append(ContactsRequest(contact_ids=found.contact_ids))
        if found.whole_snapshot:
            requests.append(request.windows)
        elif found.windows:
            requests.append(WindowsRequest(wanted=found.windows, rule=request.windows.rule))
        requests += [HoursRequest(hours=hours) for hours in found.hours]
        return tuple(requests)
