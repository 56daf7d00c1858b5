"""Contact details in free text (people and places from Faker) -> JSON.

The keys are those that the text has, in the order name, email, phone, city. Splits are disjoint by
person, and so by text. The rows are the same for the same version of Faker.
"""

import json
import random
import string
import unicodedata
from typing import Any

from tenfold.tasks.synthetic._splits import check_rows, load_extra, split_of

KEYS = ("name", "email", "phone", "city")
LOCALES = ("en_US", "en_GB", "en_AU", "de_DE", "nl_NL")
LONGEST = 16
MOST = 50_000  # far fewer than there are names, so that new ones are found quickly
DOMAINS = ("example.com", "example.org", "example.net")
MAILBOXES = ("{first}.{last}", "{initial}{last}")
TEXTS = (
    "{name}, {city}, {phone}",
    "{name}, tel. {phone}, {city}",
    "{name} <{email}>, {city}",
    "{name} in {city}: {email}",
    "Call {name} on {phone}.",
    "Please write to {name} at {email}.",
    "{name}, {phone}, {email}",
    "Greetings from {city}, {name} ({phone})",
)


def rows(split: str, n: int, seed: int) -> list[dict[str, str]]:
    """n rows {text: "Call Ana Ruiz on 555-0172.", answer: '{"name": "Ana Ruiz", "phone": "555-0172"}'}."""
    faker = load_extra("contacts", "faker")
    check_rows("contacts", split, n, MOST)
    random_ = random.Random(f"contacts {split} {seed}")
    sources = [faker.Faker(locale) for locale in LOCALES]
    for source in sources:
        source.seed_instance(random_.getrandbits(32))
    made: dict[str, dict[str, str]] = {}  # by person
    while len(made) < n:
        person = _person(random_.choice(sources), random_)
        fits = all(len(person[key]) <= LONGEST for key in ("name", "city"))
        if fits and split_of(person["name"]) == split and person["name"] not in made:
            made[person["name"]] = _row(person, random_.choice(TEXTS))
    return list(made.values())


def _person(source: Any, random_: random.Random) -> dict[str, str]:
    first, last = source.first_name(), source.last_name()
    parts = {"first": _plain(first), "last": _plain(last), "initial": _plain(first)[:1]}
    mailbox = random_.choice(MAILBOXES).format(**parts)
    return {
        "first": first,
        "last": last,
        "name": f"{first} {last}",
        "email": f"{mailbox}@{random_.choice(DOMAINS)}",
        "phone": f"{random_.randrange(200, 1000)}-{random_.randrange(10000):04}",
        "city": source.city(),
    }


def _plain(name: str) -> str:
    """A name as it stands in an address: small letters of the English alphabet."""
    letters = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss"))
    return "".join(letter for letter in letters if letter in string.ascii_lowercase)


def _row(person: dict[str, str], text: str) -> dict[str, str]:
    there = [key for key in KEYS if f"{{{key}}}" in text or (key == "name" and "{last}" in text)]
    answer = json.dumps({key: person[key] for key in there}, ensure_ascii=False)
    return {"text": text.format(**person), "answer": answer}
