"""Targets in the clients file: declared once for many clients, or by one, and all mistakes reported together."""

from pathlib import Path
from textwrap import indent

import pytest

from importer_pipeline.clients.client import fingerprint
from importer_pipeline.clients.clients_file import ClientsFile, read_clients_file
from importer_pipeline.clients.collection import Clients, load_clients
from importer_pipeline.target.declaration import Declaration, Framing, PythonEntry

CRM = """
url: https://api.example.com
api_key: {env: CRM_KEY}
secrets: {tenant: {env: CRM_TENANT}}
request:
  path: /v1/contacts?upsert=true
  headers: {Authorization: "Bearer {api_key}", X-Tenant: "{tenant}"}
  body: {contacts: "{records}", mode: upsert, dry: =false}
  batch_size: 100
  gzip: true
  idempotency_key: Idempotency-Key
record_id: "{email_address | lower}"
record:
  email: "{email_address | lower}"
  properties: {city: merge_fields.CITY}
response:
  accepted: result.count
  refused: {at: errors, id: email, reason: message}
  statuses: {409: retry}
limits: {posts_at_once: 2, posts_per_second: 0.5}
"""
SEED = "{url: https://api.example.com, api_key: {env: ACME}}"


def written(folder: Path, *, targets: str = CRM, target: str = "crm", record: str = "", more: str = "") -> ClientsFile:
    path = folder / "clients.yaml"
    text = f"targets:\n  crm:\n{indent(targets.strip(), '    ')}\nclients:\n" if targets else "clients:\n"
    for name, its_target in (("acme", target), *([("beta", more)] if more else [])):
        text += f"  {name}:\n    mailchimp: {{api_key: {{env: {name.upper()}}}}}\n    target: {its_target}\n"
        text += "    audiences:\n      news:\n        list_id: 1a2d7ebf82\n"
        text += f"        record: {record}\n" if record else ""
    path.write_text(text, encoding="utf-8")
    return read_clients_file(path)


def prints(file: ClientsFile) -> list[str]:
    assert file.problems == ()
    return [fingerprint(client, client.audiences[0]) for client in file.clients]


def test_a_named_target_is_shared_with_its_limits(tmp_path: Path) -> None:
    acme, beta = written(tmp_path, more="{use: crm, api_key: {env: BETA_CRM}}").clients
    assert (acme.target.account, beta.target.account) == ("targets.crm", None)
    assert (acme.target.url, acme.target.batch_records) == ("https://api.example.com", 100)
    assert [field for field, _ in acme.target.references] == ["api_key", "secrets.tenant"]
    assert beta.target.api_key is not None
    assert beta.target.api_key.env == "BETA_CRM"
    declaration = acme.target.declaration()
    assert isinstance(declaration, Declaration)
    assert declaration.request.body.framing is Framing.OBJECT
    assert declaration.request.body.before == b'{"contacts":'
    assert declaration.request.body.behind == b',"mode":"upsert","dry":false}'
    assert declaration.answer.accepted == ("result", "count")


def test_without_a_declaration_a_target_is_the_seeds(tmp_path: Path) -> None:
    (acme,) = written(tmp_path, targets="", target=SEED).clients
    assert acme.target.declaration() is None
    assert acme.target.batch_records is None
    assert acme.target.normal_form() == []


def test_an_audience_changes_fields_of_the_shared_record(tmp_path: Path) -> None:
    (acme,) = written(tmp_path, record="{properties: {city: merge_fields.ORT}}").clients
    sources = acme.audiences[0].record_mapping().sources
    assert [(source.key, source.text) for source in sources] == [
        ("email", "{email_address | lower}"),
        ("properties.city", "{merge_fields.ORT}"),
    ]


CHANGES = {
    "another path": (CRM.replace("/v1/contacts?", "/v2/contacts?"), True),
    "another method": (CRM.replace("request:", "request:\n  method: PUT"), True),
    "another object around it": (CRM.replace("mode: upsert", "mode: insert"), True),
    "another field": (CRM.replace("merge_fields.CITY", "merge_fields.ORT"), True),
    "another function": (CRM.replace('email: "{email_address | lower}"', 'email: "{email_address | trim}"'), True),
    "another id": (CRM.replace('record_id: "{email_address | lower}"', "record_id: id"), True),
    "other limits": (CRM.replace("0.5", "5"), False),
    "a rotated key": (CRM.replace("CRM_KEY", "OTHER"), False),
    "a smaller batch": (CRM.replace("100", "10"), False),
    "another spelling": (CRM.replace("city: merge_fields.CITY", 'city: "{ merge_fields.CITY }"'), False),
}


@pytest.mark.parametrize(("changed", "matters"), CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_has_what_changes_the_records(tmp_path: Path, changed: str, matters: bool) -> None:
    assert (prints(written(tmp_path)) != prints(written(tmp_path, targets=changed))) is matters


def test_all_mistakes_of_a_declaration_are_reported_at_once(tmp_path: Path) -> None:
    faulty = """
url: api.example.com
api_key: {env: CRM_KEY}
request:
  method: GET
  path: v1/contacts
  headers: {Authorization: "Bearer 0123456789abcdef0123456789abcdef", "X Y": a}
  body: {contacts: []}
  batch_size: 0
  gzips: true
record:
  email: emailaddress
  properties: {city: "{merge_fields.CITY | upper}"}
response:
  accepted: a..b
  refused: {at: errors}
  statuses: {40x: retry, 409: later}
limits: {posts_per_second: 0}
"""
    file = written(tmp_path, targets=faulty)
    places = [problem.split(": ")[1] for problem in file.problems]
    assert places == [
        "targets.crm.url",
        "targets.crm.request.method",
        "targets.crm.request.path",
        "targets.crm.request.headers.Authorization",
        "targets.crm.request.headers.X Y",
        "targets.crm.request.body",
        "targets.crm.request.batch_size",
        "targets.crm.request.gzips",
        "targets.crm.record.email",
        "targets.crm.record.properties.city",
        "targets.crm.response.accepted",
        "targets.crm.response.refused",
        "targets.crm.response.statuses.40x",
        "targets.crm.response.statuses.409",
        "targets.crm.limits.posts_per_second",
    ]
    assert [int(problem.split("line ")[1].split(":")[0]) for problem in file.problems] == [
        *(3, 6, 7, 8, 8, 9, 10, 11, 13, 14, 16, 17, 18, 18, 19)
    ]
    assert "did you mean gzip?" in file.problems[7]
    assert not any("0123456789" in problem for problem in file.problems)
    assert file.clients == ()


@pytest.mark.parametrize(
    ("targets", "target", "record", "place", "said"),
    [
        pytest.param(CRM, "crn", "", "clients.acme.target", "did you mean crm?", id="an unknown name"),
        pytest.param("", "crm", "", "clients.acme.target", "declare it under targets", id="no targets at all"),
        pytest.param(CRM, "{use: crm, key: a}", "", "clients.acme.target.key", "did you mean", id="an unknown key"),
        pytest.param(
            CRM.replace("api_key: {env: CRM_KEY}", ""), "crm", "", "clients.acme.target", "use: crm, api_key", id="no key"
        ),
        pytest.param(CRM, "crm", "{x: emailaddress}", "clients.acme.audiences.news.record.x", "did you", id="a path"),
        pytest.param(
            CRM.replace('X-Tenant: "{tenant}"', 'X-Tenant: "{access_token}"'), "crm", "",
            "targets.crm.request.headers.X-Tenant", "oauth", id="no token",
        ),
        pytest.param(
            CRM.replace('{contacts: "{records}", mode: upsert, dry: =false}', "one"), "crm", "",
            "targets.crm.check", "path: /v1/account", id="nothing to check with",
        ),
        pytest.param(
            CRM.replace('record_id: "{email_address | lower}"', "record_id: =5"), "crm", "",
            "targets.crm.record_id", "email_address | lower", id="one id for all",
        ),
        pytest.param("", "{url: https://a.example.com}", "", "clients.acme.target.api_key", "api_key: {env", id="key"),
    ],
)  # fmt: skip
def test_a_mistake_says_where_it_is_and_what_to_write(
    tmp_path: Path, targets: str, target: str, record: str, place: str, said: str
) -> None:
    (problem,) = written(tmp_path, targets=targets, target=target, record=record).problems
    assert f": {place}: " in problem
    assert said in problem.rpartition(f"{place}: ")[2]


def test_audiences_of_one_declared_target_need_ids_of_their_own(tmp_path: Path) -> None:
    file = written(tmp_path)
    path = tmp_path / "clients.yaml"
    more = "      more:\n        list_id: 2a2d7ebf82\n"
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    (problem,) = read_clients_file(path).problems
    assert file.problems == ()
    assert 'write record_id of the target: "{list_id}-{email_address}"' in problem


def test_a_target_in_python_has_options_and_secrets_but_no_url(tmp_path: Path) -> None:
    python = "{python: acme.crm:Target, options: {table: contacts}, secrets: {dsn: {env: DSN}}, batch_size: 50}"
    (acme,) = written(tmp_path, targets="", target=python).clients
    assert acme.target.declaration() == PythonEntry(entry_point="acme.crm:Target", options={"table": "contacts"})
    assert (acme.target.url, acme.target.batch_records, acme.target.posts_at_once) == ("python:acme.crm:Target", 50, 1)
    faulty = "{python: crm, url: https://a.example.com, check: {path: /a}}"
    problems = written(tmp_path, targets="", target=faulty).problems
    assert {problem.split(": ")[1].rpartition(".")[2] for problem in problems} == {"python", "url", "check"}


def test_a_token_takes_the_place_of_the_key(tmp_path: Path) -> None:
    oauth = "{token_url: https://login.example.com/t, client_id: {env: ID}, client_secret: {env: SECRET}}"
    (acme,) = written(tmp_path, targets="", target=f"{{url: https://a.example.com, oauth: {oauth}}}").clients
    declaration = acme.target.declaration()
    assert isinstance(declaration, Declaration)
    assert declaration.request.headers == {"Authorization": "Bearer {access_token}"}
    assert [field for field, _ in acme.target.references] == ["oauth.client_id", "oauth.client_secret"]


def in_folder(folder: Path, **contents: str) -> Clients:
    """Load a folder of files."""
    for name, content in contents.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return load_clients(folder)


def client_of(name: str, target: str) -> str:
    """Return the content of a file with one client."""
    return (
        f"clients:\n  {name}:\n    mailchimp: {{api_key: {{env: {name.upper()}}}}}\n    target: {target}\n"
        "    audiences: {news: {list_id: 1a2d7ebf82}}\n"
    )


ONLY_TARGETS = f"targets:\n  crm:\n{indent(CRM.strip(), '    ')}\n"


def test_the_clients_of_all_files_of_a_folder_share_targets(tmp_path: Path) -> None:
    own = "{use: crm, api_key: {env: BETA_CRM}}"
    loaded = in_folder(tmp_path, z_targets=ONLY_TARGETS, acme=client_of("acme", "crm"), beta=client_of("beta", own))
    acme, beta = loaded.clients
    assert loaded.problems == ()
    assert (acme.target.account, beta.target.account) == ("targets.crm", None)
    assert acme.target.declaration() == beta.target.declaration()
    assert acme.target.url == "https://api.example.com"


def test_a_file_alone_has_to_declare_clients(tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text(ONLY_TARGETS, encoding="utf-8")
    (problem,) = read_clients_file(path).problems
    assert "no clients are declared here" in problem


def test_a_target_with_a_problem_is_named_to_its_users(tmp_path: Path) -> None:
    broken = ONLY_TARGETS.replace("https://", "")
    loaded = in_folder(tmp_path, targets=broken, acme=client_of("acme", "crm"), beta=client_of("beta", SEED))
    assert [client.name for client in loaded.clients] == ["beta"]
    of_acme, of_targets = loaded.problems
    assert of_acme.endswith(
        f"acme.yaml, line 4: clients.acme.target: the target crm has a problem in {tmp_path}/targets.yaml: correct it there"
    )
    assert "targets.yaml, line 3: targets.crm.url: " in of_targets


def test_a_target_of_two_files_is_that_of_the_first(tmp_path: Path) -> None:
    other = ONLY_TARGETS.replace("api.example.com", "other.example.com") + client_of("beta", "crm")
    loaded = in_folder(tmp_path, a=ONLY_TARGETS + client_of("acme", "crm"), b=other, c=client_of("gamma", "crm"))
    assert [client.target.url for client in loaded.clients] == ["https://api.example.com"] * 2
    (problem,) = loaded.problems
    assert f"b.yaml, line 2: targets.crm: the target crm is already declared in {tmp_path}/a.yaml" in problem


def test_an_unknown_target_suggests_one_of_another_file(tmp_path: Path) -> None:
    (problem,) = in_folder(tmp_path, a=ONLY_TARGETS, b=client_of("acme", "cmr")).problems
    assert problem.endswith('clients.acme.target: there is no target "cmr": did you mean crm?')
