"""The embedded HTTP server: the status function on loopback, for this machine's own user."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.exceptions import MisdirectedRequest
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler
from werkzeug.serving import make_server as make_wsgi_server
from werkzeug.wrappers import Request, Response

from functions.status.problems import problem_of
from functions.status.responses import problem_response, secured
from functions.status.routes import answer
from functions.status.services import MAX_WAIT_S, StatusService
from shared.domain.errors import SettingsError
from shared.telemetry import event

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_BODY_BYTES = 64 * 1024
"""No route takes a body; a form's is a few bytes."""

log = logging.getLogger(__name__)


def make_server(service: StatusService, *, port: int) -> BaseWSGIServer:
    """A threaded server on 127.0.0.1 only; call ``serve_forever`` and, from another thread, ``shutdown``.

    Args:
        port: 0 takes any that is free; the server's ``port`` tells which.

    Raises:
        SettingsError: The port is taken, or not to be had.
    """
    listening = _listen(port)
    try:
        app = loopback_app(service)
        return make_wsgi_server(HOST, port, app, threaded=True, request_handler=_Handler, fd=listening.fileno())
    finally:
        listening.close()  # The server listens on a duplicate of its own.


def loopback_app(service: StatusService) -> WSGIApplication:
    """The status function as a WSGI application that answers only to loopback names.

    A web page elsewhere can point a name of its own at 127.0.0.1 (DNS rebinding) and is then, to the browser, of
    the same origin as this server; but the Host header still says that name.
    """

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = MAX_BODY_BYTES
        return _respond(service, request)(environ, start_response)

    return app


def _respond(service: StatusService, request: Request) -> Response:
    if not _is_loopback(request.headers.get("Host", "")):
        return secured(problem_response(problem_of(MisdirectedRequest())))
    return answer(service, request)


def _is_loopback(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    return name.lower() in LOOPBACK_NAMES and port.isascii() and port.isdigit()


def _listen(port: int) -> socket.socket:
    try:
        # Not werkzeug's own: it ends the process where the port is taken.
        return socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        raise SettingsError(
            f"port {port} cannot be listened on: {error.strerror}",
            hint="Choose another with --port or CELLDROP_PORT; 0 takes any that is free.",
        ) from error


class _Handler(WSGIRequestHandler):
    """One connection; a silent one is given up, so that it does not hold its thread for ever."""

    protocol_version = "HTTP/1.1"
    timeout = 2 * MAX_WAIT_S

    def version_string(self) -> str:
        return "celldrop"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        event(log, "answered", level=logging.DEBUG, method=self.command, path=self.path, status=str(code), size=size)
