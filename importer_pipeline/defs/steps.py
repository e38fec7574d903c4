"""The step that every op and asset of ours consists of: its pool, its resources, and nothing of what it does.

Add here what all steps have in common. What a step requests stays with its job or asset.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import dagster as dg

from importer_pipeline.defs.console import print_failures_once
from importer_pipeline.defs.names import POOL
from importer_pipeline.defs.resources import MailchimpResource, TargetResource, api_clients, import_settings
from importer_pipeline.defs.run_liveness import RunLiveness
from importer_pipeline.runner.api_clients import ApiClients
from importer_pipeline.runner.importing import ImportSettings

ConfigT = TypeVar("ConfigT", bound=dg.Config)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResources:
    """The resources of a step, as its run configures them."""

    mailchimp: MailchimpResource
    target: TargetResource

    @property
    def apis(self) -> ApiClients:
        """The connections of the clients to Mailchimp and their targets."""
        return api_clients(self.mailchimp, self.target)

    def settings(self, *, run_seconds: float = math.inf) -> ImportSettings:
        """Return the settings of an import that may take so long."""
        return import_settings(self.mailchimp, self.target, run_seconds=run_seconds)


def op_step(
    name: str,
    config_type: type[ConfigT],
    body: Callable[[dg.OpExecutionContext, ConfigT, StepResources], None],
    *,
    description: str,
) -> dg.OpDefinition:
    """Return an op that takes a pool slot and shows that its run is alive while the body runs."""

    @dg.op(name=name, description=description, pool=POOL, out=dg.Out(dg.Nothing))
    def step(
        context: dg.OpExecutionContext,
        config: config_type,  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> None:
        print_failures_once(context.log)
        body(context, config, StepResources(mailchimp=mailchimp, target=target))

    return step


def asset_step(
    name: str,
    specs: Sequence[dg.AssetSpec],
    body: Callable[[dg.AssetExecutionContext, StepResources], None],
    *,
    partitions: dg.PartitionsDefinition | None = None,
    backfill: dg.BackfillPolicy | None = None,
    checks: Sequence[dg.AssetCheckSpec] = (),
) -> dg.AssetsDefinition:
    """Return a multi-asset of which any part can be selected; the body logs the materializations itself.

    Args:
        name: of its op.
        specs: one per asset.
        body: imports what is selected.
        partitions: of all assets, unless their specs have their own.
        backfill: how a backfill is split into runs.
        checks: of these assets; the body logs their evaluations itself.
    """

    @dg.multi_asset(
        name=name,
        specs=specs,
        check_specs=checks,
        partitions_def=partitions,
        can_subset=True,
        pool=POOL,
        backfill_policy=backfill,
        # Else Dagster looks for the asset of each check in a list of all, which takes seconds for ten thousand.
        allow_arbitrary_check_specs=True,
    )
    # A generator without results: Dagster expects a value per output from a function, and materializes a single one again.
    def step(
        context: dg.AssetExecutionContext,
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> Iterator[dg.Output[None]]:
        print_failures_once(context.log)
        body(context, StepResources(mailchimp=mailchimp, target=target))
        yield from ()

    return step


def configured_asset_step(
    name: str,
    spec: dg.AssetSpec,
    config_type: type[ConfigT],
    body: Callable[[dg.AssetExecutionContext, ConfigT, StepResources], None],
    *,
    checks: Sequence[dg.AssetCheckSpec],
    description: str,
) -> dg.AssetsDefinition:
    """Return an asset whose runs have a config; the body logs the materialization and the evaluations itself.

    Args:
        name: of its op.
        spec: of the asset.
        config_type: the config of its op.
        body: materializes it.
        checks: of the asset. Its job does not plan them: each would cost three more events in each run.
        description: of its op.
    """

    @dg.multi_asset(name=name, specs=[spec], check_specs=checks, can_subset=True, pool=POOL, description=description)
    def step(
        context: dg.AssetExecutionContext,
        config: config_type,  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]
        mailchimp: MailchimpResource,
        target: TargetResource,
        sign_of_life: dg.ResourceParam[RunLiveness],
    ) -> Iterator[dg.Output[None]]:
        print_failures_once(context.log)
        body(context, config, StepResources(mailchimp=mailchimp, target=target))
        yield from ()

    return step
