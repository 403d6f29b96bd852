"""A folder's lock: one process holds it, and what lies in its place is neither followed nor changed."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.domain.errors import SettingsError
from shared.wiring.folders import alone, is_held

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


def test_a_disk_that_does_not_answer_for_a_moment_has_not_lost_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "serve.lock"

    def stale(*_: object, **__: object) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with alone(lock, WHAT) as is_ours:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "stat", stale)
            assert is_ours()
        lock.unlink()
        assert not is_ours()


def test_a_disk_without_locks_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(SettingsError, match="keeps no locks") as caught, alone(tmp_path / "serve.lock", WHAT):
        pass
    assert "--out" in caught.value.hint
    assert not is_held(tmp_path / "serve.lock")


def test_asking_whether_a_lock_is_held_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    """Whoever asks has the lock for a moment: as this test has it, for a long one."""
    lock = tmp_path / "serve.lock"
    asking = os.open(lock, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_EX)
    ended = threading.Timer(0.15, os.close, [asking])
    ended.start()
    try:
        with alone(lock, WHAT):
            assert is_held(lock)
    finally:
        ended.join()
    assert not is_held(lock)
