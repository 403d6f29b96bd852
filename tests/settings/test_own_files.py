"""A folder's lock: one process holds it, and what lies in its place is neither followed nor changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.domain.errors import SettingsError
from shared.wiring.folders import alone

WHAT = "celldrop serve"


def test_a_lock_is_held_by_one_and_then_by_the_next(tmp_path: Path) -> None:
    lock = tmp_path / "state" / "serve.lock"
    with alone(lock, WHAT):
        assert lock.read_text() == f"process {os.getpid()}\n"
        with pytest.raises(SettingsError, match=f"process {os.getpid()}"), alone(lock, WHAT):
            pass
    with alone(lock, WHAT):
        pass


PLACED: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda lock, precious: lock.symlink_to(precious),
    "dangling": lambda lock, _: lock.symlink_to("nowhere"),
    "pipe": lambda lock, _: os.mkfifo(lock),
    "folder": lambda lock, _: lock.mkdir(),
}


@pytest.mark.parametrize("place", PLACED.values(), ids=PLACED.keys())
def test_something_else_in_its_place_is_refused_and_left_alone(
    tmp_path: Path, place: Callable[[Path, Path], object]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    lock = tmp_path / "serve.lock"
    place(lock, precious)
    with pytest.raises(SettingsError) as caught, alone(lock, WHAT):
        pass
    assert (caught.value.where, bool(caught.value.hint)) == (str(lock), True)
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
