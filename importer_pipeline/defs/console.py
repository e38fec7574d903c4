"""What a run prints of a failure: its text, once. A failure of ours says what to do, and a stack trace hides that.

Dagster prints the error of a step with its stack trace, and the same again for the run. The event log keeps both.
"""

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg

from importer_pipeline.defs.event_writing import console_loggers


def print_failures_once(log: dg.DagsterLogManager) -> None:
    """Let what prints this log print each failure once, and ours without a stack trace.

    Args:
        log: of a step, or of a run.
    """
    for logger in console_loggers(log):
        logger.addFilter(_shorten)


class _InProcess(dg.Executor):
    """Executes all steps in the process of the run, as the executor that it is given does."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        print_failures_once(plan_context.log)
        return self._executor.execute(plan_context, execution_plan)


@dg.executor(name=dg.in_process_executor.name, config_schema=dg.in_process_executor.config_schema.as_field())
def in_process_executor(context: dg.InitExecutorContext) -> dg.Executor:
    """Execute all steps in a single process, and print the failure of one only once."""
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None, "one that can be created"
    return _InProcess(create(context))


def _shorten(record: logging.LogRecord) -> bool:
    """Shorten what is printed of the failure of a step, or of a run for that of a step."""
    event = getattr(record, "dagster_event", None)
    if not isinstance(event, dg.DagsterEvent):
        return True
    if event.is_step_failure:
        data = event.step_failure_data
        if data.user_failure_data is not None and data.error is not None:
            record.msg = _without(record, data.error_display_string) + f"\n\n{data.error.message}"
    elif event.is_run_failure:
        data = event.job_failure_data
        if data.first_step_failure_event is not None and data.error is not None:
            record.msg = _without(record, data.error.to_string())
    return True


def _without(record: logging.LogRecord, error: str) -> str:
    return record.getMessage().removesuffix(f"\n\n{error}")
