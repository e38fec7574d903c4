"""The importer for hours of two minutes: its time-outs and pauses are a thirtieth of the usual ones, too."""

import dagster as dg

from importer_pipeline.clients.collection import clients_from_environment
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.defs.settings import settings_from_environment


def _hurried(made: dg.Definitions) -> dg.Definitions:
    mailchimp = MailchimpResource(
        retry_pause_seconds=0.2, read_timeout_seconds=5.0, answer_timeout_seconds=8.0, stall_minutes=0.5
    )
    target = TargetResource(read_timeout_seconds=2.0, answer_timeout_seconds=4.0)
    return dg.Definitions(
        assets=made.assets,
        jobs=made.jobs,
        schedules=made.schedules,
        sensors=made.sensors,
        executor=made.executor,
        resources={**(made.resources or {}), "mailchimp": mailchimp, "target": target},
    )


defs = _hurried(build_defs(clients_from_environment(), settings_from_environment()))
