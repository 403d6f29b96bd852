"""The watched folder of `celldrop serve`: finds the files that have been written completely."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from shared.domain.errors import InputNotFoundError
from shared.domain.temporary import is_temporary
from shared.touched import identity_generation

SETTLE_S = 2.0
"""A file that has not changed for this long is complete."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The file attributes that change when the file changes.

    Attributes:
        number: The generation under which the blob store reads this state of the file. The kernel's change time
            (ctime) is part of it. Renaming changes that too, so the number is not part of equality.
    """

    size_bytes: int
    mtime_ns: int
    inode: int
    number: int = field(default=0, compare=False)

    def is_still(self, other: Generation) -> bool:
        """Whether the file is the same and unchanged, ctime included."""
        return self == other and self.number == other.number


@dataclass(frozen=True, slots=True)
class Dropped:
    """A complete file, in the state in which it was found.

    Attributes:
        generation: The blob store's number of that state. Any other file at that path has another one.
    """

    path: Path
    generation: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as last seen, the time since when it is unchanged, and whether it was reported already."""

    generation: Generation
    since_s: float
    reported: bool = False


_Scan: TypeAlias = Mapping[Path, Generation]


@dataclass(slots=True)
class Inbox:
    """A folder that is polled for new files. Its memory is lost at a restart, so every file is reported again then.

    Hidden and temporary names are not drops. Links are not either: with a link, a user could make the server read a
    file that they may not read themselves. The inbox's bucket follows none either, so a file that is swapped for a link
    after a poll is not read.

    Attributes:
        root: The folder, watched with all its subfolders.
        settle_s: How long a file must stay unchanged to count as complete.
        ignored: What the last poll passed over, hidden and temporary names aside, and why.
    """

    root: Path
    settle_s: float = SETTLE_S
    _seen: dict[Path, _Seen] = field(default_factory=dict)
    ignored: dict[Path, str] = field(default_factory=dict)
    _temporary: dict[Path, Generation] = field(default_factory=dict)

    def poll(self, now: float) -> list[Path]:
        """List the files completed since the last poll, sorted by path. Each generation of a file is reported once.

        A file is complete if it was renamed from a name seen before, or if polls found it unchanged for ``settle_s``.
        The file's own times are not compared with ours, as a network folder may use another clock.

        Args:
            now: Seconds of a monotonic clock.

        Raises:
            InputNotFoundError: The folder itself cannot be read.
        """
        self.ignored = {}
        found = dict(self._scan())
        drops = {path: generation for path, generation in found.items() if not is_temporary(path.name)}
        renamed = self._renamed(found)
        self._seen = {
            path: self._look(path, generation, now, whole=generation in renamed) for path, generation in drops.items()
        }
        self._temporary = {path: generation for path, generation in found.items() if path not in drops}
        return self._report(now)

    def dropped(self, path: Path) -> Dropped:
        """A file that the last poll reported, in the state that it found."""
        return Dropped(path, self._seen[path].generation.number)

    def forget(self, path: Path) -> None:
        """Report a file again at the next poll, because it could not be ingested this time."""
        seen = self._seen.get(path)
        if seen is not None:
            self._seen[path] = _Seen(seen.generation, seen.since_s)

    def _look(self, path: Path, generation: Generation, now: float, *, whole: bool) -> _Seen:
        before = self._seen.get(path)
        if before is not None and before.generation.is_still(generation):
            return before
        return _Seen(generation, now - self.settle_s if whole else now)

    def _renamed(self, found: _Scan) -> set[Generation]:
        """Generations whose name at the last poll no longer exists."""
        before = self._temporary | {path: seen.generation for path, seen in self._seen.items()}
        return {generation for path, generation in before.items() if path not in found}

    def _report(self, now: float) -> list[Path]:
        whole = sorted(
            path for path, seen in self._seen.items() if not seen.reported and now - seen.since_s >= self.settle_s
        )
        for path in whole:
            seen = self._seen[path]
            self._seen[path] = _Seen(seen.generation, seen.since_s, reported=True)
        return whole

    def _scan(self) -> Iterator[tuple[Path, Generation]]:
        try:
            waiting = list(os.scandir(self.root))
        except OSError as error:
            raise InputNotFoundError(
                f"the inbox folder cannot be read: {error.strerror}",
                where=str(self.root),
                hint="Create it again, or check its permissions.",
            ) from error
        while waiting:
            entry = waiting.pop()
            if entry.name.startswith("."):
                continue
            # An entry that is gone or unreadable by now is passed over; the next poll looks again.
            with suppress(OSError):
                if (why := _obstacle(entry)) is not None:
                    self.ignored[Path(entry.path)] = why
                elif entry.is_dir(follow_symlinks=False):
                    waiting += self._entries(Path(entry.path))
                else:
                    stat = entry.stat(follow_symlinks=False)
                    yield (
                        Path(entry.path),
                        Generation(stat.st_size, stat.st_mtime_ns, stat.st_ino, identity_generation(stat)),
                    )

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            return list(os.scandir(folder))
        except PermissionError as error:
            self.ignored[folder] = f"the folder cannot be read: {error.strerror}"
            return []


def _obstacle(entry: os.DirEntry[str]) -> str | None:
    """Why something in the inbox is no drop; None if it is a file, or a folder to look into."""
    if not _is_valid(entry.name):
        return "its name has a line break or is not UTF-8; rename it"
    if entry.is_symlink():
        return "it is a link; copy the file itself into the inbox"
    if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
        return None
    return "it is neither a file nor a folder"


def _is_valid(name: str) -> bool:
    """Whether a name is valid as an object's name.

    Python decodes a name that is not UTF-8 with lone surrogates.
    """
    return not any(sign in "\r\n" or "\ud800" <= sign <= "\udfff" for sign in name)
