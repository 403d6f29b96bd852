"""A folder as a writable bucket: objects are plain files, and their metadata is in hidden files beside them.

The file itself is authoritative. Its modification time, set to a whole microsecond that was never used before, is its
generation. Moving the file into place publishes it, in one step. Its card (checksum, content type, metadata) is written
before that, under the generation. A file that a user added or changed has no card, and is treated as in a plain folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from shared.adapters.local.cards import Card, Cards, digest_of_name, make_folders, sync_folder
from shared.adapters.local.drafts import Draft, draft_in, sweep_drafts
from shared.adapters.local.folders import PlainFolder, answering, finding, modified_at, regular_status
from shared.adapters.local.locks import exclusive
from shared.domain.errors import (
    BlobNotFoundError,
    InvalidNameError,
    PreconditionFailedError,
    SettingsError,
    UnavailableError,
)
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobInfo
from shared.touched import IDENTITY_BIT

HIDDEN = ".celldrop"
N_LOCKS = 64
_TRIES = 100


class ObjectFolder(PlainFolder):
    """Objects as files under their names, written atomically."""

    _hidden: ClassVar[bool] = False

    def __init__(self, bucket: str, root: Path, clock_ns: Callable[[], int]) -> None:
        super().__init__(bucket, root)
        self._clock_ns = clock_ns
        self._drafts = root / HIDDEN / "drafts"
        self._locks = root / HIDDEN / "locks"
        self._cards = Cards(root / HIDDEN / "cards")

    @override
    def info(self, name: str) -> BlobInfo:
        path = self._path(name)
        with finding(path):
            for _ in range(_TRIES):
                status = regular_status(path)
                card = self._card(name, status)
                if card is not None:
                    return self._known_info(card, status)
                # No card: added by hand, or replaced between the two reads. Read again to find out.
                if os.path.samestat(status, regular_status(path)):
                    return self._plain_info(name, status)
        raise UnavailableError(f"{name!r} was replaced during each of {_TRIES} reads", where=str(self.root))

    def publish(
        self, name: str, chunks: Iterable[bytes], if_generation: int | None, described: Mapping[str, str], kind: str
    ) -> BlobInfo:
        """Write an object from a stream, and publish it in one step.

        Args:
            described: Its metadata.
            kind: Its content type.

        Raises:
            PreconditionFailedError: There is another generation.
        """
        path = self._path(name)
        # Checked now to fail early, and again under the lock to be sure.
        self._check(name, if_generation)
        with draft_in(self._drafts) as draft:
            draft.fill(chunks)
            with self._holding(digest_of_name(name)) as lock:
                before = self._check(name, if_generation)
                card = Card(name, self._next_generation(lock, before), draft.crc32c, kind, dict(described))
                _stamp(draft, card.generation)
                self._cards.write(card)
                self._put(draft, path)
                self._cards.forget(name, before)
                return self._known_info(card, os.fstat(draft.descriptor))

    def remove(self, name: str, if_generation: int | None) -> None:
        """Remove an object, if it exists.

        Raises:
            PreconditionFailedError: There is another generation.
        """
        path = self._path(name)
        with self._holding(digest_of_name(name)):
            found = self._generation(name)
            if not found:
                return
            self._refuse_unless(if_generation in {None, found}, name, found, if_generation)
            path.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                # Another deletion may have removed the folder by now.
                sync_folder(path.parent)
            self._cards.forget(name, found)
            self._prune(path.parent)

    def sweep_drafts(self) -> int:
        """Remove the drafts of dead writers, and return their number. Safe while others write.

        Their cards stay: a few hundred bytes each, under generations that no object has.
        """
        with answering(self._drafts):
            return sweep_drafts(self._drafts)

    @override
    def _is_generation(self, generation: int, status: os.stat_result) -> bool:
        if generation & IDENTITY_BIT:
            return super()._is_generation(generation, status)
        return status.st_mtime_ns == generation * 1000

    def _card(self, name: str, status: os.stat_result) -> Card | None:
        generation, rest = divmod(status.st_mtime_ns, 1000)
        return None if rest else self._cards.read(name, generation)

    def _known_info(self, card: Card, status: os.stat_result) -> BlobInfo:
        ref = ObjectRef(self.bucket, card.name, card.generation)
        return BlobInfo(ref, status.st_size, card.crc32c, modified_at(status), card.content_type, card.metadata)

    def _generation(self, name: str) -> int:
        try:
            return self.info(name).ref.generation
        except BlobNotFoundError:
            return 0

    def _check(self, name: str, if_generation: int | None) -> int:
        found = self._generation(name)
        self._refuse_unless(if_generation in {None, found}, name, found, if_generation)
        return found

    def _refuse_unless(self, fits: bool, name: str, found: int, expected: int | None) -> None:  # noqa: FBT001  # an assertion
        if not fits:
            raise PreconditionFailedError(
                f"{name!r} is at generation {found}" if found else f"{name!r} does not exist",
                expected=f"generation {expected}" if expected else "no object",
                where=self.bucket,
            )

    @contextmanager
    def _holding(self, digest: str) -> Iterator[int]:
        """Hold the lock for publishing a name. Some names share a lock."""
        path = self._locks / f"{int(digest, 16) % N_LOCKS:02}"
        with answering(path), exclusive(path) as lock:
            yield lock

    def _next_generation(self, lock: int, before: int) -> int:
        # The lock's file stores the highest generation so far. So no generation is used twice, even if the clock is set
        # back, two writes happen in one tick, or an object is deleted in between.
        latest = max(_stored_generation(lock), 0 if before & IDENTITY_BIT else before)
        generation = max(self._clock_ns() // 1000, latest + 1)
        os.pwrite(lock, b"%020d" % generation, 0)
        return generation

    def _put(self, draft: Draft, path: Path) -> None:
        for _ in range(_TRIES):
            try:
                make_folders(path.parent)
                draft.path.replace(path)
            except FileNotFoundError:
                # A deletion has just removed the folder, as it was empty.
                continue
            except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
                raise InvalidNameError(
                    f"{path.relative_to(self.root)} would be both a folder and an object", where=self.bucket
                ) from error
            sync_folder(path.parent)
            return
        raise UnavailableError(f"the folder of {path.name!r} was removed again and again", where=str(path.parent))

    def _prune(self, folder: Path) -> None:
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _stored_generation(lock: int) -> int:
    """The number in a lock's file; 0 if there is none, as in a new file or after a power failure."""
    text = os.pread(lock, 20, 0)
    number = int(text) if text.isdigit() else 0
    return number if number < IDENTITY_BIT else 0


def _stamp(draft: Draft, generation: int) -> None:
    stamp = generation * 1000
    os.utime(draft.descriptor, ns=(stamp, stamp))
    if os.fstat(draft.descriptor).st_mtime_ns != stamp:
        raise SettingsError(
            "the file system does not store times to the microsecond",
            where=str(draft.path.parent),
            hint="Choose a folder on another disk.",
        )
    os.fsync(draft.descriptor)
