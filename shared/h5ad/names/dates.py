"""Symbols of genes that a spreadsheet turned into dates: 1-Mar was MARCH1 or MARC1, 2-Sep was SEPT2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta

MOST = 60
"""A spreadsheet turns fewer symbols than that into dates. More names of that form are numbers or times of a series."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SYMBOLS = {3: ("MARCH", "MARC"), 9: ("SEPT", "SEP"), 12: ("DEC",)}
"""How symbols began that are dates in English. OCT4 and the like were never official."""
_MOST_NUMBER = 15
_LONGEST = 30
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]{{0,6}}"
_FORMS = (
    re.compile(rf"X?(?P<day>\d{{1,2}})[-. /]{_MONTH}([-. /]\d{{2,4}})?", re.IGNORECASE),
    re.compile(rf"{_MONTH}[-. /](?P<day>\d{{1,2}})", re.IGNORECASE),
    re.compile(r"X?(?P<year>(19|20)\d\d)[-./](?P<number>\d\d)[-./](?P<day>\d\d)([ T]00:00(:00(\.0+)?)?)?"),
)
_PERHAPS = re.compile(rf"X\d|{_MONTH}[-. /]\d", re.IGNORECASE)
_SERIAL = re.compile(r"X?(?P<serial>[34]\d{4})(\.0)?")
_FIRST = date(1899, 12, 30)
"""Day 0 of a spreadsheet's count of days."""


def symbols_of(name: str) -> tuple[str, ...]:
    """The symbols that a date may have been, in capitals; empty for what is none.

    March 2003 was typed as MARCH3, or is 1 March 2003, typed as MARCH1: the first day of a month is either.
    """
    found = _read(name) if len(name) <= _LONGEST and (name[:1].isdigit() or _PERHAPS.match(name)) else None
    if found is None:
        return ()
    month, numbers = found
    return tuple(f"{stem}{n}" for stem in _SYMBOLS.get(month, ()) for n in numbers if 1 <= n <= _MOST_NUMBER)


def _read(name: str) -> tuple[int, Sequence[int]] | None:
    """The month, and the numbers that may have stood behind the symbol's letters."""
    serial = _SERIAL.fullmatch(name)
    if serial:
        return _of_day(_FIRST + timedelta(days=int(serial["serial"])))
    for form in _FORMS:
        said = form.fullmatch(name)
        if said and "year" in said.groupdict():
            month, day = int(said["number"]), int(said["day"])
            return month, (day, *_of_year(int(said["year"]), day))
        if said:
            return _MONTHS.index(said["month"].lower()) + 1, (int(said["day"]),)
    return None


def _of_day(day: date) -> tuple[int, Sequence[int]]:
    return day.month, (day.day, *_of_year(day.year, day.day))


def _of_year(year: int, day: int) -> Sequence[int]:
    """``Mar-03`` is read as the first of March 2003."""
    number = year % 100
    return (number,) if day == 1 and number != 1 else ()
