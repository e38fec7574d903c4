"""Made-up contacts."""

from random import Random

from importer_pipeline.sandbox.people import people, person


def test_the_same_seed_makes_the_same_people() -> None:
    assert list(people(Random(1), range(500))) == list(people(Random(1), range(500)))


def test_addresses_are_unique_and_lie_in_reserved_domains() -> None:
    emails = [one.email for one in people(Random(1), range(5000))]
    assert len({email.lower() for email in emails}) == 5000
    domains = {email.rpartition("@")[2] for email in emails}
    assert {".".join(domain.split(".")[-2:]) for domain in domains} == {"example.com", "example.org", "example.net"}


def test_names_come_in_many_scripts_and_some_are_odd() -> None:
    names = {name for one in people(Random(1), range(5000)) for name in (one.firstname, one.lastname)}
    assert any(not name.isascii() for name in names)
    assert {"", "tab\there", 'Oak "the tall"'} <= names


def test_a_person_depends_only_on_its_number() -> None:
    assert ".77@" in person(Random(1), 77).email
