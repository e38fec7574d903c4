"""Checks between audiences and between clients."""

from pathlib import Path

import pytest

from importer_pipeline.clients.clients_file import read_clients_file


def problems(folder: Path, *clients: str) -> tuple[str, ...]:
    path = folder / "clients.yaml"
    path.write_text("clients:\n" + "".join(f"  {client}\n" for client in clients))
    return read_clients_file(path).problems


def client(name: str, audiences: str, *, mailchimp: str = "", target: str = "", more: str = "") -> str:
    own = name.upper().replace("-", "_")
    reach = target or f"url: https://api.example.com, api_key: {{env: {own}_TARGET_KEY}}"
    key = f"api_key: {{env: {own}_KEY}}"
    return f"{name}: {{mailchimp: {{{key}{mailchimp}}}, target: {{{reach}}}, audiences: {{{audiences}}}{more}}}"


def audience(name: str, list_id: str, record_id: str = "id") -> str:
    return f'{name}: {{list_id: {list_id}, record: {{id: "{record_id}"}}}}'


SHARED = "url: https://api.example.com, api_key: {env: TARGET_KEY}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("id", "id"),
        ("contact_id", "contact_id"),
        ("email_address", "unique_email_id"),
        ("a{id}", "ab{id}"),
        ("{id}", "a-{id}"),
        ("{id}-b", "{id}"),
    ],
)
def test_audiences_whose_ids_nothing_tells_apart_are_refused(tmp_path: Path, one: str, other: str) -> None:
    told = problems(
        tmp_path, client("acme", f"{audience('a', '1a2d7ebf82', one)}, {audience('b', '5f00d1e3c4', other)}")
    )
    assert len(told) == 1
    assert "clients.acme.audiences.b.record.id: a sends to the same target account" in told[0]
    assert 'write id: "{list_id}-' in told[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{list_id}-{id}", "{list_id}-{id}"),
        ("id", "{list_id}-{id}"),
        ("a-{id}", "b-{id}"),
        ("{id}-a", "{id}-b"),
    ],
)
def test_audiences_whose_ids_tell_the_lists_apart_are_accepted(tmp_path: Path, one: str, other: str) -> None:
    both = f"{audience('a', '1a2d7ebf82', one)}, {audience('b', '5f00d1e3c4', other)}"
    assert problems(tmp_path, client("acme", both)) == ()


def test_the_suggested_id_is_accepted(tmp_path: Path) -> None:
    one = audience("a", "1a2d7ebf82", "x-{id}")
    [told] = problems(tmp_path, client("acme", f"{one}, {audience('b', '5f00d1e3c4', 'x-{id}')}"))
    advice = told.rpartition('write id: "')[2].removesuffix('"')
    assert advice == "{list_id}-x-{id}"
    assert problems(tmp_path, client("acme", f"{one}, {audience('b', '5f00d1e3c4', advice)}")) == ()


def test_a_list_that_a_client_declares_twice_is_refused(tmp_path: Path) -> None:
    [told] = problems(tmp_path, client("acme", f"{audience('a', '1a2d7ebf82')}, {audience('b', '1a2d7ebf82')}"))
    assert "clients.acme.audiences.b.list_id: a has the same list" in told


def test_clients_may_share_one_account_at_the_target(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        client("acme", audience("a", "1a2d7ebf82"), target=SHARED),
        client("globex", audience("b", "5f00d1e3c4"), target=SHARED),
    )
    assert told == ()


def test_clients_of_separate_target_accounts_may_share_ids(tmp_path: Path) -> None:
    both = client("acme", audience("a", "1a2d7ebf82")), client("globex", audience("a", "1a2d7ebf82"))
    assert problems(tmp_path, *both) == ()


@pytest.mark.parametrize("more", ["", ", enabled: false"], ids=["enabled", "disabled"])
def test_client_names_that_differ_only_by_a_dash_are_refused(tmp_path: Path, more: str) -> None:
    """Both are shown."""
    told = problems(
        tmp_path,
        client("acme-eu", audience("a", "1a2d7ebf82")),
        client("acme_eu", audience("a", "1a2d7ebf82"), target=SHARED, more=more),
    )
    assert len(told) == 1
    assert "acme_eu and acme-eu" in told[0]


def test_audience_names_that_differ_only_by_a_dash_are_refused(tmp_path: Path) -> None:
    both = f"{audience('a-b', '1a2d7ebf82')}, {audience('a_b', '5f00d1e3c4', '{list_id}-{id}')}"
    [told] = problems(tmp_path, client("acme", both))
    assert "clients.acme.audiences.a_b: a_b and a-b" in told


def test_clients_on_one_account_must_ask_the_same_url(tmp_path: Path) -> None:
    shared = ", account: big"
    other = ", account: big, base_url: https://us6.api.mailchimp.com/3.0"
    told = problems(
        tmp_path,
        client("acme", audience("a", "1a2d7ebf82"), mailchimp=shared),
        client("globex", audience("a", "5f00d1e3c4"), mailchimp=other),
    )
    assert len(told) == 1
    assert "clients.globex.mailchimp.base_url: acme shares the account big" in told[0]


def test_clients_on_one_account_may_differ_in_keys_and_limits(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        client("acme", audience("a", "1a2d7ebf82"), mailchimp=", account: big, max_connections: 3"),
        client("globex", audience("a", "5f00d1e3c4"), mailchimp=", account: big"),
    )
    assert told == ()


def test_a_disabled_client_conflicts_with_nobody(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        client("acme", audience("a", "1a2d7ebf82"), target=SHARED, more=", enabled: false"),
        client("globex", audience("b", "5f00d1e3c4"), target=SHARED),
    )
    assert told == ()
