"""Decides how to retry entries of the quarantine. Pure.

A refused contact is requested by its ID. A failed window is read alone while its snapshot is the newest; once there
is a newer one, only that whole snapshot can import its contacts. A failed hour is read by its time. Contacts without
an ID are read with their hour, or with their window while its snapshot is the newest; later, with the next snapshot.
"""

from collections.abc import Iterable

from importer_pipeline.engine.outcomes import Part
from importer_pipeline.listing.coverage import TimeRange, joined
from importer_pipeline.listing.hours import parse_hour_key
from importer_pipeline.listing.snapshots import Snapshot
from importer_pipeline.planning.quarantine import Entry
from importer_pipeline.planning.requests import ContactsRequest, HoursRequest, Request, RetryRequest, WindowsRequest


def retry_requests(
    entries: Iterable[Entry], request: RetryRequest, *, snapshot: Snapshot | None, now: float
) -> tuple[Request, ...]:
    """Return the requests that retry quarantine entries of one audience, in the order in which to make them.

    Args:
        entries: the open entries.
        request: which of them to retry.
        snapshot: the newest snapshot of the audience.
        now: epoch seconds.
    """
    wanted = request.wanted
    contact_ids: set[str] = set()
    windows: set[str] = set()
    hours: list[TimeRange] = []
    whole_snapshot = False
    for entry in entries:
        ref = entry.ref
        contact_ids |= {
            contact_id for contact_id in entry.contact_ids if wanted.has(ref, entry.contacts[contact_id], now=now)
        }
        failed = [failure for failure in entry.failures.values() if wanted.has(ref, failure, now=now)]
        without_id = [
            failure for key, failure in entry.contacts.items() if not key and wanted.has(ref, failure, now=now)
        ]
        if ref.part is Part.HOUR:
            hour = parse_hour_key(ref.key)
            hours += [hour] if hour is not None and (failed or without_id) else []
            continue
        newest = None if snapshot is None else snapshot.id
        whole_snapshot |= any(failure.snapshot != newest for failure in failed)
        if any(failure.snapshot == newest for failure in (*failed, *without_id)):
            windows.add(ref.key)
    requests: list[Request] = []
    if contact_ids:
        requests.append(ContactsRequest(contact_ids=tuple(sorted(contact_ids))))
    if whole_snapshot:
        requests.append(request.windows)
    elif windows:
        requests.append(WindowsRequest(wanted=frozenset(windows), rule=request.windows.rule))
    requests += [HoursRequest(hours=merged) for merged in joined(hours)]
    return tuple(requests)
