"""A job run in this process, in the instance of `DAGSTER_HOME`, for a person at a terminal.

The run is an ordinary one: it has the job's tags, takes the same locks and pool slots, and shows in the UI. Only its log is
not printed. Stays out: what is printed instead (`cli/sync.py`).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

import dagster as dg

from importer_pipeline.defs.home import home_instance_at_terminal
from importer_pipeline.defs.watching import Watcher, watched_by
from importer_pipeline.errors import RunConfigInvalid
from importer_pipeline.redaction import shortened, shown

_LOGGER = "console"
"""The name of the logger that every job has, so that the config of the run can be used again in the UI."""

_MAX_LISTED = 10
_MAX_PROBLEMS = 5


class RunEnd(Enum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """A run that has ended.

    Attributes:
        run_id: its ID in Dagster.
        end: how it ended.
        message: why it failed, a line for each audience or a single problem; "" if it did not.
    """

    run_id: str
    end: RunEnd
    message: str


def run_job(definitions: dg.Definitions, name: str, config: Mapping[str, Any], watching: Watcher) -> LocalRun:
    """Run a job to its end, or until Ctrl-C or SIGTERM, which cancel it.

    Args:
        definitions: those of the deployment.
        name: of the job.
        config: of the run.
        watching: is told what happens; warnings of the run, too.

    Raises:
        SettingsInvalid: there is no `DAGSTER_HOME`, or its storage can't be opened.
        RunConfigInvalid: the job takes no such config.
    """
    job = definitions.resolve_job_def(name)
    # Without a logger in its config, a run uses Dagster's own, whatever loggers the job has.
    config = {**config, "loggers": {_LOGGER: {}}}
    with home_instance_at_terminal() as instance, watched_by(watching):
        try:
            result = job.with_logger_defs({_LOGGER: _warnings_to(watching)}).execute_in_process(
                run_config=config, instance=instance, raise_on_error=False
            )
        except dg.DagsterInvalidConfigError as error:
            raise _config_invalid(job, error) from None
        run = instance.get_run_by_id(result.run_id)
        if result.success:
            return LocalRun(run_id=result.run_id, end=RunEnd.SUCCEEDED, message="")
        if run is not None and run.status is dg.DagsterRunStatus.CANCELED:
            return LocalRun(run_id=result.run_id, end=RunEnd.CANCELED, message="")
        return LocalRun(run_id=result.run_id, end=RunEnd.FAILED, message=_failure(result))


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """Return the text of a failure of ours; of any other error its class only: its words may hold anything."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            return _unforeseen(data.error)
    ends = [event.job_failure_data for event in result.all_events if event.is_job_failure]
    return _unforeseen(next((end.error for end in ends if end.error is not None), None))


def _unforeseen(error: Any) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    if error is not None and error.cls_name == "ValidationError":
        return f"a value of the run's config is out of bounds: {_out_of_bounds(error.message)}"
    kind = "no error is recorded" if error is None else error.cls_name
    return f"the run ended with an unforeseen error ({kind}): see the log of the run in Dagster"


def _out_of_bounds(message: str) -> str:
    """Return the field and the bound of pydantic's message, in one line."""
    return " ".join(line.partition("[type=")[0].strip() for line in message.strip().splitlines()[1:3])


def _warnings_to(watching: Watcher) -> dg.LoggerDefinition:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {})
            # Dagster's own events have one; they are about steps, and failures come with the end of the run.
            if meta.get("dagster_event") is None:
                watching.said(str(meta.get("orig_message", record.getMessage())))

    @dg.logger
    def person(_: dg.InitLoggerContext) -> logging.Logger:
        made = logging.Logger("importer", level=logging.WARNING)
        made.addHandler(Handler())
        return made

    return person


def _config_invalid(job: dg.JobDefinition, error: dg.DagsterInvalidConfigError) -> RunConfigInvalid:
    problems = [_problem(job, it) for it in error.errors]
    return RunConfigInvalid(
        f"the job {job.name} does not take this config\n{shortened(problems, _MAX_PROBLEMS, separator=chr(10))}"
    )


def _problem(job: dg.JobDefinition, error: Any) -> str:
    """Return one problem of a config. Dagster prints the whole schema for it, whichever key is misspelt."""
    path = [str(it.field_name) for it in error.stack.entries if hasattr(it, "field_name")]
    place = ".".join(path) or "the top level"
    names = [getattr(error.error_data, "field_name", None) or "", *getattr(error.error_data, "field_names", ())]
    unknown = [name for name in names if name and error.reason.name.startswith("FIELD")]
    if not unknown:
        return f"- {place}: expected another type of value: see the job's config in Dagster's launchpad"
    expected = _keys(job, path)
    near = [match for name in unknown for match in get_close_matches(name, expected, n=1)]
    did_you_mean = f"did you mean {' or '.join(near)}? " if near else ""
    listed = f"it takes {shortened(expected, _MAX_LISTED)}" if expected else "it takes no keys"
    return f"- {place} has no key {', '.join(map(shown, unknown))}: {did_you_mean}{listed}"


def _keys(job: dg.JobDefinition, path: list[str]) -> list[str]:
    """Return the keys that a job's config takes below a path."""
    found: Any = job.run_config_schema.config_type
    for name in path:
        found = getattr(found, "fields", {})[name].config_type
    return sorted(getattr(found, "fields", {}))
