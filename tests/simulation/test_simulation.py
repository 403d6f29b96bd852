"""Whatever goes wrong, in whatever order: the promises of the protocol hold, and the simulator would notice if not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.simulation.faults import Fault
from tests.simulation.history import play
from tests.simulation.mutant import Mutant
from tests.simulation.mutants import MUTANTS
from tests.simulation.page import page, row, row_of_fault, told_rows
from tests.simulation.single import Cell, Stage, cells

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "faults.md"
SLICE, CHUNK = 3000, 250
"""Some minutes' worth of the 100,000 histories that ``make simulate`` plays."""
SHARE = 125
"""What every run of the suite plays."""
CHUNKS = [
    (0, SHARE),
    *(pytest.param(first, first + CHUNK, marks=pytest.mark.exhaustive) for first in range(0, SLICE, CHUNK)),
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("first", "end"), CHUNKS)
def test_no_history_breaks_a_promise_and_every_kind_of_fault_strikes(first: int, end: int) -> None:
    bad: dict[int, Sequence[str]] = {}
    struck: Counter[Fault] = Counter()
    for seed in range(first, end):
        history = play(seed)
        struck += history.struck
        if history.violations:
            bad[seed] = history.violations
    assert not bad, f"make simulate SEED={next(iter(bad))} prints the first of {bad}"
    assert {fault for fault in Fault if struck[fault] > 5} == set(Fault)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_mechanism_is_noticed_by_the_history_that_the_page_tells_of(mutant: Mutant) -> None:
    told = told_row(mutant)
    n = int(told.split(" | ")[2])
    assert 1 <= n <= mutant.within
    assert row(mutant, first=n - 1) == told


@pytest.mark.exhaustive
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_no_earlier_history_notices_a_missing_mechanism(mutant: Mutant) -> None:
    assert row(mutant) == told_row(mutant)


def told_row(mutant: Mutant) -> str:
    (found,) = (told for told in told_rows(PAGE.read_text()) if told.startswith(f"| {mutant.name} |"))
    return found


def test_a_mutant_leaves_nothing_behind() -> None:
    before = play(1).trace
    for mutant in MUTANTS:
        with mutant.applied():
            pass
    assert play(1).trace == before


def test_one_seed_is_one_history_in_any_process() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "4"]
    told = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, cwd=ROOT
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert b"all is well" in told[0]
    assert b"DISPATCHING" in told[0]


@pytest.mark.exhaustive
def test_the_page_of_faults_tells_what_happens() -> None:
    found = list(cells())
    assert not violations(found)
    if os.environ.get("CELLDROP_WRITE_DOCS"):
        PAGE.write_text(page(found, map(row, MUTANTS)))
    rows = told_rows(PAGE.read_text())
    assert len(rows) == len(MUTANTS)
    assert PAGE.read_text() == page(found, rows)


@pytest.mark.slow
def test_some_rows_of_faults_tell_what_happens() -> None:
    some = list(Fault)[::6]
    found = list(cells(some))
    assert not violations(found)
    page_lines = PAGE.read_text().splitlines()
    assert [row for row in (row_of_fault(fault, found) for fault in some) if row not in page_lines] == []
    assert len(told_rows(PAGE.read_text())) == len(MUTANTS)


def violations(found: Sequence[Cell]) -> list[tuple[Fault, Stage, Sequence[str]]]:
    """Every promise that was broken, with the fault and the stage."""
    return [(cell.fault, cell.stage, way.violations) for cell in found for way, _ in cell.ways if way.violations]
