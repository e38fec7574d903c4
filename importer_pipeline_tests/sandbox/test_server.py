"""The sandbox over real HTTP on the loopback interface."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import mailchimp_marketing  # pyright: ignore[reportMissingTypeStubs]
import pytest
import requests
from mailchimp_marketing.api_client import ApiClientError  # pyright: ignore[reportMissingTypeStubs]

from importer_pipeline.sandbox.core import Sandbox
from importer_pipeline.sandbox.faults import Fault, FaultPlan, Latency
from importer_pipeline.sandbox.server import SandboxServer
from importer_pipeline.sandbox.world import SandboxClient
from importer_pipeline_tests.sandbox.asking import KEY, LIST_ID, TARGET_KEY, TOKEN, batch

PAGE = f"/lists/{LIST_ID}/members"


class Served:
    """A sandbox of 50 contacts that is served."""

    def __init__(self, *, changes_per_second: float = 0.0) -> None:
        self.sandbox = Sandbox(seed=1)
        self.account = self.sandbox.add_account("acme", api_key=KEY, access_token=TOKEN)
        self.members = self.account.add_list(LIST_ID)
        self.members.fill(50, changed_between=(1_600_000_000, 1_600_001_000), seed=1)
        self.target = self.sandbox.add_target(TARGET_KEY)
        client = SandboxClient(name="acme", account=self.account, target=self.target)
        self.server = SandboxServer(self.sandbox, [client], changes_per_second=changes_per_second)
        self.session = requests.Session()
        self.session.auth = ("anyone", KEY)

    def get(self, path: str = "/ping", **options: float) -> requests.Response:
        """GET a path of Mailchimp's API."""
        return self.session.get(f"{self.server.mailchimp_url}{path}", timeout=options.get("timeout", 5))

    def control(self, name: str, *, post: bool = False) -> dict[str, object]:
        """Call a control route."""
        method = "POST" if post else "GET"
        return requests.request(method, f"{self.server.url}/sandbox/{name}", timeout=None).json()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    with served.server, served.session:
        yield served


def test_the_served_headers_are_the_sandboxs_own(served: Served) -> None:
    response = served.get(PAGE)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert (response.headers["Server"], "Date" in response.headers) == ("openresty", True)
    assert len(response.json()["members"]) == 10


def test_one_connection_serves_many_requests(served: Served) -> None:
    for _ in range(20):
        served.get(PAGE)
    adapter = served.session.get_adapter(served.server.url)
    pools = adapter.poolmanager.pools  # pyright: ignore[reportAttributeAccessIssue]
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118


def test_the_target_takes_batches(served: Served) -> None:
    response = requests.post(
        f"{served.server.target_url}/record",
        data=batch("1", "2").body,
        headers={"Authorization": TARGET_KEY},
        timeout=None,
    )
    assert (response.status_code, response.json(), list(served.target.records)) == (200, {"response": 2}, ["1", "2"])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.CUT, requests.exceptions.ChunkedEncodingError),
        (Fault.RESET, requests.exceptions.ConnectionError),
        (Fault.HANG, requests.exceptions.ReadTimeout),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else None,
)
def test_a_fault_of_the_wire_is_one(served: Served, fault: Fault, error: type[Exception]) -> None:
    served.account.fault_plan = FaultPlan(rates={fault: 1.0})
    with pytest.raises(error) as raised:
        served.get(PAGE, timeout=0.2)
    assert type(raised.value) is error
    served.account.fault_plan = FaultPlan()
    assert served.get(PAGE).status_code == 200


def test_of_eleven_requests_at_once_ten_are_answered(served: Served) -> None:
    """The eleventh is refused."""
    served.account.fault_plan = FaultPlan(latency=Latency.fixed(0.3))
    together = threading.Barrier(11)

    def one(_: int) -> int:
        with requests.Session() as session:
            session.auth = ("anyone", KEY)
            together.wait()
            return session.get(f"{served.server.mailchimp_url}{PAGE}", timeout=None).status_code

    with ThreadPoolExecutor(11) as pool:
        statuses = sorted(pool.map(one, range(11)))
    figures = served.account.traffic.figures(served.sandbox.clock())
    assert statuses == [200] * 10 + [429]
    assert (figures.peak_in_progress, figures.refused_429, figures.in_progress) == (10, 1, 0)
    assert 2.5 < figures.busy_seconds < 6


def test_a_caller_that_hangs_up_keeps_its_slot_taken(served: Served) -> None:
    served.account.fault_plan = FaultPlan(rates={Fault.HANG: 1.0}, hang_seconds=0.3)
    began = served.sandbox.clock()
    with pytest.raises(requests.exceptions.ReadTimeout):
        served.get(timeout=0.1)
    served.session.close()
    assert served.account.traffic.figures(served.sandbox.clock()).in_progress == 1
    while served.account.traffic.figures(served.sandbox.clock()).in_progress:
        time.sleep(0.005)
    assert served.sandbox.clock() - began > 0.3
    assert served.account.traffic.figures(served.sandbox.clock()).answers == {}


def test_the_server_stops_while_a_request_hangs() -> None:
    served = Served()
    served.account.fault_plan = FaultPlan(rates={Fault.HANG: 1.0})
    with ThreadPoolExecutor(1) as pool:
        with served.server:
            waiting = pool.submit(served.get)
            while not served.account.traffic.figures(0).in_progress:
                time.sleep(0.005)
        with contextlib.suppress(requests.exceptions.ConnectionError):
            assert waiting.result().status_code == 500


def _official(served: Served, **credentials: str) -> mailchimp_marketing.Client:
    client = mailchimp_marketing.Client()
    client.set_config({**credentials, "server": "us1"})
    client.api_client.host = served.server.mailchimp_url
    return client


@pytest.mark.parametrize("credentials", [{"api_key": KEY}, {"access_token": TOKEN}], ids=["key", "token"])
def test_the_official_client_works_against_it(served: Served, credentials: dict[str, str]) -> None:
    client = _official(served, **credentials)
    assert client.ping.get() == {"health_status": "Everything's Chimpy!"}
    assert [one["id"] for one in client.lists.get_all_lists()["lists"]] == [LIST_ID]
    page = client.lists.get_list_members_info(
        LIST_ID, count=30, offset=10, sort_field="last_changed", sort_dir="ASC", fields=["members.id", "total_items"],
        since_last_changed="2020-09-13T12:26:40+00:00",
    )  # fmt: skip
    assert page["members"][0].keys() == {"id"}
    assert (len(page["members"]), page["total_items"]) == (30, 50)
    assert client.lists.get_list_member(LIST_ID, page["members"][0]["id"])["list_id"] == LIST_ID
    assert len(client.lists.get_list_merge_fields(LIST_ID)["merge_fields"]) == 5


def test_the_official_client_sees_errors_as_errors(served: Served) -> None:
    for client, list_id, status in (
        (_official(served, api_key="x"), LIST_ID, 401),
        (_official(served, api_key=KEY), "x", 404),
    ):
        with pytest.raises(ApiClientError) as raised:
            client.lists.get_list_members_info(list_id)
        assert raised.value.status_code == status


def test_statistics_and_comparison_hold_no_personal_data(served: Served) -> None:
    """They hold counts."""
    served.get(PAGE)
    stats, compared = served.control("stats"), served.control("compare")
    acme = stats["accounts"]["acme"]  # pyright: ignore[reportIndexIssue]
    assert acme["requests"] == {"GET /lists/{list_id}/members": 1}
    assert compared == {
        "kept": False,
        "clients": {
            "acme": {"kept": False, "contacts": 50, "missing": 50, "stale": 0, "surplus": 0, "refused": 0},
        },
    }  # fmt: skip
    text = f"{stats}{compared}"
    assert not [secret for secret in (KEY, TOKEN, TARGET_KEY, "@example") if secret in text]


def test_changes_are_made_when_asked_for(served: Served) -> None:
    before = {member.contact_id: (member.id, member.status, member.changed) for member in served.members}
    assert served.control("change?n=40", post=True) == {"changed": 40}
    after = {member.contact_id: (member.id, member.status, member.changed) for member in served.members}
    assert before != after
    assert served.control("stats")["changes"] == 40
    assert served.control("change?n=many", post=True).keys() == {"error"}


def test_forgetting_resets_the_statistics(served: Served) -> None:
    served.get(PAGE)
    served.control("forget", post=True)
    assert served.account.traffic.figures(0).requests == {}


def test_it_changes_while_it_serves_until_it_is_paused() -> None:
    served = Served(changes_per_second=400)
    with served.server:
        while not served.control("stats")["changes"]:
            time.sleep(0.005)
        served.control("pause", post=True)
        first = served.control("stats")
        time.sleep(0.12)
        last = served.control("stats")
        assert (first["paused"], first["changes"]) == (True, last["changes"])
        served.control("resume", post=True)
        while served.control("stats")["changes"] == last["changes"]:
            time.sleep(0.005)
