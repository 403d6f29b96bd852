"""Two things at once, of which neither goes on when the other has failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from jobs.inference.process.together import Together

ENOUGH_S = 60.0


class TruncatedError(Exception):
    pass


class FullError(Exception):
    pass


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def endless(together: Together, began: threading.Event) -> Callable[[], None]:
    """Work that nothing but another's failure ends."""

    def act() -> None:
        until_s = time.monotonic() + ENOUGH_S
        while time.monotonic() < until_s:
            together.beat()
            began.set()
        pytest.fail("went on although the other had failed")

    return act


def failing(error: Exception, after: threading.Event) -> Callable[[], None]:
    def act() -> None:
        assert after.wait(ENOUGH_S)
        raise error

    return act


def test_both_are_made(pool: Executor) -> None:
    assert Together(lambda: None).both(pool, lambda: 1, lambda: "a") == (1, "a")


def test_the_callers_work_stops_when_the_other_fails_and_the_reason_is_told(pool: Executor) -> None:
    together, began = Together(lambda: None), threading.Event()
    with pytest.raises(FullError):
        together.both(pool, failing(FullError(), began), endless(together, began))


def test_the_others_work_stops_when_the_caller_s_fails(pool: Executor) -> None:
    together, began = Together(lambda: None), threading.Event()
    with pytest.raises(TruncatedError):
        together.both(pool, endless(together, began), failing(TruncatedError(), began))
    pool.shutdown()  # It waits for the other, which would take ENOUGH_S.


def test_a_beat_that_fails_ends_both(pool: Executor) -> None:
    calls = 0

    def beat() -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise FullError

    together = Together(beat)
    never = threading.Event()
    with pytest.raises(FullError):
        together.both(pool, endless(together, never), endless(together, never))
    pool.shutdown()


def test_one_beats_at_a_time(pool: Executor) -> None:
    inside = 0

    def beat() -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        time.sleep(0.001)
        assert inside == 1
        inside -= 1

    together = Together(beat)

    def act() -> int:
        for _ in range(30):
            together.beat()
        return 30

    assert together.both(pool, act, act) == (30, 30)
