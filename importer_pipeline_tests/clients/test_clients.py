"""The clients that are declared: found, loaded from a file or a folder, selected for a run."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from importer_pipeline.clients.clients_file import SMALLEST_FILE
from importer_pipeline.clients.collection import Clients, clients_from_environment, default_clients_path, load_clients
from importer_pipeline.errors import ClientsFileInvalid, SelectionUnknown

EXAMPLE = Path(__file__).parents[2] / "clients.example.yaml"


def declared(name: str, *, audiences: tuple[str, ...] = ("newsletter",), more: str = "", account: str = "") -> str:
    """Return the YAML of one client below `clients:`."""
    own = name.upper().replace("-", "_")
    lists = "".join(
        f'      {audience}: {{list_id: {index:010}, record: {{id: "{{list_id}}-{{id}}"}}}}\n'
        for index, audience in enumerate(audiences)
    )
    return (
        f"  {name}:\n    mailchimp: {{api_key: {{env: {own}_KEY}}{account}}}\n"
        f"    target: {{url: https://api.example.com, api_key: {{env: {own}_TARGET}}}}\n    audiences:\n{lists}{more}"
    )


def file(path: Path, *clients: str) -> Path:
    path.write_text("clients:\n" + "".join(clients))
    return path


def labels(clients: Clients, *, of_clients: tuple[str, ...] = (), of_audiences: tuple[str, ...] = ()) -> list[str]:
    return [f"{client.name}/{audience.name}" for client, audience in clients.select(of_clients, of_audiences)]


def names(clients: Clients) -> list[str]:
    return [client.name for client in clients.clients]


def test_a_file_is_loaded_in_its_order_without_the_disabled(tmp_path: Path) -> None:
    disabled = declared("hooli", more="    enabled: false\n")
    path = file(tmp_path / "any.txt", declared("globex"), disabled, declared("acme"))
    assert (names(load_clients(path)), load_clients(path).problems) == (["globex", "acme"], ())


def test_a_broken_file_raises_with_all_its_problems_a_line_each(tmp_path: Path) -> None:
    path = file(tmp_path / "clients.yaml", declared("Acme"), "  globex: 5\n", declared("hooli"))
    with pytest.raises(ClientsFileInvalid) as caught:
        load_clients(path)
    assert len(caught.value.problems) == 2
    assert str(caught.value).splitlines() == [f"the clients file {path} has 2 problems", *caught.value.problems]


def test_a_path_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ClientsFileInvalid, match="IMPORTER_CLIENTS") as caught:
        load_clients(tmp_path / "clients.yaml")
    assert str(tmp_path / "clients.yaml") in str(caught.value)


def test_a_folder_is_loaded_by_name_without_what_lies_deeper(tmp_path: Path) -> None:
    file(tmp_path / "b.yaml", declared("acme"))
    file(tmp_path / "a.yml", declared("globex"))
    file(tmp_path / "c.txt", "no YAML: [")
    (tmp_path / "old").mkdir()
    file(tmp_path / "old" / "d.yaml", declared("hooli"))
    clients = load_clients(tmp_path)
    assert (names(clients), clients.problems) == (["globex", "acme"], ())


def test_a_broken_file_of_a_folder_leaves_the_others_be(tmp_path: Path) -> None:
    file(tmp_path / "a.yaml", declared("acme", more="    oner: x\n"))
    file(tmp_path / "b.yaml", declared("globex"))
    clients = load_clients(tmp_path)
    assert names(clients) == ["globex"]
    with pytest.raises(ClientsFileInvalid) as caught:
        load_clients(tmp_path / "a.yaml")
    assert clients.problems == caught.value.problems


@pytest.mark.parametrize(
    ("later", "words"),
    [
        pytest.param(declared("acme-eu"), "is already declared in", id="the same name"),
        pytest.param(declared("acme_eu"), "acme-eu, which is the same name", id="the same but for a dash"),
        pytest.param(
            declared("acme-eu", more="    enabled: false\n"), "is already declared in", id="the same name, disabled"
        ),
        pytest.param(
            declared("hooli", account=", account: acme-eu, base_url: http://127.0.0.1:1/3.0"),
            "shares the account acme-eu",
            id="one account at two URLs",
        ),
    ],
)
def test_a_client_in_conflict_with_an_earlier_file_is_left_out(tmp_path: Path, later: str, words: str) -> None:
    file(tmp_path / "a.yaml", declared("acme-eu"))
    file(tmp_path / "b.yaml", later, declared("globex"))
    clients = load_clients(tmp_path)
    assert names(clients) == ["acme-eu", "globex"]
    assert len(clients.problems) == 1
    assert words in clients.problems[0]
    assert clients.problems[0].startswith(f"{tmp_path / 'b.yaml'}: clients.")


def test_a_name_in_two_files_is_reported_with_both(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        file(tmp_path / name, declared("acme"))
    [problem] = load_clients(tmp_path).problems
    assert str(tmp_path / "a.yaml") in problem
    assert str(tmp_path / "b.yaml") in problem


def test_a_disabled_client_of_an_earlier_file_keeps_its_name(tmp_path: Path) -> None:
    file(tmp_path / "a.yaml", declared("acme", more="    enabled: false\n"))
    file(tmp_path / "b.yaml", declared("acme"))
    clients = load_clients(tmp_path)
    assert (names(clients), len(clients.problems)) == ([], 1)


def test_an_empty_folder_is_a_problem_and_no_error(tmp_path: Path) -> None:
    clients = load_clients(tmp_path)
    assert clients.clients == ()
    assert str(tmp_path) in clients.problems[0]


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path / "ours.yaml", declared("acme"))
    monkeypatch.setenv("IMPORTER_CLIENTS", str(path))
    assert default_clients_path() == path
    assert names(clients_from_environment()) == ["acme"]


def test_the_file_in_the_working_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPORTER_CLIENTS", raising=False)
    monkeypatch.chdir(tmp_path)
    file(tmp_path / "clients.yaml", declared("acme"))
    assert names(clients_from_environment()) == ["acme"]


@pytest.mark.parametrize("variable", [None, ""], ids=["not set", "empty"])
def test_a_fresh_checkout_has_no_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    """The problem says how to add one."""
    monkeypatch.delenv("IMPORTER_CLIENTS", raising=False)
    if variable is not None:
        monkeypatch.setenv("IMPORTER_CLIENTS", variable)
    monkeypatch.chdir(tmp_path)
    clients = clients_from_environment()
    assert clients.clients == ()
    assert str(tmp_path / "clients.yaml") in clients.problems[0]
    assert SMALLEST_FILE in clients.problems[0]


def test_a_file_that_the_environment_names_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORTER_CLIENTS", str(tmp_path / "absent.yaml"))
    with pytest.raises(ClientsFileInvalid, match="no clients file"):
        clients_from_environment()


@pytest.fixture
def three(tmp_path: Path) -> Clients:
    """Return two clients with three audiences, and one that is disabled."""
    acme = declared("acme", audiences=("news", "shop"))
    return load_clients(
        file(tmp_path / "c.yaml", acme, declared("globex"), declared("hooli", more="    enabled: no\n"))
    )


@pytest.mark.parametrize(
    ("of_clients", "of_audiences", "selected"),
    [
        pytest.param((), (), ["acme/news", "acme/shop", "globex/newsletter"], id="nothing named: all"),
        pytest.param(("acme",), (), ["acme/news", "acme/shop"], id="a client"),
        pytest.param((), ("acme/shop",), ["acme/shop"], id="an audience"),
        pytest.param(("globex",), ("acme/shop",), ["acme/shop", "globex/newsletter"], id="both"),
        pytest.param(("acme", "acme"), ("acme/shop",), ["acme/news", "acme/shop"], id="twice"),
    ],
)
def test_a_run_takes_what_its_config_names(
    three: Clients, of_clients: tuple[str, ...], of_audiences: tuple[str, ...], selected: list[str]
) -> None:
    assert labels(three, of_clients=of_clients, of_audiences=of_audiences) == selected


@pytest.mark.parametrize(
    ("of_clients", "of_audiences", "words"),
    [
        pytest.param(("acmee",), (), "did you mean acme?", id="misspelt"),
        pytest.param(("hooli",), (), "enabled are acme, globex", id="disabled"),
        pytest.param(("acme", "umbrella"), (), "no client umbrella", id="one of two"),
        pytest.param((), ("acme/new",), "did you mean acme/news", id="an audience misspelt"),
        pytest.param((), ("news",), "enabled are acme/news", id="an audience without its client"),
    ],
)
def test_an_undeclared_name_is_reported_with_suggestions(
    three: Clients, of_clients: tuple[str, ...], of_audiences: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SelectionUnknown) as caught:
        three.select(of_clients, of_audiences)
    assert words in str(caught.value)


def test_of_many_known_names_ten_are_listed(tmp_path: Path) -> None:
    clients = load_clients(file(tmp_path / "c.yaml", *(declared(f"client-{number}") for number in range(12))))
    with pytest.raises(SelectionUnknown, match="client-9 and 2 more"):
        clients.select(["zzz"], [])


def test_the_lowest_connection_limit_of_an_account_applies(tmp_path: Path) -> None:
    one = declared("acme", account=", account: big, max_connections: 7")
    two = declared("globex", account=", account: big, max_connections: 4")
    disabled = declared("hooli", account=", account: big, max_connections: 1", more="    enabled: false\n")
    clients = load_clients(file(tmp_path / "c.yaml", one, two, disabled))
    assert clients.max_connections() == {"big": 4}


def test_the_example_is_a_valid_file() -> None:
    clients = load_clients(EXAMPLE)
    assert clients.problems == ()
    assert clients.clients


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "it is a link that leads nowhere"),
    "a looping link": (lambda path: path.symlink_to(path), "it is a link that leads to itself"),
    "a pipe": (os.mkfifo, "it is a named pipe, not a file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
    "a socket": (bind, "it is a socket, not a file"),
    "a folder": (lambda path: path.mkdir(), "it is a folder"),
}


@pytest.mark.parametrize(("make", "why"), NO_FILES.values(), ids=NO_FILES)
def test_what_is_called_like_a_file_and_is_none_is_reported(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    file(tmp_path / "a.yaml", declared("acme"))
    make(tmp_path / "b.yaml")
    clients = load_clients(tmp_path)
    assert names(clients) == ["acme"]
    (problem,) = clients.problems
    assert problem.startswith(f"{tmp_path / 'b.yaml'}: it can't be read ({why}): put a file there")


@pytest.mark.parametrize("kind", [kind for kind in NO_FILES if kind != "a folder"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    make, why = NO_FILES[kind]
    make(tmp_path / "clients.yaml")
    with pytest.raises(ClientsFileInvalid) as caught:
        load_clients(tmp_path / "clients.yaml")
    assert why in str(caught.value)


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: a link into a folder that a link leads to."""
    (tmp_path / "..2026").mkdir()
    file(tmp_path / "..2026" / "a.yaml", declared("acme"))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert (names(load_clients(tmp_path)), load_clients(tmp_path).problems) == (["acme"], ())


@pytest.mark.parametrize(
    "name", [b"\x1b[31m.yaml", b"a\nb: all is well.yaml", b"\xff\xfe.yaml", "\u202e.yaml".encode()]
)
def test_names_of_files_are_shown_escaped(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("clients: 5\n")
    (problem,) = load_clients(tmp_path).problems
    assert problem.partition(": clients: ")[0].isprintable()


@pytest.mark.parametrize("key", ["a\\eb", "a\\nclients.yaml: all is well", "\\u202Eacme", "\\0"])
@pytest.mark.parametrize("text", ['clients: {{"{}": 5}}', 'clients: {{}}\n"{}": 5', 'clients: {{acme: {{"{}": 5}}}}'])
def test_keys_of_files_are_shown_escaped(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "a.yaml").write_text(text.format(key))
    problems = load_clients(tmp_path).problems
    assert all(line.isprintable() for problem in problems for line in problem.split("\n"))
    assert not any("\nclients.yaml: all is well" in problem for problem in problems)


def test_names_that_a_run_asks_for_are_shown_escaped(tmp_path: Path) -> None:
    clients = load_clients(file(tmp_path / "a.yaml", declared("acme")))
    with pytest.raises(SelectionUnknown) as caught:
        clients.select(["acme\n\x1b[32mall is well"], [])
    assert r"no client acme\n\x1b[32mall is well is declared" in str(caught.value)
