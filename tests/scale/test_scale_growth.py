"""The table of growth says what the planner says."""

from __future__ import annotations

import pytest

from benchmarks.growth import LINEAR, SIZES, ends, shares, table, work_of
from shared.domain.plan import Objective, forecast
from shared.settings import Backend, load_settings

SETTINGS = load_settings(backend=Backend.GCP, gpu_job="", _env_file=None)


def test_there_is_a_row_for_each_size_and_objective() -> None:
    lines = table(2_240, SETTINGS.fleet).splitlines()
    assert len(lines) == 2 + len(SIZES) * len(Objective)
    assert len({line.count("|") for line in lines}) == 1


def test_a_row_tells_the_planner_s_own_forecast() -> None:
    found = forecast(work_of(1_000_000, 2_240), LINEAR, SETTINGS.fleet, objective=Objective.FASTEST)
    (row,) = (
        line for line in table(2_240, SETTINGS.fleet).splitlines() if "| 1,000,000 |" in line and "fastest" in line
    )
    assert f"| {found.n_tasks:,} |" in row
    assert row.endswith(f"| {found.usd:,.4f} |")


def test_a_file_of_anndata_s_own_writing_has_its_size() -> None:
    assert work_of(100_000, 2_240).size_bytes == pytest.approx(526e6, rel=0.01)


def test_what_is_not_shared_remains_with_any_number_of_tasks() -> None:
    cells = [line.split("|")[1].strip() for line in shares(2_240, SETTINGS.fleet).splitlines()[2:]]
    assert cells == [f"{n_cells:,}" for n_cells in SIZES]


def test_the_ends_come_from_the_settings() -> None:
    small = SETTINGS.model_copy(update={"max_cells": 12_345})
    assert "12,345" in ends(2_240, small)
