"""The embedded server: this machine's own user, over a real socket, and nobody else."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from werkzeug.serving import BaseWSGIServer
from werkzeug.test import Client

from cli.serving import make_server
from functions.status.data_manager import CHUNK_BYTES
from functions.status.responses import MAX_SIZED_BODY_BYTES
from shared.domain.errors import SettingsError
from tests.status.running import running
from tests.status.world import FILES, World


@pytest.fixture
def server(world: World) -> Iterator[BaseWSGIServer]:
    with running(world) as made:
        yield made


def get(server: BaseWSGIServer, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response, response.read()


def test_it_answers_on_loopback(server: BaseWSGIServer, world: World) -> None:
    found = world.succeeded()
    response, body = get(server, f"/v1/submissions/{found}/files/annotated.h5ad")
    assert (response.status, body) == (200, FILES["annotated.h5ad"])
    assert response.headers["Server"] == "celldrop"


def test_it_listens_on_no_other_address(server: BaseWSGIServer) -> None:
    assert server.server_address == ("127.0.0.1", server.port)


def test_a_large_file_arrives_whole(server: BaseWSGIServer, world: World) -> None:
    data = bytes(range(256)) * (MAX_SIZED_BODY_BYTES // 256 + 1)
    found = world.succeeded(files={"big.h5ad": data})
    response, body = get(server, f"/v1/submissions/{found}/files/big.h5ad")
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert body == data


def test_a_download_that_fails_midway_is_seen_to(server: BaseWSGIServer, world: World) -> None:
    data = b"x" * (MAX_SIZED_BODY_BYTES + CHUNK_BYTES)
    found = world.succeeded(files={"big.h5ad": data})
    reads = iter(range(100))

    def lose(name: str) -> None:
        if name == "blobs.read" and next(reads) == 2:
            world.blobs.objects.clear()

    world.blobs.hook = lose
    with pytest.raises(http.client.IncompleteRead):
        get(server, f"/v1/submissions/{found}/files/big.h5ad")


def test_a_waiting_watcher_does_not_hold_up_others(server: BaseWSGIServer, world: World) -> None:
    found = world.running()
    waiting, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        assert go_on.wait(10)
        world.progress(found, 1)

    world.time.then = wait
    answers: list[bytes] = []
    watcher = threading.Thread(target=lambda: answers.append(get(server, f"/v1/submissions/{found}?wait=30")[1]))
    watcher.start()
    assert waiting.wait(10)
    assert get(server, "/healthz")[0].status == 200
    go_on.set()
    watcher.join()
    assert json.loads(answers[0])["progress"]["rows_done"] == 1


def test_a_port_that_is_taken_is_an_error_with_a_hint(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError) as caught:
        make_server(world.service, port=taken.getsockname()[1])
    assert "--port" in caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:9000", "LOCALHOST", "[::1]:8080", "[::1]"])
def test_loopback_names_are_answered(bare: Client, host: str) -> None:
    assert bare.get("/healthz", headers=[("Host", host)]).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.1@evil.example",
        "127.0.0.1:80@evil",
        "evil:localhost",
        "localhost:",
        "localhost:٣",
        "0.0.0.0",
        "192.168.1.7:8080",
        "[::]",
        "::1",
        "",
    ],
)
def test_any_other_name_is_refused(bare: Client, world: World, host: str) -> None:
    response = bare.post(f"/v1/submissions/{world.queued()}:cancel", headers=[("Host", host)])
    assert (response.status_code, (response.json or {})["code"]) == (421, "HOST_NOT_ALLOWED")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
