"""What an account holds besides members, read from the sandbox over HTTP."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, ListNotFound, RequestRefused, TurnedAway
from importer_pipeline.mailchimp.client import MailchimpClient, MailchimpLimits
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials
from importer_pipeline.mailchimp.directory import (
    ListDetails,
    MergeField,
    read_account,
    read_list_details,
    read_lists,
    read_merge_fields,
)
from importer_pipeline.sandbox.faults import Fault, FaultPlan, Rule
from importer_pipeline_tests.support.stage import Stage, key_of

_TAGS = tuple(f"TAG{number}" for number in range(600))
_LISTS = tuple(f"{number:010x}" for number in range(501))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("directory"))
    account = stage.add("acme", contacts=0, audiences=0).account
    account.add_list("1a2d7ebf82", name="Newsletter", merge_fields=("FNAME", *_TAGS)).add("a@example.com")
    many = stage.add("many", contacts=0, audiences=0).account
    for list_id in _LISTS:
        many.add_list(list_id)
    broken = stage.add("broken", contacts=0).account
    broken.fault_plan = FaultPlan(rules=(Rule(applies=lambda _: True, fault=Fault.WRONG_SHAPE),))
    with stage:
        yield stage


def opened(stage: Stage, name: str, *, path: str = "") -> MailchimpClient:
    secret = SecretStr(key_of(stage.clients[name]))
    credentials = Credentials(kind=CredentialKind.API_KEY, secret=secret)
    return MailchimpClient(credentials, base_url=stage.server.mailchimp_url + path, limits=MailchimpLimits())


def test_an_account_has_an_id_and_a_name(stage: Stage) -> None:
    assert read_account(opened(stage, "acme")).name == "acme"
    ids = {read_account(opened(stage, name)).account_id for name in ("acme", "acme", "many")}
    assert len(ids) == 2


def test_a_list_has_a_name_and_a_size(stage: Stage) -> None:
    expected = ListDetails(list_id="1a2d7ebf82", name="Newsletter", subscribed=1)
    assert read_list_details(opened(stage, "acme"), "1a2d7ebf82") == expected


def test_all_pages_are_read(stage: Stage) -> None:
    fields = read_merge_fields(opened(stage, "acme"), "1a2d7ebf82")
    assert fields[0] == MergeField(tag="FNAME", name="First Name", kind="text")
    assert [field.tag for field in fields[1:]] == list(_TAGS)
    assert [listed.list_id for listed in read_lists(opened(stage, "many"))] == list(_LISTS)


def test_a_list_that_does_not_exist_is_not_found(stage: Stage) -> None:
    for read in (read_list_details, read_merge_fields):
        with pytest.raises(ListNotFound):
            read(opened(stage, "acme"), "0123456789")


def test_a_url_without_an_api_is_refused(stage: Stage) -> None:
    with pytest.raises((RequestRefused, TurnedAway), match="check mailchimp"):
        read_account(opened(stage, "acme", path="/nothing"))


def test_another_shape_is_a_broken_answer(stage: Stage) -> None:
    account = opened(stage, "broken")
    with pytest.raises(BrokenAnswer):
        read_merge_fields(account, "1a2d7ebf82")
