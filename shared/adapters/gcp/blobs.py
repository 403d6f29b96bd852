"""Cloud Storage as the blob store."""

from __future__ import annotations

import base64
import builtins
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context

import google_crc32c
import requests
from google.api_core.exceptions import RequestRangeNotSatisfiable
from google.api_core.retry import Retry
from google.cloud.storage import Blob, Client  # type: ignore[import-untyped]  # the package ships no types
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]  # likewise
from typing_extensions import override

from shared.adapters.gcp.blobs_upload import PIECE_BYTES, WRITER, Pieces, UploadSession, crc32c_text
from shared.adapters.gcp.errors import answering
from shared.adapters.gcp.refusals import refused, refused_by_settings
from shared.deadline import at_most
from shared.domain.errors import (
    BlobNotFoundError,
    CorruptBlobError,
    PreconditionFailedError,
    SettingsError,
)
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange

PARALLEL_READS = 8
CONNECT_S = 5.0
REQUEST_S = 30.0
"""How long a request may be silent before it is aborted. It is then retried if that is safe."""
RETRY_S = 90.0
"""How long to retry one request."""

TOKEN_KEY = "x-celldrop-write"  # noqa: S105  # a name, not a secret
"""The metadata key of a conditional write's token. It is never shown, and never an option of a drop."""

READER = "roles/storage.objectViewer on the bucket"
_FIELDS = "items(name,generation,size,crc32c,updated,contentType,metadata),nextPageToken"


class CloudBlobStore(BlobStore):
    """Cloud Storage as a blob store; thread-safe. Buckets have their real names, as in events, records and manifests.

    Every request has a time limit, none waits past the deadline of the call that it belongs to (``shared.deadline``),
    and it is retried only if that is safe:

    - A read is always safe.
    - A write over a given generation depends on that generation. If its answer was lost, a token in the object's
      metadata shows whether the object is ours.
    - A write over any generation uses an upload session, which makes one object however often its requests are sent.
    - An unconditional deletion is not retried.

    Args:
        client: Makes the client, at the first use.
        request_s: Seconds of silence before a request is aborted.
        retry_s: Seconds to retry one request.
        piece_bytes: Bytes per request of an upload, a multiple of 256 KiB. An upload holds four pieces in memory,
            whatever its length. Above 8 MiB, the client would use another protocol.
    """

    def __init__(
        self,
        client: Client,
        *,
        request_s: float = REQUEST_S,
        retry_s: float = RETRY_S,
        piece_bytes: int = PIECE_BYTES,
        new_token: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self._client = client
        self._request_s = request_s
        self._retry_s = retry_s
        self._retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=8.0, multiplier=2.0)
        self._piece_bytes = piece_bytes
        self._new_token = new_token

    @override
    def stat(self, bucket: str, name: str) -> BlobInfo:
        blob = self._blob(bucket, name)
        with self._reading(blob):
            blob.reload(timeout=self._timeout_s, retry=self._patiently)
        return _info(blob)

    @override
    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        if span is not None and span.length <= 0:
            return b""
        blob = self._blob(ref.bucket, ref.name)
        limits = {} if span is None else {"start": span.offset, "end": span.offset + span.length - 1}
        gone = _gone(str(ref))
        with answering(str(ref), grant=READER, missing=gone, unmet=gone, refused=refused):
            try:
                # The generation is a condition, not part of the name, so that buckets with versioning behave alike.
                # Raw: compressed objects are not unpacked, so that offsets and the checksum are right.
                data: bytes = blob.download_as_bytes(
                    **limits,
                    if_generation_match=ref.generation,
                    raw_download=True,
                    checksum=None,
                    timeout=self._timeout_s,
                    retry=self._patiently,
                )
            except RequestRangeNotSatisfiable:
                return b""
        # The client skips its own check where it had to go on after a break.
        if span is None and _crc32c(blob) not in {None, google_crc32c.value(data)}:
            raise CorruptBlobError(f"the bytes of {ref} came with another checksum", expected=f"{blob.crc32c}")
        return data

    @override
    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> builtins.list[bytes]:
        if not spans:
            return []
        contexts = [copy_context() for _ in spans]  # With the caller's deadline.
        with ThreadPoolExecutor(min(PARALLEL_READS, len(spans))) as pool:
            return list(pool.map(lambda context, span: context.run(self.read, ref, span), contexts, spans))

    @override
    def write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        *,
        if_generation: int | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> BlobInfo:
        token = self._new_token()
        blob = self._blob(bucket, name)
        blob.content_type = content_type
        blob.metadata = {**(metadata or {}), **({} if if_generation is None else {TOKEN_KEY: token})}
        pieces = Pieces(chunks, self._piece_bytes)
        try:
            self._upload(blob, pieces, if_generation)
        except PreconditionFailedError:
            blob = self._blob(bucket, name)
            if not self._was_written_with(token, blob):
                raise
        self._check(blob, pieces.crc32c)
        return _info(blob)

    @override
    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        with answering(bucket, grant=READER, missing=_no_bucket(bucket), refused=refused):
            for blob in self._client.list_blobs(
                bucket, prefix=prefix, fields=_FIELDS, timeout=self._timeout_s, retry=self._patiently
            ):
                yield _info(blob)

    @override
    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        blob = self._blob(bucket, name)
        # A retry without a generation could delete a newer object than the one meant.
        retry = None if if_generation is None else self._patiently
        gone = _gone(name)
        with (
            suppress(BlobNotFoundError),
            answering(_where(blob), grant=WRITER, missing=gone, refused=refused_by_settings),
        ):
            blob.delete(if_generation_match=if_generation, timeout=self._timeout_s, retry=retry)

    # --- Uploads ---

    def _upload(self, blob: Blob, pieces: Pieces, if_generation: int | None) -> None:
        """Send the content; the blob then describes the new object."""
        stream = iter(pieces)
        first = next(stream)
        if pieces.is_last(first) and if_generation is not None:
            self._send_at_once(blob, first, if_generation)
        else:
            self._send_in_session(blob, pieces, first, stream, if_generation)

    def _send_at_once(self, blob: Blob, data: bytes, if_generation: int) -> None:
        with self._writing(blob):
            blob.upload_from_string(
                data,
                content_type=blob.content_type,
                if_generation_match=if_generation,
                checksum="crc32c",  # Sent with the request: the service refuses bytes with another checksum.
                timeout=self._timeout_s,
                retry=self._patiently,
            )

    def _send_in_session(
        self, blob: Blob, pieces: Pieces, first: bytes, rest: Iterator[bytes], if_generation: int | None
    ) -> None:
        with self._writing(blob):
            url = blob.create_resumable_upload_session(
                content_type=blob.content_type,
                if_generation_match=if_generation,
                checksum=None,
                timeout=self._timeout_s,
                retry=self._patiently,
            )
        with requests.Session() as http:
            session = UploadSession(http, url, where=_where(blob), retry=self._patiently, timeout_s=self._timeout_s)
            try:
                resource = session.send(pieces, first, rest)
            except BaseException:
                session.abandon()
                raise
        blob._set_properties(resource)  # noqa: SLF001  # no public way leads from a resource to a blob

    def _was_written_with(self, token: str, blob: Blob) -> bool:
        """Whether the stored object is ours, so that the write succeeded and only its answer was lost."""
        try:
            with self._reading(blob):
                blob.reload(timeout=self._timeout_s, retry=self._patiently)
        except BlobNotFoundError:
            return False
        return bool(blob.metadata) and blob.metadata.get(TOKEN_KEY) == token

    def _check(self, blob: Blob, crc32c: int) -> None:
        """Compare the stored checksum with the one sent, and delete the object (only this one) if they differ."""
        if _crc32c(blob) in {None, crc32c}:
            return
        with suppress(PreconditionFailedError):  # Another write has replaced it already.
            self.delete(blob.bucket.name, blob.name, if_generation=blob.generation)
        raise CorruptBlobError(
            f"the stored bytes differ from those sent: crc32c {blob.crc32c}",
            expected=crc32c_text(crc32c),
            where=_where(blob),
            hint="The object was deleted. Write it again.",
        )

    # --- Time limits ---

    @property
    def _timeout_s(self) -> tuple[float, float]:
        silence_s = at_most(self._request_s)
        return min(CONNECT_S, silence_s), silence_s

    @property
    def _patiently(self) -> Retry:
        """With a deadline, the last try begins early enough to end before it."""
        _, silence_s = self._timeout_s
        retry_s = min(self._retry_s, at_most(self._retry_s + silence_s) - silence_s)
        retry: Retry = self._retry.with_timeout(max(0.0, retry_s))
        return retry

    # --- Words ---

    def _blob(self, bucket: str, name: str) -> Blob:
        return self._client.bucket(bucket).blob(name)

    def _reading(self, blob: Blob) -> AbstractContextManager[None]:
        return answering(_where(blob), grant=READER, missing=_gone(_where(blob)), refused=refused)

    def _writing(self, blob: Blob) -> AbstractContextManager[None]:
        return answering(_where(blob), grant=WRITER, missing=_no_bucket(blob.bucket.name), refused=refused_by_settings)


def _where(blob: Blob) -> str:
    return f"{blob.bucket.name}/{blob.name}"


def _gone(where: str) -> BlobNotFoundError:
    return BlobNotFoundError(f"{where} does not exist", hint="It was never written, or was deleted or replaced.")


def _no_bucket(bucket: str) -> SettingsError:
    hint = "Create it, or correct the setting that names it (CELLDROP_..._BUCKET)."
    return SettingsError(f"there is no bucket {bucket!r}", hint=hint)


def _info(blob: Blob) -> BlobInfo:
    metadata = {key: value for key, value in (blob.metadata or {}).items() if key != TOKEN_KEY}
    return BlobInfo(
        ObjectRef(blob.bucket.name, blob.name, blob.generation),
        blob.size or 0,
        _crc32c(blob),
        blob.updated,
        blob.content_type or "application/octet-stream",
        metadata,
    )


def _crc32c(blob: Blob) -> int | None:
    return None if blob.crc32c is None else int.from_bytes(base64.b64decode(blob.crc32c), "big")
