"""A file to write to that hands over its bytes as chunks: from a writer that pushes to a store that pulls."""

from __future__ import annotations


class ChunkSink:
    """Collects what pyarrow or zlib write until it is drained; never seeks."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0
        self.pending_bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Take a copy of ``data``: pyarrow lends its buffers only for the call."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        self.pending_bytes += len(piece)
        return len(piece)

    def drain(self) -> bytes:
        """Everything since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.pending_bytes = 0
        return data

    def tell(self) -> int:
        """Bytes written since the beginning."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Called by pyarrow; what is pending can still be drained."""
        self.closed = True

    def readable(self) -> bool:
        """Never."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Never."""
        return False
