"""Windows that are launched by hand: one of them, and a range."""

import pytest

from importer_pipeline_tests.support.stage import Stage
from importer_pipeline_tests.ui.fixtures import BY_HAND
from importer_pipeline_tests.ui.screens import Ui, WindowsScreen


@pytest.fixture
def windows(ui: Ui) -> WindowsScreen:
    """Open the windows of a new snapshot, none of them imported."""
    config = {"clients": [BY_HAND], "restart": True}
    ui.launch("plan_windows", {"ops": {"register_windows": {"config": config}}}).expect_end("Success")
    windows = ui.windows(BY_HAND)
    assert windows.counts().materialized == 0
    return windows


def test_a_window_launched_in_the_materialize_dialog_turns_green(windows: WindowsScreen, stage: Stage) -> None:
    windows.materialize("1980")
    windows.expect_colour("green", "1980")
    assert windows.counts().materialized == 1
    windows.expect_colour("gray", "990", "2970", "archived-0")
    assert len(stage.clients[BY_HAND].target.records) >= 990


def test_a_range_of_windows_that_is_backfilled_turns_green(windows: WindowsScreen, stage: Stage) -> None:
    windows.materialize("3960", "4950", "5940")
    windows.expect_colour("green", "3960", "4950", "5940")
    assert windows.counts().materialized == 3
    assert len(stage.clients[BY_HAND].target.records) >= 3 * 990
