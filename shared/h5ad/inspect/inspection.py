"""Inspection of an untrusted file in a confined child process, seen from the parent."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import TypeVar

from pydantic import TypeAdapter

from shared.deadline import at_most
from shared.domain.all_errors import all_errors
from shared.domain.errors import (
    CelldropError,
    InputError,
    InternalError,
    TruncatedFileError,
    UnavailableError,
    UnsafeFileError,
)
from shared.forkserver.client import SERVER, Child
from shared.h5ad.facts import FileFacts
from shared.h5ad.inspect.capacity import ALONE, capacity_here
from shared.h5ad.inspect.children import connect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.inspect.superblock import check_superblock
from shared.h5ad.inspect.wire import Kind, pack_blobs, receive, send, unpack_spans
from shared.h5ad.read.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.source import OpenedSource, RangeSource
from shared.ports.blobs import ByteRange
from shared.telemetry import event

T = TypeVar("T")

log = logging.getLogger(__name__)

_OUT_OF_TIME = frozenset({signal.SIGPROF, signal.SIGXCPU})
_ITS_OWN_DOING = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
        *(signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS, signal.SIGPIPE, signal.SIGXFSZ),
    }
)
"""Signals by which a process ends itself; any other came from outside."""
_END_S = 10.0
"""How long to wait for word of how a child ended that is known to have done so."""
_NOTHING_ELSE = Plan()
_WRITE_ANEW = "Write the file again with adata.write_h5ad()."


def inspect(
    source: RangeSource,
    *,
    matrix: str | None = None,
    plan: Plan = _NOTHING_ELSE,
    limits: InspectionLimits = DEFAULT_LIMITS,
    name: str = "",
) -> FileFacts:
    """Look a file through, safety first, in a child process that has only the bytes it asks for.

    What may be killed for want of memory has room: as many inspections run at once as fit in most of it. One that is
    killed from outside all the same is tried again, alone.

    Args:
        matrix: Sample only this matrix, as in the option of that name; None samples all.
        name: What the file is called; only what is no HDF5 file is told by it.
        plan: What will be read next, by a task or a merge, say: what hangs or outgrows the HDF5 library there then ends
            the child, and not who asks. What comes of its columns is in ``FileFacts.groupings``.

    Raises:
        InputError: The file cannot be used; which leaf says why. A crash of the child is one too.
        UnavailableError: The child could not be had, or was killed from outside, or the machine is too busy, or the
            caller's deadline has passed (``shared.deadline``).
    """
    source = OpenedSource.of(source)
    check_superblock(source, name)
    limits = limits.for_file(source.size_bytes).for_rows(plan.rows)
    for wanted_bytes in (limits.memory_bytes, ALONE):
        try:
            with capacity_here().share(wanted_bytes, at_most(limits.silence_s)), connect() as child:
                return _Dialogue(child, source, limits).run(matrix, plan)
        except _KilledError as error:
            how = str(error)
            event(log, "an inspection was killed", level=logging.WARNING, how=how, alone=wanted_bytes == ALONE)
    raise UnavailableError(
        f"the inspection of the file was ended from outside, {how}, and so was the second one, which ran alone",
        expected="to be let go on",
        hint="Most likely memory ran out: give this machine more of it, or try again when the machine is less busy.",
    )


class _KilledError(Exception):
    """The child was ended from outside: by the kernel for want of memory, most likely."""


def prepare() -> None:
    """Start the child's server and do not wait for it: for those who have something else to load meanwhile."""
    SERVER.start()


def warm_up() -> None:
    """Start the child's server now, so that the first inspection does not wait half a second for it."""
    with connect():
        pass


@dataclass(slots=True)
class _Dialogue:
    """One inspection: the child asks for ranges until it has an answer."""

    child: Child
    source: RangeSource
    limits: InspectionLimits
    reads: int = 0
    read_bytes: int = 0

    def run(self, matrix: str | None, plan: Plan) -> FileFacts:
        order = {
            "size_bytes": self.source.size_bytes,
            "matrix": matrix,
            "rows": [plan.rows.start, plan.rows.stop] if plan.rows else None,
            "merge": plan.merge,
            "columns": plan.columns,
            "recognise": plan.recognise,
            "elsewhere": plan.elsewhere,
            "limits": asdict(self.limits),
        }
        self._say(Kind.ORDER, json.dumps(order).encode())
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
            send(self.child.link, kind, *parts)
        except ConnectionError as error:
            raise self._died() from error

    def _hear(self) -> tuple[Kind, bytes]:
        wait_s = at_most(self.limits.silence_s)
        self.child.link.settimeout(wait_s)
        try:
            return receive(self.child.link)
        except TimeoutError as error:
            raise UnavailableError(f"no word from the inspection for {wait_s:.1f} s") from error
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

    def _died(self) -> InputError | _KilledError:
        self.child.link.close()  # One that says what nobody understands has not ended yet; now it does.
        status = self._end()
        if status is not None and -status in _OUT_OF_TIME:
            return UnsafeFileError(
                "reading its structure took too long and was stopped",
                expected=f"less than {self.limits.cpu_s} s, and {self.limits.stuck_cpu_s:g} s between two reads",
                hint=_WRITE_ANEW,
            )
        if status is None or (status < 0 and -status not in _ITS_OWN_DOING):
            return _KilledError("with its server" if status is None else f"by {signal.Signals(-status).name}")
        return TruncatedFileError(
            "the file crashes the HDF5 library",
            expected="a whole, undamaged file",
            hint="Check that adata = anndata.read_h5ad(FILE) works, then write and send it again.",
        )

    def _end(self) -> int | None:
        """How the child ended; 0 if it has not."""
        try:
            return self.child.status(_END_S)
        except TimeoutError:
            return 0


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
