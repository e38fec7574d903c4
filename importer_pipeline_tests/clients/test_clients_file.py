"""One clients file: all problems are reported together, with place and remedy, and no secret is shown."""

from pathlib import Path

import pytest

from importer_pipeline.clients.clients_file import SMALLEST_FILE, ClientsFile, read_clients_file

KEY = "0123456789abcdef0123456789abcdef-us6"
MAILCHIMP = "{api_key: {env: ACME_MAILCHIMP_API_KEY}}"
TARGET = "{url: https://api.example.com, api_key: {env: ACME_TARGET_API_KEY}}"
AUDIENCES = "{newsletter: {list_id: 1a2d7ebf82}}"


def reading(folder: Path, text: str) -> ClientsFile:
    path = folder / "clients.yaml"
    path.write_text(text, encoding="utf-8")
    return read_clients_file(path)


def acme(*, mailchimp: str = MAILCHIMP, target: str = TARGET, audiences: str = AUDIENCES, more: str = "") -> str:
    """Return a file with one client, whose sections are given as YAML on one line each."""
    return f"clients:\n  acme:\n    mailchimp: {mailchimp}\n    target: {target}\n    audiences: {audiences}\n{more}"


def record(mapping: str) -> str:
    return f"{{newsletter: {{list_id: 1a2d7ebf82, record: {mapping}}}}}"


def test_the_smallest_file_declares_a_client(tmp_path: Path) -> None:
    file = reading(tmp_path, SMALLEST_FILE)
    assert file.problems == ()
    [client] = file.clients
    assert (client.name, client.enabled, client.owner, client.account) == ("acme", True, None, "acme")
    assert (client.mailchimp.max_connections, client.mailchimp.base_url) == (10, None)
    [audience] = client.audiences
    assert (audience.name, audience.list_id, audience.record.id) == ("newsletter", "1a2d7ebf82", "id")


def test_every_field_is_read(tmp_path: Path) -> None:
    mailchimp = "{access_token: {file: token}, base_url: http://127.0.0.1:8900/3.0/, max_connections: 4, account: big}"
    audiences = record(
        '{id: "{list_id}-{id}", firstname: full_name, lastname: "", email: email_address, status: status}'
    )
    file = reading(
        tmp_path, acme(mailchimp=mailchimp, audiences=audiences, more="    owner: team:crm\n    enabled: no\n")
    )
    assert file.problems == ()
    [client] = file.clients
    assert (client.owner, client.enabled, client.account) == ("team:crm", False, "big")
    assert (client.mailchimp.base_url, client.mailchimp.max_connections) == ("http://127.0.0.1:8900/3.0", 4)
    assert client.mailchimp.access_token is not None
    assert client.mailchimp.access_token.file == tmp_path / "token"
    assert client.audiences[0].record.lastname == ""


def test_a_list_id_and_a_name_of_digits_need_no_quotes(tmp_path: Path) -> None:
    file = reading(tmp_path, acme(audiences="{2026: {list_id: 0123456701}}"))
    assert file.problems == ()
    assert (file.clients[0].audiences[0].name, file.clients[0].audiences[0].list_id) == ("2026", "0123456701")


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        pytest.param("", "", "start from this:\nclients:", id="an empty file"),
        pytest.param("clients:\n", "", "start from this:\nclients:", id="no clients"),
        pytest.param("- a\n", "", "start from this:\nclients:", id="a list"),
        pytest.param("clients: [a]\n", "clients", "found a list", id="a list of clients"),
        pytest.param("clients:\n  acme: x\n", "clients.acme", "found a text", id="a text for a client"),
        pytest.param("clients:\n  acme:\n", "clients.acme", "found nothing", id="nothing for a client"),
        pytest.param(acme() + "client: x\n", "client", "did you mean clients?", id="unknown at the top"),
        pytest.param(
            acme(more="    taget: x\n"), "clients.acme.taget", "did you mean target?", id="unknown in a client"
        ),
        pytest.param(acme(more="    name: x\n"), "clients.acme.name", "unknown key", id="a client's name inside"),
        pytest.param(acme(more="    enabled: maybe\n"), "clients.acme.enabled", "true or false", id="enabled"),
        pytest.param(acme(more="    owner: crm\n"), "clients.acme.owner", "team:crm", id="an owner"),
        pytest.param(acme(mailchimp="{}"), "clients.acme.mailchimp", "exactly one of api_key and access", id="no key"),
        pytest.param(
            acme(mailchimp="{api_key: {env: A}, access_token: {env: B}}"),
            "clients.acme.mailchimp",
            "exactly one of api_key and access_token",
            id="both keys",
        ),
        pytest.param(acme(mailchimp=""), "clients.acme.mailchimp", "found nothing", id="an empty section"),
        pytest.param(acme(mailchimp=f'"{KEY}"'), "clients.acme.mailchimp", "found a text", id="a key for a section"),
        pytest.param(acme(mailchimp=f"{{api_key: {KEY}}}"), "clients.acme.mailchimp.api_key", "{env:", id="a key"),
        pytest.param(
            acme(target=f"{{url: https://a.example, api_key: {KEY}}}"),
            "clients.acme.target.api_key",
            "{file:",
            id="a target's key",
        ),
        pytest.param(acme(target="{api_key: {env: A}}"), "clients.acme.target.url", "is missing", id="no url"),
        pytest.param(
            acme(audiences=record("{id: {id}}")),
            "clients.acme.audiences.newsletter.record.id",
            "a value that begins with a brace needs quotes: write id: id",
            id="a template without quotes",
        ),
        pytest.param(
            acme(mailchimp="{api_key: {env: A}, max_connections: 11}"),
            "clients.acme.mailchimp.max_connections",
            "at most 10",
            id="too many connections",
        ),
        pytest.param(
            acme(mailchimp="{api_key: {env: A}, max_connections: 0}"),
            "clients.acme.mailchimp.max_connections",
            "at least 1",
            id="no connection",
        ),
        pytest.param(
            acme(mailchimp="{api_key: {env: A}, max_connections: ten}"),
            "clients.acme.mailchimp.max_connections",
            "a whole number",
            id="connections in words",
        ),
        pytest.param(
            acme(mailchimp="{api_key: {env: A}, account: Big One}"),
            "clients.acme.mailchimp.account",
            "write big-one",
            id="an account's name",
        ),
        pytest.param(
            acme(mailchimp=f"{{api_key: {{env: A}}, account: {KEY}}}"),
            "clients.acme.mailchimp.account",
            "looks like a key",
            id="a key for an account's name",
        ),
        pytest.param(
            acme(mailchimp="{api_key: {env: A}, base_url: https://us6.api.mailchimp.com}"),
            "clients.acme.mailchimp.base_url",
            "write https://us6.api.mailchimp.com/3.0",
            id="mailchimp without its path",
        ),
        pytest.param(acme(audiences=""), "clients.acme.audiences", "is missing", id="no audiences"),
        pytest.param(acme(audiences="[a]"), "clients.acme.audiences", "found a list", id="a list of audiences"),
        pytest.param(
            acme(audiences="{a: 1a2d7ebf82}"), "clients.acme.audiences.a", "found a text", id="a bare list id"
        ),
        pytest.param(acme(audiences="{a: {}}"), "clients.acme.audiences.a.list_id", "is missing", id="no list id"),
        pytest.param(
            acme(audiences=f"{{a: {{list_id: {KEY}}}}}"),
            "clients.acme.audiences.a.list_id",
            "Audience ID",
            id="a list id",
        ),
        pytest.param(
            acme(audiences=record("{email: mail}")),
            "clients.acme.audiences.newsletter.record.email",
            'no "mail"',
            id="an unknown path",
        ),
        pytest.param(
            acme(audiences=record("{mail: email_address}")),
            "clients.acme.audiences.newsletter.record.mail",
            "did you mean email?",
            id="an unknown value of a record",
        ),
        pytest.param(
            acme(audiences=record("{lastname: }")),
            "clients.acme.audiences.newsletter.record.lastname",
            "found nothing",
            id="nothing for a path",
        ),
        pytest.param(
            acme(audiences=record('{id: ""}')), "clients.acme.audiences.newsletter.record.id", "needs an id", id="no id"
        ),
        pytest.param(
            acme(audiences=record('{id: "{list_id}-{status}"}')),
            "clients.acme.audiences.newsletter.record.id",
            "overwrite each other",
            id="an id of all",
        ),
        pytest.param(acme(more="  acme:\n    enabled: no\n"), "clients.acme", "appears twice", id="a client twice"),
    ],
)
def test_a_problem_is_reported_with_its_place_and_remedy(tmp_path: Path, text: str, where: str, words: str) -> None:
    problems = reading(tmp_path, text).problems
    told = [problem for problem in problems if f": {where}: " in problem] if where else list(problems)
    assert any(words in problem for problem in told), problems
    assert all(problem.startswith(str(tmp_path / "clients.yaml")) for problem in problems)
    assert KEY[:16] not in "".join(problems)


@pytest.mark.parametrize("name", ["Acme", "acme__eu", "-acme", "acme_", "ac.me", "ac me", "a/b", "ä", "a-_b", "x" * 64])
def test_a_name_that_dagster_or_a_path_could_not_bear_is_refused(tmp_path: Path, name: str) -> None:
    problems = reading(tmp_path, acme().replace("  acme:", f'  "{name}":')).problems
    assert len(problems) == 1
    assert "lower-case letters and digits" in problems[0]


@pytest.mark.parametrize("name", ["a", "acme", "acme-eu_2", "2026", "x" * 63, "no"])
def test_a_plain_name_is_accepted(tmp_path: Path, name: str) -> None:
    file = reading(tmp_path, acme().replace("  acme:", f"  {name}:"))
    assert (file.problems, [client.name for client in file.clients]) == ((), [name])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://api.example.com",
        "api.example.com",
        "https://",
        "https://user:sesame@api.example.com",
        "https://api.example.com?key=sesame",
        "https://api.example.com/#sesame",
        "https://api.example.com:port",
        "https://[api.example.com",
        "https://api.example.com/a b",
    ],
)
def test_an_invalid_target_url_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    problems = reading(tmp_path, acme(target=f'{{url: "{url}", api_key: {{env: A}}}}')).problems
    assert len(problems) == 1
    assert "clients.acme.target.url" in problems[0]
    assert "sesame" not in problems[0]


def test_all_problems_are_reported_together_in_line_order(tmp_path: Path) -> None:
    text = acme(
        mailchimp="{max_connections: 50, acount: x}",
        target="{url: x}",
        audiences="{A: {list_id: 1a2d7ebf82}, b: {list_id: 1a2d7ebf82}, c-d: {list_id: X}, c_d: {}}",
        more="    owner: x\n  globex: 5\n",
    )
    problems = reading(tmp_path, text).problems
    places = [problem.split(": ")[1] for problem in problems]
    assert sorted(place.removeprefix("clients.acme.") for place in places) == [
        "audiences.A",
        "audiences.c-d.list_id",
        "audiences.c_d",
        "audiences.c_d.list_id",
        "clients.globex",
        "mailchimp",
        "mailchimp.acount",
        "mailchimp.max_connections",
        "owner",
        "target.api_key",
        "target.url",
    ]
    lines = [int(problem.split("line ")[1].split(":")[0]) for problem in problems]
    assert lines == sorted(lines)


def test_a_disabled_client_is_checked_too(tmp_path: Path) -> None:
    problems = reading(tmp_path, acme(target="{}", more="    enabled: false\n")).problems
    assert any("clients.acme.target.url" in problem for problem in problems)


def test_an_unreadable_file_is_one_problem_with_its_line(tmp_path: Path) -> None:
    [problem] = reading(tmp_path, "clients:\n  acme: [\n").problems
    assert problem.startswith(f"{tmp_path / 'clients.yaml'}, line 3: not YAML")


def test_a_key_in_the_place_of_a_key_is_not_shown(tmp_path: Path) -> None:
    problems = reading(tmp_path, acme(mailchimp=f"{{{KEY}: x}}")).problems
    assert problems
    assert KEY[:16] not in "".join(problems)
