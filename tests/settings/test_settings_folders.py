"""Where added models lie: where the setting says, or with the user's other data."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings import Settings


def added(folder: Path | None = None) -> Path:
    return Settings(_env_file=None, added_models_dir=folder).added_models  # type: ignore[call-arg]  # of pydantic-settings


def test_added_models_lie_where_the_setting_says() -> None:
    assert added(Path("mine")) == Path("mine")


@pytest.mark.parametrize(
    ("data", "home", "found"),
    [
        ("/data", "/home/me", "/data/celldrop/models"),
        ("", "/home/me", "/home/me/.local/share/celldrop/models"),
        ("relative", "/home/me", "/home/me/.local/share/celldrop/models"),
    ],
)
def test_added_models_lie_with_the_users_data(
    data: str, home: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", data)
    monkeypatch.setenv("HOME", home)
    assert added() == Path(found)
