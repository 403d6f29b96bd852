"""`celldrop serve`: an inbox folder, an HTTP API and a web page on loopback, all in one process."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cli.console import Exit, Output
from cli.embedded import Embedded, open_embedded
from cli.endings import Endings, EventTail
from cli.following import say_new
from cli.home_key import PARAMETER, HomeKey
from cli.inbox import Dropped, Inbox
from cli.serving import make_server
from functions.ingest.schemas import StorageObject
from functions.status.dependencies import service_over
from shared.domain.errors import CelldropError, InputNotFoundError, SettingsError, UnavailableError
from shared.settings import Settings
from shared.wiring.folders import alone
from shared.wiring.ports import LocalLayout

log = logging.getLogger(__name__)

STEP_S = 0.1
POLL_S = 0.5
RETRY_S = 10.0
LONGEST_PAUSE_S = 10.0
CONCURRENT_FILES = 8
"""Files that are validated at the same time, memory permitting. Each is inspected in its own process."""


def serve_forever(settings: Settings, port: int | None, output: Output) -> Exit:
    """Serve until interrupted. Submissions that were running then are continued at the next start.

    Raises:
        SettingsError: Another server uses this home folder, or the folder is removed or moved meanwhile.
    """
    embedded = open_embedded(settings)
    with alone(LocalLayout(settings.home).serve_lock, "celldrop serve") as is_ours:
        return _serve(embedded, is_ours, port, output)


def _serve(embedded: Embedded, is_ours: Callable[[], bool], port: int | None, output: Output) -> Exit:
    settings = embedded.settings
    _make_folders(embedded.layout)
    service = service_over(embedded.local.ports, in_line=True)
    key = HomeKey.of(embedded.layout.state)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # before it says that it is there: who reads that may stop it
        signal.signal(number, lambda _number, _frame: stop.set())
    server = make_server(service, port=settings.port if port is None else port, key=key)
    threading.Thread(target=server.serve_forever, daemon=True, name="http").start()
    output.say(f"Drop .h5ad files in  {embedded.layout.inbox}")
    output.say(f"Results appear in    {embedded.layout.results}")
    output.say(f"Watch them at        http://127.0.0.1:{server.port}/?{PARAMETER}={key.secret}")
    try:
        _check(embedded)
        embedded.local.runner.prepare()
        _loop(embedded, is_ours, stop, output)
    finally:
        server.shutdown()
        embedded.close()
    return Exit.DONE


def _check(embedded: Embedded) -> None:
    """Refuse to start with a status database that is none. If it is only locked now, it is used once it is free.

    Raises:
        SettingsError: It is damaged, or something else.
    """
    with suppress(UnavailableError):
        embedded.local.ports.store.find(limit=1)


def _make_folders(layout: LocalLayout) -> None:
    if layout.inbox.is_symlink():
        hint = "Remove the link: the inbox must be a real folder."
        raise SettingsError("the inbox is a symbolic link", where=str(layout.inbox), hint=hint)
    layout.inbox.mkdir(parents=True, exist_ok=True)
    layout.results.mkdir(parents=True, exist_ok=True)


def _loop(embedded: Embedded, is_ours: Callable[[], bool], stop: threading.Event, output: Output) -> None:
    """Work until ``stop`` is set. An error is shown and the work goes on, after a pause that grows while it recurs.

    Raises:
        SettingsError: The home is not the one any more that this server began with. Another server may have it.
    """
    inbox, said = Inbox(embedded.layout.inbox), set[str]()
    # Validating a large or damaged file can take long. In threads, it does not delay running work or the next file.
    pool = ThreadPoolExecutor(CONCURRENT_FILES, thread_name_prefix="celldrop-inbox")
    drops = _Drops(lambda file: pool.submit(ingest_file, embedded, inbox.dropped(file), said, output))
    endings = Endings(embedded, output, EventTail(embedded.layout.events))
    polled_s, pause_s = 0.0, STEP_S
    try:
        _guarded(embedded.take_over_all, said, output)
        while not stop.is_set():
            now_s, well = time.monotonic(), True
            if now_s - polled_s >= POLL_S:
                polled_s = now_s
                if not is_ours():
                    hint = "Start celldrop serve again with the folder that you mean."
                    raise SettingsError("its folder was removed or moved", where=str(embedded.layout.home), hint=hint)
                well = _guarded(partial(_poll, embedded, inbox, drops, now_s, output), said, output)
                well &= _guarded(partial(_say_ignored, inbox, said, output), said, output)
                well &= _guarded(endings.say, said, output)
            well &= _guarded(lambda: say_new(embedded.step(), said, output), said, output)
            pause_s = STEP_S if well else min(2 * pause_s, LONGEST_PAUSE_S)
            stop.wait(pause_s)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _guarded(part: Callable[[], None], said: set[str], output: Output) -> bool:
    """Do one part of the work. False if it failed; it is due again in the next round."""
    try:
        part()
    except Exception as error:
        with suppress(OSError):  # A full disk may hold the log, too.
            log.exception("celldrop serve goes on")
            say_new([_words(error)], said, output)
        return False
    return True


def _words(error: Exception) -> str:
    if isinstance(error, CelldropError):
        return f"{error.code}: {error.message}"
    return f"internal error ({type(error).__name__}: {error}); see the log."


@dataclass(slots=True)
class _Drops:
    """The files in ingest, and those to retry.

    Attributes:
        start: Starts the ingest of a file. Its future is False if the file must be retried.
        running: The files in ingest.
        due_s: When each failed file is due again.
    """

    start: Callable[[Path], Future[bool]]
    running: list[tuple[Path, Future[bool]]] = field(default_factory=list)
    due_s: dict[Path, float] = field(default_factory=dict)

    def begin(self, file: Path) -> None:
        self.running.append((file, self.start(file)))

    def again(self, now_s: float) -> list[Path]:
        """The files that are due for a retry."""
        done = [one for one in self.running if one[1].done()]
        self.running = [one for one in self.running if one not in done]
        failed = [file for file, ended in done if ended.exception() or not ended.result()]
        self.due_s |= dict.fromkeys(failed, now_s + RETRY_S)
        due = [file for file, due_s in self.due_s.items() if due_s <= now_s]
        self.due_s = {file: due_s for file, due_s in self.due_s.items() if file not in due}
        return due


def _poll(embedded: Embedded, inbox: Inbox, drops: _Drops, now_s: float, output: Output) -> None:
    for file in drops.again(now_s):
        inbox.forget(file)
    try:
        whole = inbox.poll(now_s)
    except InputNotFoundError as error:
        output.say(f"{error.message} Creating it again.", style="yellow")
        embedded.layout.inbox.mkdir(parents=True, exist_ok=True)
        return
    for file in whole:
        drops.begin(file)


def _say_ignored(inbox: Inbox, said: set[str], output: Output) -> None:
    """Say what in the inbox is no drop, each once."""
    for path, why in sorted(inbox.ignored.items()):
        words = f"{path.relative_to(inbox.root)}: ignored: {why}."
        if words not in said:
            said.add(words)
            output.say(words, style="yellow")


def ingest_file(embedded: Embedded, file: Dropped, said: set[str], output: Output) -> bool:
    """Ingest a complete file of the inbox, as for a storage event. False if it must be retried.

    Only the file that was found is read: one that was replaced since, by a link above all, is left to the next poll.
    """
    name = str(file.path.relative_to(embedded.layout.inbox))
    found = StorageObject(bucket=embedded.settings.inbox_bucket, name=name, generation=file.generation)
    try:
        drop = embedded.ingest.data.drop_of(found)
        stored = embedded.ingest.submit(drop) if drop else None
    except CelldropError as error:
        words = f"{name}: {error.code}: {error.message}"
        if words not in said:  # A file that cannot be read is tried every ten seconds.
            said.add(words)
            output.say(" ".join([words, *filter(None, [error.hint])]), style="red")
        return not error.retryable
    except Exception as error:
        log.exception("%s could not be ingested", name)
        output.say(
            f"{name}: internal error ({type(error).__name__}); see the log. Drop the file again to retry.", style="red"
        )
        return True
    if stored is not None:
        reason = f" ({stored.value.failure.code}: {stored.value.failure.message})" if stored.value.failure else ""
        output.say(f"{name}: {stored.value.state} {stored.value.id}{reason}")
    return True
