"""Hours of the day in UTC: the partitions of what changed. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from importer_pipeline.listing.coverage import TimeRange

HOUR_SECONDS = 3600

SETTLED_SECONDS = 60
"""How long an hour has to be over by Mailchimp's clock before it is read, so that what is committed a little late is in it."""

LOOK_BACK_SECONDS = 300
"""How far before its first second a walk of changes reads again: a contact may be stamped minutes before it can be seen."""

_FORMAT = "%Y-%m-%d-%H:%M"
"""Dagster's, of hourly partition keys."""


def hour_key(second: int) -> str:
    """Return the partition key of the hour that a second lies in: `2026-11-24-07:00`."""
    return datetime.fromtimestamp(second - second % HOUR_SECONDS, UTC).strftime(_FORMAT)


def parse_hour_key(key: str) -> TimeRange | None:
    """Return the seconds of the hour with that key; None if it is no hour's key."""
    try:
        start = int(datetime.strptime(key, _FORMAT).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
    return TimeRange(start, start + HOUR_SECONDS - 1) if hour_key(start) == key else None


def hours_of(stretch: TimeRange) -> Iterator[TimeRange]:
    """Yield the whole hours that the stretch touches, in order."""
    start = stretch.first - stretch.first % HOUR_SECONDS
    while start <= stretch.last:
        yield TimeRange(start, start + HOUR_SECONDS - 1)
        start += HOUR_SECONDS


def last_second_over(server_time: int) -> int:
    """Return the last second of the newest hour that is over and settled at that moment of Mailchimp's clock."""
    settled = server_time - SETTLED_SECONDS
    return settled - settled % HOUR_SECONDS - 1
