"""The notifier tells of each new generation as Cloud Storage events do, until it is taken."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cloudevents.http import CloudEvent, from_http
from typing_extensions import override

from functions.ingest.schemas import parse_storage_event
from shared.domain.submission import ObjectRef
from tests.cloud.local_cloud_programs import free_port
from tests.cloud.notifier import Mode, Notifier

PAGE_SIZE = 2


@dataclass(slots=True)
class _World:
    """A bucket behind the JSON API, and a function that takes events or does not."""

    port: int = 0
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    tried: list[str] = field(default_factory=list)
    taken: list[CloudEvent] = field(default_factory=list)
    now_s: float = 0.0

    def drop(self, name: str, generation: int = 1) -> None:
        resource = {"bucket": "inbox", "name": name, "generation": str(generation), "size": "5"}
        self.objects[name] = {**resource, "timeCreated": "2026-11-22T12:00:00.412Z"}

    def notifier(self, mode: Mode = Mode.BINARY) -> Notifier:
        url = f"http://127.0.0.1:{self.port}"
        return Notifier(url, "inbox", f"{url}/function", mode, lambda: self.now_s)

    def page(self, token: str) -> dict[str, Any]:
        names, start = sorted(self.objects), int(token or 0)
        page: dict[str, Any] = {"items": [self.objects[name] for name in names[start : start + PAGE_SIZE]]}
        return {**page, "nextPageToken": str(start + PAGE_SIZE)} if start + PAGE_SIZE < len(names) else page

    def take(self, event: CloudEvent) -> bool:
        name = _data(event)["name"]
        self.tried.append(name)
        if name not in self.refused:
            self.taken.append(event)
        return name not in self.refused


class _Handler(BaseHTTPRequestHandler):
    world: _World

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        assert url.path == "/storage/v1/b/inbox/o"
        self._send(200, self.world.page(parse_qs(url.query).get("pageToken", [""])[0]))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self._send(200 if self.world.take(from_http(dict(self.headers.items()), body)) else 500, {})

    @override
    def log_message(self, format: str, *args: object) -> None:
        return

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture
def world() -> Iterator[_World]:
    world = _World()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_", (_Handler,), {"world": world}))
    world.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("mode", Mode)
def test_a_drop_is_told_as_a_cloud_storage_event(world: _World, mode: Mode) -> None:
    world.drop("run 1/cells#1.h5ad", 17)
    assert world.notifier(mode).step() == 0
    [event] = world.taken
    assert {key: event[key] for key in ("specversion", "source", "type", "subject", "time")} == {
        "specversion": "1.0",
        "source": "//storage.googleapis.com/projects/_/buckets/inbox",
        "type": "google.cloud.storage.object.v1.finalized",
        "subject": "objects/run 1/cells#1.h5ad" if mode is Mode.STRUCTURED else "objects/run%201/cells#1.h5ad",
        "time": "2026-11-22T12:00:00.412Z",
    }
    assert event.get_data() == world.objects["run 1/cells#1.h5ad"]
    assert parse_storage_event(event.get_data()).ref == ObjectRef("inbox", "run 1/cells#1.h5ad", 17)


@pytest.mark.parametrize("mode", Mode)
def test_a_name_may_hold_any_character(world: _World, mode: Mode) -> None:
    world.drop("größe 細胞/100%.h5ad")
    assert world.notifier(mode).step() == 0
    assert _data(world.taken[0])["name"] == "größe 細胞/100%.h5ad"


def test_each_generation_is_told_once(world: _World) -> None:
    notifier = world.notifier()
    for generation in (1, 1, 2, 2):
        world.drop("a.h5ad", generation)
        notifier.step()
    assert [_data(event)["generation"] for event in world.taken] == ["1", "2"]
    assert len({event["id"] for event in world.taken}) == 2


def test_every_page_of_the_bucket_is_looked_at(world: _World) -> None:
    names = [f"{i}.h5ad" for i in range(2 * PAGE_SIZE + 1)]
    for name in names:
        world.drop(name)
    world.notifier().step()
    assert [_data(event)["name"] for event in world.taken] == names


def test_what_is_refused_is_delivered_again_after_ever_longer_pauses(world: _World) -> None:
    notifier = world.notifier()
    world.drop("a.h5ad")
    world.refused = {"a.h5ad"}
    tries = []
    for now_s in range(200):
        world.now_s = float(now_s)
        before = len(world.tried)
        assert notifier.step() == 1
        tries += [now_s] * (len(world.tried) - before)
    assert tries == [0, 1, 2, 4, 8, 16, 32, 64, 124, 184]
    world.refused = set()
    world.now_s = 1000.0
    assert notifier.step() == 0
    assert len(world.taken) == 1


def test_what_is_refused_holds_nothing_else_up(world: _World) -> None:
    for name in ("a.h5ad", "b.h5ad"):
        world.drop(name)
    world.refused = {"a.h5ad"}
    assert world.notifier().step() == 1
    assert [_data(event)["name"] for event in world.taken] == ["b.h5ad"]


def test_a_bucket_that_cannot_be_listed_is_looked_at_again(world: _World) -> None:
    notifier = world.notifier()
    world.drop("a.h5ad")
    there, notifier.storage = notifier.storage, f"http://127.0.0.1:{free_port()}"
    assert notifier.step() == 0
    notifier.storage = there
    notifier.step()
    assert len(world.taken) == 1


def _data(event: CloudEvent) -> dict[str, Any]:
    data = event.get_data()
    assert isinstance(data, dict)
    return data
