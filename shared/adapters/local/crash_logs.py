"""Finds where a task process crashed, from the traceback that the interpreter wrote to its log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

NATIVE = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS}
)
"""Signals of a crash. A process that is killed or asked to stop gets other signals."""
_HOUSE = Path(__file__).resolve().parents[3]
_TAIL_BYTES = 256 * 1024
_FATAL = re.compile(r"^Fatal Python error: ", re.MULTILINE)
_HUNG = re.compile(r"^Timeout \(\d+:\d\d:\d\d", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+) in (?P<function>.+)$', re.MULTILINE)
_THREAD = re.compile(r"^(?:Current thread|Thread) 0x\w+.*\(most recent call first\):$", re.MULTILINE)


def crash_of(status: int, log: Path) -> str:
    """How and where a process with this exit ``status`` crashed; empty if it did not crash, or was killed."""
    words = _tail(log)
    if -status == signal.SIGPROF:  # From the pulse's timer of CPU time.
        return f"it hung{_place(words, 'Current')}"
    if status < 0:
        if -status not in NATIVE:
            return ""
        return f"signal {-status} ({signal.Signals(-status).name}){_place(_after(_FATAL, words), 'Current')}"
    hung = _after(_HUNG, words)
    return f"it hung{_place(hung, 'Thread')}" if status and hung else ""


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _after(mark: re.Pattern[str], words: str) -> str:
    """The log's text after the last such mark."""
    found = list(mark.finditer(words))
    return words[found[-1].start() :] if found else ""


def _place(dump: str, thread: str) -> str:
    """The innermost frame of our own code, or else of any code, in the last such thread of the dump."""
    threads = [found for found in _THREAD.finditer(dump) if found.group().startswith(thread)]
    frames = list(_FRAME.finditer(dump[threads[-1].end() :].partition("\n\n")[0])) if threads else []
    if not frames:
        return ""
    ours = (frame for frame in frames if Path(frame["file"]).is_relative_to(_HOUSE))
    frame = next(ours, frames[0])
    return f" at {Path(frame['file']).name}, line {frame['line']}, in {frame['function']}"
