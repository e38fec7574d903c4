"""The texts of a `record` section: what is understood, and what is refused with which remedy."""

import pytest

from importer_pipeline.errors import ClientsFileInvalid
from importer_pipeline.records.mapping import Template, check_path, parse_template


@pytest.mark.parametrize(
    "path",
    [
        "id",
        "contact_id",
        "email_address",
        "merge_fields",
        "merge_fields.FNAME",
        "merge_fields.MMERGE10",
        "merge_fields.ADDRESS.city",
        "interests.97bbc1227a",
        "location.country_code",
        "stats.ecommerce_data.total_revenue",
        "last_note.note",
        "tags",
        "list_id",
    ],
)
def test_a_possible_path_is_accepted(path: str) -> None:
    assert parse_template(path) == Template(literals=("", ""), paths=(path,))


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        pytest.param("email", "did you mean email_address?", id="the beginning of a known one"),
        pytest.param("emailaddress", "email_address", id="misspelt"),
        pytest.param("FNAME", "merge_fields.FNAME", id="a merge tag alone"),
        pytest.param("members.status", "write status", id="starts at the answer"),
        pytest.param("merge_fields.fname", "merge_fields.FNAME", id="a merge tag in small letters"),
        pytest.param("merge_fields.ADDRESS.town", "city", id="an unknown part of an address"),
        pytest.param("merge_fields.ADDRESS.city.name", "addr1", id="deeper than an address"),
        pytest.param("status.name", "write status", id="deeper than a text"),
        pytest.param("tags.name", "write tags", id="into an array"),
        pytest.param("stats.rate", "avg_open_rate", id="an unknown part of an object"),
        pytest.param("location.timezone.name", "write location.timezone", id="deeper than a part of an object"),
        pytest.param("interests.97bbc1227a.name", "shorten", id="deeper than an interest"),
        pytest.param("zzz", "contact_id, email_address, ", id="like nothing known"),
        pytest.param("First name", "merge_fields.FNAME", id="a name with a space"),
        pytest.param("id.", "write a path", id="an empty part"),
    ],
)
def test_an_impossible_path_is_refused_with_a_suggestion(path: str, remedy: str) -> None:
    with pytest.raises(ClientsFileInvalid) as caught:
        check_path(path)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "template"),
    [
        pytest.param("{list_id}-{id}", Template(literals=("", "-", ""), paths=("list_id", "id")), id="two paths"),
        pytest.param("{{{id}}}", Template(literals=("{", "}"), paths=("id",)), id="braces that are sent"),
        pytest.param("{id}", Template(literals=("", ""), paths=("id",)), id="a path in braces"),
        pytest.param("", Template(literals=("",), paths=()), id="nothing"),
        pytest.param("Ms {full_name}", Template(literals=("Ms ", ""), paths=("full_name",)), id="a text before"),
    ],
)
def test_a_text_with_paths_in_braces_is_parsed(text: str, template: Template) -> None:
    assert parse_template(text) == template


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("{id", "unbalanced braces", id="not closed"),
        pytest.param("id}", "unbalanced braces", id="not opened"),
        pytest.param("{i{d}}", "unbalanced braces", id="nested"),
        pytest.param("{{id}}", "contains no path", id="no path"),
        pytest.param("{}", "not a path into a member", id="an empty path"),
        pytest.param("{ id }", "not a path into a member", id="spaces in braces"),
        pytest.param("{id!r}", "formats a value", id="a conversion"),
        pytest.param("{id:>9}", "formats a value", id="a format"),
        pytest.param("{tags[0]}", "not a path into a member", id="an index"),
    ],
)
def test_braces_that_say_nothing_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ClientsFileInvalid, match=problem):
        parse_template(text)


@pytest.mark.parametrize(
    ("one", "other"), [("id", "{id}"), ("{list_id}-{id}", "{list_id}-{id}"), ("{{{id}}}", "{{{id}}}")]
)
def test_equal_mappings_have_the_same_text(one: str, other: str) -> None:
    assert parse_template(one).text == parse_template(other).text
    assert parse_template(parse_template(one).text) == parse_template(one)


def test_a_text_that_may_be_a_key_is_not_repeated() -> None:
    key = "0123456789abcdef0123456789abcdef-us6"
    with pytest.raises(ClientsFileInvalid) as caught:
        parse_template(key)
    assert key[:32] not in str(caught.value)
