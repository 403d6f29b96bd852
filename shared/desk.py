"""Folders of this machine as buckets: what needs neither settings nor a pipeline."""

from __future__ import annotations

from pathlib import Path

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
