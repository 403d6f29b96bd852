"""The whole pipeline in one process: every service over the local ports. The caller drives it step by step."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count
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
from shared.domain.errors import CelldropError, ResultFileNotFoundError, SettingsError, SubmissionNotFoundError
from shared.domain.submission import EntryKind, State, Submission, Topic
from shared.ports.blobs import BlobStore
from shared.ports.events import Message
from shared.ports.status import Stored
from shared.records.messages import parse_job
from shared.records.updates import update
from shared.settings import Backend, Settings
from shared.wiring.ports import LocalLayout, LocalPorts, build_local

RECONCILE_EVERY_S = 1.0
_MOST_SWEPT = 100
RESERVED = frozenset({"inbox", "results"})
"""Folder names in a home that a result's link must not replace."""


@dataclass(slots=True)
class Embedded:
    """The pipeline of one home folder."""

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
        """The folders and files of this home."""
        return LocalLayout(self.settings.home.resolve())

    def find(self, drop: Drop) -> Submission | None:
        """The submission that the drop would join, if there is one."""
        try:
            return self.local.ports.store.get(Request(drop.source, drop.options, drop.rerun_token).id).value
        except SubmissionNotFoundError:
            return None

    def asked_again(self, drop: Drop, *, rerun: bool) -> Drop:
        """The drop with the rerun token for which it joins a submission that is open or succeeded, or makes a new one.

        After one that failed, was refused or cancelled comes the next try, since the cause may be gone. Its number is
        the token, so that asking once more joins it.

        Args:
            rerun: Whether to make a new submission in any case.
        """
        if rerun:
            return replace(drop, rerun_token=secrets.token_hex(4))
        tries = (replace(drop, rerun_token=f"try-{number}") for number in count(2))
        return next(one for one in chain([drop], tries) if not self._has_failed(one))

    def _has_failed(self, drop: Drop) -> bool:
        before = self.find(drop)
        return before is not None and before.state.final and before.state is not State.SUCCEEDED

    def submit(self, drop: Drop) -> Stored[Submission]:
        """Create or join the submission of a drop, as ingest does for an event."""
        return self.ingest.submit(drop)

    def take_over(self, submission_id: str) -> None:
        """Continue a submission that another process of this home queued, in case that process died.

        Messages are kept in memory and are lost with their process, so a new one is sent. Idempotent: if the other
        process still runs, dispatch ignores the second message as stale.
        """

        def change(record: Submission, now: datetime) -> Submission:
            lost = record.state is State.QUEUED and not owed.owes(record, EntryKind.JOB)
            return machine.remind(record, now=now) if lost else record

        update(self.local.ports.store, submission_id, change)

    def take_over_all(self) -> None:
        """Continue every submission that was queued when the previous server ended. Idempotent likewise."""
        for stored in self.local.ports.store.find([State.QUEUED], limit=MOST_IN_LINE, oldest_first=True):
            self.take_over(stored.value.id)

    def step(self, only: str | None = None) -> list[str]:
        """Deliver pending messages and, every second, reconcile. Returns the errors of failed repairs.

        Args:
            only: The one submission that this process works on; None for all. Executions end with the process that
                started them, so other submissions of the home are left to their own process.
        """
        self.local.bus.deliver_pending()
        now_s = time.monotonic()
        if now_s - self._reconciled_s < RECONCILE_EVERY_S:
            return []
        self._reconciled_s = now_s
        if only is None:
            return self.reconcile.sweep().faults
        return self.reconcile.mend_all([self.local.ports.store.get(only)]).faults

    def sweep_leftovers(self) -> None:
        """Remove the leftovers of any submission of this home that are due. What fails is due again next time."""
        with suppress(CelldropError):
            for stored in self.local.ports.store.find_owing(messages=False, limit=_MOST_SWEPT):
                with suppress(CelldropError):
                    self.reconcile.outbox.pay(stored)

    def close(self) -> None:
        """Stop every execution that this process supervises."""
        self.local.runner.close()


def open_embedded(settings: Settings) -> Embedded:
    """Build the pipeline without starting anything.

    Raises:
        SettingsError: The settings are those of a deployed pipeline, or the home folder cannot be used.
    """
    if settings.backend is not Backend.LOCAL:
        # Task processes would read the same settings, and look for their work in the cloud.
        raise SettingsError(
            f"CELLDROP_BACKEND is {settings.backend}, a deployed pipeline, but this command computes on this machine",
            hint="Set CELLDROP_BACKEND=local for it, or send the file to the deployed pipeline: celldrop submit FILE.",
        )
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
    """An ingest service that only writes the record; a running server's reconcile publishes its messages."""
    return replace(embedded.ingest, outbox=replace(embedded.ingest.outbox, bus=None))


def drop_of_file(blobs: BlobStore, file: Path, options: Mapping[str, str]) -> Drop:
    """The drop of a local file, which is read in place, at its current generation.

    Raises:
        InputNotFoundError: There is no such file.
    """
    return Drop(find_file(blobs, file).ref, options)


def result_folder(layout: LocalLayout, record: Submission) -> Path | None:
    """The folder of the committed result; None if there is none.

    Raises:
        ResultFileNotFoundError: The folder was removed after the commit.
    """
    if record.result is None:
        return None
    folder = layout.results / record.result.prefix.rstrip("/")
    if not folder.is_dir():
        hint = "Compute them again: celldrop run FILE --rerun."
        raise ResultFileNotFoundError("the results were removed", where=str(folder), hint=hint)
    return folder


def link_result(embedded: Embedded, record: Submission, folder: Path) -> Path:
    """Link HOME/STEM to the folder of a committed result, as a readable name. Another file's link is left alone."""
    home = embedded.layout.home
    stem = Path(record.source.name).name.removesuffix(".h5").removesuffix(".h5ad")
    link = home / stem
    if stem.startswith(".") or stem in RESERVED or not _is_ours(embedded, link, record):
        link = home / f"{stem.lstrip('.')}-{record.id[:8]}"
    fresh = embedded.layout.state / f"link-{secrets.token_hex(8)}"
    try:
        fresh.symlink_to(folder.relative_to(home))
        fresh.replace(link)
    except OSError:  # Without the link, the results are still in their folder.
        fresh.unlink(missing_ok=True)
        return folder
    return link


def _is_ours(embedded: Embedded, link: Path, record: Submission) -> bool:
    """Whether the name is free, or links to an earlier result of the same file."""
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
