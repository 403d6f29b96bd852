"""Two plain folders as one read-only bucket: models that come with the program, and those that were added."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from shared.adapters.local.folders import PlainFolder
from shared.adapters.local.names import path_of


class JoinedFolders(PlainFolder):
    """The files of two folders, read in place. Of two files with one name, the first folder's counts."""

    def __init__(self, bucket: str, root: Path, beside: Path) -> None:
        super().__init__(bucket, root)
        self._beside = PlainFolder(bucket, beside)

    @override
    def names(self, prefix: str) -> Iterator[str]:
        yield from sorted({*super().names(prefix), *self._beside.names(prefix)})

    @override
    def _path(self, name: str) -> Path:
        first, second = (path_of(root, name, hidden=self._hidden) for root in (self.root, self._beside.root))
        return second if second.is_file() and not first.is_file() else first
