"""What `importer check` prints about secrets."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from importer_pipeline_tests.cli.commands import importer
from importer_pipeline_tests.support.runbook import is_shown, lines_of
from importer_pipeline_tests.support.stage import Stage

SHOWN = {
    "the Mailchimp API key does not end in its data centre, like -us6": "no-data-centre",
    "the Mailchimp … is empty, or contains invalid characters": "spaced",
    "the target's … is empty, or contains characters that an HTTP header can't carry": "no-break-space",
    "… can't be read (…)": "no-file",
    "… can't be sent in an HTTP header: it has several lines, or letters beyond Latin-1": "two-lines",
    "… is empty": "empty",
    "… is not UTF-8 text": "other-encoding",
    "… is not set": "no-variable",
    "… is too long for a secret": "too-long",
}
"""The client of each message about a secret."""

KEY = f"{5:032x}"

SECRETS: Mapping[str, bytes] = {
    "no-data-centre": KEY.encode(),
    "spaced": f"{KEY} us1".encode(),
    "two-lines": f"{KEY}-us1\n{KEY}-us2".encode(),
    "empty": b"\n",
    "other-encoding": "schlüssel".encode("latin-1"),
    "too-long": b"k" * 20_000,
}
"""The contents of the files of Mailchimp's secrets."""


def checked(folder: Path) -> list[str]:
    """Check clients of which each has another fault in a secret."""
    stage = Stage(folder)
    for name in SHOWN.values():
        stage.add(name, contacts=1)
    with stage:
        declared = stage.declared()
        for name, content in SECRETS.items():
            (folder / name).write_bytes(content)
            declared[name]["mailchimp"]["api_key"] = {"file": name}
        del declared["no-data-centre"]["mailchimp"]["base_url"]
        declared["no-file"]["mailchimp"]["api_key"] = {"file": "nowhere"}
        declared["no-variable"]["mailchimp"]["api_key"] = {"env": "NO_SUCH_VARIABLE"}
        declared["no-break-space"]["target"]["api_key"] = stage.secret("no-break-space", "open\u00a0sesame")
        return lines_of(importer("check", clients=stage.write(declared)))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return checked(tmp_path_factory.mktemp("secrets"))


@pytest.mark.parametrize("symptom", sorted(SHOWN))
def test_a_check_names_the_secret_and_its_fault(lines: list[str], symptom: str) -> None:
    assert is_shown(lines, symptom, SHOWN[symptom])
