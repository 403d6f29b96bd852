"""The watched folder of `celldrop serve`: tells which files have newly become whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from shared.domain.errors import InputNotFoundError
from shared.domain.temporary import is_temporary
from shared.touched import touched_ns

SETTLE_S = 2.0
"""A file that has not changed for so long is whole."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What changes when a file does.

    Attributes:
        touched_ns: The kernel's own time of change. A new name for a file changes it too, so that it tells nothing
            of which file this is.
    """

    size_bytes: int
    mtime_ns: int
    inode: int
    touched_ns: int = field(default=0, compare=False)

    def is_still(self, other: Generation) -> bool:
        """Whether nothing has happened to the file in between."""
        return self == other and self.touched_ns == other.touched_ns


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as last seen: since when so, and whether it was told."""

    generation: Generation
    since_s: float
    told: bool = False


_Scan: TypeAlias = Mapping[Path, Generation]


@dataclass(slots=True)
class Inbox:
    """A folder that is polled. It keeps what it has seen in memory, and so tells every file again after a restart.

    Hidden and temporary names are not drops, and neither are links: a link could make the server read a file that
    its dropper may not.

    Attributes:
        root: The folder, watched with all folders in it.
        settle_s: How long a file must stay unchanged to be whole.
    """

    root: Path
    settle_s: float = SETTLE_S
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    _temporary: dict[Path, Generation] = field(default_factory=dict)

    def poll(self, now: float) -> list[Path]:
        """Files that have become whole since the last poll, by path: each generation of a file once.

        Whole is what was renamed into place from a name seen before, or has been unchanged for ``settle_s``
        of polls; the file's own times are not asked, as a network folder's clock may be another.

        Args:
            now: Seconds on a clock that never runs backwards.

        Raises:
            InputNotFoundError: The folder itself cannot be read.
        """
        found = dict(self._scan())
        drops = {path: generation for path, generation in found.items() if not is_temporary(path.name)}
        renamed = self._renamed(found)
        self._seen = {
            path: self._look(path, generation, now, whole=generation in renamed) for path, generation in drops.items()
        }
        self._temporary = {path: generation for path, generation in found.items() if path not in drops}
        return self._tell(now)

    def forget(self, path: Path) -> None:
        """Tell a file again at the next poll, because it could not be taken this time."""
        seen = self._seen.get(path)
        if seen is not None:
            self._seen[path] = _Seen(seen.generation, seen.since_s)

    def _look(self, path: Path, generation: Generation, now: float, *, whole: bool) -> _Seen:
        before = self._seen.get(path)
        if before is not None and before.generation.is_still(generation):
            return before
        return _Seen(generation, now - self.settle_s if whole else now)

    def _renamed(self, found: _Scan) -> set[Generation]:
        """Generations that at the last poll lay under a name that is gone now."""
        before = self._temporary | {path: seen.generation for path, seen in self._seen.items()}
        return {generation for path, generation in before.items() if path not in found}

    def _tell(self, now: float) -> list[Path]:
        whole = sorted(
            path for path, seen in self._seen.items() if not seen.told and now - seen.since_s >= self.settle_s
        )
        for path in whole:
            seen = self._seen[path]
            self._seen[path] = _Seen(seen.generation, seen.since_s, told=True)
        return whole

    def _scan(self) -> Iterator[tuple[Path, Generation]]:
        try:
            waiting = list(os.scandir(self.root))
        except OSError as error:
            raise InputNotFoundError(
                f"the inbox folder cannot be read: {error.strerror}",
                where=str(self.root),
                hint="Make it again, or check its permissions.",
            ) from error
        while waiting:
            entry = waiting.pop()
            # What is gone or closed to us by now is no drop; the next poll looks again.
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and is_visible(entry.name):
                    waiting += os.scandir(entry.path)
                elif entry.is_file(follow_symlinks=False) and is_visible(entry.name):
                    stat = entry.stat(follow_symlinks=False)
                    yield Path(entry.path), Generation(stat.st_size, stat.st_mtime_ns, stat.st_ino, touched_ns(stat))


def is_visible(name: str) -> bool:
    """Whether a file or folder of that name is looked at: not hidden, and fit to be an object's name.

    A name that is not UTF-8 reads as lone surrogates.
    """
    return not name.startswith(".") and not any(sign in "\r\n" or "\ud800" <= sign <= "\udfff" for sign in name)
