"""`celldrop serve`: an inbox folder, HTTP and a web page on loopback, everything in one process."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from cli.console import Exit, Output
from cli.embedded import Embedded, open_embedded
from cli.inbox import Inbox
from cli.serving import make_server
from functions.ingest.schemas import StorageObject
from functions.status.dependencies import service_over
from shared.domain.errors import BlobNotFoundError, CelldropError, InputNotFoundError
from shared.settings import Settings

STEP_S = 0.1
POLL_S = 0.5


def serve_forever(settings: Settings, port: int | None, output: Output) -> Exit:
    """Serve until interrupted; what was running then is taken up again at the next start."""
    embedded = open_embedded(settings)
    embedded.layout.inbox.mkdir(parents=True, exist_ok=True)
    embedded.layout.results.mkdir(parents=True, exist_ok=True)
    service = service_over(embedded.local.ports)
    server = make_server(service, port=settings.port if port is None else port)
    threading.Thread(target=server.serve_forever, daemon=True, name="http").start()
    output.say(f"Drop .h5ad files in  {embedded.layout.inbox}")
    output.say(f"Results appear in    {embedded.layout.results}")
    output.say(f"Watch them at        http://127.0.0.1:{server.port}/")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        _loop(embedded, stop, output)
    finally:
        server.shutdown()
        embedded.close()
    return Exit.DONE


def _loop(embedded: Embedded, stop: threading.Event, output: Output) -> None:
    inbox = Inbox(embedded.layout.inbox)
    polled_s = 0.0
    while not stop.is_set():
        now_s = time.monotonic()
        if now_s - polled_s >= POLL_S:
            polled_s = now_s
            _poll(embedded, inbox, now_s, output)
        embedded.step()
        stop.wait(STEP_S)


def _poll(embedded: Embedded, inbox: Inbox, now_s: float, output: Output) -> None:
    try:
        whole = inbox.poll(now_s)
    except InputNotFoundError as error:
        output.say(f"{error.message} It is made anew.", style="yellow")
        embedded.layout.inbox.mkdir(parents=True, exist_ok=True)
        return
    for file in whole:
        if not take_in(embedded, file, output):
            inbox.forget(file)


def take_in(embedded: Embedded, file: Path, output: Output) -> bool:
    """A final drop goes through the same door as an event; False when it must be tried again."""
    name = str(file.relative_to(embedded.layout.inbox))
    bucket = embedded.settings.inbox_bucket
    try:
        info = embedded.blobs.stat(bucket, name)
        drop = embedded.ingest.data.drop_of(StorageObject(bucket=bucket, name=name, generation=info.ref.generation))
        stored = embedded.ingest.accept(drop) if drop else None
    except BlobNotFoundError:
        return True
    except CelldropError as error:
        output.say(f"{name}: {error.code}: {error.message}", style="red")
        return not error.retryable
    if stored is not None:
        reason = f" ({stored.value.failure.code}: {stored.value.failure.message})" if stored.value.failure else ""
        output.say(f"{name}: {stored.value.state} {stored.value.id}{reason}")
    return True
