"""A folder that many users drop files in, as a read-only bucket. Links are not followed, at any level.

With a link, a user could make the server read a file that they may not read themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

from shared.adapters.local.folders import READING, PlainFolder, regular

_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW


class DropFolder(PlainFolder):
    """The files of an inbox. A path with a link in it is no object, even if it was none when the file was found."""

    @override
    def _status(self, path: Path) -> os.stat_result:
        with self._folder_of(path) as folder:
            return regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False), path)

    @override
    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        with self._folder_of(path) as folder:
            descriptor = os.open(path.name, READING | os.O_NOFOLLOW, dir_fd=folder)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _folder_of(self, path: Path) -> Iterator[int]:
        """The open folder of a file. Each folder is opened within the one before, so none can be swapped for a link."""
        descriptor = os.open(self.root, _FOLDER)
        try:
            for name in path.relative_to(self.root).parts[:-1]:
                outer, descriptor = descriptor, os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(outer)
            yield descriptor
        finally:
            os.close(descriptor)
