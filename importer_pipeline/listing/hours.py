"""Hours in UTC: the partitions of the contacts that changed. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from importer_pipeline.listing.coverage import TimeRange

HOUR_SECONDS = 3600

SETTLED_SECONDS = 60
"""Seconds between the end of an hour by Mailchimp's clock and its reading, so that late commits are included."""

LOOK_BACK_SECONDS = 300
"""Seconds that a walk of changes reads again before its first one: a contact may appear minutes after its stamp."""

_FORMAT = "%Y-%m-%d-%H:%M"
"""Dagster's format of hourly partition keys."""


def hour_key(second: int) -> str:
    """Return the partition key of the hour that contains a second: `2026-11-24-07:00`."""
    return datetime.fromtimestamp(second - second % HOUR_SECONDS, UTC).strftime(_FORMAT)


def parse_hour_key(key: str) -> TimeRange | None:
    """Return the seconds of the hour with that key; None if it is not the key of an hour."""
    try:
        start = int(datetime.strptime(key, _FORMAT).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
    return TimeRange(start, start + HOUR_SECONDS - 1) if hour_key(start) == key else None


def hours_of(time_range: TimeRange) -> Iterator[TimeRange]:
    """Yield the whole hours that overlap the time range, in order."""
    start = time_range.first - time_range.first % HOUR_SECONDS
    while start <= time_range.last:
        yield TimeRange(start, start + HOUR_SECONDS - 1)
        start += HOUR_SECONDS


def last_second_over(server_time: int) -> int:
    """Return the last second of the newest hour that is over and settled at that moment of Mailchimp's clock."""
    settled = server_time - SETTLED_SECONDS
    return settled - settled % HOUR_SECONDS - 1
