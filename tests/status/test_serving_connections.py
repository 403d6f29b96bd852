"""The embedded server answers whatever comes over a socket, and idle connections do not use it up."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.serving import BaseWSGIServer

from cli import serving
from cli.connections import MAX_CONNECTIONS
from cli.serving import MAX_BODY_BYTES
from shared.domain.submission import State
from tests.status.running import running
from tests.status.world import World

OURS = b"Host: localhost\r\n"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[BaseWSGIServer]:
    with running(world) as made:
        yield made


def exchanged(server: BaseWSGIServer, sent: bytes) -> bytes:
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.")
    return int(answer.split(b" ", 2)[1])


BAD_HEADS = {
    "no version": b"GET\r\n\r\n",
    "version 0.9": b"GET /\r\n",
    "words without end": b"GET / x y z HTTP/1.1\r\n\r\n",
    "an odd version": b"GET / HTTP/one\r\n\r\n",
    "a version to come": b"GET / HTTP/3.0\r\n\r\n",
    "not a method of 0.9": b"POST /\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a host that is none": b"GET http://[x/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a line too long": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    "a header too long": b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a length of 5,000 digits": b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two ways to end": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown encoding": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("head", BAD_HEADS.values(), ids=BAD_HEADS)
def test_a_head_that_cannot_be_read_is_answered_and_nothing_is_printed(
    server: BaseWSGIServer, head: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = exchanged(server, head)
    assert status_of(answer) == 400
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (body["code"], body["status"]) == ("BAD_REQUEST", 400)
    assert b"X-Content-Type-Options: nosniff" in answer
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_body_that_is_too_large_is_refused_unread(server: BaseWSGIServer) -> None:
    head = b"POST / HTTP/1.1\r\n" + OURS + f"Content-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode()
    assert status_of(exchanged(server, head)) == 413


@pytest.mark.parametrize("nested", [b"[" * 30_000, b'{"a":' * 12_000], ids=["lists", "objects"])
def test_a_body_of_any_shape_changes_nothing(server: BaseWSGIServer, world: World, nested: bytes) -> None:
    path = f"/v1/submissions/{world.queued(name=str(len(nested)))}:cancel".encode()
    head = b"POST " + path + b" HTTP/1.1\r\n" + OURS + f"Content-Length: {len(nested)}\r\n\r\n".encode()
    assert status_of(exchanged(server, head + nested)) == 200


def test_a_request_that_breaks_off_in_its_body_does_nothing(server: BaseWSGIServer, world: World) -> None:
    found = world.queued(name="broken off")
    head = f"POST /v1/submissions/{found}:cancel HTTP/1.1\r\n".encode() + OURS + b"Content-Length: 9\r\n\r\n"
    assert status_of(exchanged(server, head + b"abc")) == 400
    assert world.record(found).state is State.QUEUED


def test_a_body_in_chunks_is_not_waited_for(server: BaseWSGIServer, world: World) -> None:
    path = f"/v1/submissions/{world.queued(name='chunks')}:cancel".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\n5\r\n")
        assert status_of(connection.recv(65536)) == 200


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.binary(max_size=12)
        | st.sampled_from(
            [
                b"GET ",
                b"POST ",
                b"/",
                b"/v1/submissions",
                b" HTTP/1.1\r\n",
                OURS,
                b"\r\n",
                b"\r\n\r\n",
                b"%00",
                b"//x",
                b"?limit=",
            ]
        ),
        min_size=1,
        max_size=9,
    )
)
def test_whatever_is_said_over_a_socket_is_answered(server: BaseWSGIServer, pieces: list[bytes]) -> None:
    sent = b"".join(pieces)
    answer = exchanged(server, sent)
    asked = sent.partition(b"\n")[0].decode("latin-1").split()
    assert status_of(answer) < 500 if asked else answer == b""


def test_connections_that_ask_for_nothing_make_room(server: BaseWSGIServer) -> None:
    before = threading.active_count()
    with ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10)) for _ in range(300)
        ]
        for connection in idle[:200]:  # Of these, everybody has begun to say something.
            connection.sendall(b"GET / HT")
        assert health(server) == 200
        assert threading.active_count() - before <= MAX_CONNECTIONS + 4
        assert idle[0].recv(10) == b""
    assert health(server) == 200


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost:", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
def test_who_says_nothing_more_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 0.1)
    with running(world) as server, socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(begun)
        assert connection.recv(65536) == b""


def test_who_is_being_answered_is_not_ended_and_one_too_many_is_told_so(server: BaseWSGIServer, world: World) -> None:
    found = world.queued(name="waited for")
    go_on, waiting = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        waiting.release()
        assert go_on.wait(30)

    world.time.then = wait
    statuses: list[int] = []
    watchers = [
        threading.Thread(target=lambda: statuses.append(health(server, f"/v1/submissions/{found}?wait=1")))
        for _ in range(MAX_CONNECTIONS)
    ]
    for watcher in watchers:
        watcher.start()
    for _ in watchers:
        assert waiting.acquire(timeout=30)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert json.loads(response.read())["code"] == "TOO_MANY_CONNECTIONS"
    world.time.then = lambda: None
    go_on.set()
    for watcher in watchers:
        watcher.join()
    assert statuses == [200] * MAX_CONNECTIONS


def health(server: BaseWSGIServer, path: str = "/healthz") -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
