"""The child side of an inspection: a confined process for each file."""

from __future__ import annotations

import codecs
import io
import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import h5py

from shared.domain.errors import CelldropError, UnsafeFileError
from shared.domain.geometry import Rows
from shared.domain.words import cut
from shared.h5ad.inspect.capacity import address_space_bytes
from shared.h5ad.inspect.gathering import Sampled, gather, n_genes_in
from shared.h5ad.inspect.groupings import groupings
from shared.h5ad.inspect.household import panel
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.inspect.rehearsal import Rehearsal
from shared.h5ad.inspect.wire import Kind, pack_error, pack_facts, pack_spans, receive, send, unpack_blobs
from shared.h5ad.matrix_names import wanted_path
from shared.h5ad.names.gene_table import symbols
from shared.h5ad.read import filters
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.read.layouts import calling_it_by_name, find_layout
from shared.h5ad.read.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.read.opening import undecodable
from shared.h5ad.read.safety import scan
from shared.h5ad.source import BytesSource, RangedFile, RangeSource
from shared.ports.blobs import ByteRange

_LINK_FD = 3
_GENES_A_CPU_S = 100_000
"""A million names in six columns take four seconds of a core between two signs (2026-11)."""
_LARGEST_CACHE = 64 * 2**20


def prepare() -> None:
    """Load and use all that an inspection may need, before the server forks one."""
    filters.register()
    _rehearse()


class Free:
    """No bounds: for a file of our own."""

    def gets_on(self) -> None:
        """A sign that the inspection gets on."""

    def grant(self, n_genes: int) -> None:
        """Memory and time for the names of so many genes."""


def read_facts(source: RangeSource, *, matrix: str | None, limits: InspectionLimits, plan: Plan, bounds: Free) -> bytes:
    """Scan, then gather, then rehearse what will be read outside; the facts as a frame's payload.

    Raises:
        InputError: The file cannot be used; which leaf says why.
    """
    with RangedFile(source, cache_bytes=_LARGEST_CACHE) as raw, h5py.File(raw, "r") as file:
        with calling_it_by_name(file):
            scan(file, source.size_bytes, limits)
        bounds.grant(min(n_genes_in(file), limits.genes))
        foresight = Foresight(raw, file.userblock_size)
        sampled = Sampled(matrix, none=plan.judged)
        facts = gather(file, source.size_bytes, foresight, sampled, limits, bounds.gets_on)
        Rehearsal(file, source.size_bytes, limits, foresight, _only(file, matrix), bounds.gets_on).run(plan)
        facts = replace(facts, groupings=groupings(file, source.size_bytes, plan, bounds.gets_on))
        bounds.gets_on()
        return pack_facts(facts)


def _only(file: h5py.File, matrix: str | None) -> str | None:
    return wanted_path(matrix, [path for path, _ in find_layout(file).matrices]) if matrix else None


class _ParentSource:
    """The file as the parent hands it out, range by range."""

    def __init__(self, link: socket.socket, size_bytes: int, gets_on: Callable[[], None]) -> None:
        self._link = link
        self._gets_on = gets_on
        self.size_bytes = size_bytes

    def read(self, span: ByteRange) -> bytes:
        return self.read_many([span])[0]

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        self._gets_on()
        send(self._link, Kind.READ, pack_spans(spans))
        kind, payload = receive(self._link)
        if kind is not Kind.DATA:
            raise EOFError
        return unpack_blobs(payload)


def answer(link_fd: int) -> None:
    """Inspect one file, in a process that the fork server has just forked and that ends with this."""
    # The link gets the lowest number, so that no descriptor is free below the limit set next.
    if link_fd != _LINK_FD:
        os.dup2(link_fd, _LINK_FD)
        os.close(link_fd)
    with suppress(BaseException):
        _answer(socket.socket(fileno=_LINK_FD))


def _answer(link: socket.socket) -> None:
    send(link, Kind.HELLO)
    _, payload = receive(link)
    order = json.loads(payload)
    limits = InspectionLimits(**order["limits"])
    bounds = Bounds(limits)
    source = _ParentSource(link, order["size_bytes"], bounds.gets_on)
    try:
        rows, wanted = Rows(*order["rows"]) if order["rows"] else None, tuple(order["columns"])
        plan = Plan(rows, order["merge"], wanted, order["recognise"], order["elsewhere"])
        facts = read_facts(source, matrix=order["matrix"], limits=limits, plan=plan, bounds=bounds)
    except EOFError:
        return
    except CelldropError as error:
        send(link, Kind.ERROR, pack_error(error))
    except MemoryError:
        send(link, Kind.ERROR, pack_error(_too_hungry(limits)))
    except Exception as error:  # noqa: BLE001  # a hostile file can make HDF5 fail in any way there is
        send(link, Kind.ERROR, pack_error(undecodable(), cut(f"{type(error).__name__}: {error}", 300)))
    else:
        send(link, Kind.FACTS, facts)


class Bounds(Free):
    """From its making on no file or socket can be opened or grown, and memory and time are bounded."""

    def __init__(self, limits: InspectionLimits) -> None:
        self._limits = limits
        self._begun_bytes = address_space_bytes()
        self._stuck_s = limits.stuck_cpu_s
        self._most_bytes = self._begun_bytes + max(limits.memory_bytes, limits.most_memory_bytes)
        wanted = {
            resource.RLIMIT_AS: (self._begun_bytes + limits.memory_bytes, self._most_bytes),
            resource.RLIMIT_CORE: (0, 0),
            resource.RLIMIT_FSIZE: (0, 0),
            resource.RLIMIT_NOFILE: (_LINK_FD + 1, _LINK_FD + 1),
            resource.RLIMIT_CPU: (limits.cpu_s, limits.cpu_s + 2),
        }
        for kind, bound in wanted.items():
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, bound)
        self.gets_on()

    def gets_on(self) -> None:
        """Begin anew to count the processor time without such a sign.

        Nobody handles the signal that ends it: while a library loops, no handler of Python's gets its turn.
        """
        signal.setitimer(signal.ITIMER_PROF, self._stuck_s)

    def grant(self, n_genes: int) -> None:
        """Memory and time for the names of so many genes."""
        memory_bytes = self._limits.memory_bytes + n_genes * self._limits.gene_bytes
        bound = min(self._begun_bytes + memory_bytes, self._most_bytes)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (bound, self._most_bytes))
        self._stuck_s = self._limits.stuck_cpu_s + n_genes / _GENES_A_CPU_S
        self.gets_on()


def _too_hungry(limits: InspectionLimits) -> UnsafeFileError:
    return UnsafeFileError(
        f"reading its structure needs more than {limits.memory_bytes // 2**20} MiB of memory",
        expected="chunks and strings of ordinary size",
        hint="Write the file again with adata.write_h5ad().",
    )


def _rehearse() -> None:
    """Read a small file once, so that nothing is left to import or open when no file can be opened any more."""
    symbols()
    panel()
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["X"] = [[1.0, 2.0], [3.0, 0.5]]
        for name in ("obs", "var"):
            group = file.create_group(name)
            group.attrs.update({"encoding-type": "dataframe", "_index": "_index"})
            group.create_dataset("_index", data=["a\u00e9", "b"], compression="gzip", chunks=(2,))
    for encoding in ("ascii", "latin-1", "utf-8"):
        codecs.lookup(encoding)
    with suppress(Exception):
        read_facts(BytesSource(buffer.getvalue()), matrix=None, limits=DEFAULT_LIMITS, plan=Plan(), bounds=Free())
