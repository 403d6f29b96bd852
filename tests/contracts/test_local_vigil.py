"""The locks by which supervisors are known to live: those of the long dead are removed, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.local.jobs import SubprocessJobRunner
from shared.adapters.local.starting import Command
from shared.adapters.local.vigil import KEPT_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "supervisors"
    found.mkdir()
    return found


@pytest.fixture
def living(tmp_path: Path) -> Iterator[SubprocessJobRunner]:
    runner = new_runner(tmp_path)
    yield runner
    runner.close()


def new_runner(home: Path) -> SubprocessJobRunner:
    return SubprocessJobRunner(Command(["false"]), {}, home / "logs", 1)


def died(folder: Path, name: str, ago_s: float) -> Path:
    """The lock of a supervisor that gave its last name so long ago."""
    lock = folder / f"{name}.lock"
    lock.touch()
    set_back(lock, ago_s)
    return lock


def set_back(lock: Path, by_s: float) -> None:
    then = lock.stat().st_mtime - by_s
    os.utime(lock, (then, then))


def test_only_the_long_dead_are_forgotten(tmp_path: Path, folder: Path, living: SubprocessJobRunner) -> None:
    alive = living.claimant()
    (own,) = folder.iterdir()
    set_back(own, 2 * KEPT_S)
    recent, old = died(folder, "0123abcd", KEPT_S / 2), died(folder, "4567abcd", 2 * KEPT_S)
    other = new_runner(tmp_path)
    other.claimant()
    assert (own.exists(), recent.exists(), old.exists()) == (True, True, False)
    assert not other.is_gone(alive)
    assert other.is_gone("celldrop-local-0123abcd-1")
    other.close()


def test_who_still_gives_names_does_not_age(folder: Path, living: SubprocessJobRunner) -> None:
    living.claimant()
    (own,) = folder.iterdir()
    set_back(own, 2 * KEPT_S)
    before = own.stat().st_mtime
    living.claimant()
    assert own.stat().st_mtime > before + KEPT_S
