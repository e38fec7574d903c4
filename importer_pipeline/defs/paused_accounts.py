"""The accounts whose keys are refused: a table in the newest `sync_status`, which the next run goes by.

There are no others to remember, so that no event is written for it, and one is read. Stays out: when an account is paused
(`importer_pipeline.planning.pausing`).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import dagster as dg
from pydantic import AwareDatetime, BaseModel, ValidationError

from importer_pipeline.clients.client import Client, account_identity
from importer_pipeline.clients.collection import Clients
from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.event_log import newest_materializations
from importer_pipeline.defs.event_metadata import Metadata
from importer_pipeline.defs.names import status_key
from importer_pipeline.defs.settings import Settings
from importer_pipeline.defs.stored import Values
from importer_pipeline.listing.coverage import timestamp
from importer_pipeline.listing.snapshots import AudienceName
from importer_pipeline.planning.pausing import PauseRule, RefusedAccount

REFUSED_ACCOUNTS = "refused_accounts"
"""The metadata of `sync_status` with the table."""

_SEPARATOR = ", "


class _Row(BaseModel):
    """An account as it stands in the table."""

    account: str
    clients: str
    ticks: int
    since: AwareDatetime
    last_asked: AwareDatetime


def account_label(client: Client) -> str:
    """Return the account of a client as it stands in the table."""
    return account_identity(client).strip()


def accounts_of(clients: Clients) -> Mapping[AudienceName, str]:
    """Return the account of each audience."""
    return {
        AudienceName(client.name, audience.name): account_label(client) for client, audience in clients.select([], [])
    }


def read_refused(instance: dg.DagsterInstance, shards: Iterable[Shard]) -> Mapping[str, RefusedAccount]:
    """Return the accounts with refused keys, as the newest status of these shards has them."""
    newest = newest_materializations(instance, [status_key(shard) for shard in shards])
    return {
        refused.account: refused for stored in newest.values() if stored is not None for refused in _read(stored.values)
    }


def refused_metadata(accounts: Iterable[RefusedAccount], rule: PauseRule) -> Metadata:
    """Return the table; nothing if there are no such accounts."""
    records = [
        dg.TableRecord(
            {
                "account": it.account,
                "clients": _SEPARATOR.join(it.clients),
                "ticks": it.ticks,
                "since": timestamp(int(it.since)),
                "last_asked": timestamp(int(it.asked_at)),
                "paused": "yes" if rule.is_paused(it) else "no",
            }
        )
        for it in accounts
    ]
    if not records:
        return {}
    columns = [dg.TableColumn(name, "int" if name == "ticks" else "string") for name in records[0].data]
    return {REFUSED_ACCOUNTS: dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))}


def paused_accounts(instance: dg.DagsterInstance, settings: Settings) -> Mapping[str, RefusedAccount]:
    """Return the paused accounts of a shard."""
    found = read_refused(instance, [settings.shard])
    return {account: it for account, it in found.items() if settings.pause_rule.is_paused(it)}


def _read(values: Values) -> list[RefusedAccount]:
    table = values.get(REFUSED_ACCOUNTS)
    found = list[RefusedAccount]()
    for record in table.records if isinstance(table, dg.TableMetadataValue) else ():
        with suppress(ValidationError):  # Not ours, or of another format: it counts for nothing.
            row = _Row.model_validate(dict(record.data))
            found.append(
                RefusedAccount(
                    account=row.account,
                    clients=tuple(row.clients.split(_SEPARATOR)),
                    ticks=row.ticks,
                    since=row.since.timestamp(),
                    asked_at=row.last_asked.timestamp(),
                )
            )
    return found
