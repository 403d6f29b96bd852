"""A copy-on-write file: reads come from an input that never changes, writes go to a small overlay of pages."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Generator
from types import TracebackType

from shared.domain.errors import CelldropError
from shared.h5ad.read.ahead import in_order
from shared.h5ad.source import RangedFile, RangeSource, whole
from shared.ports.blobs import ByteRange

PAGE_BYTES = 4096
SPOOL_BYTES = 64 << 20
"""Overlay pages are kept in memory up to this size, and in a temporary file beyond."""
CHUNK_BYTES = 8 << 20
_AHEAD = 1
"""Chunks that are read ahead while one is written."""


class Overlay(io.RawIOBase):
    """A file object for h5py's mode ``r+`` over a read-only source. ``chunks`` streams the changed file.

    Memory: the source's cache, ``SPOOL_BYTES``, and about 100 bytes for each written page.

    Attributes:
        failure: The source's error at the latest failed read, as h5py may replace it by an error of its own.
    """

    def __init__(self, source: RangeSource) -> None:
        super().__init__()
        self.failure: CelldropError | None = None
        self._source = source
        self._base = RangedFile(source)
        self._slots: dict[int, int] = {}
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # closed by close
        self._size = source.size_bytes
        self._position = 0

    @property
    def size_bytes(self) -> int:
        """The current size of the file."""
        return self._size

    @property
    def patched_bytes(self) -> int:
        """The size of the written pages that overlap the input."""
        return PAGE_BYTES * sum(page * PAGE_BYTES < self._source.size_bytes for page in self._slots)

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Generator[bytes, None, None]:
        """Stream the whole file: the source's bytes, the patches and the tail.

        One chunk is read ahead. A caller that stops early must close the generator, which waits for that read.
        """

        def beneath_of(offset: int) -> bytes:
            end = min(offset + chunk_bytes, self._size, self._source.size_bytes)
            span = ByteRange(offset, max(0, end - offset))
            return whole(self._source.read(span), span) if span.length else b""

        starts = range(0, self._size, chunk_bytes)
        for offset, beneath in zip(starts, in_order(beneath_of, starts, workers=_AHEAD), strict=True):
            length = min(chunk_bytes, self._size - offset)
            untouched = len(beneath) == length and not any(page in self._slots for page in _pages(offset, length))
            yield beneath if untouched else bytes(self._patched(offset, length, beneath))

    # --- The file methods that h5py needs --------------------------------------------------------------------------

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The current position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # h5py gives memoryviews
        """Fill ``buffer`` from the position."""
        view = memoryview(buffer).cast("B")
        length = min(len(view), max(0, self._size - self._position))
        if length:
            view[:length] = self._patched(self._position, length, self._beneath(self._position, length))
        self._position += length
        return length

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]  # h5py gives memoryviews
        """Write ``data`` at the position, into the overlay."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self._write_page(self._position + done, view[done:])
        self._position += done
        self._size = max(self._size, self._position)
        return done

    def truncate(self, size: int | None = None) -> int:
        """Set the size. New bytes have any value, which is enough for HDF5."""
        self._size = self._position if size is None else size
        return self._size

    def close(self) -> None:
        """Discard the overlay."""
        if not self.closed:
            self._spool.close()
            self._base.close()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _beneath(self, offset: int, length: int) -> bytes:
        length = min(length, max(0, self._source.size_bytes - offset))
        if not length:
            return b""
        self._base.seek(offset)
        try:
            return whole(self._base.read(length) or b"", ByteRange(offset, length))
        except CelldropError as error:
            self.failure = error
            raise

    def _patched(self, offset: int, length: int, beneath: bytes) -> bytearray:
        """``length`` bytes from ``offset``: the source's bytes, zeros past its end, and the pages on top."""
        data = bytearray(length)
        data[: len(beneath)] = beneath
        for page in _pages(offset, length):
            if page in self._slots:
                at = page * PAGE_BYTES - offset
                first, last = max(0, -at), min(PAGE_BYTES, length - at)
                data[at + first : at + last] = self._page(page)[first:last]
        return data

    def _write_page(self, offset: int, data: memoryview) -> int:
        page, within = divmod(offset, PAGE_BYTES)
        length = min(len(data), PAGE_BYTES - within)
        whole = bytes(data[:length])
        if length < PAGE_BYTES:
            start = page * PAGE_BYTES
            content = self._patched(start, PAGE_BYTES, b"" if page in self._slots else self._beneath(start, PAGE_BYTES))
            content[within : within + length] = whole
            whole = bytes(content)
        slot = self._slots.setdefault(page, len(self._slots))
        self._spool.seek(slot * PAGE_BYTES)
        self._spool.write(whole)
        return length

    def _page(self, page: int) -> bytes:
        self._spool.seek(self._slots[page] * PAGE_BYTES)
        return self._spool.read(PAGE_BYTES)


def _pages(offset: int, length: int) -> range:
    """The numbers of the pages that a byte range overlaps."""
    return range(offset // PAGE_BYTES, (offset + length - 1) // PAGE_BYTES + 1)
