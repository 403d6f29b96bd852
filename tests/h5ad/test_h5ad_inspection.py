"""The confined child: what it may not do, and what its death means."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest

from shared.deadline import within
from shared.domain.errors import (
    InputChangedError,
    InternalError,
    NotAnnDataError,
    TruncatedFileError,
    UnavailableError,
    UnsafeFileError,
)
from shared.forkserver.client import SERVER
from shared.h5ad.facts import FileFacts
from shared.h5ad.inspect import inspection
from shared.h5ad.inspect.capacity import ALONE, Capacity, capacity_here
from shared.h5ad.inspect.inspection import inspect, warm_up
from shared.h5ad.inspect.wire import pack_error, receive
from shared.h5ad.read.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.source import BytesSource
from shared.ports.blobs import ByteRange
from tests.h5ad.h5ad_files import random_counts, write_file

ROOT = Path(__file__).resolve().parents[2]
SOUND = write_file(random_counts(30, 40))
LONG = write_file(random_counts(2_000, 3_000, density=0.3))
"""Its child asks for more than the head and the tail, which are there before it is."""


@dataclass(slots=True)
class Meddling:
    """A source that does something before the child gets the first bytes that it asks for."""

    data: bytes
    meddle: Callable[[], None]
    reads: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, span: ByteRange) -> bytes:
        return BytesSource(self.data).read(span)

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        if spans[0].offset:
            self.reads += 1
            self.meddle()
        return BytesSource(self.data).read_many(spans)


def server() -> int:
    process = SERVER._process
    assert process is not None
    return process.pid


def children(pid: int) -> list[int]:
    """The inspections of a server: its other children are servers with more loaded."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in found if _name(child) != "celldrop-loaded"]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_facts_come_back_as_values() -> None:
    facts = inspect(BytesSource(SOUND))
    assert isinstance(facts, FileFacts)
    assert (facts.n_cells, facts.n_genes, facts.layout, facts.size_bytes) == (30, 40, "anndata 0.1.0", len(SOUND))
    assert facts.candidates[0].evidence.whole_fraction == 1.0


def test_the_child_has_no_free_descriptor_and_no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLDROP_SECRET", "x")
    SERVER.stop()
    seen: list[tuple[str, list[str], bytes]] = []

    def look() -> None:
        (pid,) = children(server())
        limits = Path(f"/proc/{pid}/limits").read_text()
        (files,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        seen.append((files, sorted(path.name for path in Path(f"/proc/{pid}/fd").iterdir()), environment))

    inspect(Meddling(LONG, look))
    files, descriptors, environment = seen[0]
    assert files.split()[3:5] == ["4", "4"]
    assert descriptors == ["0", "1", "2", "3"]
    assert b"SECRET" not in environment
    assert b"HDF5_PLUGIN_PRELOAD=::" in environment


def kill_child(number: signal.Signals) -> None:
    os.kill(children(server())[-1], number)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE])
def test_a_child_that_ends_itself_is_a_refusal(number: signal.Signals) -> None:
    warm_up()
    with pytest.raises(TruncatedFileError, match="crashes"):
        inspect(Meddling(LONG, lambda: kill_child(number)))
    assert inspect(BytesSource(SOUND)).n_cells == 30


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_child_that_is_killed_from_outside_is_tried_again(number: signal.Signals) -> None:
    warm_up()
    killed: list[bool] = []

    def kill_once() -> None:
        if not killed:
            kill_child(number)
            killed.append(True)

    assert inspect(Meddling(LONG, kill_once)).n_cells == 2_000


def test_an_interrupt_at_the_terminal_says_nothing_of_the_file() -> None:
    """The terminal sends it to every process of the group."""
    warm_up()
    assert inspect(Meddling(LONG, lambda: kill_child(signal.SIGINT))).n_cells == 2_000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_is_killed_each_time_is_not_the_files_fault(number: signal.Signals) -> None:
    warm_up()
    with pytest.raises(UnavailableError, match=number.name):
        inspect(Meddling(LONG, lambda: kill_child(number)))
    assert inspect(BytesSource(SOUND)).n_cells == 30


def test_a_child_whose_server_is_killed_is_tried_again() -> None:
    warm_up()
    killed: list[bool] = []

    def kill_once() -> None:
        if not killed:
            os.kill(server(), signal.SIGKILL)
            killed.append(True)

    assert inspect(Meddling(LONG, kill_once)).n_cells == 2_000


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGPROF])
def test_a_child_whose_time_is_over_is_unsafe(number: signal.Signals) -> None:
    warm_up()
    with pytest.raises(UnsafeFileError, match="too long"):
        inspect(Meddling(LONG, lambda: kill_child(number)))


def test_a_server_that_is_killed_is_started_again() -> None:
    warm_up()
    before = server()
    os.kill(before, signal.SIGKILL)
    SERVER._process.wait()  # type: ignore[union-attr]
    assert inspect(BytesSource(SOUND)).n_cells == 30
    assert server() != before


def test_silence_is_our_trouble_and_not_the_files() -> None:
    def pause() -> None:
        os.kill(children(server())[-1], signal.SIGSTOP)

    with pytest.raises(UnavailableError):
        inspect(Meddling(LONG, pause), limits=InspectionLimits(silence_s=0.2))
    for pid in children(server()):
        os.kill(pid, signal.SIGKILL)


def test_a_silent_inspection_is_waited_for_until_the_callers_deadline() -> None:
    def pause() -> None:
        os.kill(children(server())[-1], signal.SIGSTOP)

    began_s = time.monotonic()
    with within(1.0), pytest.raises(UnavailableError):
        inspect(Meddling(LONG, pause))
    assert time.monotonic() - began_s < DEFAULT_LIMITS.silence_s / 2
    for pid in children(server()):
        os.kill(pid, signal.SIGKILL)


def test_memory_is_waited_for_until_the_callers_deadline() -> None:
    with capacity_here().share(ALONE, 1.0), within(0.5), pytest.raises(UnavailableError, match="no memory was free"):
        inspect(BytesSource(SOUND))


def test_an_input_that_changes_is_said_to_have_changed() -> None:
    def fail() -> None:
        raise InputChangedError("gone")

    with pytest.raises(InputChangedError):
        inspect(Meddling(LONG, fail))
    assert inspect(BytesSource(SOUND)).n_cells == 30


def test_a_childs_refusal_keeps_its_words() -> None:
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        file.create_group("mod")
    with pytest.raises(NotAnnDataError, match="MuData") as refusal:
        inspect(BytesSource(buffer.getvalue()))
    assert ".mod[" in refusal.value.hint


def test_many_threads_inspect_at_once() -> None:
    found: list[int] = []

    def work() -> None:
        found.append(inspect(BytesSource(SOUND)).n_cells)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30] * 8


def test_as_many_inspect_at_once_as_have_room() -> None:
    room, order = Capacity(100), []
    with room.share(60, 0.0):
        with room.share(40, 0.0):
            order.append("both")
        with pytest.raises(UnavailableError, match="no memory"), room.share(41, 0.01):
            order.append("never")
        with pytest.raises(UnavailableError), room.share(ALONE, 0.01):
            order.append("never")
    with room.share(ALONE, 0.0):
        order.append("alone")
    assert order == ["both", "alone"]


def test_children_are_gone_after_their_work() -> None:
    for _ in range(3):
        inspect(BytesSource(SOUND))
    alive = [pid for pid in children(server()) if _running(pid)]
    assert len(alive) <= 1


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_only_the_wanted_matrix_is_sampled() -> None:
    data = write_file(random_counts(30, 40), None, other=random_counts(30, 40))
    assert [found.path for found in inspect(BytesSource(data), matrix="X").candidates] == ["X"]
    assert len(inspect(BytesSource(data)).candidates) == 2


def test_a_script_without_a_main_guard_can_inspect(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    (tmp_path / "file.h5ad").write_bytes(SOUND)
    script.write_text(
        textwrap.dedent(f"""
        import pathlib
        print("started")
        from shared.h5ad.inspect.inspection import inspect
        from shared.h5ad.source import BytesSource
        data = pathlib.Path({str(tmp_path / "file.h5ad")!r}).read_bytes()
        print(inspect(BytesSource(data)).n_cells)
        """)
    )
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == (["started", "30"], "")


def test_importing_the_judges_loads_no_native_library() -> None:
    code = (
        "import sys, shared.h5ad.judge.judging; print([m for m in ('h5py', 'numpy', 'hdf5plugin') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frames_that_are_none_end_the_talk() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"?" + bytes(8))
        with pytest.raises(EOFError):
            receive(right)


def test_an_error_that_is_not_the_files_is_ours() -> None:
    with pytest.raises(InternalError, match="odd"):
        raise inspection._error(pack_error(InternalError("odd")))
