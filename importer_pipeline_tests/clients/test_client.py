"""A client and its audiences: what follows from what is declared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from importer_pipeline.clients.client import Client, fingerprint
from importer_pipeline.errors import SecretMissing
from importer_pipeline.mailchimp.credentials import CredentialKind

KEY = "0123456789abcdef0123456789abcdef"


def client(folder: Path, *, mailchimp: Mapping[str, Any] | None = None, **audience: Any) -> Client:
    """Return a client whose secrets are files in `folder`."""
    return Client.model_validate(
        {
            "name": "acme",
            "owner": "ann@example.com",
            "mailchimp": {"api_key": {"file": "mailchimp"}} if mailchimp is None else mailchimp,
            "target": {"url": "https://api.example.com", "api_key": {"file": "target"}},
            "audiences": [{"name": "newsletter", "list_id": "1a2d7ebf82", **audience}],
        },
        context={"folder": folder},
    )


@pytest.mark.parametrize(
    ("mailchimp", "kind"),
    [
        ({"api_key": {"file": "mailchimp"}}, CredentialKind.API_KEY),
        ({"access_token": {"file": "mailchimp"}}, CredentialKind.ACCESS_TOKEN),
    ],
    ids=["a key", "a token"],
)
def test_the_secret_that_is_declared_opens_the_account(
    tmp_path: Path, mailchimp: Mapping[str, Any], kind: CredentialKind
) -> None:
    (tmp_path / "mailchimp").write_text(f"{KEY}-us6\n")
    credentials = client(tmp_path, mailchimp=mailchimp).mailchimp.credentials()
    assert (credentials.kind, credentials.secret.get_secret_value()) == (kind, f"{KEY}-us6")


def test_secrets_that_are_there_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "mailchimp").write_text(f"{KEY}-us6\n")
    (tmp_path / "target").write_text("sesame\n")
    assert client(tmp_path).secret_problems() == ()


def test_a_missing_secret_is_reported_with_client_and_field(tmp_path: Path) -> None:
    problems = client(tmp_path).secret_problems()
    assert [problem.split(":")[0] for problem in problems] == ["acme.mailchimp.api_key", "acme.target.api_key"]
    assert str(tmp_path / "mailchimp") in problems[0]


@pytest.mark.parametrize(
    ("mailchimp", "missing"),
    [
        pytest.param({"api_key": {"file": "mailchimp"}}, True, id="a key alone"),
        pytest.param({"api_key": {"file": "mailchimp"}, "base_url": "http://127.0.0.1:1/3.0"}, False, id="with a URL"),
        pytest.param({"access_token": {"file": "mailchimp"}}, False, id="a token"),
    ],
)
def test_a_data_centre_is_missed_only_where_the_key_must_name_it(
    tmp_path: Path, mailchimp: Mapping[str, Any], missing: bool
) -> None:
    (tmp_path / "mailchimp").write_text(KEY)
    (tmp_path / "target").write_text("sesame")
    problems = client(tmp_path, mailchimp=mailchimp).secret_problems()
    assert ["data centre" in problem and "-us6" in problem for problem in problems] == [True] * missing
    assert KEY not in "".join(problems)


def test_a_missing_secret_is_the_clients_own_error(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing):
        client(tmp_path).mailchimp.credentials()


def test_a_repr_shows_no_secret_and_nobodys_address(tmp_path: Path) -> None:
    (tmp_path / "mailchimp").write_text(KEY)
    declared = client(tmp_path)
    declared.secret_problems()
    assert KEY not in repr(declared)
    assert "ann@example.com" not in repr(declared)


def test_an_audience_maps_its_members_with_its_list(tmp_path: Path) -> None:
    mapping = client(tmp_path, record={"id": "{list_id}-{id}"}).audiences[0].record_mapping()
    contacts, _ = mapping.contacts([{"id": "5", "email_address": "", "status": "", "merge_fields": {}}])
    assert contacts[0].record is not None
    assert contacts[0].record.id == "1a2d7ebf82-5"


@pytest.mark.parametrize(
    ("audience", "same"),
    [
        pytest.param({}, True, id="as it was"),
        pytest.param({"record": {"id": "{id}", "email": "email_address"}}, True, id="written in another way"),
        pytest.param({"name": "letters"}, True, id="another name"),
        pytest.param({"list_id": "5f00d1e3c4"}, False, id="another list"),
        pytest.param({"record": {"firstname": "full_name"}}, False, id="another path"),
        pytest.param(
            {"record": {"firstname": "merge_fields.LNAME", "lastname": "merge_fields.FNAME"}}, False, id="swapped"
        ),
    ],
)
def test_the_fingerprint_changes_with_list_and_mapping(tmp_path: Path, audience: Mapping[str, Any], same: bool) -> None:
    before, after = client(tmp_path), client(tmp_path, **audience)
    assert (fingerprint(before, before.audiences[0]) == fingerprint(after, after.audiences[0])) is same


def test_the_fingerprint_depends_on_the_target_url_not_its_key(tmp_path: Path) -> None:
    one = client(tmp_path)
    moved = one.model_copy(update={"target": one.target.model_copy(update={"url": "https://b.example.com"})})
    rotated = client(tmp_path / "elsewhere")
    [audience] = one.audiences
    assert fingerprint(one, audience) == fingerprint(rotated, audience)
    assert fingerprint(one, audience) != fingerprint(moved, audience)


def test_the_fingerprint_matches_existing_event_logs(tmp_path: Path) -> None:
    one = client(tmp_path)
    assert fingerprint(one, one.audiences[0]) == "9704dd41ce883c53"
