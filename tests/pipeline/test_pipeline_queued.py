"""Submitting, cancelling and looking while no server runs: the commands say what will happen, and what did."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipeline.conftest import Celldrop
from tests.pipeline.few_cells import few_cells

NOBODY = "No `celldrop serve` runs in this folder"


@pytest.fixture
def small(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.h5ad"
    few_cells(data_dir, 100).write_h5ad(path)
    return path


def test_what_was_cancelled_is_submitted_again_by_submitting_it(small: Path, celldrop: Celldrop) -> None:
    first = celldrop("submit", small)
    queued = first.stdout.strip()
    assert NOBODY in first.stderr
    assert celldrop("cancel", queued).stdout.strip() == f"{queued} is CANCELLED."
    assert celldrop("cancel", queued).status == 0, "it is cancelled, as was asked"
    second = celldrop("submit", small)
    assert second.stdout.strip() not in {"", queued}
    assert celldrop("submit", small).stdout == second.stdout, "that one is open, and is joined"


def test_a_file_is_submitted_anew_where_that_is_asked(small: Path, celldrop: Celldrop) -> None:
    ids = [celldrop("submit", small, *options).stdout.strip() for options in ([], [], ["--rerun"])]
    assert ids[0] == ids[1] != ids[2]


def test_a_list_shows_whole_ids_however_narrow_the_terminal(small: Path, celldrop: Celldrop) -> None:
    long = Path(shutil.copy(small, small.with_name(f"{'a long name ' * 9}.h5ad")))
    queued = celldrop("submit", long).stdout.strip()
    listed = celldrop("status", COLUMNS="60")
    assert queued in listed.stdout
    assert "…" not in listed.stdout
    shown = celldrop("status", queued)
    assert "number 1 in the queue" in shown.stdout
    assert NOBODY in shown.stderr


@pytest.mark.parametrize("command", ["run", "demo", "serve"])
def test_what_computes_here_refuses_the_settings_of_a_deployment(command: str, small: Path, celldrop: Celldrop) -> None:
    given = [small] if command == "run" else []
    ended = celldrop(command, *given, CELLDROP_BACKEND="gcp", CELLDROP_PROJECT="some-project")
    assert ended.status == 2
    assert "INVALID_SETTING: CELLDROP_BACKEND is gcp" in ended.stderr
    assert "celldrop submit FILE" in ended.stderr


def test_nobody_else_can_read_the_state_or_hold_its_locks(celldrop: Celldrop, tmp_path: Path) -> None:
    state = tmp_path / "home" / ".celldrop"
    state.mkdir(parents=True, mode=0o755)
    assert celldrop("status").status == 0
    assert state.stat().st_mode & 0o777 == 0o700
