"""`submit`, `status`, `watch` and `cancel`: what is done beside a running server, over the same status store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cli.console import Exit, Output
from cli.embedded import Embedded, drop_of_file, open_embedded, queue_only, result_folder
from cli.following import outcome_document, report_end, show
from cli.running import model_option, read_pairs
from shared.domain import machine
from shared.domain.options import parse_options
from shared.domain.submission import Submission
from shared.settings import Settings
from shared.updates import update

WATCH_S = 0.5


def submit_file(settings: Settings, file: Path, *, model: str | None, pairs: Sequence[str], output: Output) -> Exit:
    """Record a submission; the server's reconcile finds what it owes and goes on.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    embedded = open_embedded(settings)
    try:
        options = read_pairs(pairs)
        if model is not None:
            options["model"] = model_option(embedded, model)
        parse_options(options)
        stored = queue_only(embedded).accept(drop_of_file(embedded.blobs, file, options))
        if stored.value.state.final:
            return report_end(embedded, stored, output)
        output.result(outcome_document(stored.value, None))
        output.say(stored.value.id)
        return Exit.DONE
    finally:
        embedded.close()


def show_status(settings: Settings, submission_id: str | None, output: Output) -> Exit:
    """One submission with its history, or the latest ones.

    Raises:
        SubmissionNotFoundError: No submission of that id.
    """
    embedded = open_embedded(settings)
    if submission_id is None:
        return _list(embedded, output)
    store = embedded.local.ports.store
    record = store.get(submission_id).value
    history = store.history(submission_id)
    lines = [{"at": entry.at, "state": entry.state, "epoch": entry.epoch, "note": entry.note} for entry in history]
    output.result({**outcome_document(record, result_folder(embedded.layout, record)), "history": lines})
    output.say(f"{record.id}  {record.state}  {record.source.name}", style="bold")
    rows = [[_clock(entry.at), entry.state, str(entry.epoch), entry.note] for entry in history]
    output.table(["time (UTC)", "state", "epoch", "note"], rows)
    if record.failure:
        output.say(f"{record.failure.code}: {record.failure.message} {record.failure.hint}")
    return Exit.DONE


def _list(embedded: Embedded, output: Output) -> Exit:
    found = embedded.local.ports.store.find(limit=50)
    output.result({"submissions": [outcome_document(stored.value, None) for stored in found]})
    rows = [
        [stored.value.id, stored.value.state, _clock(stored.created_at), stored.value.source.name] for stored in found
    ]
    output.table(["submission", "state", "created (UTC)", "object"], rows)
    return Exit.DONE


def watch_submission(settings: Settings, submission_id: str, output: Output) -> Exit:
    """Follow a submission until it ends; nothing is stepped here.

    Raises:
        SubmissionNotFoundError: No submission of that id.
    """
    embedded = open_embedded(settings)
    store = embedded.local.ports.store
    stored = store.get(submission_id)
    with output.progress("Watching", None) as bar:
        while not stored.value.state.final:
            show(store, stored.value, bar)
            time.sleep(WATCH_S)
            stored = store.get(submission_id)
    return report_end(embedded, stored, output)


def cancel_submission(settings: Settings, submission_id: str, output: Output) -> Exit:
    """Cancel; one that is over already is left as it is.

    Raises:
        SubmissionNotFoundError: No submission of that id.
    """
    embedded = open_embedded(settings)

    def change(record: Submission, now: datetime) -> Submission:
        return record if record.state.final else machine.cancel(record, now=now)

    record = update(embedded.local.ports.store, submission_id, change).value
    output.result(outcome_document(record, None))
    output.say(f"{record.id} is {record.state}.")
    return Exit.DONE


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
