"""Guessed names and mappings."""

import pytest

from importer_pipeline.cli.guessing import guessed_names, guessed_record
from importer_pipeline.mailchimp.directory import MergeField


def field(tag: str, name: str = "", kind: str = "text") -> MergeField:
    return MergeField(tag=tag, name=name, kind=kind)


@pytest.mark.parametrize(
    ("fields", "guessed"),
    [
        ([field("FNAME"), field("LNAME")], {}),
        ([field("VORNAME"), field("NACHNAME")], {"firstname": "VORNAME", "lastname": "NACHNAME"}),
        (
            [field("MMERGE1", "First Name"), field("MMERGE2", "Surname")],
            {"firstname": "MMERGE1", "lastname": "MMERGE2"},
        ),
        ([field("MMERGE1", "Prénom"), field("LNAME")], {"firstname": "MMERGE1"}),
        ([field("NAME", "Name")], {"firstname": "NAME", "lastname": ""}),
        ([field("FNAME"), field("PHONE", "Last seen", "phone")], {"lastname": ""}),
        ([], {"firstname": "", "lastname": ""}),
    ],
    ids=["usual", "tags", "names", "accents", "whole", "types", "none"],
)
def test_a_mapping_is_guessed_from_the_merge_fields(fields: list[MergeField], guessed: dict[str, str]) -> None:
    expected = {key: f"merge_fields.{tag}" if tag else "" for key, tag in guessed.items()}
    assert guessed_record(fields) == expected


@pytest.mark.parametrize(
    ("titles", "names"),
    [
        (
            ["Our Newsletter!", "our newsletter", "Our newsletter"],
            ["our-newsletter", "our-newsletter-2", "our-newsletter-3"],
        ),
        (["Société Générale"], ["societe-generale"]),
        (["初めまして", ""], ["audience", "audience-2"]),
        (["x" * 80], ["x" * 50]),
        ([f"{'a1' * 16}"], ["audience"]),
    ],
    ids=["equal", "accents", "nothing-left", "long", "like-a-key"],
)
def test_names_are_valid_and_all_different(titles: list[str], names: list[str]) -> None:
    assert guessed_names(titles, fallback="audience") == names
