"""What a run prints of a failure."""

import dagster as dg
import pytest

from importer_pipeline.defs.console import print_failures_once


def printed(error: Exception, captured: pytest.CaptureFixture[str]) -> str:
    """Return what a run prints whose step raises this."""

    @dg.op(out=dg.Out(dg.Nothing))
    def step(context: dg.OpExecutionContext) -> None:
        print_failures_once(context.log)
        raise error

    @dg.job
    def failing() -> None:
        step()

    failing.execute_in_process(raise_on_error=False)
    return captured.readouterr().err.partition("STEP_FAILURE")[2].partition("RUN_FAILURE")[0]


def test_a_failure_of_ours_is_printed_without_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(dg.Failure("One thing is wrong.\nAnother, too."), capsys)
    assert 'Execution of step "step" failed.\n\n' in text
    assert "Failure: One thing is wrong.\nAnother, too.\n" in text
    assert "Stack Trace" not in text


def test_any_other_error_is_printed_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(ValueError("a defect"), capsys)
    assert "ValueError: a defect\n\nStack Trace:" in text
    assert "in step" in text
