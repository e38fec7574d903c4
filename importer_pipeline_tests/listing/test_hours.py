"""Hours as partitions: their keys, and when one is over."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from importer_pipeline.listing.coverage import TimeRange
from importer_pipeline.listing.hours import HOUR_SECONDS, hour_key, hours_of, last_second_over, parse_hour_key

SEVEN = int(datetime(2026, 11, 24, 7, tzinfo=UTC).timestamp())
HOUR = TimeRange(SEVEN, SEVEN + HOUR_SECONDS - 1)


def test_the_keys_are_those_of_dagsters_hourly_partitions() -> None:
    hours = dg.HourlyPartitionsDefinition(start_date=datetime(2026, 11, 24, tzinfo=UTC), timezone="UTC")
    keys = hours.get_partition_keys(current_time=datetime(2026, 11, 25, tzinfo=UTC))
    assert keys == [hour_key(SEVEN - 7 * HOUR_SECONDS + number * HOUR_SECONDS) for number in range(24)]
    assert [parse_hour_key(key) for key in keys] == list(
        hours_of(TimeRange(SEVEN - 7 * HOUR_SECONDS, SEVEN + 17 * HOUR_SECONDS - 1))
    )


@pytest.mark.parametrize("second", [SEVEN, SEVEN + 1, SEVEN + 3599])
def test_each_second_of_an_hour_has_its_key(second: int) -> None:
    assert hour_key(second) == "2026-11-24-07:00"
    assert parse_hour_key(hour_key(second)) == HOUR


@pytest.mark.parametrize("key", ["", "0", "archived-0", "2026-11-24", "2026-11-24-07:30", "2026-11-24-7:00", "now"])
def test_what_is_no_hours_key_is_none(key: str) -> None:
    assert parse_hour_key(key) is None


def test_the_hours_of_a_time_range_are_all_that_overlap_it() -> None:
    assert list(hours_of(TimeRange(SEVEN + 10, SEVEN + 20))) == [HOUR]
    assert [hour.first for hour in hours_of(TimeRange(SEVEN - 1, SEVEN + HOUR_SECONDS))] == [
        SEVEN - HOUR_SECONDS,
        SEVEN,
        SEVEN + HOUR_SECONDS,
    ]


@pytest.mark.parametrize(
    ("seconds_past", "last"),
    [
        pytest.param(0, HOUR.first - HOUR_SECONDS - 1, id="at its end an hour is not over"),
        pytest.param(59, HOUR.first - HOUR_SECONDS - 1, id="nor a second before it has settled"),
        pytest.param(60, HOUR.first - 1, id="a minute later it is"),
        pytest.param(3599, HOUR.first - 1, id="until the next one is"),
    ],
)
def test_an_hour_is_over_a_minute_after_its_end(seconds_past: int, last: int) -> None:
    assert last_second_over(SEVEN + seconds_past) == last
