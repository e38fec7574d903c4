"""Guesses for a client that is not declared yet: names, and the mapping of its merge fields. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from importer_pipeline.mailchimp.directory import MergeField
from importer_pipeline.redaction import looks_like_a_secret

_MAX_NAME = 50
_WORDS = re.compile(r"[a-z]+")

_FIRST_NAMES = ("fname", "firstname", "first", "given", "givenname", "forename", "vorname", "prenom", "nombre",
                "voornaam", "fornavn", "fornamn", "imie", "etunimi")  # fmt: skip
_LAST_NAMES = ("lname", "lastname", "last", "surname", "family", "familyname", "nachname", "nom", "apellido",
               "apellidos", "cognome", "achternaam", "etternavn", "efternavn", "efternamn", "nazwisko", "sukunimi")  # fmt: skip
_WHOLE_NAMES = ("name", "fullname", "contactname")


def guessed_names(titles: Sequence[str], *, fallback: str) -> list[str]:
    """Return a valid name for each title, all different; the fallback where a title has nothing to use."""
    names: list[str] = []
    for title in titles:
        base = _slug(title) or fallback
        numbered = (f"{base}-{number}" for number in range(2, len(titles) + 2))
        names.append(next(name for name in (base, *numbered) if name not in names))
    return names


def guessed_record(fields: Iterable[MergeField]) -> Mapping[str, str]:
    """Return the part of a `record` section that the merge fields of a list call for; empty if the default fits.

    A name that no field seems to hold becomes "", so that nothing is read that is not there.
    """
    texts = [field for field in fields if field.kind == "text"]
    first, last = _tag_of(texts, _FIRST_NAMES), _tag_of(texts, _LAST_NAMES)
    if first is None and last is None:
        first = _tag_of(texts, _WHOLE_NAMES)
    guesses = {"firstname": (first, "FNAME"), "lastname": (last, "LNAME")}
    return {key: "" if tag is None else f"merge_fields.{tag}" for key, (tag, usual) in guesses.items() if tag != usual}


def _tag_of(fields: Sequence[MergeField], words: Sequence[str]) -> str | None:
    """Return the tag of the field that one of the words fits best: those of its tag count more than those of its name."""
    for text_of in (_whole_tag, _whole_name, _first_word):
        for word in words:
            for field in fields:
                if text_of(field) == word:
                    return field.tag
    return None


def _whole_tag(field: MergeField) -> str:
    return "".join(_words(field.tag))


def _whole_name(field: MergeField) -> str:
    return "".join(_words(field.name))


def _first_word(field: MergeField) -> str:
    words = _words(field.name)
    return words[0] if words else ""


def _slug(title: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", _plain(title)).strip("-")[:_MAX_NAME].rstrip("-")
    return "" if looks_like_a_secret(name) else name


def _words(text: str) -> list[str]:
    return _WORDS.findall(_plain(text))


def _plain(text: str) -> str:
    """Return the text in lower case without accents."""
    return "".join(it for it in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(it))
