"""The metadata of objects, in one hidden file (a card) per generation."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Card:
    """The checksum, type and metadata of one generation."""

    name: str
    generation: int
    crc32c: int
    content_type: str
    metadata: Mapping[str, str]


class Cards:
    """The cards of one bucket. Their files are named by digest, as an object's name may be too long for a suffix."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, generation: int) -> Card | None:
        """Read the card of a generation; None if there is none, or if it is incomplete after a power failure."""
        return _parsed(self._path(name, generation))

    def write(self, card: Card) -> None:
        """Write a card durably."""
        make_folders(self._folder)
        with self._path(card.name, card.generation).open("w", encoding="utf-8") as file:
            json.dump(asdict(card), file)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)

    def forget(self, name: str, generation: int) -> None:
        """Remove a card, if there is one."""
        self._path(name, generation).unlink(missing_ok=True)

    def _path(self, name: str, generation: int) -> Path:
        return self._folder / f"{digest_of_name(name)}.{generation}.json"


def digest_of_name(name: str) -> str:
    """A digest of an object's name, of fixed length."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def make_folders(folder: Path) -> None:
    """Make a folder and its parents durably, so that they survive a power failure."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
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
