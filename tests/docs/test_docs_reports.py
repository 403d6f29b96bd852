"""The page on reports explains what marks the fields of the table of several models."""

from __future__ import annotations

import re

from tests.pipeline.conftest import ROOT

PAGE = (ROOT / "docs" / "how-to" / "read-a-report.md").read_text()
TEMPLATE = (ROOT / "jobs" / "inference" / "report" / "consensus.html.j2").read_text()


def test_the_marks_of_fields_are_explained() -> None:
    section = PAGE.partition("## Do the models agree?")[2].partition("\n## ")[0]
    marks = re.findall(r'<span class="key [a-z]+">(\w+)</span>', TEMPLATE)
    assert marks == ["Framed", "Dotted"]
    assert [mark for mark in marks if mark.lower() not in section.lower()] == []
    assert "cannot be compared" in section
