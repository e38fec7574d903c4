"""Decides what to read for a request, based on what earlier runs recorded. Pure."""

from collections.abc import Mapping, Sequence

from importer_pipeline.engine.audience_plan import ContactsScope, HoursScope
from importer_pipeline.listing.snapshots import AudienceName, Latest
from importer_pipeline.planning.chain import Chain, Evidence, View, chain_of, was_other_since_snapshot, why_no_chain
from importer_pipeline.planning.history import History
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.requests import (
    AudienceRequest,
    ChangesRequest,
    ContactsRequest,
    FirstSyncRequest,
    HoursRequest,
    ReadPlan,
    Request,
    RetryRequest,
    WindowsRequest,
)
from importer_pipeline.planning.resuming import resume_snapshot
from importer_pipeline.planning.retries import retry_requests


class Resolver:
    """Decides what to read for some audiences; history is read once for all of them.

    Args:
        requests: the requests, each for a different audience.
        history: what earlier runs recorded.
        view: which evidence counts.
    """

    def __init__(self, requests: Sequence[AudienceRequest], history: History, view: View) -> None:
        self._history = history
        self._view = view
        self._evidence: Mapping[AudienceName, Sequence[Evidence]] = history.evidence([it.name for it in requests], view)
        self._entries: dict[AudienceName, list[Entry]] = {it.name: [] for it in requests}
        for entry in history.entries([it.name for it in requests]):
            self._entries[entry.ref.name].append(entry)
        by_snapshot = [it.name for it in requests if self._needs_snapshot(it)]
        self._latest: Mapping[AudienceName, Latest] = history.latest(by_snapshot) if by_snapshot else {}

    def quarantined(self, audience: AudienceRequest) -> frozenset[str]:
        """Return the IDs of the audience's contacts that are in the quarantine."""
        return frozenset().union(*(it.contact_ids for it in self._entries_of(audience)))

    def resolve(self, audience: AudienceRequest) -> ReadPlan:
        """Return what to read.

        Args:
            audience: one of the requests.

        Raises:
            SnapshotUnusable: the newest snapshot does not have the requested windows.
        """
        match audience.request:
            case HoursRequest(hours=hours):
                scope = HoursScope(first=hours.first, last=hours.last, chain_from=None, known=frozenset())
                return ReadPlan(scope=scope, changes_form=self._was_other(audience))
            case ContactsRequest(contact_ids=contact_ids):
                return ReadPlan(scope=ContactsScope(contact_ids=contact_ids), changes_form=self._was_other(audience))
            case RetryRequest() as request:
                return ReadPlan(scope=None, later=self._retries(audience, request))
            case ChangesRequest() as request:
                return self._resolve_changes(audience, request)
            case FirstSyncRequest(windows=windows):
                if self._chain(audience) is not None:
                    return ReadPlan(scope=None)
                return self._resolve_windows(audience, windows)
            case WindowsRequest() as request:
                return self._resolve_windows(audience, request)

    def _needs_snapshot(self, audience: AudienceRequest) -> bool:
        match audience.request:
            case WindowsRequest():
                return True
            case FirstSyncRequest():
                return self._chain(audience) is None
            case RetryRequest() | ChangesRequest():
                return bool(self._entries[audience.name])
            case _:
                return False

    def _entries_of(self, audience: AudienceRequest) -> list[Entry]:
        """Return the entries with the current or an unknown fingerprint: a full sync replaces the others."""
        return [entry for entry in self._entries[audience.name] if entry.fingerprint in ("", audience.fingerprint)]

    def _chain(self, audience: AudienceRequest) -> Chain | None:
        return chain_of(self._evidence[audience.name], fingerprint=audience.fingerprint, view=self._view)

    def _was_other(self, audience: AudienceRequest) -> bool:
        """Return whether the last contacts of the audience were sent with another fingerprint."""
        evidence = self._evidence[audience.name]
        return bool(evidence) and evidence[0].fingerprint != audience.fingerprint

    def _resolve_windows(self, audience: AudienceRequest, request: WindowsRequest) -> ReadPlan:
        scope, note = resume_snapshot(
            audience.name,
            request.wanted,
            self._latest.get(audience.name),
            self._history,
            fingerprint=audience.fingerprint,
            was_other=was_other_since_snapshot(self._evidence[audience.name], fingerprint=audience.fingerprint),
            rule=request.rule,
            view=self._view,
        )
        return ReadPlan(scope=scope, note=note, changes_form=self._was_other(audience))

    def _resolve_changes(self, audience: AudienceRequest, request: ChangesRequest) -> ReadPlan:
        chain = self._chain(audience)
        if chain is None:
            why = why_no_chain(self._evidence[audience.name], fingerprint=audience.fingerprint, view=self._view)
            what = "a full sync comes last" if request.newcomers else "it is left to full_sync"
            return ReadPlan(
                scope=None,
                later=(request.newcomers,) if request.newcomers else (),
                note=f"{audience.name}: {what}, because {why}",
            )
        return ReadPlan(
            scope=HoursScope(first=chain.end + 1, last=None, chain_from=chain.snapshot, known=chain.hours),
            later=self._retries(audience, request.retry),
        )

    def _retries(self, audience: AudienceRequest, request: RetryRequest) -> tuple[Request, ...]:
        latest = self._latest.get(audience.name)
        snapshot = None if latest is None else latest.snapshot
        return retry_requests(self._entries_of(audience), request, snapshot=snapshot, now=self._view.now)
