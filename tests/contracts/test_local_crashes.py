"""Tasks that crash by themselves, as real processes: what two alike lead to, and what is no crash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.adapters.local.jobs import SubprocessJobRunner
from shared.adapters.local.starting import Command
from shared.domain.plan import Accelerator
from shared.ports.jobs import ExecutionReport, ExecutionState, JobRequest

ONE = JobRequest("s1", 1, 1, Accelerator.CPU, timeout_s=60)
ENOUGH_S = 60.0
HEAD = "import ctypes, faulthandler, os, signal, sys\nfaulthandler.enable()\n"
Run = Callable[[str], tuple[ExecutionReport, list[Path]]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    runners: list[SubprocessJobRunner] = []

    def start(program: str) -> tuple[ExecutionReport, list[Path]]:
        script = tmp_path / "program.py"
        script.write_text(HEAD + program)
        runner = SubprocessJobRunner(Command([sys.executable, str(script)]), {}, tmp_path / "logs", 1)
        runners.append(runner)
        report = runner.wait(runner.start(ONE), ENOUGH_S)
        return report, sorted((tmp_path / "logs").glob("*/*.log"))

    yield start
    for runner in runners:
        runner.close()


def test_two_native_crashes_at_one_place_are_all_that_is_tried(run: Run) -> None:
    report, logs = run("def merge():\n    ctypes.string_at(0)\nmerge()\n")
    crash = "signal 11 (SIGSEGV) at __init__.py, line"
    assert report.state is ExecutionState.FAILED
    assert report.problem.startswith(f"task 0 crashed twice at the same place: {crash}")
    assert report.crashes_alike
    assert [one.startswith(crash) for one in report.crashes] == [True, True]
    assert len(logs) == 2
    assert report.log == str(logs[-1])
    assert "in merge" in logs[-1].read_text()


def test_an_abort_is_a_crash(run: Run) -> None:
    report, logs = run("os.abort()\n")
    assert report.crashes == ("signal 6 (SIGABRT) at program.py, line 3, in <module>",) * 2
    assert len(logs) == 2


def test_a_process_whose_processor_time_without_a_sign_is_over_hung(run: Run) -> None:
    report, logs = run(
        'import re\ndef hang():\n    re.match(r"(a+)+$", "a" * 60 + "b")\n'
        "faulthandler.register(signal.SIGPROF, chain=True)\n"
        "signal.setitimer(signal.ITIMER_PROF, 0.2)\nhang()\n"
    )
    assert report.crashes_alike
    assert report.crashes[0].startswith("it hung at __init__.py, line")
    assert len(logs) == 2


def test_a_process_that_found_out_that_it_hangs_is_a_crash(run: Run) -> None:
    report, logs = run(
        "import threading\n"
        "def hang():\n    threading.Event().wait()\n"
        "faulthandler.dump_traceback_later(0.2, exit=True)\nhang()\n"
    )
    assert len(report.crashes) == len(logs) == 2
    assert report.crashes_alike
    assert report.crashes[0].startswith("it hung at threading.py, line")


NO_CRASH = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "told to stop": "os.kill(os.getpid(), signal.SIGTERM)",
    "an exit status": "sys.exit(3)",
    "a traceback": "raise ValueError",
}


@pytest.mark.parametrize("program", NO_CRASH.values(), ids=NO_CRASH)
def test_what_may_be_trouble_elsewhere_is_tried_to_the_end(run: Run, program: str) -> None:
    report, logs = run(program)
    assert (report.state, report.crashes, report.crashes_alike) == (ExecutionState.FAILED, (), False)
    assert len(logs) == 4


def test_crashes_at_different_places_are_tried_on(run: Run) -> None:
    lines = "\n".join(f"if os.environ['CLOUD_RUN_TASK_ATTEMPT'] == '{n}': os.abort()" for n in range(3))
    report, logs = run(lines)
    assert report.state is ExecutionState.SUCCEEDED
    assert len(report.crashes) == 3
    assert len(logs) == 4
