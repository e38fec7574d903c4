"""What an import tells Dagster."""

from pathlib import Path

import dagster as dg
import pytest

from importer_pipeline.defs.reporting import audience_metadata
from importer_pipeline.outcomes import AudienceDone, Snapshot
from importer_pipeline_tests.runs import full_sync
from importer_pipeline_tests.stage import Stage


def done(*, lacking: tuple[str, ...] = (), elapsed_seconds: float = 4.0) -> AudienceDone:
    """An audience that is in."""
    return AudienceDone(
        client="acme", audience="newsletter", windows=4, failed=(), read=3020, accepted=3018, refused=2, requests=5,
        snapshot=Snapshot(since=-1, before=1_700_000_000, total=2900, archived_total=100),
        elapsed_seconds=elapsed_seconds, lacking=lacking, error=None,
    )  # fmt: skip


def test_the_numbers_of_an_audience_can_be_plotted() -> None:
    metadata = audience_metadata(done())
    assert {name: value.value for name, value in metadata.items() if isinstance(value.value, int | float)} == {
        "dagster/row_count": 3000,
        "contacts_read": 3020,
        "contacts_accepted": 3018,
        "contacts_refused": 2,
        "archived_contacts": 100,
        "windows": 4,
        "requests": 5,
        "seconds": 4.0,
        "contacts_per_second": 754.5,
        "changed_until": 1_700_000_000.0,
    }


def test_the_moment_up_to_which_it_is_in_is_shown_as_one() -> None:
    assert isinstance(audience_metadata(done())["changed_until"], dg.TimestampMetadataValue)


def test_an_audience_that_took_no_time_has_no_rate() -> None:
    assert audience_metadata(done(elapsed_seconds=0.0))["contacts_per_second"].value == 0.0


@pytest.mark.parametrize(("lacking", "text"), [((), "none"), (("a.b", "c"), "a.b, c")], ids=["none", "two"])
def test_paths_that_no_contact_has_are_named(lacking: tuple[str, ...], text: str) -> None:
    assert audience_metadata(done(lacking=lacking))["paths_that_no_contact_has"].value == text


def test_a_mapped_path_that_no_contact_has_is_a_warning_with_the_remedy(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("acme")
    with stage:
        declared = stage.declared()
        declared["acme"]["audiences"]["newsletter"]["record"] = {"firstname": "merge_fields.VORNAME"}
        ran = full_sync(stage.load(declared))
    warned = [told.text for told in ran.told if told.level == 30 and "VORNAME" in told.text]
    assert len(warned) == 1
    assert warned[0].startswith("acme/newsletter: none of its contacts has merge_fields.VORNAME")
    assert "correct `record` in the clients file" in warned[0]
    assert (ran.success, ran.numbers("acme/newsletter/contacts")["contacts_accepted"]) == (True, 200)
