"""Local folders as buckets, and the lock of a folder. Needs neither settings nor a pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.domain.errors import SettingsError
from shared.ports.blobs import BlobStore

FILES_BUCKET = "files"
"""The bucket of this machine's file system, for files that are annotated in place."""

WORK, RESULTS = "work", "results"
"""The writable buckets of ``build_local_store``."""


def build_local_store(work: Path, results: Path) -> BlobStore:
    """A store of this machine's files, read-only and in place, and two folders as the buckets WORK and RESULTS."""
    return directories({FILES_BUCKET: Path("/"), WORK: work, RESULTS: results}, WORK, RESULTS)


def directories(roots: dict[str, Path], *writable: str, inbox: str = "") -> BlobStore:
    """A store with a folder for each bucket. All but the ``writable`` buckets are users' files, read in place.

    Args:
        inbox: The bucket that other users put files in: no link is followed there.
    """
    from shared.adapters.local.blobs import DirectoryBlobStore  # noqa: PLC0415  # adapters load only where chosen

    return DirectoryBlobStore(roots, frozenset(roots) - set(writable), dropped=frozenset({inbox}))


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file that only one process can hold. The kernel releases it when the process ends.

    Args:
        what: What kind of process holds it, for the error message.

    Raises:
        SettingsError: Another process holds the lock.
    """
    from shared.adapters.local.locks import try_lock  # noqa: PLC0415  # likewise

    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not try_lock(descriptor):
            who = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            hint = "Stop it, or give this one a folder of its own: --out FOLDER."
            raise SettingsError(f"another {what} ({who}) has this folder", where=str(lock.parent), hint=hint)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
