"""Objects as Cloud Storage keeps them: generations, preconditions, and uploads that are objects only when finished."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from typing import Any

import google_crc32c

QUANTUM_BYTES = 256 * 1024
MAX_NAME_BYTES = 1024
WRITABLE = ("contentType", "metadata")

Resource = dict[str, Any]


class RefusedError(Exception):
    """An answer other than success.

    Attributes:
        reason: As the JSON API names it; with ``said``, what stands in the answer.
    """

    def __init__(self, status: HTTPStatus, reason: str = "", said: str = "") -> None:
        super().__init__(status.phrase)
        self.status = status
        self.reason = reason
        self.said = said or f"{status.phrase}, says the stand-in"


@dataclass(frozen=True, slots=True)
class Kept:
    """One generation."""

    resource: Resource
    data: bytes


@dataclass(slots=True)
class Session:
    """A resumable upload."""

    bucket: str
    description: Resource
    if_generation: int | None
    data: bytes = b""
    done: Resource | None = None


class Shelf:
    """Buckets and the newest generation of each object; strict about everything that the documentation promises.

    Attributes:
        requester_pays: Buckets that answer only who names a project to pay.
        denied: Buckets whose objects this account may not read.
        customer_keys: Objects whose bytes come only to who sends their key along; what they are is told to all.
        kms: Objects under a key of Cloud KMS, and what is the matter with it.
        must_stay: Objects that cannot be deleted or replaced, and why.
    """

    def __init__(self) -> None:
        self.buckets: set[str] = set()
        self.requester_pays: set[str] = set()
        self.denied: set[str] = set()
        self.customer_keys: set[tuple[str, str]] = set()
        self.kms: dict[tuple[str, str], RefusedError] = {}
        self.must_stay: dict[tuple[str, str], RefusedError] = {}
        self.objects: dict[tuple[str, str], Kept] = {}
        self.sessions: dict[str, Session] = {}
        self._generations = count(1_700_000_000_000_000)
        self._lock = threading.RLock()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One request at a time."""
        with self._lock:
            yield

    def found(self, bucket: str, name: str, generation: int | None = None) -> Kept:
        self._check_bucket(bucket)
        check_name(name)
        kept = self.objects.get((bucket, name))
        if kept is None or generation not in {None, int(kept.resource["generation"])}:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        return kept

    def check_readable(self, bucket: str, name: str) -> None:
        """Refuse bytes that a key keeps from whoever has not got it."""
        if (bucket, name) in self.customer_keys:
            said = "The target object is encrypted by a customer-supplied encryption key."
            raise RefusedError(HTTPStatus.BAD_REQUEST, "resourceIsEncryptedWithCustomerEncryptionKey", said)
        if (bucket, name) in self.kms:
            raise self.kms[bucket, name]

    def listed(self, bucket: str, prefix: str) -> list[Resource]:
        self._check_bucket(bucket)
        found = [(name, kept) for (place, name), kept in self.objects.items() if place == bucket]
        return [kept.resource for name, kept in sorted(found) if name.startswith(prefix)]

    def put(
        self, bucket: str, description: Resource, data: bytes, if_generation: int | None, crc32c: str | None
    ) -> Resource:
        """Make an object of whole bytes."""
        check_name(description["name"])
        self.check(bucket, description["name"], if_generation)
        self._check_replaceable(bucket, description["name"])
        actual = _base64(google_crc32c.value(data).to_bytes(4, "big"))
        if crc32c not in {None, actual}:
            raise RefusedError(HTTPStatus.BAD_REQUEST)
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        resource = {
            "kind": "storage#object",
            "bucket": bucket,
            "name": description["name"],
            "generation": str(next(self._generations)),
            "metageneration": "1",
            "size": str(len(data)),
            "crc32c": actual,
            "md5Hash": _base64(hashlib.md5(data, usedforsecurity=False).digest()),
            "timeCreated": now,
            "updated": now,
            **{key: description[key] for key in WRITABLE if description.get(key)},
        }
        self.objects[bucket, description["name"]] = Kept(resource, data)
        return resource

    def patch(self, bucket: str, name: str, changes: Resource) -> Resource:
        """Change what may be changed of an object that stays the same generation."""
        kept = self.found(bucket, name)
        metageneration = int(kept.resource["metageneration"]) + 1
        changed = {key: changes[key] for key in WRITABLE if key in changes}
        resource = {**kept.resource, **changed, "metageneration": str(metageneration)}
        self.objects[bucket, name] = Kept(resource, kept.data)
        return resource

    def delete(self, bucket: str, name: str, if_generation: int | None) -> None:
        self.found(bucket, name)
        self.check(bucket, name, if_generation)
        self._check_replaceable(bucket, name)
        del self.objects[bucket, name]

    def check(self, bucket: str, name: str, if_generation: int | None) -> None:
        """Refuse where another generation is there than the one named; 0 is none."""
        self._check_bucket(bucket)
        kept = self.objects.get((bucket, name))
        there = int(kept.resource["generation"]) if kept else 0
        if if_generation not in {None, there}:
            raise RefusedError(HTTPStatus.PRECONDITION_FAILED)

    def begin(self, bucket: str, description: Resource, if_generation: int | None) -> str:
        """Open a session; its id."""
        self.check(bucket, description["name"], if_generation)
        session_id = secrets.token_hex(8)
        self.sessions[session_id] = Session(bucket, description, if_generation)
        return session_id

    def go_on(
        self, session_id: str, offset: int | None, data: bytes, total: int | None, crc32c: str | None
    ) -> Resource | None:
        """Take more bytes of a session; its object, once that completes it.

        Args:
            offset: None only asks how far it is.
        """
        session = self._session(session_id)
        if session.done is not None:
            return session.done
        if offset is not None:
            if offset > len(session.data) or (total is None and len(data) % QUANTUM_BYTES):
                raise RefusedError(HTTPStatus.BAD_REQUEST)
            # What was kept before is not written again.
            session.data += data[len(session.data) - offset :]
        if total is not None and len(session.data) == total:
            session.done = self.put(session.bucket, session.description, session.data, session.if_generation, crc32c)
        return session.done

    def kept_bytes(self, session_id: str) -> int:
        return len(self._session(session_id).data)

    def _session(self, session_id: str) -> Session:
        if session_id not in self.sessions:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        return self.sessions[session_id]

    def _check_replaceable(self, bucket: str, name: str) -> None:
        if (bucket, name) in self.must_stay:
            raise self.must_stay[bucket, name]

    def _check_bucket(self, bucket: str) -> None:
        if bucket not in self.buckets:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        if bucket in self.requester_pays:
            said = "Bucket is a requester pays bucket but no user project provided."
            raise RefusedError(HTTPStatus.BAD_REQUEST, "required", said)
        if bucket in self.denied:
            said = "sa@p.example does not have storage.objects.get access to the Google Cloud Storage object."
            raise RefusedError(HTTPStatus.FORBIDDEN, "forbidden", said)


KMS_DISABLED = RefusedError(
    HTTPStatus.BAD_REQUEST,
    "invalid",
    "Cloud KMS error when decrypting: key version is not enabled, current state is: DISABLED",
)
KMS_DENIED = RefusedError(
    HTTPStatus.FORBIDDEN,
    "forbidden",
    "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to "
    "use this key.",
)


_UNTIL = "cannot be deleted, overwritten or archived until"
RETAINED = RefusedError(
    HTTPStatus.FORBIDDEN,
    "forbidden",
    f"Object 'results/x' is subject to bucket's retention policy and {_UNTIL} 2031-09-20T12:18:15.93713-07:00",
)
"""As quoted in kubernetes/k8s.io issue 2755."""
HELD = RefusedError(
    HTTPStatus.FORBIDDEN,
    "forbidden",
    f"Object 'results/x' is under active Event-Based hold and {_UNTIL} hold is removed.",
)
"""As quoted in GoogleCloudPlatform/gsutil issue 1175."""


def check_name(name: str) -> None:
    """Refuse what no object may be called: more than 1,024 bytes, or a line break."""
    size_bytes = len(name.encode())
    if size_bytes > MAX_NAME_BYTES:
        said = f"The maximum object length is {MAX_NAME_BYTES} characters, but got a name with {size_bytes} characters."
        raise RefusedError(HTTPStatus.BAD_REQUEST, "invalid", said)
    if any(sign in name for sign in "\r\n"):
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, "invalid", f"Disallowed unicode characters present in object name {name!r}"
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
