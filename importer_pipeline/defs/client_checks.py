"""`check_clients`: the findings of `importer check` as a job, and as a check of the status asset.

One check names the clients. One for each audience would make the definitions of 10,000 load a tenth longer. Stays out:
what is checked (`importer_pipeline.checking`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from importer_pipeline.checking.check import check_clients
from importer_pipeline.checking.findings import CheckedClient, finding_lines
from importer_pipeline.clients.client import Client
from importer_pipeline.clients.collection import Clients
from importer_pipeline.clients.shards import Shard
from importer_pipeline.defs.console import in_process_executor
from importer_pipeline.defs.event_log import newest_evaluations
from importer_pipeline.defs.names import POOL, SHARD_TAG, status_key
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.defs.run_liveness import RunLiveness
from importer_pipeline.errors import SelectionUnknown
from importer_pipeline.redaction import shortened

CHECK_CLIENTS = "check_clients"
"""The job; no op may have its name."""

CLIENTS_USABLE = "clients_usable"
"""The check of the status asset."""

_PROBLEMS = "problems"
_MAX_ROWS = 200
_MAX_NAMED = 10
_MAX_IN_MESSAGE = 50


class CheckConfig(dg.Config):
    """The clients to check; all by default."""

    clients: list[str] = Field(default=[], description="Names of clients.")


def clients_usable_check(clients: Clients, shard: Shard) -> dg.AssetChecksDefinition:
    """Return the check `clients_usable`, whose op requests what `importer check` does.

    Args:
        clients: of the shard.
        shard: whose status asset has the check.
    """
    key = dg.AssetCheckKey(status_key(shard), CLIENTS_USABLE)
    spec = dg.AssetCheckSpec(
        CLIENTS_USABLE,
        asset=key.asset_key,
        description="By the last run of check_clients, every client can be imported: secrets, keys, lists, merge tags, target.",
    )

    @dg.multi_asset_check(
        name="find_problems",
        specs=[spec],
        pool=POOL,
        description="Request each client's account, lists and merge tags, and post an empty list to its target.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        config: CheckConfig,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> Iterator[dg.AssetCheckResult]:
        selected = _selected(clients, config.clients)
        checked = check_clients(selected, open_account=mailchimp.connect, open_target=target.connect)
        others = {client.name for client in clients.clients} - {client.name for client in selected}
        rows = [*_rows(checked), *_rows_before(context.instance, key, others)]
        yield _result(key, rows, len(selected), clients.problems)
        if context.run.job_name == CHECK_CLIENTS:
            _end(context, checked, clients.problems)

    return check


def check_clients_job(shard: Shard) -> UnresolvedAssetJobDefinition:
    """Return `check_clients`, which evaluates the check and fails if it has found problems."""
    return dg.define_asset_job(
        CHECK_CLIENTS,
        selection=dg.AssetSelection.checks(dg.AssetCheckKey(status_key(shard), CLIENTS_USABLE)),
        description=(
            "Checks whether each client can be imported: its secrets, keys, lists, merge tags and target. Imports and "
            "changes nothing; the target gets an empty list. Fails if there are problems, and names each with its remedy."
        ),
        tags={SHARD_TAG: str(shard)},
        executor_def=in_process_executor,
    )


def _selected(clients: Clients, names: Sequence[str]) -> list[Client]:
    try:
        selection = clients.select(names, [])
    except SelectionUnknown as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return list({client.name: client for client, _ in selection}.values())


def _rows(checked: Sequence[CheckedClient]) -> list[dict[str, str]]:
    """Return what is wrong, without the notes."""
    return [
        {"client": client.name, "where": it.where, "problem": it.problem, "remedy": it.remedy}
        for client in checked
        for it in client.findings
        if it.is_problem
    ]


def _rows_before(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, clients: Collection[str]
) -> Iterator[Mapping[str, str]]:
    """Yield what was wrong with these clients when they were checked last."""
    evaluated = newest_evaluations(instance, [key]).get(key) if clients else None
    table = None if evaluated is None else evaluated.values.get(_PROBLEMS)
    for record in table.records if isinstance(table, dg.TableMetadataValue) else ():
        if record.data.get("client") in clients:
            yield {name: str(value) for name, value in record.data.items()}


def _result(
    key: dg.AssetCheckKey, rows: Sequence[Mapping[str, str]], count: int, problems: Sequence[str]
) -> dg.AssetCheckResult:
    named = sorted({row["client"] for row in rows})
    texts = [f"{len(named)} with problems: {shortened(named, _MAX_NAMED)}"] if named else []
    texts += ["the clients file has problems"] if problems else []
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not texts,
        description="; ".join(texts) or "no client has problems",
        metadata={
            "clients_checked": count,
            "clients_with_problems": len(named),
            _PROBLEMS: dg.MetadataValue.table(
                [dg.TableRecord(row) for row in rows[:_MAX_ROWS]],
                schema=dg.TableSchema([dg.TableColumn(name) for name in ("client", "where", "problem", "remedy")]),
            ),
        },
    )


def _end(context: dg.AssetCheckExecutionContext, checked: Sequence[CheckedClient], problems: Sequence[str]) -> None:
    """Log the notes and the number of clients, and fail with the problems, in the words of `importer check`."""
    wrong = sorted((client for client in checked if not client.is_well), key=lambda it: it.name)
    noted = [client for client in checked if client.is_well and client.findings]
    for client in noted[:_MAX_NAMED]:
        context.log.info(_paragraph(client))
    total = f"{len(checked)} client{'' if len(checked) == 1 else 's'} checked"
    closing = f"{total}: {len(checked) - len(wrong)} ok, {len(wrong)} with problems"
    if not wrong and not problems:
        context.log.info(closing)
        return
    paragraphs = [*(_paragraph(client) for client in wrong), *problems]
    text = shortened(paragraphs, _MAX_IN_MESSAGE, separator="\n")
    raise dg.Failure(f"{closing}\n{text}", metadata={"clients_with_problems": len(wrong)}, allow_retries=False)


def _paragraph(client: CheckedClient) -> str:
    lines = [line for finding in client.findings for line in finding_lines(finding)]
    return "\n  ".join([client.name, *lines])
