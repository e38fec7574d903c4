"""The importer with alerts that are evaluated more often, so that a test need not wait a minute for each."""

import dagster as dg

from importer_pipeline.clients.collection import Clients, clients_from_environment
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.alerts import client_alerts_sensor
from importer_pipeline.defs.settings import Settings, settings_from_environment

_SECONDS = 10


def _with_quick_alerts(clients: Clients, settings: Settings) -> dg.Definitions:
    shipped, alerts = build_defs(clients, settings), client_alerts_sensor(clients, settings)

    @dg.sensor(name=alerts.name, minimum_interval_seconds=_SECONDS, default_status=alerts.default_status)
    def quick_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        said = alerts(context)
        assert isinstance(said, dg.SkipReason)
        return said

    return dg.Definitions(
        assets=shipped.assets,
        asset_checks=shipped.asset_checks,
        jobs=shipped.jobs,
        schedules=shipped.schedules,
        sensors=[*(it for it in shipped.sensors or () if it.name != alerts.name), quick_alerts],
        resources=shipped.resources,
        executor=shipped.executor,
    )


defs = _with_quick_alerts(clients_from_environment(), settings_from_environment())
