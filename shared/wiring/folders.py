"""Local folders as buckets, and the lock of a folder. Needs neither settings nor a pipeline."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.domain.errors import SettingsError
from shared.ports.blobs import BlobStore

FILES_BUCKET = "files"
"""The bucket of this machine's file system, for files that are annotated in place."""

WORK, RESULTS = "work", "results"
"""The writable buckets of ``build_local_store``."""
_TRIES = 5


def build_local_store(work: Path, results: Path) -> BlobStore:
    """A store of this machine's files, read-only and in place, and two folders as the buckets WORK and RESULTS."""
    return directories({FILES_BUCKET: Path("/"), WORK: work, RESULTS: results}, WORK, RESULTS)


def directories(
    roots: dict[str, Path], *writable: str, inbox: str = "", beside: Mapping[str, Path] | None = None
) -> BlobStore:
    """A store with a folder for each bucket. All but the ``writable`` buckets are users' files, read in place.

    Args:
        inbox: The bucket that other users put files in: no link is followed there.
        beside: A second folder of some buckets; of two files with one name, the first folder's counts.
    """
    from shared.adapters.local.blobs import DirectoryBlobStore  # noqa: PLC0415  # adapters load only where chosen

    return DirectoryBlobStore(roots, frozenset(roots) - set(writable), dropped=frozenset({inbox}), beside=beside)


@contextmanager
def alone(lock: Path, what: str) -> Iterator[Callable[[], bool]]:
    """Hold a lock file that only one process can hold. The kernel releases it when the process ends.

    Yields whether the locked file is still the one at that path: after the folder was removed or moved, another process
    could lock a new one.

    Args:
        what: What kind of process holds it, for the error message.

    Raises:
        SettingsError: Another process holds the lock, or it is a link or something else that is no file.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_own_file(lock, os.O_RDWR | os.O_CREAT)
    try:
        if not _locked(descriptor, lock):
            who = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
            hint = "Stop it, or give this one a folder of its own: --out FOLDER."
            raise SettingsError(f"another {what} ({who}) has this folder", where=str(lock.parent), hint=hint)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield lambda: _is_at(lock, descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, lock: Path) -> bool:
    """Take the lock. Whoever only asks whether it is held has it for a moment, so this tries a few times."""
    from shared.adapters.local.locks import lock_within  # noqa: PLC0415  # likewise

    try:
        return lock_within(descriptor, _TRIES)
    except OSError as error:
        hint = "Choose a folder on a local disk: --out FOLDER."
        raise SettingsError(
            f"the folder's disk keeps no locks: {error.strerror}", where=str(lock), hint=hint
        ) from error


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # A network disk that does not answer now has not lost the file.
        return True


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file (``alone``)."""
    from shared.adapters.local.locks import try_lock  # noqa: PLC0415  # likewise

    try:
        descriptor = open_own_file(lock, os.O_RDONLY)
    except (FileNotFoundError, SettingsError):
        return False
    try:
        return not try_lock(descriptor)
    except OSError:  # The disk keeps no locks.
        return False
    finally:
        os.close(descriptor)


def open_own_file(path: Path, flags: int) -> int:
    """Open a file of this program's own, and return its descriptor. Anything else at that path is refused.

    A link could lead to a file of somebody else, and a named pipe could block this process.

    Raises:
        FileNotFoundError: There is nothing at that path, and the flags do not create it.
        SettingsError: There is something else, or it cannot be opened.
    """
    hint = "Remove it, or correct its permissions, then start celldrop again."
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        found = "it is a link" if error.errno == errno.ELOOP else f"it cannot be opened: {error.strerror}"
        raise SettingsError(found, where=str(path), hint=hint) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SettingsError("it is not a regular file", where=str(path), hint=hint)
    return descriptor
