"""Requests in progress, counted."""

import pytest

from importer_pipeline.sandbox.traffic import Traffic


def test_the_limit_refuses_one_too_many_until_a_slot_is_free() -> None:
    traffic = Traffic(2)
    assert [traffic.arrive("r", 0.0) for _ in range(3)] == [True, True, False]
    traffic.leave(1.0, status=200, bytes_sent=5)
    assert traffic.arrive("r", 1.0)
    figures = traffic.figures(1.0)
    assert (figures.in_progress, figures.peak_in_progress, figures.refused_429) == (2, 2, 1)
    assert (figures.requests, figures.answers, figures.bytes_sent) == ({"r": 4}, {429: 1, 200: 1}, 5)


def test_an_abandoned_request_keeps_its_slot_until_its_end() -> None:
    traffic = Traffic(1)
    assert traffic.arrive("r", 0.0)
    traffic.abandon(1.0, until=120.0)
    assert not traffic.arrive("r", 119.9)
    assert traffic.arrive("r", 120.0)


def test_busy_seconds_are_the_integral_of_what_was_in_progress() -> None:
    traffic = Traffic(None)
    traffic.arrive("r", 10.0)
    traffic.arrive("r", 11.0)
    traffic.leave(13.0, status=200, bytes_sent=0)
    traffic.abandon(14.0, until=15.5)
    figures = traffic.figures(100.0)
    assert figures.busy_seconds == pytest.approx(1 + 2 * 2 + 1 + 1.5)
    assert (figures.first_at, figures.last_at, figures.in_progress) == (10.0, 15.5, 0)


def test_idle_time_is_not_busy() -> None:
    traffic = Traffic(None)
    for moment in (0.0, 50.0):
        traffic.arrive("r", moment)
        traffic.leave(moment + 1, status=200, bytes_sent=0)
    assert traffic.figures(99.0).busy_seconds == pytest.approx(2)


def test_a_reset_keeps_only_what_is_in_progress() -> None:
    traffic = Traffic(1)
    traffic.arrive("r", 0.0)
    traffic.arrive("r", 1.0)
    traffic.reset()
    assert not traffic.arrive("r", 2.0)
    figures = traffic.figures(2.0)
    assert (figures.requests, figures.refused_429, figures.in_progress, figures.first_at) == ({"r": 1}, 1, 1, 2.0)
