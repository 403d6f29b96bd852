"""A web server on loopback that serves what a test says, and can be as unreliable as the test needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

from tests.loopback import serving_in_a_thread


@dataclass
class Page:
    """What lies at a path.

    Attributes:
        cut_after: The connection is cut after so many bytes of the answer, once.
        ranges: Whether a part is sent where one is asked for.
        length: What the header says of the length; None: the truth.
        headers: More headers, or other ones.
    """

    data: bytes = b""
    etag: str = '"first"'
    cut_after: int | None = None
    ranges: bool = True
    status: int = 200
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Served(ThreadingHTTPServer):
    """Attributes:
    pages: What is served, by path.
    asked: Method, path and range of every request so far.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@contextmanager
def serving(pages: Mapping[str, Page | bytes]) -> Iterator[Served]:
    with serving_in_a_thread(Served()) as server:
        server.pages = {path: page if isinstance(page, Page) else Page(page) for path, page in pages.items()}
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: Served

    @override
    def log_message(self, format: str, *args: object) -> None:
        return

    def _serve(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append((self.command, self.path, wanted))
        page = self.server.pages.get(self.path, Page(status=404))
        with suppress(ConnectionError):  # Who has had enough hangs up.
            self._answer(page, wanted if page.ranges and self.headers.get("If-Range") == page.etag else "")

    def _answer(self, page: Page, wanted: str) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        size, body = len(page.data), page.data[start:]
        beyond = bool(wanted) and start >= size
        self.send_response(416 if beyond else 206 if wanted else page.status)
        said = {"Content-Length": str(len(body) if page.length is None else page.length), "ETag": page.etag}
        if wanted:
            said["Content-Range"] = f"bytes */{size}" if beyond else f"bytes {start}-{size - 1}/{size}"
        for name, value in {**said, **page.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if page.cut_after is not None:
            body, page.cut_after = body[: page.cut_after], None
            self.close_connection = True
        self.wfile.write(body)

    do_GET = do_HEAD = _serve  # noqa: N815  # the base class looks for these names
