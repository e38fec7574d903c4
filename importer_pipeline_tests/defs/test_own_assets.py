"""Assets of one's own: they read through the resource `mailchimp`, within the connections of the account."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from importer_pipeline.clients.collection import Client
from importer_pipeline.definitions import build_defs
from importer_pipeline.defs.resources import MailchimpResource, TargetResource
from importer_pipeline.errors import RequestRefused, SelectionUnknown, TooSlow, Unavailable
from importer_pipeline.mailchimp.client import MailchimpClient, MailchimpLimits
from importer_pipeline.records.contacts import Record
from importer_pipeline.sandbox.adapter import SandboxAdapter
from importer_pipeline.sandbox.faults import Fault, FaultPlan, Latency
from importer_pipeline.sandbox.traffic import TrafficFigures
from importer_pipeline_tests.support.runs import ROOT, full_sync, run_config
from importer_pipeline_tests.support.stage import Stage, in_order, once

PAGE = ROOT / "docs" / "own_assets.md"
SEGMENT = 49377


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A client on a served sandbox whose newsletter has a segment of 40 members."""
    stage = Stage(tmp_path)
    (newsletter,) = stage.add("acme", contacts=600).lists
    regulars = [member.id for member in in_order(newsletter) if member.status == "subscribed"][:40]
    newsletter.add_segment(SEGMENT, regulars)
    with stage:
        yield stage


def regulars(stage: Stage) -> list[str]:
    """Ids of the members of the segment."""
    (newsletter,) = stage.clients["acme"].lists
    return [member.id for member in newsletter.segment(str(SEGMENT)) or []]


def traffic(stage: Stage) -> TrafficFigures:
    return stage.clients["acme"].account.traffic.figures(stage.sandbox.clock())


def slow(stage: Stage, seconds: float) -> None:
    """Let each answer of Mailchimp take that long."""
    stage.clients["acme"].account.fault_plan = FaultPlan(latency=Latency.fixed(seconds))


def test_the_pages_asset_reads_a_segment(stage: Stage) -> None:
    """It finds the clients that the importer was built with, under a run's config, too."""
    names: dict[str, Any] = {"__name__": "own_assets"}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(code, names)
    stage.clients["acme"].account.fault_plan = FaultPlan(rules=(once(lambda _: True, Fault.ERROR_500),))
    made = dg.Definitions.merge(build_defs(stage.load()), dg.Definitions(assets=[names["newsletter_regulars"]]))
    with dg.DagsterInstance.ephemeral() as instance:
        result = made.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("newsletter_regulars")],
            run_config={"resources": run_config()["resources"]},
        )
    frame = result.output_for_node("newsletter_regulars")
    assert isinstance(frame, pd.DataFrame)
    assert (list(frame["id"]), list(frame.columns)) == (regulars(stage), ["id", "status", "last_changed"])


@pytest.mark.parametrize("timeout", ["read_timeout_seconds", "answer_timeout_seconds"])
def test_the_timeouts_of_the_config_apply(stage: Stage, timeout: str) -> None:
    slow(stage, 1.0)
    stage.clients["acme"].target.fault_plan = FaultPlan(latency=Latency.fixed(1.0))
    (client,) = stage.load().clients
    config: dict[str, Any] = {timeout: 0.2}
    began_at = time.monotonic()
    with pytest.raises(TooSlow):
        MailchimpResource(**config).connect(client).ping()
    with pytest.raises(Unavailable):
        TargetResource(**config).connect(client).probe()
    assert time.monotonic() - began_at < 1.0


def test_an_eleventh_request_waits_for_one_of_ten(stage: Stage) -> None:
    reader = MailchimpResource(clients=stage.load()).client("acme/newsletter")
    with reader, ThreadPoolExecutor(11) as threads:
        reader.get("/ping")
        slow(stage, 0.3)
        answers = [threads.submit(reader.get, f"/lists/{reader.list_id}") for _ in range(11)]
    assert {answer.result()["id"] for answer in answers} == {reader.list_id}
    figures = traffic(stage)
    assert (figures.peak_in_progress, figures.refused_429) == (10, 0)


def test_readers_and_a_sync_share_ten_connections(stage: Stage) -> None:
    """Two readers get their turns while the sync has all connections in use, and it gets its own."""
    clients = stage.load()
    slow(stage, 0.1)
    synced: list[bool] = []
    sync = threading.Thread(
        target=lambda: synced.append(full_sync(clients, run_config(mailchimp={"page_size": 30})).success)
    )
    sync.start()
    with MailchimpResource(clients=clients).client("acme/newsletter") as reader, ThreadPoolExecutor(2) as threads:
        path = f"/lists/{reader.list_id}/segments/{SEGMENT}/members"
        reading = [threads.submit(list, reader.items(path, "members", page_size=8)) for _ in range(2)]
    sync.join()
    assert [[member["id"] for member in members.result()] for members in reading] == [regulars(stage)] * 2
    assert (synced, stage.missing("acme")) == ([True], set())
    figures = traffic(stage)
    assert (figures.peak_in_progress, figures.refused_429) == (10, 0)


def test_posts_of_ones_own_keep_to_max_posts(stage: Stage) -> None:
    target = stage.clients["acme"].target
    target.fault_plan = FaultPlan(latency=Latency.fixed(0.1))
    records = [Record(str(n), "Amber", "", f"{n}@example.com", "subscribed") for n in range(5)]
    writer = TargetResource(clients=stage.load(), max_posts=2).client("acme")
    with writer, ThreadPoolExecutor(5) as threads:
        receipts = [threads.submit(writer.post, [record]) for record in records]
    assert [receipt.result().accepted for receipt in receipts] == [1] * 5
    assert target.traffic.figures(stage.sandbox.clock()).peak_in_progress == 2
    assert set(target.records) == {record.id for record in records}


def test_a_reader_reports_errors_of_ours_without_what_was_asked(stage: Stage) -> None:
    resource = MailchimpResource(clients=stage.load())
    with pytest.raises(SelectionUnknown, match="did you mean acme"):
        resource.client("acmee")
    with resource.client("acme") as reader:
        for path in ("/lists/amber@example.com", "/lists?count=1", "ping", "/lists/../ping"):
            with pytest.raises(RequestRefused) as caught:
                reader.get(path)
            assert path not in str(caught.value)
        with pytest.raises(SelectionUnknown, match="client/audience"):
            reader.segment_members(SEGMENT)


def test_a_sync_uses_the_resource_that_is_bound(stage: Stage) -> None:
    """It answers from a sandbox in this process; the clients file has an address where nobody listens."""

    class FromMemory(MailchimpResource):
        def connect(self, client: Client) -> MailchimpClient:
            return MailchimpClient(
                client.mailchimp.credentials(), base_url="http://memory/3.0", adapter=SandboxAdapter(stage.sandbox),
                limits=MailchimpLimits(read_timeout_seconds=self.read_timeout_seconds),
            )  # fmt: skip

    declared = stage.declared()
    declared["acme"]["mailchimp"]["base_url"] = "http://127.0.0.1:9/3.0"
    clients = stage.load(declared)
    ran = full_sync(clients, resources={"mailchimp": FromMemory(clients=clients, retries=0)})
    assert ran.success, ran.message
    assert stage.missing("acme") == set()
