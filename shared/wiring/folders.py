"""Folders of this machine, as buckets and as homes: what needs neither settings nor a pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.domain.errors import SettingsError
from shared.ports.blobs import BlobStore

FILES_BUCKET = "files"
"""The bucket that is this machine's own file system, for files annotated where they lie."""

WORK, RESULTS = "work", "results"
"""The buckets of ``build_desk`` that are written."""


def build_desk(work: Path, results: Path) -> BlobStore:
    """This machine's files, read where they lie, and two folders as the buckets WORK and RESULTS."""
    return directories({FILES_BUCKET: Path("/"), WORK: work, RESULTS: results}, WORK, RESULTS)


def directories(roots: dict[str, Path], *ours: str) -> BlobStore:
    """Folders as buckets; but for ours, they are other people's files, read where they lie."""
    from shared.adapters.local.blobs import DirectoryBlobStore  # noqa: PLC0415  # adapters load only where chosen

    return DirectoryBlobStore(roots, frozenset(roots) - set(ours))


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Be the only process that holds a lock file; the kernel lets go of it when the process ends.

    Args:
        what: What the processes are, for whoever comes second.

    Raises:
        SettingsError: Another process holds it.
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
