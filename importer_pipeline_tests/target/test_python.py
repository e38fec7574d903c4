"""Targets in Python: called with batches, and judged as any other target."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, TargetKeyRefused, TargetMisplaced, Unavailable
from importer_pipeline.records.contacts import AnyRecord, ShapedRecord
from importer_pipeline.records.receipt import Receipt, RefusedRecord
from importer_pipeline.target.python import PythonTargetClient

RECORDS = [
    ShapedRecord("1", {"name": "Amber"}),
    ShapedRecord("2", {"name": "Alder"}),
    ShapedRecord("1", {"name": "Aspen"}),
]
HERE = "importer_pipeline_tests.target.test_python"


class Kept:
    """Keeps what it gets in memory; its options say how it misbehaves."""

    def __init__(self, options: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        if secrets["password"] != "sesame":
            raise TargetKeyRefused("the password is refused")
        self.mode = options.get("mode", "")
        self.names: dict[str, str] = {}

    def send(self, records: Sequence[AnyRecord]) -> Receipt:
        """Upsert records."""
        if self.mode == "fails":
            raise ValueError("Aspen is no name")
        self.names |= {record.id: record.content["name"] for record in records}
        if self.mode == "refuses":
            refused = (RefusedRecord(id="2", reason="Alder is too tall"),)
            return Receipt(sent=len(records), accepted=len(records) - 1, refused=refused)
        if self.mode == "lies":
            return Receipt(sent=len(records), accepted=1, refused=(RefusedRecord(id="9"),))
        if self.mode == "mumbles":
            return Receipt(sent=len(records), accepted=1, refused=cast(Any, "2"))
        if self.mode == "counts in words":
            return Receipt(sent=len(records), accepted=cast(Any, "two"))
        return Receipt(sent=len(records), accepted=len(records))

    def close(self) -> None:
        """Close nothing."""
        if self.mode == "can't close":
            raise ValueError("Aspen is open")


def client(mode: str = "", password: str = "sesame", entry_point: str = f"{HERE}:Kept") -> PythonTargetClient:
    return PythonTargetClient(entry_point, {"mode": mode}, {"password": SecretStr(password)})


def test_each_id_is_sent_once_with_its_last_content() -> None:
    target = client()
    assert target.post(RECORDS) == Receipt(sent=2, accepted=2)
    assert target.probe() == Receipt(sent=0, accepted=0)
    target.close()
    assert "sesame" not in repr(target)


def test_refused_records_are_named_without_their_content() -> None:
    assert client("refuses").post(RECORDS).refused == (RefusedRecord(id="2", reason="... is too tall"),)


def test_an_error_of_the_code_is_retried_and_says_where_it_was() -> None:
    with pytest.raises(Unavailable, match=r"ValueError at test_python.py:\d+") as caught:
        client("fails").post(RECORDS)
    assert "Aspen" not in str(caught.value)


@pytest.mark.parametrize("mode", ["lies", "mumbles", "counts in words"])
def test_a_receipt_that_fits_no_batch_is_broken(mode: str) -> None:
    with pytest.raises(BrokenAnswer):
        client(mode).post(RECORDS)


def test_a_target_that_cannot_be_closed_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    target = client("can't close")
    target.post(RECORDS)
    target.close()
    (said,) = caplog.messages
    assert f"the target {HERE}:Kept failed: ValueError at test_python.py:" in said
    assert "Aspen" not in said


def test_a_module_that_cannot_be_loaded_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, line in (("not_python", "class Kept"), ("not_loadable", "raise ValueError('Aspen')")):
        (tmp_path / f"{name}.py").write_text(f"\n{line}\n", encoding="utf-8")
        with pytest.raises(Unavailable, match=rf"{name}:Kept failed: \w+ at {name}\.py:2"):
            client(entry_point=f"{name}:Kept").probe()


def test_a_target_that_takes_no_options_fails_at_its_call() -> None:
    with pytest.raises(Unavailable, match="builtins:object failed: TypeError at its call: correct what fails"):
        client(entry_point="builtins:object").probe()


def test_what_can_not_be_made_stops_its_client() -> None:
    with pytest.raises(TargetKeyRefused):
        client(password="wrong").probe()
    for entry_point in ("nowhere:Kept", f"{HERE}:Nothing"):
        with pytest.raises(TargetMisplaced, match=r"target\.python"):
            client(entry_point=entry_point).post(RECORDS)
