"""The importer for hours of two minutes: its time-outs and pauses are a thirtieth of the usual ones, too."""

from importer_pipeline.clients.collection import clients_from_environment
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.defs.settings import settings_from_environment

clients = clients_from_environment()

defs = build_defs(
    clients,
    settings_from_environment(),
    resources={
        "mailchimp": MailchimpResource(
            clients=clients,
            retry_pause_seconds=0.2,
            read_timeout_seconds=5.0,
            answer_timeout_seconds=8.0,
            stall_minutes=0.5,
        ),
        "target": TargetResource(clients=clients, read_timeout_seconds=2.0, answer_timeout_seconds=4.0),
    },
)
