"""`submit`, `status`, `watch` and `cancel`: commands for a running `celldrop serve` or a deployed pipeline."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from cli.console import Exit, Output
from cli.embedded import open_embedded, queue_only, result_folder
from cli.estimating import comparison_words, forecast_words
from cli.folders import missing
from cli.following import Place, files_in, outcome_document, show, tell_end
from cli.running import drop_of, read_options
from functions.ingest.schemas import METADATA_PREFIX
from functions.status.services import place_in_line
from shared.domain import machine
from shared.domain.admission import Request
from shared.domain.errors import InvalidOptionError, SubmissionNotFoundError
from shared.domain.options import parse_options
from shared.domain.submission import State, Submission
from shared.domain.temporary import is_temporary
from shared.ports.status import StatusStore, Stored
from shared.records.updates import update
from shared.settings import Backend, Settings
from shared.wiring.folders import is_held
from shared.wiring.ports import LocalLayout, Ports, build_ports

WATCH_S = {Backend.LOCAL: 0.5, Backend.GCP: 2.0}
UNTIL_FOUND_S = {Backend.LOCAL: 0.0, Backend.GCP: 60.0}
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What `celldrop submit` is given.

    Attributes:
        models: As ``--model``: the model, and further ones for a consensus.
        pairs: The options, as ``KEY=VALUE``.
        rerun: Whether to annotate again although there are results.
    """

    file: Path
    models: Sequence[str]
    pairs: Sequence[str]
    rerun: bool


def submit_file(settings: Settings, asked: Asked, output: Output) -> Exit:
    """Submit a file. A local server reads it in place; for a deployed pipeline it is uploaded.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    match settings.backend:
        case Backend.LOCAL:
            return _queue(settings, asked, output)
        case Backend.GCP:
            return _upload(settings, asked, output)
        case _:
            assert_never(settings.backend)


def _queue(settings: Settings, asked: Asked, output: Output) -> Exit:
    """Record a submission. The server's reconcile finds the record and drains its outbox."""
    embedded = open_embedded(settings)
    try:
        wanted = read_options(asked.pairs, asked.models)
        drop = drop_of(embedded, asked.file, model=None, wanted=wanted, rerun=asked.rerun)
        stored = queue_only(embedded).submit(drop)
        if stored.value.state.final:
            return tell_end(stored.value, _place(settings, embedded.local.ports, stored.value), output)
        output.result(outcome_document(stored.value, None))
        output.say(stored.value.id)
        _say_if_nobody_serves(settings, output)
        return Exit.DONE
    finally:
        embedded.close()


def _say_if_nobody_serves(settings: Settings, output: Output) -> None:
    """Warn if the work of a local home waits for a server that does not run."""
    lock = LocalLayout(settings.home).serve_lock
    if settings.backend is Backend.LOCAL and not is_held(lock):
        words = "No `celldrop serve` runs in this folder: what is queued waits until one is started"
        output.warn(f"{words}, with `celldrop serve --out {shlex.quote(str(settings.home))}`.")


def _upload(settings: Settings, asked: Asked, output: Output) -> Exit:
    """Upload a file to the inbox under a unique name, with its options as metadata, and print the submission's id.

    Each upload is a submission of its own, so that nothing has to be asked again.
    """
    file, wanted = asked.file, read_options(asked.pairs, asked.models)
    parsed = parse_options(wanted.options)
    for model in (parsed.model, *(wanted.others or parsed.consensus)):
        if model is not None and Path(model).is_dir():
            hint = "Upload the bundle to the models bucket, then pass its name to --model."
            raise InvalidOptionError(
                "a deployed pipeline cannot use a model folder of this machine", where=model, hint=hint
            )
    options = {**wanted.options, **({"consensus": ",".join(wanted.others)} if wanted.others else {})}
    called = f"{file.name}.h5ad" if is_temporary(file.name) else file.name  # ingest ignores temporary names
    name = f"submitted/{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}/{called}"
    ports = build_ports(settings)
    info = ports.blobs.write(
        settings.inbox_bucket, name, _chunks(file), if_generation=0, metadata=_as_metadata(options)
    )
    submission_id = Request(info.ref, options).id
    output.result({"submission_id": submission_id, "state": None, "object": f"gs://{info.ref.bucket}/{name}"})
    output.say(submission_id)
    return Exit.DONE


def _as_metadata(options: Mapping[str, str]) -> dict[str, str]:
    return {f"{METADATA_PREFIX}{name.replace('_', '-')}": value for name, value in options.items()}


def _chunks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk
    except (FileNotFoundError, IsADirectoryError) as error:
        raise missing(file) from error


def show_status(settings: Settings, submission_id: str | None, output: Output) -> Exit:
    """Show one submission with its history, or list the latest ones.

    Raises:
        SubmissionNotFoundError: There is no submission with that id.
    """
    ports = build_ports(settings)
    if submission_id is None:
        return _list(ports, output)
    record = ports.store.get(submission_id).value
    history = ports.store.history(submission_id)
    lines = [{"at": entry.at, "state": entry.state, "epoch": entry.epoch, "note": entry.note} for entry in history]
    where = _place(settings, ports, record)
    output.result({**outcome_document(record, where), "history": lines})
    place = place_in_line(ports.store, record) if settings.backend is Backend.LOCAL else None
    queued = f", number {place:,} in the queue" if place else ""
    output.say(f"{record.id}  {record.state}{queued}  {record.source.name}", style="bold")
    if record.plan:
        output.say(f"Plan: {comparison_words(record)}")
    elif record.verdict and record.verdict.forecast:
        output.say(f"Forecast: {forecast_words(record.verdict.forecast)}")
    rows = [[_clock(entry.at), entry.state, str(entry.epoch), entry.note] for entry in history]
    output.table(["time (UTC)", "state", "epoch", "note"], rows)
    if record.given_up:
        output.say(record.given_up, style="yellow")
    if not record.state.final:
        _say_if_nobody_serves(settings, output)
    if where is not None:
        output.say(f"Results: {where.where}")
    if record.failure:
        output.say(f"{record.failure.code}: {record.failure.message} {record.failure.hint}")
    return Exit.DONE


def _list(ports: Ports, output: Output) -> Exit:
    found = ports.store.find(limit=50)
    output.result({"submissions": [outcome_document(stored.value, None) for stored in found]})
    rows = [
        [stored.value.id, stored.value.state, _clock(stored.created_at), stored.value.source.name] for stored in found
    ]
    output.table(["submission", "state", "created (UTC)", "object"], rows)
    return Exit.DONE


def watch_submission(settings: Settings, submission_id: str, output: Output) -> Exit:
    """Follow a submission until it ends. Another process does the work; this one only reads the record.

    Raises:
        SubmissionNotFoundError: There is no submission with that id.
    """
    ports = build_ports(settings)
    with output.progress("Watching", None) as bar:
        stored = _appeared(settings, ports.store, submission_id)
        if not stored.value.state.final:
            _say_if_nobody_serves(settings, output)
        while not stored.value.state.final:
            show(ports.store, stored.value, bar)
            time.sleep(WATCH_S[settings.backend])
            stored = ports.store.get(submission_id)
    return tell_end(stored.value, _place(settings, ports, stored.value), output)


def _appeared(settings: Settings, store: StatusStore, submission_id: str) -> Stored[Submission]:
    """Read the record. A file that was just uploaded may not have a record yet, so wait for one."""
    deadline_s = time.monotonic() + UNTIL_FOUND_S[settings.backend]
    while True:
        try:
            return store.get(submission_id)
        except SubmissionNotFoundError:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(WATCH_S[settings.backend])


def cancel_submission(settings: Settings, submission_id: str, output: Output) -> Exit:
    """Cancel a submission. One that has ended otherwise is left as it is, which is no success.

    Raises:
        SubmissionNotFoundError: There is no submission with that id.
    """

    def change(record: Submission, now: datetime) -> Submission:
        return record if record.state.final else machine.cancel(record, now=now)

    record = update(build_ports(settings).store, submission_id, change).value
    output.result(outcome_document(record, None))
    if record.state is State.CANCELLED:
        output.say(f"{record.id} is CANCELLED.")
        return Exit.DONE
    output.say(f"{record.id} had ended already: it is {record.state}. Nothing was cancelled.", style="yellow")
    return Exit.USAGE


def _place(settings: Settings, ports: Ports, record: Submission) -> Place | None:
    """The location of the committed result; None if there is none.

    Raises:
        ResultFileNotFoundError: The result was removed after the commit.
    """
    if settings.backend is Backend.LOCAL:
        folder = result_folder(LocalLayout(settings.home.resolve()), record)
        return files_in(folder) if folder else None
    if record.result is None:
        return None
    bucket, prefix = record.result.bucket, record.result.prefix
    found = ports.blobs.list(bucket, prefix)
    return Place(f"gs://{bucket}/{prefix}", tuple(f"gs://{bucket}/{info.ref.name}" for info in found))


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
