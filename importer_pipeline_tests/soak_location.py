"""The importer where an hour passes in two minutes, so that what it waits for takes a thirtieth of the time, too."""

import dagster as dg

from importer_pipeline.clients import clients_from_environment
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.settings import settings_from_environment

_made = build_defs(clients_from_environment(), settings_from_environment())

defs = dg.Definitions(
    assets=_made.assets,
    jobs=_made.jobs,
    schedules=_made.schedules,
    sensors=_made.sensors,
    executor=_made.executor,
    resources={
        **(_made.resources or {}),
        "mailchimp": MailchimpResource(
            retry_pause_seconds=0.2, read_timeout_seconds=5.0, answer_timeout_seconds=8.0, stall_minutes=0.5
        ),
        "target": TargetResource(read_timeout_seconds=2.0, answer_timeout_seconds=4.0),
    },
)
