"""Something over HTTP that answers what a test says, by path, and 404 otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

from tests.loopback import serving_in_a_thread

Answers = Mapping[str, Mapping[str, object] | int]
"""A resource, or the status of a refusal, by path."""


class RestStandIn(ThreadingHTTPServer):
    """Attributes:
    seen: Every request so far.
    """

    daemon_threads = True

    def __init__(self, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def answering(answers: Answers) -> Iterator[RestStandIn]:
    with serving_in_a_thread(RestStandIn(answers)) as server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: RestStandIn

    @override
    def log_message(self, format: str, *args: object) -> None:
        return

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.seen.append(f"{self.command} {path}")
        found = self.server.answers.get(path, 404)
        status = found if isinstance(found, int) else 200
        refusal = {"error": {"code": status, "message": "it is not so"}}
        body = json.dumps(refusal if isinstance(found, int) else found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _serve  # noqa: N815  # the base class looks for these names
