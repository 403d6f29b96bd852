"""What the terminal says at the end of a run: shares as in the report, and first what puts the labels in doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.console import Exit, Output
from cli.following import Place, tell_end
from shared.domain.verdict import Verdict
from shared.domain.words import percent
from shared.h5ad.judge.cautions import LABELS_IN_DOUBT, WarningCode
from shared.h5ad.judge.findings import warning
from tests.domain.records import RESULT, new

N_CELLS = 10_000


@pytest.mark.parametrize("number", [0, 1, 49, 120, 4300, 9970, 9999, N_CELLS])
def test_a_share_in_the_terminal_is_that_of_the_report(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("n_reliable_label", "n_same_label", "n_no_consensus")
    summary = dict.fromkeys(names, number)
    result = replace(RESULT, summary={"n_cells": N_CELLS, "consensus_models": "one, two", **summary})
    record = replace(new(), result=result)
    assert tell_end(record, Place("out", ()), Output()) == Exit.DONE
    said = capsys.readouterr().out
    share = percent(number / N_CELLS)
    assert f"Of these cells: {share} have a reliable label" in said
    assert f"the same type by all for {share} of the cells" in said
    assert (f"  {share} of the cells have no type" in said) == (number > 0)


def test_what_puts_the_labels_in_doubt_stands_above_them(capsys: pytest.CaptureFixture[str]) -> None:
    codes = (WarningCode.OLD_LAYOUT, *LABELS_IN_DOUBT)
    verdict = Verdict(findings=tuple(warning(code, "words", "hint") for code in codes))
    result = replace(RESULT, summary={"n_cells": 1, "labels": {"Some label": 1}})
    tell_end(replace(new(), result=result, verdict=verdict), Place("out", ()), Output())
    said = capsys.readouterr().out
    order = [max(said.index(code) for code in LABELS_IN_DOUBT), said.index("Some label"), said.index("OLD_LAYOUT")]
    assert order == sorted(order)
