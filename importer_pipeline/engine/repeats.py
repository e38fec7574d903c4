"""Finds the contacts that overlapping pages of a listing have in common, so that each is counted once. Pure.

A page is a contiguous cut of a listing by `last_changed`. So it has every contact that changed between its first moment
and its last, and only the contacts of these two moments have to be remembered by their IDs.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from importer_pipeline.engine.report import DeliveredPage, PageCounts
from importer_pipeline.listing.snapshots import parse_window_key


class Repeats:
    """Finds the contacts of a page that pages before it had, in the two listings of an audience."""

    def __init__(self) -> None:
        self._active, self._archived = _Listing(), _Listing()

    def count(self, delivered: DeliveredPage) -> PageCounts:
        """Return what counts with a page, and remember the page."""
        key = parse_window_key(delivered.window)
        listing = self._archived if key is not None and key[0] else self._active
        page, sent_ids = delivered.page, delivered.sent_ids
        stamps, ids = page.stamps, [contact.contact_id for contact in page.contacts]
        found = listing.repeated(stamps, ids)
        if sent_ids is None:
            listing.add(stamps, ids, is_contiguous=not page.shape.is_short)
        else:
            sent = [(stamp, it) for stamp, it in zip(stamps, ids, strict=True) if it in sent_ids]
            listing.add([stamp for stamp, _ in sent], [it for _, it in sent], is_contiguous=False)
            found.update(it for it in ids if it not in sent_ids)
        again = frozenset(found - {""})
        refused = {contact.contact_id for contact in delivered.refused}
        accepted_again = sum(it not in refused and (sent_ids is None or it in sent_ids) for it in again)
        return PageCounts(
            read=page.shape.length - len(again),
            accepted=delivered.accepted - accepted_again,
            refused=len(delivered.refused) - len(again & refused),
            again=again,
        )


class _Listing:
    """What has been read of one listing. Moments are texts of Mailchimp, which sort like the moments."""

    def __init__(self) -> None:
        self._whole: list[tuple[str, str]] = []
        """Moments between which, but not at which, everything has been read; in order, and apart."""
        self._ids: dict[str, set[str]] = {}
        """IDs of the contacts that have been read of other moments."""

    def repeated(self, stamps: Sequence[str], ids: Sequence[str]) -> set[str]:
        """Return the contacts of a page that have been read."""
        found = set[str]()
        for first, last in self._whole:
            found.update(ids[bisect_right(stamps, first) : bisect_left(stamps, last)])
        for moment, known in self._ids.items():
            found.update(known.intersection(_at(moment, stamps, ids)))
        return found

    def add(self, stamps: Sequence[str], ids: Sequence[str], *, is_contiguous: bool) -> None:
        """Remember a page."""
        moments = {stamps[0], stamps[-1]} if stamps and is_contiguous else set(stamps)
        for moment in moments:
            self._ids.setdefault(moment, set()).update(_at(moment, stamps, ids))
        if is_contiguous and len(moments) > 1:
            self._whole = _joined([*self._whole, (stamps[0], stamps[-1])])
            for moment in [it for it in self._ids if any(first < it < last for first, last in self._whole)]:
                del self._ids[moment]


def _at(moment: str, stamps: Sequence[str], ids: Sequence[str]) -> Sequence[str]:
    """Return the contacts that changed at a moment."""
    return ids[bisect_left(stamps, moment) : bisect_right(stamps, moment)]


def _joined(ranges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the same ranges, those that overlap as one."""
    result: list[tuple[str, str]] = []
    for first, last in sorted(ranges):
        if result and first < result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result
