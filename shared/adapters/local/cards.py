"""What is known of an object besides its bytes, one hidden file for each generation."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Card:
    """Checksum, type and metadata of one generation."""

    name: str
    generation: int
    crc32c: int
    content_type: str
    metadata: Mapping[str, str]


class Cards:
    """The cards of one bucket; named by digest, since an object's name may be as long as a file's may."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, generation: int) -> Card | None:
        """The card of a generation; None where there is none, or only half of one after a loss of power."""
        return _parsed(self._path(name, generation))

    def write(self, card: Card) -> None:
        """Write a card for good."""
        make_folders(self._folder)
        with self._path(card.name, card.generation).open("w", encoding="utf-8") as file:
            json.dump(asdict(card), file)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)

    def forget(self, name: str, generation: int) -> None:
        """Remove a card, if there is one."""
        self._path(name, generation).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[Path, Card | None]]:
        """Every card with its file; None for one that cannot be read."""
        for path in list(self._folder.glob("*.json")):
            yield path, _parsed(path)

    def _path(self, name: str, generation: int) -> Path:
        return self._folder / f"{digest_of_name(name)}.{generation}.json"


def digest_of_name(name: str) -> str:
    """A short name for a name."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, so that they are there after a loss of power."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(path: Path) -> Card | None:
    try:
        return Card(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
