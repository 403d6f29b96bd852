"""The whole pipeline in one process: every service over the local ports, stepped by whoever embeds it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from functions.dispatch.dependencies import build_dispatch
from functions.dispatch.services import Dispatch
from functions.ingest.dependencies import build_ingest
from functions.ingest.schemas import Drop
from functions.ingest.services import Ingest
from functions.reconcile.dependencies import build_reconcile
from functions.reconcile.services import Reconcile
from shared.domain.errors import BlobNotFoundError, InputNotFoundError
from shared.domain.submission import ObjectRef, Requester, Submission, Topic
from shared.messages import parse_job
from shared.ports.blobs import BlobStore
from shared.ports.events import Message
from shared.ports.status import Stored
from shared.settings import Settings
from shared.wiring import FILES_BUCKET, LocalLayout, LocalPorts, build_local

RECONCILE_EVERY_S = 1.0


@dataclass(slots=True)
class Embedded:
    """The pipeline at one home folder."""

    settings: Settings
    local: LocalPorts
    ingest: Ingest
    dispatch: Dispatch
    reconcile: Reconcile
    _reconciled_s: float = 0.0

    @property
    def blobs(self) -> BlobStore:
        """The embedded buckets."""
        return self.local.ports.blobs

    @property
    def layout(self) -> LocalLayout:
        """Where things are kept."""
        return LocalLayout(self.settings.home.resolve())

    def submit(self, drop: Drop) -> Stored[Submission]:
        """Take a drop in, through the same door as an event."""
        stored = self.ingest.accept(drop)
        assert stored is not None
        return stored

    def step(self) -> None:
        """Deliver what is queued, and every second mend what was lost."""
        self.local.bus.deliver_pending()
        now_s = time.monotonic()
        if now_s - self._reconciled_s >= RECONCILE_EVERY_S:
            self._reconciled_s = now_s
            self.reconcile.sweep()

    def close(self) -> None:
        """Stop every execution that this process supervises."""
        self.local.runner.close()


def open_embedded(settings: Settings) -> Embedded:
    """Wire the pipeline; nothing is started yet."""
    local = build_local(settings)
    dispatch = build_dispatch(settings, local.ports)
    embedded = Embedded(
        settings,
        local,
        build_ingest(settings, local.ports),
        dispatch,
        build_reconcile(settings, local.ports),
    )

    def on_job(message: Message) -> None:
        dispatch.handle(parse_job(message.data))

    local.bus.subscribe(Topic.JOBS, on_job)
    return embedded


def queue_only(embedded: Embedded) -> Ingest:
    """Ingest that records and leaves the messages to a running server's reconcile."""
    return replace(embedded.ingest, outbox=replace(embedded.ingest.outbox, bus=None))


def drop_of_file(
    blobs: BlobStore, file: Path, options: Mapping[str, str], *, rerun: str | None = None, who: str | None = None
) -> Drop:
    """The drop of a file that is annotated where it lies, at its present generation.

    Raises:
        InputNotFoundError: No such file.
    """
    name = str(file.resolve()).lstrip("/")
    try:
        info = blobs.stat(FILES_BUCKET, name)
    except BlobNotFoundError as error:
        hint = "Check the path; it must be a file that you may read."
        raise InputNotFoundError("no such file", where=str(file), hint=hint) from error
    source = ObjectRef(FILES_BUCKET, name, info.ref.generation)
    return Drop(source, options, rerun, Requester(who) if who else None)


def link_result(layout: LocalLayout, record: Submission) -> Path | None:
    """A readable name for a committed result: HOME/STEM points to its folder."""
    if record.result is None:
        return None
    target = layout.results / record.result.prefix.rstrip("/")
    stem = Path(record.source.name).name
    for ending in (".h5ad", ".h5"):
        stem = stem.removesuffix(ending)
    link = layout.home / (stem or record.id)
    fresh = layout.state / f"link-{record.id}"
    with suppress(FileNotFoundError):
        fresh.unlink()
    if link.exists() and not link.is_symlink():
        return target
    fresh.symlink_to(target.relative_to(layout.home))
    fresh.replace(link)
    return link
