"""What a forked program has, and what becomes of it when it, who asked for it, or the server ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest

from shared.forkserver import client
from shared.forkserver.client import ForkServer
from shared.forkserver.program import ForkedProgram
from shared.forkserver.wire import Program

HERE = "tests.forkserver.programs"
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer(f"{HERE}:first")
    yield server
    server.stop()


class Asked:
    """A program that was asked for, with files for its input and output."""

    def __init__(self, server: ForkServer, program: Program, files: list[IO[bytes]], loaded: str) -> None:
        self.input, self.output, self.errors = files
        self.input.write(b"some input")
        self.input.seek(0)
        standard = (self.input.fileno(), self.output.fileno(), self.errors.fileno())
        self.program = ForkedProgram(server, program, standard, loaded=loaded)

    def end(self) -> tuple[int, str, str]:
        self.program.begin()
        status = self.program.wait()
        return status, self.said(self.output), self.said(self.errors)

    def said(self, file: IO[bytes]) -> str:
        file.seek(0)
        return file.read().decode()


Ask = Callable[..., Asked]


@pytest.fixture
def ask(server: ForkServer, tmp_path: Path) -> Iterator[Ask]:
    with ExitStack() as stack:

        def ask(name: str, env: Mapping[str, str] | None = None, *, group: int = 0, loaded: str = "") -> Asked:
            files: list[IO[bytes]] = [stack.enter_context(TemporaryFile()) for _ in range(3)]
            program = Program(f"{HERE}:{name}", [name, "x"], env or {}, str(tmp_path), group)
            asked = Asked(server, program, files, loaded)
            stack.callback(asked.program.close)
            return asked

        yield ask


def told(asked: Asked) -> dict[str, Any]:
    status, output, errors = asked.end()
    assert (status, errors) == (7, "")
    found: dict[str, Any] = json.loads(output)
    return found


def server_pid(server: ForkServer) -> int:
    assert server._process is not None
    return server._process.pid


def test_a_program_has_what_it_was_given_and_nothing_else(
    ask: Ask, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLDROP_SECRET", "x")
    found = told(ask("tell", {"HOME": "/nowhere", "ONE": "1"}))
    assert found["argv"] == ["tell", "x"]
    assert found["env"] == {"HOME": "/nowhere", "ONE": "1"}
    assert found["folder"] == str(tmp_path)
    assert found["input"] == "some input"
    assert found["group"] == found["pid"]
    assert found["parent"] == server_pid(server)
    assert found["signals"] == [True, True]
    control = found["open"][3:]
    assert found["open"][:3] == [0, 1, 2]
    assert len(control) == 1  # For its own requests to the server.


def test_a_program_ends_as_it_would_in_a_process_of_its_own(ask: Ask) -> None:
    assert ask("leave").end() == (1, "", "no more\n")
    status, _, errors = ask("fall").end()
    assert status == 1
    assert errors.endswith("KeyError: 'fallen'\n")
    status, _, errors = ask("missing").end()
    assert status == 1
    assert "has no attribute 'missing'" in errors


def test_a_program_asks_the_server_that_forked_it(ask: Ask, server: ForkServer) -> None:
    assert ask("parent_of_another").end() == (0, str(server_pid(server)), "")


def test_libraries_are_loaded_once_and_for_those_alone_who_need_them(ask: Ask, server: ForkServer) -> None:
    load = f"{HERE}:load"
    for _ in range(2):
        server.load(load, {"THREADS": "2"})
    server.load(f"{HERE}:fail", {})
    one, other = (told(ask("tell", loaded=load)) for _ in range(2))
    assert one["loaded"] == other["loaded"] == [{"THREADS": "2"}]
    assert one["parent"] == other["parent"] != server_pid(server)
    assert told(ask("tell", loaded=f"{HERE}:fail"))["loaded"] == []
    assert told(ask("tell"))["loaded"] == []


def test_nobody_waits_for_libraries_that_others_need(ask: Ask, server: ForkServer, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    server.load(f"{HERE}:load_until_written", {"PIPE": str(pipe)})
    assert told(ask("tell"))["parent"] == server_pid(server)
    waiting = ask("tell", loaded=f"{HERE}:load_until_written")
    pipe.write_text("loaded")
    assert told(waiting)["loaded"] == [{"READ": "loaded"}]


def test_nobody_who_stops_a_program_waits_until_its_libraries_are_loaded(
    ask: Ask, server: ForkServer, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    server.load(f"{HERE}:load_until_written", {"PIPE": str(pipe)})
    asked = ask("tell", loaded=f"{HERE}:load_until_written")
    asked.program.signal(signal.SIGKILL)
    assert asked.end() == (-signal.SIGKILL, "", "")


def test_variables_can_be_long(ask: Ask, server: ForkServer) -> None:
    variables = {"LONG": "x" * 1_000_000}
    server.load(f"{HERE}:load", variables)
    assert told(ask("tell", loaded=f"{HERE}:load"))["loaded"] == [variables]


def test_a_server_that_cannot_load_what_it_needs_is_told_as_such() -> None:
    server = ForkServer(f"{HERE}:missing")
    with server.fork(f"{HERE}:say_parent") as child:
        assert child.status() is None
    server.stop()


def test_a_server_with_libraries_that_is_killed_is_made_again(ask: Ask, server: ForkServer) -> None:
    load = f"{HERE}:load"
    server.load(load, {})
    asked = ask("wait", loaded=load)
    running(asked)
    killed = told(ask("tell", loaded=load))["parent"]
    os.kill(killed, signal.SIGKILL)
    assert asked.program.wait() == -signal.SIGKILL
    while Path(f"/proc/{killed}").exists():  # What is asked for until then may be lost with it, as a program is.
        pass
    assert told(ask("tell", loaded=load))["loaded"] == [{}]


def test_a_server_that_is_started_again_loads_again(ask: Ask, server: ForkServer) -> None:
    load = f"{HERE}:load"
    server.load(load, {})
    server.stop()
    assert told(ask("tell", loaded=load))["loaded"] == [{}]


def test_a_program_that_is_stopped_before_it_begins_does_not_run(ask: Ask) -> None:
    asked = ask("tell")
    asked.program.signal(signal.SIGTERM)
    assert asked.end() == (-signal.SIGTERM, "", "")


def running(asked: Asked) -> int:
    """Its number, once it waits."""
    asked.program.begin()
    while asked.said(asked.output) != "waits":
        pass
    assert asked.program._pid is not None
    return asked.program._pid


def test_a_program_is_told_to_have_ended_by_the_signal(ask: Ask) -> None:
    asked = ask("wait")
    running(asked)
    with pytest.raises(TimeoutError):
        asked.program.wait(0)
    asked.program.signal(signal.SIGTERM)
    assert asked.program.wait() == -signal.SIGTERM


def test_the_number_of_a_program_that_has_ended_is_kept_until_it_is_closed(ask: Ask) -> None:
    asked = ask("wait")
    pid = running(asked)
    asked.program.signal(signal.SIGKILL)
    asked.program.wait()
    told(ask("tell"))
    assert Path(f"/proc/{pid}").exists()
    asked.program.signal(signal.SIGKILL)


def test_a_program_in_the_group_of_another_is_signalled_alone_or_with_it(ask: Ask) -> None:
    leader = ask("wait")
    group = running(leader)
    alone, together = ask("wait", group=group), ask("wait", group=group)
    assert [os.getpgid(running(member)) for member in (alone, together)] == [group, group]
    alone.program.signal(signal.SIGKILL)
    assert alone.program.wait() == -signal.SIGKILL
    leader.program.signal(signal.SIGKILL)
    assert [member.program.wait() for member in (leader, together)] == [-signal.SIGKILL] * 2


def test_programs_end_with_their_server_and_the_next_has_another(ask: Ask, server: ForkServer) -> None:
    asked = ask("wait")
    running(asked)
    before = server_pid(server)
    os.kill(before, signal.SIGKILL)
    assert asked.program.wait() == -signal.SIGKILL
    assert told(ask("tell"))["parent"] != before


def test_a_server_without_work_ends_and_the_next_request_starts_another(
    ask: Ask, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "IDLE_S", 0.001)
    told(ask("tell"))
    first = server._process
    assert first is not None
    assert first.wait() == 0
    monkeypatch.undo()
    assert told(ask("tell"))["parent"] != first.pid


PARENT = f"""
import os, signal
from shared.forkserver.client import ForkServer
from shared.forkserver.program import ForkedProgram
from shared.forkserver.wire import Program
server = ForkServer("{HERE}:first")
program = ForkedProgram(server, Program("{HERE}:wait", ["wait"], {{}}, os.getcwd()), (0, 1, 2))
program.begin()
signal.pause()
"""


def test_server_and_programs_end_when_who_asked_is_killed() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read(5) == b"waits"
        parent.kill()
        assert parent.stdout.read() == b""  # Its end comes once every process has ended that could write.
