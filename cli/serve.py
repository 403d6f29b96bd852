"""`celldrop serve`: an inbox folder, HTTP and a web page on loopback, everything in one process."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cli.console import Exit, Output
from cli.embedded import Embedded, open_embedded
from cli.following import say_new
from cli.home_key import PARAMETER, HomeKey
from cli.inbox import Inbox
from cli.serving import make_server
from functions.ingest.schemas import StorageObject
from functions.status.dependencies import service_over
from shared.domain.errors import BlobNotFoundError, CelldropError, InputNotFoundError, SettingsError
from shared.settings import Settings
from shared.wiring.folders import alone
from shared.wiring.ports import LocalLayout

log = logging.getLogger(__name__)

STEP_S = 0.1
POLL_S = 0.5
RETRY_S = 10.0
TAKEN_AT_ONCE = 8
"""Files that are looked into side by side, as far as memory has room: each in a process of its own."""


def serve_forever(settings: Settings, port: int | None, output: Output) -> Exit:
    """Serve until interrupted; what was running then is taken up again at the next start.

    Raises:
        SettingsError: Another server has this home.
    """
    with alone(LocalLayout(settings.home).state / "serve.lock", "celldrop serve"):
        return _serve(settings, port, output)


def _serve(settings: Settings, port: int | None, output: Output) -> Exit:
    embedded = open_embedded(settings)
    _make_folders(embedded.layout)
    service = service_over(embedded.local.ports, in_line=True)
    key = HomeKey.of(embedded.layout.state)
    server = make_server(service, port=settings.port if port is None else port, key=key)
    threading.Thread(target=server.serve_forever, daemon=True, name="http").start()
    output.say(f"Drop .h5ad files in  {embedded.layout.inbox}")
    output.say(f"Results appear in    {embedded.layout.results}")
    output.say(f"Watch them at        http://127.0.0.1:{server.port}/?{PARAMETER}={key.secret}")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        embedded.take_over_all()
        _loop(embedded, stop, output)
    finally:
        server.shutdown()
        embedded.close()
    return Exit.DONE


def _make_folders(layout: LocalLayout) -> None:
    if layout.inbox.is_symlink():
        hint = "Move the link away; the inbox must be a folder of its own."
        raise SettingsError("the inbox is a link", where=str(layout.inbox), hint=hint)
    layout.inbox.mkdir(parents=True, exist_ok=True)
    layout.results.mkdir(parents=True, exist_ok=True)


def _loop(embedded: Embedded, stop: threading.Event, output: Output) -> None:
    inbox = Inbox(embedded.layout.inbox)
    said: set[str] = set()
    polled_s = 0.0
    # What is looked into may take long, and is damaged or slow: it must not hold up what is begun, nor the next file.
    pool = ThreadPoolExecutor(TAKEN_AT_ONCE, thread_name_prefix="celldrop-inbox")
    drops = _Drops(lambda file: pool.submit(take_in, embedded, file, output))
    try:
        while not stop.is_set():
            now_s = time.monotonic()
            if now_s - polled_s >= POLL_S:
                polled_s = now_s
                _poll(embedded, inbox, drops, now_s, output)
            say_new(embedded.step(), said, output)
            stop.wait(STEP_S)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Drops:
    """Files that are being taken in, and those that could not be this time, each until it is due again.

    Attributes:
        take: Begins to take a file in; False in the end when it must be tried again.
    """

    take: Callable[[Path], Future[bool]]
    taken: list[tuple[Path, Future[bool]]] = field(default_factory=list)
    due_s: dict[Path, float] = field(default_factory=dict)

    def begin(self, file: Path) -> None:
        self.taken.append((file, self.take(file)))

    def again(self, now_s: float) -> list[Path]:
        """Those whose time has come."""
        done = [one for one in self.taken if one[1].done()]
        self.taken = [one for one in self.taken if one not in done]
        self.due_s |= {file: now_s + RETRY_S for file, was_taken in done if not was_taken.result()}
        due = [file for file, due_s in self.due_s.items() if due_s <= now_s]
        self.due_s = {file: due_s for file, due_s in self.due_s.items() if file not in due}
        return due


def _poll(embedded: Embedded, inbox: Inbox, drops: _Drops, now_s: float, output: Output) -> None:
    for file in drops.again(now_s):
        inbox.forget(file)
    try:
        whole = inbox.poll(now_s)
    except InputNotFoundError as error:
        output.say(f"{error.message} It is made anew.", style="yellow")
        embedded.layout.inbox.mkdir(parents=True, exist_ok=True)
        return
    for file in whole:
        drops.begin(file)


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
    except Exception as error:
        log.exception("%s could not be taken in", name)
        output.say(
            f"{name}: a fault of ours ({type(error).__name__}); the log has it. Drop it again to retry.", style="red"
        )
        return True
    if stored is not None:
        reason = f" ({stored.value.failure.code}: {stored.value.failure.message})" if stored.value.failure else ""
        output.say(f"{name}: {stored.value.state} {stored.value.id}{reason}")
    return True
