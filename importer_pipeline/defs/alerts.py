"""The sensor `client_alerts`: tells a webhook when clients get into trouble, and when they are well again.

Its memory is its cursor: the clients in trouble that the last accepted message left. A message that was not accepted
leaves the cursor as it is, so that the next tick sends what is true then.
"""

from typing import Annotated

import dagster as dg
from pydantic import BaseModel, Field, ValidationError

from importer_pipeline.clients.collection import Clients
from importer_pipeline.defs.event_log import newest_materializations
from importer_pipeline.defs.names import status_key
from importer_pipeline.defs.quarantine_events import open_partitions
from importer_pipeline.defs.settings import Settings
from importer_pipeline.defs.status_events import read_reported
from importer_pipeline.errors import ImporterError
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.alerts import alert_text, troubles_of
from importer_pipeline.runner.webhook import post_to_webhook

_SECONDS = 60


class _Told(BaseModel):
    """The cursor."""

    status: int = 0
    """Storage ID of the last status of which all has been told."""
    clients: Annotated[list[str], Field(default_factory=list)]
    """The clients in trouble by then."""
    paused: Annotated[list[str], Field(default_factory=list)]
    """Those of them that were paused."""


def client_alerts_sensor(clients: Clients, settings: Settings) -> dg.SensorDefinition:
    """Return `client_alerts`, which runs by itself if a webhook is set.

    Args:
        clients: of the shard.
        settings: of the deployment.
    """
    names = [AudienceName(client.name, audience.name) for client, audience in clients.select([], [])]
    declared = {name.client for name in names}
    key, webhook = status_key(settings.shard), settings.alert_webhook

    @dg.sensor(
        name="client_alerts",
        description=(
            "Sends a message to IMPORTER_ALERT_WEBHOOK when clients fail, are paused, are late or get something into the "
            "quarantine, and when they are well again: at most one for each new sync_status."
        ),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED if webhook is None else dg.DefaultSensorStatus.RUNNING,
    )
    def client_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if webhook is None:
            return dg.SkipReason("no webhook is set: IMPORTER_ALERT_WEBHOOK")
        newest, told = newest_materializations(context.instance, [key]).get(key), _told(context.cursor)
        if newest is None or newest.storage_id == told.status:
            return dg.SkipReason("there is no new sync_status")
        statuses = [it.status for it in read_reported(context.instance, names).values()]
        quarantined = [ref for ref in open_partitions(context.instance) if ref.name.client in declared]
        troubles = troubles_of(statuses, quarantined)
        link = f"{settings.ui_url.rstrip('/')}/runs/{newest.run_id}" if settings.ui_url else f"Run {newest.run_id}"
        text = alert_text(troubles, told=told.clients, told_paused=told.paused, declared=declared, link=link)
        if text is not None:
            try:
                post_to_webhook(webhook, text)
            except ImporterError as error:
                return dg.SkipReason(f"not sent, and tried again at the next tick: {error}")
        now = _Told(
            status=newest.storage_id,
            clients=sorted(it.client for it in troubles),
            paused=sorted(it.client for it in troubles if it.is_paused),
        )
        context.update_cursor(now.model_dump_json())
        return dg.SkipReason("no client has changed" if text is None else "a message was sent")

    return client_alerts


def _told(cursor: str | None) -> _Told:
    """Return what the cursor says; nothing has been told if it can't be read."""
    try:
        return _Told.model_validate_json(cursor or "{}")
    except ValidationError:
        return _Told(clients=[], paused=[])
