"""The whole pipeline in one process: every service over the local ports, stepped by whoever embeds it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cli.files import find_file
from functions.dispatch.dependencies import build_dispatch
from functions.dispatch.services import Dispatch
from functions.ingest.dependencies import build_ingest
from functions.ingest.schemas import Drop
from functions.ingest.services import Ingest
from functions.reconcile.dependencies import build_reconcile
from functions.reconcile.services import Reconcile
from functions.status.services import MOST_IN_LINE
from shared.domain import machine, owed
from shared.domain.admission import Request
from shared.domain.errors import ResultFileNotFoundError, SubmissionNotFoundError
from shared.domain.submission import EntryKind, State, Submission, Topic
from shared.ports.blobs import BlobStore
from shared.ports.events import Message
from shared.ports.status import Stored
from shared.records.messages import parse_job
from shared.records.updates import update
from shared.settings import Settings
from shared.wiring.ports import LocalLayout, LocalPorts, build_local

RECONCILE_EVERY_S = 1.0
RESERVED = frozenset({"inbox", "results"})
"""Names in a home that no link may take."""


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

    def find(self, drop: Drop) -> Submission | None:
        """The submission that the drop would join, if there is one."""
        try:
            return self.local.ports.store.get(Request(drop.source, drop.options, drop.rerun_token).id).value
        except SubmissionNotFoundError:
            return None

    def submit(self, drop: Drop) -> Stored[Submission]:
        """Take a drop in, through the same door as an event."""
        return self.ingest.accept(drop)

    def take_over(self, submission_id: str) -> None:
        """Go on with what another process of this home began: its messages died in its memory, if it died.

        Idempotent: where it lives after all, the second message is stale to dispatch.
        """

        def change(record: Submission, now: datetime) -> Submission:
            lost = record.state is State.QUEUED and not owed.owes(record, EntryKind.JOB)
            return machine.remind(record, now=now) if lost else record

        update(self.local.ports.store, submission_id, change)

    def take_over_all(self) -> None:
        """Go on with everything that was queued when the server before this one ended; idempotent likewise."""
        for stored in self.local.ports.store.find([State.QUEUED], limit=MOST_IN_LINE, oldest_first=True):
            self.take_over(stored.value.id)

    def step(self, only: str | None = None) -> list[str]:
        """Deliver what is queued, and every second mend what was lost; returns what could not be mended this time.

        Args:
            only: The one submission that this process has taken on. Others in the same home are left to whoever has:
                what is started here ends when this process does.
        """
        self.local.bus.deliver_pending()
        now_s = time.monotonic()
        if now_s - self._reconciled_s < RECONCILE_EVERY_S:
            return []
        self._reconciled_s = now_s
        if only is None:
            return self.reconcile.sweep().faults
        return self.reconcile.mend_all([self.local.ports.store.get(only)]).faults

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

    def has_room(message: Message) -> bool:
        return local.runner.has_room() or parse_job(message.data).kind is EntryKind.FINALIZE

    local.bus.subscribe(Topic.JOBS, on_job, has_room)
    return embedded


def queue_only(embedded: Embedded) -> Ingest:
    """Ingest that records and leaves the messages to a running server's reconcile."""
    return replace(embedded.ingest, outbox=replace(embedded.ingest.outbox, bus=None))


def drop_of_file(blobs: BlobStore, file: Path, options: Mapping[str, str]) -> Drop:
    """The drop of a file that is annotated where it lies, at its present generation.

    Raises:
        InputNotFoundError: No such file.
    """
    return Drop(find_file(blobs, file).ref, options)


def result_folder(layout: LocalLayout, record: Submission) -> Path | None:
    """Where the committed result lies.

    Raises:
        ResultFileNotFoundError: It was removed since.
    """
    if record.result is None:
        return None
    folder = layout.results / record.result.prefix.rstrip("/")
    if not folder.is_dir():
        hint = "Run it again with --rerun to have it anew."
        raise ResultFileNotFoundError("the results were removed", where=str(folder), hint=hint)
    return folder


def link_result(embedded: Embedded, record: Submission, folder: Path) -> Path:
    """A readable name for a committed result: HOME/STEM points to its folder; another file's link is left alone."""
    home = embedded.layout.home
    stem = Path(record.source.name).name.removesuffix(".h5").removesuffix(".h5ad")
    link = home / stem
    if stem.startswith(".") or stem in RESERVED or not _is_ours(embedded, link, record):
        link = home / f"{stem.lstrip('.')}-{record.id[:8]}"
    fresh = embedded.layout.state / f"link-{secrets.token_hex(8)}"
    try:
        fresh.symlink_to(folder.relative_to(home))
        fresh.replace(link)
    except OSError:  # A name for people is not worth a fault: the results are there.
        fresh.unlink(missing_ok=True)
        return folder
    return link


def _is_ours(embedded: Embedded, link: Path, record: Submission) -> bool:
    """Whether a name is free, or points to an earlier result of the same file."""
    if not link.is_symlink():
        return not link.exists()
    parts = link.readlink().parts
    try:
        earlier = (
            embedded.local.ports.store.get(parts[1]).value if parts[:1] == ("results",) and len(parts) > 1 else None
        )
    except SubmissionNotFoundError:
        return False
    return earlier is not None and earlier.source.name == record.source.name
