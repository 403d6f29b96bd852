"""A stand-in for the Cloud Run Jobs API over HTTP, whose tasks are processes of this machine.

It takes nothing that the API would refuse, answers in the API's own message types, and asks nobody for credentials.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from tests.cloud.cloud_run_api import ApiCall, CloudRunApi, route
from tests.cloud.cloud_run_executions import JobSpec, RunningExecution
from tests.cloud.cloud_run_refusals import RefusedError
from tests.fakes.calls import Hook, call, nothing

T = TypeVar("T")
TIMEOUT_S = 60.0


class LostAnswerError(Exception):
    """Raised by a hook: the connection breaks instead of an answer."""


class ForeignAnswerError(Exception):
    """Raised by a hook: somebody on the way answers 200 with a page of their own."""


class CloudRun:
    """The API at a port of its own; a context, at whose end every task has ended.

    Args:
        jobs: What is deployed, in every project and region alike.
        log_dir: The output of tasks goes to ``EXECUTION/task-INDEX-attempt-ATTEMPT.log`` below it.
        hook: Called with ``jobs.run`` before the effect and ``jobs.run.done`` before the answer, and likewise for the
            other methods; may raise RefusedError, LostAnswerError or ForeignAnswerError.
    """

    def __init__(self, jobs: Sequence[JobSpec], log_dir: Path, hook: Hook = nothing, port: int = 0) -> None:
        self.hook = hook
        self.calls: list[str] = []
        self._closing = False
        self._api = CloudRunApi(jobs, log_dir)
        self._loop = asyncio.new_event_loop()
        self._server = _Server(self, port)
        self._threads = [
            threading.Thread(target=self._loop.run_forever, name="cloud-run-tasks"),
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="cloud-run-api"),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def endpoint(self) -> str:
        """Where it answers, as CELLDROP_RUN_ENDPOINT wants it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def execution(self, short_name: str) -> RunningExecution:
        """One of its executions."""
        return self._api.executions[short_name]

    def answer(self, verb: str, target: str, body: bytes) -> dict[str, object]:
        """Answer one HTTP request in JSON.

        Raises:
            RefusedError: With an error.
            LostAnswerError: Not at all.
        """
        url = urlsplit(target)
        request = route(verb, url.path, parse_qs(url.query), body)
        self.calls.append(request.method)
        with call(self.hook, request.method):
            return self._in_loop(lambda: self._answer(request))

    def close(self) -> None:
        """Stop every task, wait until nothing of them is left, and answer no more; twice is fine."""
        if self._loop.is_closed():
            return
        self._server.shutdown()
        self._server.server_close()
        executions = self._in_loop(self._last)
        for execution in executions:
            self._in_loop(execution.cancel)
        for execution in executions:
            execution.wait(TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join()
        self._loop.close()

    def _answer(self, request: ApiCall) -> dict[str, object]:
        if self._closing:  # Whoever asked may be long gone: what starts now would be stopped by nobody.
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE", "The stand-in is closing.")
        return self._api.answer(request)

    def _last(self) -> list[RunningExecution]:
        """Every execution there is, and none after them."""
        self._closing = True
        return list(self._api.executions.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_loop(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud_run: CloudRun, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.cloud_run = cloud_run


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0, a connection a request: nothing is left open when the server is closed."""

    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @override
    def log_message(self, format: str, *args: object) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            self._send(HTTPStatus.OK, _json(self.server.cloud_run.answer(self.command, self.path, body)))
        except RefusedError as refused:
            self._send(refused.status, _json(refused.body))
        except ForeignAnswerError:
            self._send(HTTPStatus.OK, b"<html>Sign in to this network</html>", "text/html")
        except LostAnswerError:
            return

    def _send(self, status: HTTPStatus, content: bytes, kind: str = "application/json; charset=UTF-8") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        with suppress(ConnectionError):  # Whoever asked may have given up.
            self.end_headers()
            self.wfile.write(content)


def _json(answer: dict[str, object]) -> bytes:
    return json.dumps(answer).encode()
