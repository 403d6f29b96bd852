"""A program of the local cloud leaves nothing behind, however it or its starter ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.local_cloud_programs import Program, ProgramFailedError
from tests.contracts.task_desk import TASK, TaskDesk

STARTER = """
import signal, sys
from pathlib import Path
from tests.cloud.local_cloud_programs import Program
Program("task", [sys.executable, sys.argv[1]], Path(sys.argv[2]))
signal.pause()
"""


@pytest.fixture
def desk() -> Iterator[TaskDesk]:
    with tempfile.TemporaryDirectory() as folder:  # The path of a socket must be short.
        desk = TaskDesk(Path(folder))
        yield desk
        desk.close()


def _env(desk: TaskDesk) -> dict[str, str]:
    root = str(TASK.parents[2])
    return {**os.environ, "CELLDROP_TEST_DESK": desk.address, "CELLDROP_TEST_CHILD": "1", "PYTHONPATH": root}


def test_stopping_ends_it_and_what_it_has_started(desk: TaskDesk, tmp_path: Path) -> None:
    with Program("task", [sys.executable, str(TASK)], tmp_path / "log", _env(desk)):
        caller = desk.next_caller()
    caller.wait_until_gone()


def test_stopping_one_that_has_ended_ends_what_it_has_started(desk: TaskDesk, tmp_path: Path) -> None:
    with Program("task", [sys.executable, str(TASK)], tmp_path / "log", _env(desk)) as program:
        caller = desk.next_caller()
        caller.order("3")
        with pytest.raises(ProgramFailedError, match="task ended with status 3"):
            program.wait_until(lambda: False)
    caller.wait_until_gone()


def test_it_ends_when_its_starter_is_killed(desk: TaskDesk, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER, str(TASK), str(tmp_path / "log")], env=_env(desk)) as starter:
        caller = desk.next_caller()
        starter.kill()
        caller.wait_until_gone()


def test_waiting_for_one_that_ends_tells_its_status_and_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no port'); sys.exit(3)"]
    with (
        Program("emulator", command, tmp_path / "log") as program,
        pytest.raises(ProgramFailedError, match="emulator ended with status 3:\nno port"),
    ):
        program.wait_until(lambda: False)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with (
        Program("emulator", command, tmp_path / "log") as program,
        pytest.raises(ProgramFailedError, match=r"emulator is not ready after 0.1 s"),
    ):
        program.wait_until(lambda: False, timeout_s=0.1)
