"""Streaming uploads of any length in bounded memory: the resumable protocol, from the session's address on.

The client's own uploader gives up when the service keeps less of a piece than was sent, which it may at any time
(googleapis/python-storage#611), and on a wrong checksum it deletes whatever has the object's name by then.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import google_crc32c
import requests
from google.api_core import exceptions
from google.api_core.retry import Retry

from shared.adapters.gcp.errors import answering
from shared.domain.errors import UnavailableError

PIECE_BYTES = 8 * 2**20
WRITER = "roles/storage.objectUser on the bucket"
"""The role needed for writing."""
QUANTUM_BYTES = 256 * 2**10
"""The protocol requires that every request but the last carries a multiple of this."""

Resource = dict[str, Any]
"""An object as the JSON API describes it."""

_KEPT = re.compile(r"bytes=0-(\d+)")


class Pieces:
    """Regroups chunks of any size into pieces of one size. The last piece is shorter and may be empty.

    Attributes:
        crc32c: The checksum of the pieces yielded so far.
    """

    def __init__(self, chunks: Iterable[bytes], size_bytes: int) -> None:
        self.crc32c = 0
        self._chunks = chunks
        self._size_bytes = size_bytes

    def __iter__(self) -> Iterator[bytes]:
        held = bytearray()
        for chunk in self._chunks:
            held += chunk
            while len(held) >= self._size_bytes:
                with memoryview(held) as view:
                    piece = bytes(view[: self._size_bytes])
                del held[: self._size_bytes]
                yield self._counted(piece)
        yield self._counted(bytes(held))

    def is_last(self, piece: bytes) -> bool:
        """Whether this is the last piece."""
        return len(piece) < self._size_bytes

    def _counted(self, piece: bytes) -> bytes:
        self.crc32c = google_crc32c.extend(self.crc32c, piece)
        return piece


def crc32c_text(crc32c: int) -> str:
    """A checksum as the JSON API writes it."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()


class UploadSession:
    """A resumable upload of one object. However often requests are repeated, it makes one object or none.

    Args:
        http: A session without credentials: the upload's URL is enough to write to it.
        where: The object, for messages.
        retry: The retry policy of each request that makes progress.
    """

    def __init__(
        self, http: requests.Session, url: str, *, where: str, retry: Retry, timeout_s: tuple[float, float]
    ) -> None:
        self._http = http
        self._url = url
        self._where = where
        self._retry = retry
        self._timeout_s = timeout_s
        self._kept_bytes = 0
        self._held = b""

    def send(self, pieces: Pieces, first: bytes, rest: Iterator[bytes]) -> Resource:
        """Send all pieces. The object exists when this returns.

        Raises:
            PreconditionFailedError: The generation to overwrite no longer exists.
            UnavailableError: The service did not answer, or the session has expired; the object may exist.
        """
        piece = first
        while not pieces.is_last(piece):
            self._put(piece)
            piece = next(rest)
        return self._finish(piece, pieces.crc32c)

    def abandon(self) -> None:
        """Cancel the upload. Otherwise the service drops it after a week; until then nothing of it is visible."""
        with suppress(requests.RequestException):
            self._http.delete(self._url, timeout=self._timeout_s)

    def _put(self, piece: bytes) -> None:
        self._held += piece
        while size_bytes := len(self._held) // QUANTUM_BYTES * QUANTUM_BYTES:
            self._get_on(size_bytes, "*", {})

    def _finish(self, piece: bytes, crc32c: int) -> Resource:
        self._held += piece
        total = str(self._kept_bytes + len(self._held))
        # The service refuses bytes with another checksum before they become an object.
        headers = {"x-goog-hash": f"crc32c={crc32c_text(crc32c)}"}
        while True:
            resource = self._get_on(len(self._held), total, headers)
            if resource is not None:
                return resource

    def _get_on(self, size_bytes: int, total: str, headers: dict[str, str]) -> Resource | None:
        """Send the next bytes, some of which the service keeps. Returns the object's resource once it is complete."""
        in_doubt = False

        def attempt() -> Resource | None:
            nonlocal in_doubt
            before = self._kept_bytes
            # After a lost answer, only the service knows how many bytes it has.
            resource = self._request(b"", total, {}) if in_doubt else None
            if resource is not None or self._kept_bytes > before:
                return resource
            in_doubt = True
            resource = self._request(self._held[:size_bytes], total, headers)
            if resource is None and self._kept_bytes == before:
                raise exceptions.ServiceUnavailable("the service kept no byte of a piece")
            return resource

        expired = UnavailableError("the upload's session is gone", where=self._where, hint="Write the object again.")
        with answering(self._where, grant=WRITER, missing=expired):
            resource: Resource | None = self._retry(attempt)()
        return resource

    def _request(self, data: bytes, total: str, headers: dict[str, str]) -> Resource | None:
        first, last = self._kept_bytes, self._kept_bytes + len(data) - 1
        span = f"{first}-{last}" if data else "*"
        response = self._http.put(
            self._url,
            data=data,
            headers={**headers, "content-range": f"bytes {span}/{total}"},
            timeout=self._timeout_s,
            allow_redirects=False,
        )
        if response.status_code == requests.codes.permanent_redirect:
            self._note_kept(response.headers.get("range", ""))
            return None
        if not response.ok:
            raise exceptions.from_http_response(response)
        resource: Resource = response.json()
        return resource

    def _note_kept(self, span: str) -> None:
        match = _KEPT.fullmatch(span)
        kept_bytes = int(match[1]) + 1 if match else 0
        if not self._kept_bytes <= kept_bytes <= self._kept_bytes + len(self._held):
            # Bytes that the service had confirmed are no longer in memory, so only a new upload can help.
            found = f"the service has {kept_bytes} bytes of an upload that was at {self._kept_bytes}"
            raise exceptions.Aborted(found)
        self._held = self._held[kept_bytes - self._kept_bytes :]
        self._kept_bytes = kept_bytes
