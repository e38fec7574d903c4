"""What `importer check` prints where no answer comes: addresses, proxies and certificates that can't be used."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from importer_pipeline.http.faults import Fault
from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.hostile import hostile
from importer_pipeline_tests.support.loopback import Loopback
from importer_pipeline_tests.support.runbook import PAGE, is_shown, lines_of
from importer_pipeline_tests.support.stage import Stage

ELSEWHERE = {Fault.SLOW: "test_syncs.py", Fault.UNFORESEEN: "test_wire.py"}
"""Where the other reasons are shown: a check waits half a minute, and no way to an unknown one is known."""

VARIABLES: Mapping[Fault, tuple[str, str]] = {
    Fault.BUNDLE: ("REQUESTS_CA_BUNDLE", __file__),
    Fault.PROXY: ("HTTPS_PROXY", "http://127.0.0.1:9"),
    Fault.PROXY_UNUSABLE: ("HTTPS_PROXY", "gopher://127.0.0.1:9"),
}
"""The environment variable that is the reason, and its value."""

URLS: Mapping[Fault, str] = {
    Fault.CUT: "{hostile}/cut_length",
    Fault.HUNG_UP: "{hostile}/reset",
    Fault.NAME_UNKNOWN: "http://nowhere.invalid/3.0",
    Fault.TLS: "https://{sandbox}/3.0",
    Fault.TOO_LARGE: "{hostile}/endless_body",
    Fault.UNREACHABLE: "http://127.0.0.1:9/3.0",
    Fault.UNSENDABLE: f"http://{'a' * 64}.example.com/3.0",
    Fault.UNTRUSTED: "{untrusted}/3.0",
}
"""The URL that is the reason."""


def client_of(fault: Fault) -> str:
    """Return the name of the client that gets no answer for this reason."""
    return fault.name.lower().replace("_", "-")


def checked(folder: Path) -> list[str]:
    """Check clients that get no answer, each for another reason."""
    stage = Stage(folder)
    for fault in (*URLS, *VARIABLES):
        stage.add(client_of(fault), contacts=1)
    with (
        stage,
        hostile() as server,
        Loopback(lambda _: (), tls=True) as untrusted,
        pytest.MonkeyPatch.context() as patch,
    ):
        hosts = {
            "hostile": server.url("").rstrip("/"),
            "sandbox": stage.server.url.partition("//")[2],
            "untrusted": untrusted.url,
        }
        for name in ("ALL_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        declared = stage.declared()
        for fault in VARIABLES:
            declared[client_of(fault)]["mailchimp"]["base_url"] = "https://127.0.0.1:9/3.0"
        for fault, url in URLS.items():
            declared[client_of(fault)]["mailchimp"]["base_url"] = url.format(**hosts)
            declared[client_of(fault)]["target"]["url"] = url.format(**hosts)
        clients = stage.write(declared)
        printed = [importer("check", *map(client_of, URLS), clients=clients)]
        for fault, (variable, value) in VARIABLES.items():
            with patch.context() as environment:
                environment.setenv(variable, value)
                printed.append(importer("check", client_of(fault), clients=clients))
    return lines_of(*printed)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return checked(tmp_path_factory.mktemp("no_answer"))


@pytest.mark.parametrize("fault", Fault)
def test_a_check_says_why_there_is_no_answer(lines: list[str], fault: Fault) -> None:
    """The row of the page names what to do."""
    assert f"| `{fault.value}` |" in PAGE
    if fault not in ELSEWHERE:
        assert is_shown(lines, f"no answer from Mailchimp: {fault.value}", client_of(fault))
    if fault in URLS:
        assert is_shown(lines, f"no answer from the target: {fault.value}", client_of(fault))
