"""Spoilt files, taken through the command whole: each ends in results or a refusal, soon and in little memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pipeline.fuzz_files import run_mutant
from tests.pipeline.mutants import bases, mutant

SEEDS = range(int(os.environ.get("CELLDROP_MUTANTS", "10")))
"""``python -m tests.pipeline.fuzz_files`` takes many more, and tells of each."""


def test_what_a_seed_makes_is_the_same_each_time() -> None:
    assert mutant(5) == mutant(5)
    assert len({mutant(seed).data for seed in range(50)} | set(bases().values())) > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_spoilt_file_ends_in_results_or_a_refusal(seed: int, tmp_path: Path) -> None:
    ended = run_mutant(seed, tmp_path)
    assert ended.faults == [], f"{ended.line}\n{ended.took.stderr}\n{ended.logs}"
