"""Buckets as local folders: the blob store of the local backend."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from shared.adapters.local.drop_folder import DropFolder
from shared.adapters.local.folders import PlainFolder, answering
from shared.adapters.local.joined_folders import JoinedFolders
from shared.adapters.local.object_folders import ObjectFolder
from shared.domain.errors import BlobNotFoundError, InternalError, SettingsError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange


class DirectoryBlobStore(BlobStore):
    """Objects as plain files; safe for many threads and processes on one machine.

    Args:
        buckets: The folder of each bucket.
        in_place: Read-only buckets, where users keep their own files. A generation there is made from size, times of
            change and inode, and there is no checksum. Names with hidden segments can be read, but are not listed.
        dropped: Read-only buckets likewise, where other users put files. There, no link is followed.
        beside: A second folder of some of the ``in_place`` buckets; of two files with one name, the first one's counts.
    """

    def __init__(
        self,
        buckets: Mapping[str, Path],
        in_place: frozenset[str] = frozenset(),
        *,
        dropped: frozenset[str] = frozenset(),
        beside: Mapping[str, Path] | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folders = dict[str, PlainFolder]()
        for bucket, root in buckets.items():
            if bucket in dropped:
                self._folders[bucket] = DropFolder(bucket, root)
            elif beside and bucket in beside:
                self._folders[bucket] = JoinedFolders(bucket, root, beside[bucket])
            elif bucket in in_place:
                self._folders[bucket] = PlainFolder(bucket, root)
            else:
                self._folders[bucket] = ObjectFolder(bucket, root, clock_ns)
        self._swept: set[str] = set()

    @override
    def stat(self, bucket: str, name: str) -> BlobInfo:
        return self._holding(bucket).info(name)

    @override
    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        return self._holding(ref.bucket).read(ref, [span])[0]

    @override
    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> builtins.list[bytes]:
        return self._holding(ref.bucket).read(ref, spans)

    @override
    def write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        *,
        if_generation: int | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> BlobInfo:
        folder = self._writable(bucket)
        if bucket not in self._swept:
            self._swept.add(bucket)
            folder.sweep_drafts()
        return folder.publish(name, chunks, if_generation, metadata or {}, content_type)

    @override
    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        folder = self._folder(bucket)
        with answering(folder.root):
            for name in folder.names(prefix):
                try:
                    yield folder.info(name)
                except BlobNotFoundError:
                    # Deleted since the folder was listed.
                    continue

    @override
    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        if bucket in self._folders:
            self._writable(bucket).remove(name, if_generation)

    def _holding(self, bucket: str) -> PlainFolder:
        """The folder that would hold an object of that bucket."""
        if bucket not in self._folders:
            raise BlobNotFoundError(f"there is no bucket {bucket!r}", expected=self._known())
        return self._folders[bucket]

    def _folder(self, bucket: str) -> PlainFolder:
        if bucket not in self._folders:
            hint = "Correct the setting that names it (CELLDROP_..._BUCKET)."
            raise SettingsError(f"there is no bucket {bucket!r}", expected=self._known(), hint=hint)
        return self._folders[bucket]

    def _known(self) -> str:
        return f"one of {', '.join(sorted(self._folders))}"

    def _writable(self, bucket: str) -> ObjectFolder:
        folder = self._folder(bucket)
        if not isinstance(folder, ObjectFolder):
            raise InternalError(f"a write to bucket {bucket!r}, which is read-only", where=str(folder.root))
        return folder
