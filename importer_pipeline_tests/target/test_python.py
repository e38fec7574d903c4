"""Targets in Python: called with batches, and judged as any other target."""

from collections.abc import Mapping, Sequence

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
        return Receipt(sent=len(records), accepted=len(records))


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


def test_a_receipt_for_others_is_broken() -> None:
    with pytest.raises(BrokenAnswer):
        client("lies").post(RECORDS)


def test_what_can_not_be_made_stops_its_client() -> None:
    with pytest.raises(TargetKeyRefused):
        client(password="wrong").probe()
    for entry_point in ("nowhere:Kept", f"{HERE}:Nothing"):
        with pytest.raises(TargetMisplaced, match=r"target\.python"):
            client(entry_point=entry_point).post(RECORDS)
