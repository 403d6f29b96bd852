"""Objects that are being written: a hidden file on the same disk, locked while its writer is alive."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from shared.adapters.local.folders import answering
from shared.adapters.local.locks import try_lock


@dataclass(slots=True)
class Draft:
    """A hidden file with the bytes of a future object."""

    path: Path
    descriptor: int
    size_bytes: int = 0
    crc32c: int = 0

    def fill(self, chunks: Iterable[bytes]) -> None:
        """Write all chunks to the disk, and compute their size and checksum."""
        with os.fdopen(self.descriptor, "wb", closefd=False) as file:
            for chunk in chunks:
                # Only our own writes are guarded: errors from the source of the chunks are the caller's.
                with answering(self.path):
                    file.write(chunk)
                self.crc32c = google_crc32c.extend(self.crc32c, bytes(chunk))
                self.size_bytes += len(chunk)
            with answering(self.path):
                file.flush()
                os.fsync(self.descriptor)


@contextmanager
def draft_in(folder: Path) -> Iterator[Draft]:
    """Make a new draft, which is removed at the end unless it was moved into place."""
    with answering(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draft = _locked_draft(folder)
    try:
        yield draft
    finally:
        draft.path.unlink(missing_ok=True)
        os.close(draft.descriptor)


def sweep_drafts(folder: Path) -> int:
    """Remove the drafts of dead writers. Returns their number."""
    drafts = list(folder.iterdir()) if folder.is_dir() else []
    return sum(_remove_if_dead(path) for path in drafts)


def _locked_draft(folder: Path) -> Draft:
    while True:
        path = folder / secrets.token_hex(8)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        # A sweep may have come between creating and locking: then it holds the lock, or has removed the file.
        if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            return Draft(path, descriptor)
        os.close(descriptor)


def _remove_if_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not try_lock(descriptor):
            return False
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return True
