"""Made-up contacts, the same for the same seed: colours for first names, trees for last names, reserved domains.

No contact can be a real person. Names come in many scripts, some of them as odd as real forms let through.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

_COLOURS = (
    "Amber", "Azul", "Blanche", "Bordó", "Cobalt", "Coral", "Ecru", "Fialová", "Grün", "Indigo", "Jade",
    "Lacivert", "Lila", "Mauve", "Noir", "Ochre", "Pärlemor", "Rosé", "Sárga", "Teal", "Umber", "Viridian", "Weiß",
    "Žlutá", "Синий", "Κόκκινο", "ירוק", "أزرق", "緑", "초록", "हरा", "สีฟ้า",
)  # fmt: skip
_TREES = (
    "Alder", "Ash", "Baobab", "Birch", "Cèdre", "Chêne", "Dąb", "Eiche", "Elm", "Fűz", "Hazel", "Jabloň", "Juniper",
    "Kestane", "Larch", "Lípa", "Maple", "Nogal", "Olmo", "Pine", "Rowan", "Sauce-Llorón", "Ulmé", "Willow",
    "Берёза", "Ελιά", "אלון", "نخلة", "桜", "소나무", "नीम", "ไผ่",
)  # fmt: skip
_ODD_NAMES = (
    "", " ", "👩🏽\u200d🌾", "\u202eאדר", 'Oak "the tall"', "back\\slash", "O'Leaf", "tab\there", "line\nbreak",
    "<b>Fir</b>", "null", "0", "e\u0301", "🌳", "\u0000", "&amp;", "=1+1", "leaf" * 60,
)  # fmt: skip
_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "news.example.org")
_STEMS = ("leaf", "bark", "root", "twig", "Bud", "resin", "seed", "Cone", "moss", "stem")
_ODD_EVERY = 97


class Person(NamedTuple):
    """A person behind a contact: an address unique to its `number`, and a name."""

    email: str
    firstname: str
    lastname: str


def people(random: Random, numbers: range) -> Iterator[Person]:
    """Draw one person for each number; an address contains its number, so it is unique."""
    count = len(numbers)
    colours = random.choices(_COLOURS, k=count)
    trees = random.choices(_TREES, k=count)
    stems = random.choices(_STEMS, k=count)
    domains = random.choices(_DOMAINS, k=count)
    for number, colour, tree, stem, domain in zip(numbers, colours, trees, stems, domains, strict=True):
        if number % _ODD_EVERY == 0:
            colour = random.choice(_ODD_NAMES)
        yield Person(f"{stem}.{number}@{domain}", colour, tree)


def person(random: Random, number: int) -> Person:
    """Draw the person for a number."""
    return next(people(random, range(number, number + 1)))
