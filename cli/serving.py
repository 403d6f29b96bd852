"""The embedded HTTP server: runs the status function on loopback, for the user of this machine."""

from __future__ import annotations

import io
import logging
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from typing_extensions import override
from werkzeug.exceptions import BadRequest, HTTPException, MisdirectedRequest, RequestEntityTooLarge, ServiceUnavailable
from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from cli.connections import Connections
from cli.home_key import PARAMETER, HomeKey
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
"""No endpoint reads a body; a form's is a few bytes."""

HEAD_TIMEOUT_S = 15.0
"""Longest silence of a client that has connected and not sent its request yet."""
SEND_TIMEOUT_S = 2 * MAX_WAIT_S
"""Longest silence of a client that is receiving a response."""
LINGER_S = 0.5

log = logging.getLogger(__name__)


def make_server(service: StatusService, *, port: int, key: HomeKey | None = None) -> BaseWSGIServer:
    """Make a threaded server on 127.0.0.1; call ``serve_forever`` and, from another thread, ``shutdown``.

    Args:
        port: 0 chooses any free port; read it from the server's ``port``.
        key: The key that callers must send; None allows every user of this machine.

    Raises:
        SettingsError: The port is in use or cannot be opened.
    """
    listening = _listen(port)
    try:
        return _Server(loopback_app(service, key), listening)
    finally:
        listening.close()  # The server listens on a duplicate of its own.


def loopback_app(service: StatusService, key: HomeKey | None = None) -> WSGIApplication:
    """The status function as a WSGI application that accepts only loopback host names.

    This stops DNS rebinding: a foreign web page can point its own host name at 127.0.0.1, and the browser then treats
    this server as the page's own origin. But the Host header still carries the foreign name.
    """

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = MAX_BODY_BYTES
        return _respond(service, request, key)(environ, start_response)

    return app


def _respond(service: StatusService, request: Request, key: HomeKey | None) -> Response:
    if not _is_loopback(request.headers.get("Host", "")):
        return secured(problem_response(problem_of(MisdirectedRequest())))
    if key is None:
        return answer(lambda: service, request)
    # Browsers send cookies to every port of a host.
    cookie = f"celldrop-{request.environ['SERVER_PORT']}"
    if request.method == "GET" and key.is_in(request.args.get(PARAMETER, "")):
        return secured(_with_cookie(request, cookie, key))
    kept = request.cookies.get(cookie)

    def check(authorization: str | None) -> None:
        key.check(authorization, kept)

    return answer(lambda: service, request, lambda: check)


def _with_cookie(request: Request, cookie: str, key: HomeKey) -> Response:
    """Redirect to the same URL without the key, so that it does not stay in the browser's history or in links."""
    response = redirect("/" + request.path.lstrip("/\\"), HTTPStatus.SEE_OTHER)
    response.set_cookie(cookie, key.session, httponly=True, samesite="Lax")
    return response


def _is_loopback(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    return name.lower() in LOOPBACK_NAMES and port.isascii() and port.isdigit()


def _listen(port: int) -> socket.socket:
    try:
        # Not through werkzeug, which ends the process if the port is in use.
        return socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on port {port}: {error.strerror}",
            hint="Choose another port with --port or CELLDROP_PORT; 0 chooses any free port.",
        ) from error


class _Server(ThreadedWSGIServer):
    """One thread per connection, up to a limit."""

    def __init__(self, app: WSGIApplication, listening: socket.socket) -> None:
        port: int = listening.getsockname()[1]
        super().__init__(HOST, port, app, _Handler, fd=listening.fileno())
        self.connections = Connections()

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.admit(request):
            super().process_request(request, client_address)
            return
        request.settimeout(0.0)
        with suppress(OSError):
            request.send(_raw(problem_response(problem_of(ServiceUnavailable()))))
        self.shutdown_request(request)

    @override
    def shutdown_request(self, request: Any) -> None:
        self.connections.leave(request)
        super().shutdown_request(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.error("a connection broke off", exc_info=sys.exc_info())


class _Handler(WSGIRequestHandler):
    """Handles one connection. A silent connection is closed, so that it does not hold its thread for ever."""

    protocol_version = "HTTP/1.1"
    timeout = HEAD_TIMEOUT_S
    server: _Server

    @override
    def run_wsgi(self) -> None:
        """Handle a request whose headers are valid, after reading its whole body."""
        try:
            if self.request_version == self.default_request_version:  # HTTP/0.9, whose responses have no headers.
                raise BadRequest
            self.make_environ()  # Raises if the URL cannot be parsed.
            size_bytes = _body_bytes(self.headers.get("Content-Length"), self.headers.get("Transfer-Encoding"))
            body = self.rfile.read(size_bytes)
            if len(body) < size_bytes:
                raise BadRequest
        except HTTPException as error:
            self._refuse(error)
            return
        except ValueError:
            self._refuse(BadRequest())
            return
        self.server.connections.asks(self.connection)
        self.connection.settimeout(SEND_TIMEOUT_S)
        stream, self.rfile = self.rfile, io.BufferedReader(io.BytesIO(body))  # A read never blocks.
        try:
            super().run_wsgi()
        finally:
            self.rfile = stream

    @override
    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request whose headers cannot be parsed with a problem, like every other error."""
        self._refuse(BadRequest())

    def _refuse(self, error: HTTPException) -> None:
        self.close_connection = True
        self.log_request(error.code or HTTPStatus.BAD_REQUEST)
        self.wfile.write(_raw(problem_response(problem_of(error))))
        self.connection.settimeout(LINGER_S)
        # Closing with unread bytes would make a client that still sends lose the response.
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.rfile.read(MAX_BODY_BYTES)

    @override
    def version_string(self) -> str:
        return "celldrop"

    @override
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        line = self.requestline[:200].partition("?")[0]  # The query can contain the key.
        event(log, "answered", level=logging.DEBUG, request=line, status=str(code), size=size)

    @override
    def log(self, type: str, message: str, *args: Any) -> None:
        event(log, "connection", level=logging.DEBUG, said=message % args if args else message)


def _body_bytes(length: str | None, encoding: str | None) -> int:
    """Number of body bytes to read: the Content-Length; 0 for a chunked body, as no endpoint reads one.

    Raises:
        BadRequest: The headers do not say where the request ends.
        RequestEntityTooLarge: The body is longer than any of our forms.
    """
    if encoding is not None and (encoding.strip().lower() != "chunked" or length is not None):
        raise BadRequest
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise BadRequest
    if int(length) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return int(length)


def _raw(response: Response) -> bytes:
    """A response as raw bytes, for a socket without a WSGI application."""
    response.headers["Connection"] = "close"
    response.headers["Content-Length"] = str(len(response.get_data()))
    head = "".join(f"{name}: {value}\r\n" for name, value in secured(response).headers.items())
    return f"HTTP/1.1 {response.status}\r\nServer: celldrop\r\n{head}\r\n".encode("latin-1") + response.get_data()
