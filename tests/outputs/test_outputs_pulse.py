"""Beats come while the work is silent, for as long as it may be; a hang ends the process, and says where."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from jobs.inference.process.pulse import Pulse, ShowingSource
from jobs.inference.task.protocol import Paced
from shared.domain.errors import StaleWorkerError, UnavailableError
from shared.h5ad.source import BytesSource
from shared.ports.blobs import ByteRange

ROOT = Path(__file__).resolve().parents[2]
ENOUGH_S = 60.0


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.inference.process.pulse.EVERY_S", 0.01)


def test_a_silent_stage_is_beaten_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    beaten = Event()
    with Pulse(beaten.set) as pulse, pulse.stage("wait for the map"):
        assert beaten.wait(ENOUGH_S)
    told = [(record.message, vars(record)["stage"]) for record in caplog.records]
    assert told == [("stage begins", "wait for the map"), ("stage ends", "wait for the map")]


def test_what_a_beat_raises_ends_the_work_at_its_next_sign() -> None:
    raised = Event()

    def beat() -> None:
        raised.set()
        raise StaleWorkerError("another finalizes")

    def work(pulse: Pulse) -> None:
        assert raised.wait(ENOUGH_S)
        until_s = time.monotonic() + ENOUGH_S
        while time.monotonic() < until_s:
            pulse.show()
        pytest.fail("went on")

    with pytest.raises(StaleWorkerError), Pulse(beat) as pulse:
        work(pulse)


def test_what_a_beat_raises_is_not_lost_where_no_sign_follows() -> None:
    raised = Event()

    def beat() -> None:
        raised.set()
        raise StaleWorkerError("another finalizes")

    with pytest.raises(StaleWorkerError), Pulse(beat):
        assert raised.wait(ENOUGH_S)


def test_the_works_own_error_counts_for_more() -> None:
    raised = Event()

    def beat() -> None:
        raised.set()
        raise StaleWorkerError("another finalizes")

    def work() -> None:
        assert raised.wait(ENOUGH_S)
        raise KeyError

    with pytest.raises(KeyError), Pulse(beat):
        work()


def test_who_gives_no_sign_for_too_long_is_beaten_for_no_more() -> None:
    beats = count()

    def beat() -> None:
        next(beats)

    began_s = time.monotonic()
    with Pulse(beat, stall_s=0.2, ends_process=False):
        while time.monotonic() - began_s < 0.3:
            Event().wait(0.01)
        so_far = next(beats)
        while time.monotonic() - began_s < 0.6:
            Event().wait(0.01)
        assert next(beats) == so_far + 1


def test_a_hung_process_ends_and_says_where() -> None:
    program = (
        "import threading\nfrom jobs.inference.process.pulse import Pulse\n"
        "def lay_out():\n    threading.Event().wait()\n"
        "with Pulse(lambda: None, stall_s=0.5):\n    lay_out()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=ENOUGH_S
    )
    assert done.returncode == 1
    assert "Timeout (0:00:00.5" in done.stderr
    assert "in lay_out" in done.stderr


def test_a_process_that_burns_the_processor_ends_and_says_where() -> None:
    program = (
        "import re\nfrom jobs.inference.process.pulse import Pulse\n"
        'def read():\n    re.match(r"(a+)+$", "a" * 60 + "b")\n'
        "with Pulse(lambda: None, stall_cpu_s=0.5):\n    read()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=ENOUGH_S
    )
    assert done.returncode == -signal.SIGPROF
    assert "in read" in done.stderr


def test_a_process_that_burns_the_processor_and_gives_signs_does_not_end() -> None:
    program = (
        "import signal, time\nfrom jobs.inference.process.pulse import Pulse\n"
        "with Pulse(lambda: None, stall_cpu_s=0.5) as beating:\n"
        "    while time.process_time() < 2.0:\n        beating.show()\n"
        "assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False, timeout=ENOUGH_S)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_process_that_gives_signs_does_not_end() -> None:
    program = (
        "import time\nfrom jobs.inference.process import pulse\npulse._REARM_S = 0.0\n"
        "until_s = time.monotonic() + 2.0\n"
        "with pulse.Pulse(lambda: None, stall_s=1.0) as beating:\n"
        "    while time.monotonic() < until_s:\n        beating.show()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False, timeout=ENOUGH_S)
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_read_of_a_source_is_a_sign() -> None:
    signs: list[str] = []
    source = ShowingSource(BytesSource(b"cells"), lambda: signs.append("read"))
    assert source.size_bytes == 5
    assert source.read(ByteRange(0, 2)) == b"ce"
    assert source.read_many([ByteRange(0, 1), ByteRange(4, 1)]) == [b"c", b"s"]
    assert signs == ["read", "read"]


def test_a_beat_that_a_service_did_not_answer_is_due_again_at_once() -> None:
    tries = count(1)

    def beat() -> None:
        if next(tries) < 3:
            raise UnavailableError("busy")

    seconds = [0.0]
    paced = Paced(lambda: seconds[0], 10.0, beat)
    seconds[0] = 10.0
    for _ in range(5):
        paced()
    assert next(tries) == 4
