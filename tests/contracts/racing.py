"""What racers do, importable by name so that processes can do it; each opens a store by its own door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import google_crc32c

from shared.domain.admission import Request
from shared.domain.errors import BlobNotFoundError, PreconditionFailedError
from shared.domain.submission import ObjectRef, TaskRecord
from shared.ports.blobs import BlobStore
from shared.ports.status import StatusStore

BlobDoor = Callable[[], BlobStore]
StatusDoor = Callable[[], StatusStore]

N_RACERS = 4
BLOCK = 64 * 1024


def resolve_as(door: StatusDoor, event: str, number: int) -> int:
    """Which generation is kept for an event, where this racer says that it is its number."""
    return door().resolve(event, Request(ObjectRef("inbox", "a.h5ad", number), {})).source.generation


def create_each(door: BlobDoor, bucket: str, names: list[str], mark: bytes) -> list[str]:
    """Which of the names this racer was the first to write."""
    return [name for name in names if _creates(door(), bucket, name, mark)]


def _creates(store: BlobStore, bucket: str, name: str, mark: bytes) -> bool:
    try:
        store.write(bucket, name, [mark], if_generation=0)
    except PreconditionFailedError:
        return False
    return True


def count_in_blob(door: BlobDoor, bucket: str, name: str, n: int) -> list[int]:
    """Add one to the number in an object, n times; the generations written."""
    store = door()
    written: list[int] = []
    while len(written) < n:
        found = store.stat(bucket, name)
        try:
            text = str(int(store.read(found.ref)) + 1)
            info = store.write(bucket, name, [text.encode()], if_generation=found.ref.generation)
        except (PreconditionFailedError, BlobNotFoundError):
            continue
        written.append(info.ref.generation)
    return written


def overwrite_all_of_one_byte(door: BlobDoor, bucket: str, name: str, value: int, n: int) -> int:
    """Write an object of one byte over and over, in two chunks."""
    store = door()
    for _ in range(n):
        store.write(bucket, name, [bytes([value]) * BLOCK, bytes([value]) * BLOCK])
    return n


def read_pinned(door: BlobDoor, bucket: str, name: str, n: int) -> list[str]:
    """What was wrong with n pinned reads: a mix, a cut, or bytes of another generation."""
    store = door()
    return [problem for _ in range(n) if (problem := _wrong_with_a_read(store, bucket, name))]


def _wrong_with_a_read(store: BlobStore, bucket: str, name: str) -> str:
    info = store.stat(bucket, name)
    try:
        data = store.read(info.ref)
    except BlobNotFoundError:
        return ""
    if len(data) != info.size_bytes or len(set(data)) != 1:
        return f"{len(data)} bytes of {len(set(data))} kinds"
    return "" if google_crc32c.value(data) == info.crc32c else "another generation's bytes"


def count_attempts(door: StatusDoor, submission_id: str, n: int) -> int:
    """Add one to a record's attempts, n times, over the version read; how often another was faster."""
    store, lost, done = door(), 0, 0
    while done < n:
        found = store.get(submission_id)
        try:
            store.replace(replace(found.value, attempts=found.value.attempts + 1), if_version=found.version)
        except PreconditionFailedError:
            lost += 1
            continue
        done += 1
    return lost


def count_attempts_in_transactions(door: StatusDoor, submission_id: str, n: int) -> int:
    store = door()
    for _ in range(n):
        store.transact(submission_id, lambda record, _tasks, _now: replace(record, attempts=record.attempts + 1))
    return n


def put_first_tasks(door: StatusDoor, submission_id: str, tasks: list[TaskRecord]) -> list[int]:
    """The indexes of the tasks whose first document is this racer's."""
    store = door()
    return [task.index for task in tasks if _puts(store, submission_id, task)]


def _puts(store: StatusStore, submission_id: str, task: TaskRecord) -> bool:
    try:
        store.put_task(submission_id, task, if_version=None)
    except PreconditionFailedError:
        return False
    return True
