"""Finds the contacts that overlapping pages of a listing have in common, so that each is counted once. Pure.

A page is a contiguous cut of a listing by `last_changed`. So it has every contact that changed between its first moment
and its last, and only the contacts of these two moments have to be remembered by their IDs.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from operator import itemgetter

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
        self._moments: list[str] = []
        """These moments, in order."""

    def repeated(self, stamps: Sequence[str], ids: Sequence[str]) -> set[str]:
        """Return the contacts of a page that have been read."""
        found = set[str]()
        if not stamps:
            return found
        for first, last in self._whole[self._overlapping(stamps[0], stamps[-1])]:
            found.update(ids[bisect_right(stamps, first) : bisect_left(stamps, last)])
        for moment in self._moments[bisect_left(self._moments, stamps[0]) : bisect_right(self._moments, stamps[-1])]:
            found.update(self._ids[moment].intersection(_at(moment, stamps, ids)))
        return found

    def add(self, stamps: Sequence[str], ids: Sequence[str], *, is_contiguous: bool) -> None:
        """Remember a page."""
        moments = {stamps[0], stamps[-1]} if stamps and is_contiguous else set(stamps)
        for moment in moments:
            if moment not in self._ids:
                self._ids[moment] = set()
                insort(self._moments, moment)
            self._ids[moment].update(_at(moment, stamps, ids))
        if is_contiguous and len(moments) > 1:
            self._add_whole(stamps[0], stamps[-1])

    def _add_whole(self, first: str, last: str) -> None:
        """Join what overlaps, and forget the contacts of the moments within."""
        joined = self._overlapping(first, last)
        for other_first, other_last in self._whole[joined]:
            first, last = min(first, other_first), max(last, other_last)
        self._whole[joined] = [(first, last)]
        within = slice(bisect_right(self._moments, first), bisect_left(self._moments, last))
        for moment in self._moments[within]:
            del self._ids[moment]
        del self._moments[within]

    def _overlapping(self, first: str, last: str) -> slice:
        """Return which ranges have moments in common with the one between these two."""
        begin = bisect_right(self._whole, first, key=itemgetter(1))
        return slice(begin, max(begin, bisect_left(self._whole, last, key=itemgetter(0))))


def _at(moment: str, stamps: Sequence[str], ids: Sequence[str]) -> Sequence[str]:
    """Return the contacts that changed at a moment."""
    return ids[bisect_left(stamps, moment) : bisect_right(stamps, moment)]
