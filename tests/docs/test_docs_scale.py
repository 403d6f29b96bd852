"""The page on scale says what the planner says now."""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchmarks.growth import tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "scale.md"
BLOCK = re.compile(r"(?<=<!-- growth -->\n).*?(?=<!-- /growth -->)", re.DOTALL)


def test_the_tables_of_growth_are_the_planner_s() -> None:
    told = f"{tables()}\n"
    if os.environ.get("CELLDROP_WRITE_DOCS"):
        PAGE.write_text(BLOCK.sub(lambda _: told, PAGE.read_text()))
    assert BLOCK.findall(PAGE.read_text()) == [told], "a rate or a price changed: run this with CELLDROP_WRITE_DOCS=1"
