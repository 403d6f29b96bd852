"""A file object that turns what a writer pushes into chunks that a store pulls."""

from __future__ import annotations


class ChunkSink:
    """Collects the bytes that pyarrow writes until they are drained. Not seekable."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0
        self.pending_bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Append a copy of ``data``, as pyarrow reuses its buffers after the call."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        self.pending_bytes += len(piece)
        return len(piece)

    def drain(self) -> bytes:
        """Remove and return all pending bytes."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.pending_bytes = 0
        return data

    def tell(self) -> int:
        """The number of bytes written so far."""
        return self._position

    def flush(self) -> None:
        """Do nothing, as there is no further buffer."""

    def close(self) -> None:
        """Mark as closed. Pending bytes can still be drained."""
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
