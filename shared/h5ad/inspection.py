"""Inspection of an untrusted file in a confined child process, seen from the parent."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TypeVar

from pydantic import TypeAdapter

from shared.domain.errors import (
    CelldropError,
    InputError,
    InternalError,
    TruncatedFileError,
    UnavailableError,
    UnsafeFileError,
    all_errors,
)
from shared.domain.geometry import Rows
from shared.h5ad.facts import FileFacts
from shared.h5ad.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.source import OpenedSource, RangeSource
from shared.h5ad.superblock import check_superblock
from shared.h5ad.wire import Kind, pack_blobs, receive, send, unpack_spans
from shared.ports.blobs import ByteRange
from shared.telemetry import event

T = TypeVar("T")

log = logging.getLogger(__name__)

_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
_STARTS = 3
_START_S = 60.0
_WRITE_ANEW = "Write the file anew with adata.write_h5ad()."
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "import shared.h5ad.sandbox as sandbox; sandbox.serve(int(sys.argv[2]))"
)


def inspect(
    source: RangeSource,
    *,
    matrix: str | None = None,
    rows: Rows | None = None,
    limits: InspectionLimits = DEFAULT_LIMITS,
    name: str = "",
) -> FileFacts:
    """Look a file through, safety first, in a child process that has only the bytes it asks for.

    Args:
        matrix: Sample only this matrix, as in the option of that name; None samples all.
        name: What the file is called; only what is no HDF5 file is told by it.
        rows: Read the ids of these cells, too: what hangs or outgrows the HDF5 library there then ends the child, and
            not who asks.

    Raises:
        InputError: The file cannot be used; which leaf says why. A crash of the child is one too.
        UnavailableError: The child could not be had, or the machine is too busy.
    """
    source = OpenedSource.of(source)
    check_superblock(source, name)
    with _SANDBOX.connect() as link:
        link.settimeout(limits.silence_s)
        return _Dialogue(link, source, limits.for_rows(rows)).run(matrix, rows)


def prepare() -> None:
    """Start the child's server and do not wait for it: for those who have something else to load meanwhile."""
    _SANDBOX.start()


def warm_up() -> None:
    """Start the child's server now, so that the first inspection does not wait half a second for it."""
    _SANDBOX.connect().close()


@dataclass(slots=True)
class _Dialogue:
    """One inspection: the child asks for ranges until it has an answer."""

    link: socket.socket
    source: RangeSource
    limits: InspectionLimits
    reads: int = 0
    read_bytes: int = 0
    started: float = field(default_factory=time.monotonic)

    def run(self, matrix: str | None, rows: Rows | None) -> FileFacts:
        job = {
            "size_bytes": self.source.size_bytes,
            "matrix": matrix,
            "rows": [rows.start, rows.stop] if rows else None,
            "limits": asdict(self.limits),
        }
        self._say(Kind.JOB, json.dumps(job).encode())
        while True:
            kind, payload = self._hear()
            if kind is Kind.FACTS:
                return self._parsed(_facts, payload)
            if kind is Kind.ERROR:
                raise self._parsed(_error, payload)
            spans = self._parsed(unpack_spans, payload)
            self._charge(spans)
            self._say(Kind.DATA, *pack_blobs(self.source.read_many(spans)))

    def _say(self, kind: Kind, *parts: bytes) -> None:
        try:
            send(self.link, kind, *parts)
        except ConnectionError as error:
            raise self._died() from error

    def _hear(self) -> tuple[Kind, bytes]:
        try:
            return receive(self.link)
        except TimeoutError as error:
            raise UnavailableError(f"no word from the inspection for {self.limits.silence_s:g} s") from error
        except (EOFError, ConnectionError) as error:
            raise self._died() from error

    def _parsed(self, parse: Callable[[bytes], T], payload: bytes) -> T:
        try:
            return parse(payload)
        except (ValueError, TypeError, KeyError) as error:
            raise self._died() from error

    def _charge(self, spans: list[ByteRange]) -> None:
        self.reads += len(spans)
        self.read_bytes += sum(span.length for span in spans)
        if self.reads > self.limits.reads or self.read_bytes > self.limits.read_bytes:
            raise UnsafeFileError(
                f"its structure takes {self.reads:,} reads of {self.read_bytes:,} bytes to look through",
                expected=f"at most {self.limits.reads:,} reads and {self.limits.read_bytes:,} bytes",
                hint=_WRITE_ANEW,
            )

    def _died(self) -> InputError:
        if time.monotonic() - self.started >= self.limits.cpu_s:
            return UnsafeFileError(
                "reading its structure took too long and was stopped",
                expected=f"less than {self.limits.cpu_s} s",
                hint=_WRITE_ANEW,
            )
        return TruncatedFileError(
            "the file crashes the HDF5 library",
            expected="a whole, undamaged file",
            hint="Check that adata = anndata.read_h5ad(FILE) works, then write and send it again.",
        )


@cache
def _facts_adapter() -> TypeAdapter[FileFacts]:
    return TypeAdapter(FileFacts)


def _facts(payload: bytes) -> FileFacts:
    return _facts_adapter().validate_python(json.loads(payload))


def _error(payload: bytes) -> CelldropError:
    words = {key: str(value) for key, value in json.loads(payload).items()}
    kinds = [kind for kind in all_errors() if issubclass(kind, InputError) and kind.code == words["code"]]
    kind = kinds[0] if kinds else InternalError
    if words["cause"]:
        event(log, "a file cannot be decoded", code=kind.code, cause=words["cause"])
    return kind(words["found"], expected=words["expected"], where=words["where"], hint=words["hint"])


@dataclass(slots=True)
class _Sandbox:
    """The warm server of this process; a fork of this process starts one of its own."""

    _control: socket.socket | None = None
    _process: subprocess.Popen[bytes] | None = None
    _owner: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self) -> socket.socket:
        """A connection to a child that has said hello: from then on, its death is the file's doing.

        Raises:
            UnavailableError: None could be started.
        """
        for _ in range(_STARTS):
            ours, theirs = socket.socketpair()
            ours.settimeout(_START_S)
            try:
                with theirs:
                    self._pass(theirs)
                if receive(ours)[0] is Kind.HELLO:
                    return ours
            except (OSError, EOFError):
                ours.close()
                self.stop()
        raise UnavailableError("the inspecting process cannot be started", hint="Look for its traceback in the log.")

    def start(self) -> None:
        """Have the server started, unless it was."""
        with self._lock:
            self._running()

    def _pass(self, theirs: socket.socket) -> None:
        with self._lock:
            socket.send_fds(self._running(), [b"."], [theirs.fileno()])

    def _running(self) -> socket.socket:
        if self._control is None or self._owner != os.getpid():
            self._start()
        assert self._control is not None
        return self._control

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        path = json.dumps([entry or os.getcwd() for entry in sys.path])  # noqa: PTH109  # as sys.path itself would
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-I", "-c", _BOOT, path, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**kept, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._control, self._owner = ours, os.getpid()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the server; the next connection starts another."""
        with self._lock:
            if self._owner == os.getpid():
                self._stop()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()
        self._control = self._process = None


_SANDBOX = _Sandbox()
