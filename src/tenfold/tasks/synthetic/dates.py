"""Dates as people of many languages write them (Unicode CLDR, through Babel) -> ISO 8601.

Only forms with the month in letters, so that every date has one reading. Splits are disjoint by calendar day.
"""

import datetime
import random

from tenfold.tasks.synthetic._splits import check_rows, load_extra, split_of

LOCALES = ("en", "en_GB", "de", "fr", "es", "it", "pt", "nl", "sv", "da")
STYLES = ("medium", "long", "full")
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)


def rows(split: str, n: int, seed: int) -> list[dict[str, str]]:
    """n rows {text: "viernes, 5 de marzo de 2021", answer: "2021-03-05"}, each of another day."""
    babel = load_extra("dates", "babel.dates")
    forms = [(locale, style) for locale in LOCALES for style in STYLES if _is_clear(babel, locale, style)]
    days = [day for day in _days() if split_of(day.isoformat()) == split]
    check_rows("dates", split, n, len(days))
    random_ = random.Random(f"dates {split} {seed}")
    made = []
    for day in random_.sample(days, n):
        locale, style = random_.choice(forms)
        made.append({"text": babel.format_date(day, style, locale=locale), "answer": day.isoformat()})
    return made


def _days() -> list[datetime.date]:
    return [FIRST + datetime.timedelta(days=number) for number in range((LAST - FIRST).days + 1)]


def _is_clear(babel: object, locale: str, style: str) -> bool:
    return "MMM" in babel.get_date_format(style, locale=locale).pattern  # type: ignore[attr-defined]
