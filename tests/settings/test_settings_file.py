"""The .env file of settings: which one is read, and what stands above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.domain.errors import SettingsError
from shared.settings import load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CELLDROP_ENV_FILE", raising=False)
    monkeypatch.delenv("CELLDROP_MAX_TASKS", raising=False)
    return tmp_path


def test_the_file_of_the_working_folder_is_read(folder: Path) -> None:
    (folder / ".env").write_text("CELLDROP_MAX_TASKS=7\n")
    assert load_settings().max_tasks == 7


def test_the_file_that_is_named_is_read_in_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("CELLDROP_MAX_TASKS=7\n")
    named = folder / "mounted" / "settings"
    named.parent.mkdir()
    named.write_text("CELLDROP_MAX_TASKS=8\n")
    monkeypatch.setenv("CELLDROP_ENV_FILE", str(named))
    assert load_settings().max_tasks == 8


def test_a_variable_stands_above_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("CELLDROP_MAX_TASKS=7\n")
    monkeypatch.setenv("CELLDROP_MAX_TASKS", "9")
    assert load_settings().max_tasks == 9


@pytest.mark.parametrize("name", ["gone", "."])
def test_a_named_file_that_is_not_there_is_told(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLDROP_ENV_FILE", str(folder / name))
    with pytest.raises(SettingsError, match="CELLDROP_ENV_FILE"):
        load_settings()
