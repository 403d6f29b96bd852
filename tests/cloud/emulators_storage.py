"""A strict stand-in for Cloud Storage's JSON API over real sockets, and the faults that a network has."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.cloud.emulators_shelf import Kept, RefusedError, Resource, Shelf

PAGE = 3
"""Objects in one page of a list: few, so that tests turn pages."""

_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
_OBJECTS = re.compile(r"(?:(?:/resumable)?/upload)?/storage/v1/b/([^/]+)/o")
_SPAN = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        meanwhile: What somebody else does just before.
        status: Answered instead of doing anything.
        lose_answer: It is done, and the connection breaks off before the answer.
        hang: Neither done nor answered while the server lives.
        keep_bytes: Of the body, no more is looked at.
        send_bytes: Of the answer's body, no more is sent before the connection breaks off.
        garble: Of the body's bytes, some change on the way.
        spoil: The bytes change once they are kept, and their checksum with them.
    """

    meanwhile: Callable[[], object] | None = None
    status: int = 0
    lose_answer: bool = False
    hang: bool = False
    keep_bytes: int | None = None
    send_bytes: int | None = None
    garble: bool = False
    spoil: bool = False


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class StorageStandIn(ThreadingHTTPServer):
    """Answers as the documentation says that Cloud Storage does.

    Attributes:
        faults: What goes wrong with the next requests, one each; None is nothing.
        seen: Method and address of every request so far.
        together: Where every request waits for others, if a test wants to see that they come side by side.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shelf = Shelf()
        self.faults: deque[Fault | None] = deque()
        self.seen: list[str] = []
        self.together: threading.Barrier | None = None
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def storage_stand_in() -> Iterator[StorageStandIn]:
    with StorageStandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: StorageStandIn

    def log_message(self, *_: object) -> None:
        return

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(f"{self.command} {self.path}")
        if self.server.together is not None:
            self.server.together.wait(10)
        fault = (self.server.faults.popleft() if self.server.faults else None) or Fault()
        if fault.meanwhile is not None:
            fault.meanwhile()
        if fault.hang:
            self.server.closing.wait()
            self.close_connection = True
            return
        answer = Answer(fault.status, _words(fault.status), _JSON) if fault.status else self._done(body, fault)
        if fault.lose_answer:
            self.close_connection = True
            return
        self._send(answer, fault.send_bytes)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # the base class looks for these names

    def _send(self, answer: Answer, send_bytes: int | None) -> None:
        self.send_response(answer.status)
        for key, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(answer.body[:send_bytes])
        self.close_connection = self.close_connection or send_bytes is not None

    def _done(self, body: bytes, fault: Fault) -> Answer:
        body = body.replace(b"data", b"daTa") if fault.garble else body
        request = _Request(self, body[: fault.keep_bytes])
        with self.server.shelf.alone():
            try:
                answer = request.answer()
            except RefusedError as error:
                return request.refusal(error)
            if fault.spoil:
                return Answer(HTTPStatus.OK, json.dumps(_spoiled(self.server.shelf)).encode(), _JSON)
            return answer


class _Request:
    def __init__(self, handler: _Handler, body: bytes) -> None:
        parts = urlsplit(handler.path)
        self._shelf = handler.server.shelf
        self._base = handler.server.url
        self._method = handler.command
        self._path = parts.path
        self._query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self._headers = handler.headers
        self._body = body

    def answer(self) -> Answer:
        if "upload_id" in self._query:
            return self._session()
        if match := _OBJECT.fullmatch(self._path):
            return self._object(unquote(match[1]), unquote(match[2]))
        if match := _OBJECTS.fullmatch(self._path):
            bucket = unquote(match[1])
            return self._upload(bucket) if self._method == "POST" else self._list(bucket)
        if self._path == "/storage/v1/b" and self._method == "POST":
            self._shelf.buckets.add(json.loads(self._body)["name"])
            return _json({})
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED)

    def refusal(self, error: RefusedError) -> Answer:
        """As JSON; where bytes were asked for, in plain words."""
        if self._query.get("alt") == "media" and error.reason:
            return Answer(error.status, error.said.encode(), {"Content-Type": "text/html; charset=UTF-8"})
        return Answer(error.status, _words(error.status, error.reason, error.said), _JSON)

    # --- Objects ---

    def _object(self, bucket: str, name: str) -> Answer:
        if self._method == "DELETE":
            self._shelf.delete(bucket, name, self._number("ifGenerationMatch"))
            return Answer(HTTPStatus.NO_CONTENT)
        kept = self._shelf.found(bucket, name, self._number("generation"))
        self._shelf.check(bucket, name, self._number("ifGenerationMatch"))
        if self._method == "PATCH":
            return _json(self._shelf.patch(bucket, name, json.loads(self._body)))
        if self._query.get("alt") != "media":
            return _json(kept.resource)
        self._shelf.check_readable(bucket, name)
        return self._media(kept)

    def _media(self, kept: Kept) -> Answer:
        headers = {
            "Content-Type": kept.resource.get("contentType", "application/octet-stream"),
            "X-Goog-Generation": kept.resource["generation"],
            "X-Goog-Hash": f"crc32c={kept.resource['crc32c']}",
            "X-Goog-Stored-Content-Length": kept.resource["size"],
        }
        if "contentEncoding" in kept.resource:
            headers["Content-Encoding"] = kept.resource["contentEncoding"]
        match = _RANGE.fullmatch(self._headers.get("Range", ""))
        if match is None:
            return Answer(HTTPStatus.OK, kept.data, headers)
        first, size = int(match[1]), len(kept.data)
        last = min(int(match[2] or size), size - 1)
        if first >= size:
            raise RefusedError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Answer(HTTPStatus.PARTIAL_CONTENT, kept.data[first : last + 1], headers)

    def _list(self, bucket: str) -> Answer:
        after = self._query.get("pageToken", "")
        found = [item for item in self._shelf.listed(bucket, self._query.get("prefix", "")) if item["name"] > after]
        more = {"nextPageToken": found[PAGE - 1]["name"]} if len(found) > PAGE else {}
        return _json({"kind": "storage#objects", "items": found[:PAGE], **more})

    # --- Uploads ---

    def _upload(self, bucket: str) -> Answer:
        condition = self._number("ifGenerationMatch")
        match self._query["uploadType"]:
            case "multipart":
                description, data = _parts(self._body, self._headers["Content-Type"])
                if "X-Goog-Encryption-Key" in self._headers:
                    self._shelf.customer_keys.add((bucket, description["name"]))
                return _json(self._shelf.put(bucket, description, data, condition, description.get("crc32c")))
            case "media":
                description = {"name": self._query["name"], "contentType": self._headers["Content-Type"]}
                return _json(self._shelf.put(bucket, description, self._body, condition, None))
            case _:
                kind = {"contentType": self._headers["X-Upload-Content-Type"]}
                session_id = self._shelf.begin(bucket, {**kind, **json.loads(self._body)}, condition)
                return Answer(HTTPStatus.OK, b"", {"Location": f"{self._base}{self._path}?upload_id={session_id}"})

    def _session(self) -> Answer:
        session_id = self._query["upload_id"]
        if self._method == "DELETE":
            self._shelf.sessions.pop(session_id, None)
            return Answer(499)
        match = _SPAN.fullmatch(self._headers["Content-Range"])
        assert match is not None
        offset = None if match[1] is None else int(match[1])
        total = None if match[2] == "*" else int(match[2])
        crc32c = self._headers.get("X-Goog-Hash", "").removeprefix("crc32c=") or None
        resource = self._shelf.go_on(session_id, offset, self._body, total, crc32c)
        if resource is not None:
            return _json(resource)
        kept = self._shelf.kept_bytes(session_id)
        return Answer(HTTPStatus.PERMANENT_REDIRECT, b"", {"Range": f"bytes=0-{kept - 1}"} if kept else {})

    def _number(self, key: str) -> int | None:
        return int(self._query[key]) if key in self._query else None


def _json(value: Any) -> Answer:
    return Answer(HTTPStatus.OK, json.dumps(value).encode(), _JSON)


def _words(status: int, reason: str = "", said: str = "") -> bytes:
    said = said or f"{HTTPStatus(status).phrase}, says the stand-in"
    reasons = [{"domain": "global", "reason": reason, "message": said}] if reason else []
    return json.dumps({"error": {"code": status, "message": said, "errors": reasons}}).encode()


def _parts(body: bytes, content_type: str) -> tuple[Resource, bytes]:
    """The two parts of a multipart/related body: the description and the bytes.

    Lines end with CR LF, but for those of gcloud, which end with LF alone.
    """
    boundary = b"--" + content_type.partition("boundary=")[2].strip("\"'").encode()
    end = b"\r\n" if body.startswith(boundary + b"\r\n") else b"\n"
    _, first, second, _ = body.split(boundary)
    (_, description), (head, data) = (part.split(2 * end, maxsplit=1) for part in (first, second))
    kind = head.decode().lower().partition("content-type: ")[2].splitlines()[0].strip()
    return {"contentType": kind, **json.loads(description)}, data.removesuffix(end)


def _spoiled(shelf: Shelf) -> Resource:
    (bucket, _), kept = list(shelf.objects.items())[-1]
    return shelf.put(bucket, kept.resource, kept.data + b"!", None, None)
