"""A small pickle cannot make its reader hold or say much more than it holds itself."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jobs.modeling.celltypist import import_celltypist
from shared.domain.errors import UnsafeModelError

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 512 * 2**20
TEXT = b"X" + struct.pack("<I", 2**20) + b"A" * 2**20


def referring(value: bytes, times: int) -> bytes:
    """A list of the same value many times over."""
    return b"\x80\x03](" + value + b"q\xfa" + b"h\xfa" * times + b"e."


def body(value: object, protocol: int = 3) -> bytes:
    """A pickle without its head and end."""
    return pickle.dumps(value, protocol=protocol)[2:-1]


def arrays_of_one_text() -> bytes:
    """Many arrays, each of its own, whose bytes are the same text."""
    head, _, tail = body(np.ones(2**20, "u1"), protocol=2).partition(TEXT.replace(b"A", b"\x01"))
    assert tail
    return b"\x80\x02" + TEXT.replace(b"A", b"\x01") + b"q\xfa0](" + 600 * (head + b"h\xfa" + tail) + b"e."


BOMBS: dict[str, Callable[[], bytes]] = {
    "an array": lambda: referring(body(np.ones(2**20, "u1")), 2_500),
    "an array, a few times": lambda: referring(body(np.ones(2**24, "u1")), 60),
    "an array of protocol 2": lambda: referring(body(np.ones(2**20, "u1"), protocol=2), 2_500),
    "an array of texts": lambda: referring(body(np.array(["A" * 2**18])), 2_500),
    "one text in many arrays": arrays_of_one_text,
    "a text": lambda: referring(TEXT, 5_000),
    "a text as key": lambda: (
        b"\x80\x03](" + b"}" + TEXT + b"q\xfaNs" + b"}h\xfaNs" * 5_000 + b"e."
    ),
    "a number": lambda: referring(body(7 ** 1_000), 400_000),
    "a list of objects": lambda: referring(body([np.float32] * 1_000), 5_000),
    "nothing, many times": lambda: b"\x80\x03](" + b"}" * 5_000_000 + b"e.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_that_swells_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(BOMBS[name]())
    with pytest.raises(UnsafeModelError):
        import_celltypist(path, name="x", version="1")


MEASURED = ("an array", "a text", "one text in many arrays", "nothing, many times")
_MEASURED = """
import resource, sys
from pathlib import Path
from jobs.modeling.celltypist import import_celltypist
from shared.domain.errors import UnsafeModelError
for path in sys.argv[1:]:
    try:
        import_celltypist(Path(path), name="x", version="1")
    except UnsafeModelError:
        # Its own peak since it was started; getrusage would count what the process that forked it held.
        lines = Path("/proc/self/status").read_text().splitlines()
        own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        print((own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
def test_they_are_refused_in_little_memory(tmp_path: Path) -> None:
    """In one process, whose peak is that of the worst of them."""
    paths = [tmp_path / f"{name}.pkl" for name in MEASURED]
    for path in paths:
        path.write_bytes(BOMBS[path.stem]())
    command = [sys.executable, "-c", _MEASURED, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    peaks = [int(line) for line in done.stdout.splitlines()]
    assert len(peaks) == len(MEASURED), done.stderr
    assert max(peaks) < MOST_BYTES, dict(zip(MEASURED, peaks, strict=True))
