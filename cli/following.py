"""Follows a submission to its end: steps the pipeline, shows progress, and reports the outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli.console import Bar, Exit, Output, status_of_code
from cli.embedded import Embedded, link_result, result_folder
from cli.estimating import comparison_words
from cli.findings import say_finding
from shared.bundles.card import UNASSIGNED
from shared.domain.submission import State, Submission
from shared.domain.summaries import share_in
from shared.domain.verdict import Finding, Verdict
from shared.domain.words import percent, plural
from shared.h5ad.judge.cautions import LABELS_IN_DOUBT
from shared.ports.status import StatusStore, Stored
from shared.records.documents import plan_document, verdict_document

STEP_S = 0.05
WORDS = {
    State.QUEUED: "Queued",
    State.DISPATCHING: "Starting",
    State.RUNNING: "Annotating cells",
    State.FINALIZING: "Writing results",
    State.WAITING_CAPACITY: "Waiting for capacity",
}


_MOST_LABELS = 12
_SHARES = {
    "n_reliable_label": "have a reliable label",
    "n_reliable_group": "only a reliable wider type",
    "n_reliable_lineage": "only a reliable lineage",
    "n_unfamiliar": "are unlike the model's training cells",
}

_AGREEING = {
    "n_same_label": "the same type by all for {} of the cells",
    "n_wider_label": "more and less specific ones for {}",
    "n_different_label": "different types for {}",
    "n_not_comparable": "types that cannot be compared for {}",
}
_ALWAYS = {"n_same_label", "n_wider_label", "n_different_label"}
"""Said of no cell, too."""


def see_through(embedded: Embedded, submission_id: str, output: Output) -> Stored[Submission]:
    """Step the pipeline until the submission has ended and its outbox holds nothing that is due."""
    store = embedded.local.ports.store
    stored = store.get(submission_id)
    said: set[str] = set()
    with output.progress(WORDS.get(stored.value.state, "Done"), None) as bar:
        while True:
            faults = embedded.step(only=submission_id)
            stored = store.get(submission_id)
            say_new([*faults, *filter(None, [stored.value.last_problem])], said, output)
            if not stored.value.state.final:
                show(store, stored.value, bar)
            elif not _due(stored):
                return stored
            time.sleep(STEP_S)


def say_new(faults: list[str], said: set[str], output: Output) -> None:
    """Print the errors of failed repairs, each once."""
    for fault in faults:
        if fault not in said:
            said.add(fault)
            output.say(f"Trying again: {fault}", style="yellow")


def _due(stored: Stored[Submission]) -> bool:
    return any(entry.not_before is None or entry.not_before <= stored.read_at for entry in stored.value.outbox)


def show(store: StatusStore, record: Submission, bar: Bar) -> None:
    """Show progress in cells, from the tasks' heartbeats."""
    total, done = None, 0
    if record.plan and record.state in {State.RUNNING, State.FINALIZING}:
        total = record.plan.n_cells
        tasks = [stored.value for stored in store.tasks(record.id, record.epoch)]
        done = sum(len(task.rows) if task.receipt else task.rows_done for task in tasks)
    bar.update(done, total, WORDS.get(record.state, record.state.capitalize()))


def report_end(embedded: Embedded, stored: Stored[Submission], output: Output) -> Exit:
    """Print how a submission ended, as text or JSON, and return the exit status for it."""
    record = stored.value
    folder = result_folder(embedded.layout, record)
    shown = files_in(link_result(embedded, record, folder)) if folder else None
    return tell_end(record, files_in(folder) if folder else None, output, shown)


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a committed result.

    Attributes:
        where: A folder, or ``gs://BUCKET/PREFIX/``.
        files: The full path or URL of each file.
    """

    where: str
    files: tuple[str, ...]


def files_in(folder: Path) -> Place:
    """List a folder of results on this machine."""
    return Place(str(folder), tuple(sorted(str(path) for path in folder.iterdir())))


def tell_end(record: Submission, place: Place | None, output: Output, shown: Place | None = None) -> Exit:
    """Print how a submission ended, and return the exit status for it.

    Args:
        shown: A more readable path to the same place, printed for people.
    """
    output.result(outcome_document(record, place))
    if place is not None:
        _say_success(record, shown or place, output)
        return Exit.DONE
    return _say_failure(record, output)


def _say_success(record: Submission, place: Place, output: Output) -> None:
    assert record.result is not None
    summary = record.result.summary
    output.say()
    n_cells = summary.get("n_cells")
    cells = plural(n_cells if isinstance(n_cells, int) else 0, "cell")
    output.say(f"{cells} annotated with {summary.get('model')}.", style="bold")
    warnings = record.verdict.warnings if record.verdict else ()
    _say_findings([one for one in warnings if one.code in LABELS_IN_DOUBT], output)
    _say_labels(summary, output)
    _say_consensus(summary, record.verdict, output)
    _say_findings([one for one in warnings if one.code not in LABELS_IN_DOUBT], output)
    if summary.get("no_map"):
        output.say(f"Note: {summary['no_map']}", style="yellow")
    output.say(f"Plan: {comparison_words(record)}")
    output.say()
    for file in sorted(place.files, key=lambda file: not file.endswith("/report.html")):
        output.say(f"{'Report' if file.endswith('/report.html') else '':<18}{file}")


def _say_findings(findings: Sequence[Finding], output: Output) -> None:
    for finding in findings:
        say_finding(finding, output)


def _say_labels(summary: Mapping[str, object], output: Output) -> None:
    counts, reliable = summary.get("labels"), summary.get("reliable_labels")
    if isinstance(counts, dict):
        columns, rows = ["label", "cells", "share"], _most(counts)
        if isinstance(reliable, dict):
            columns = [*columns, "reliable"]
            rows = [[*row, f"{reliable.get(row[0], 0):,}"] for row in rows]
        output.table(columns, rows)
    if "n_reliable_label" in summary:
        shares = {what: share_in(summary, name) or 0 for name, what in _SHARES.items() if name in summary}
        output.say(f"Of these cells: {', '.join(f'{percent(share)} {what}' for what, share in shares.items())}")


def _most(counts: Mapping[str, int], *, without: str = "") -> list[list[str]]:
    """The names with the most cells, these, and their share of all cells."""
    n_cells = sum(counts.values()) or 1
    ordered = sorted((pair for pair in counts.items() if pair[0] != without), key=lambda item: -item[1])
    return [[name, f"{number:,}", f"{number / n_cells:.1%}"] for name, number in ordered[:_MOST_LABELS]]


def _say_consensus(summary: Mapping[str, object], verdict: Verdict | None, output: Output) -> None:
    models = summary.get("consensus_models")
    if not models:
        return
    shares = {name: share_in(summary, name) or 0.0 for name in (*_AGREEING, "n_no_consensus")}
    said = [what.format(percent(shares[name])) for name, what in _AGREEING.items() if shares[name] or name in _ALWAYS]
    output.say(f"Consensus of {models}: {', '.join(said)}")
    counts = summary.get("consensus_labels")
    if isinstance(counts, dict) and (rows := _most(counts, without=UNASSIGNED)):
        output.table(["consensus", "cells", "share"], rows)
    if shares["n_no_consensus"]:
        output.say(f"  {percent(shares['n_no_consensus'])} of the cells have no type that most of the models agree on")
    if summary.get("consensus_common_sources"):
        output.say(
            f"  Made from the same data: {summary['consensus_common_sources']}. That such models agree is no "
            "independent evidence.",
            style="yellow",
        )
    for name, finding in verdict.other_warnings if verdict else ():
        if not finding.is_calm:
            say_finding(replace(finding, message=f"{name}{finding.message}"), output)


def _say_failure(record: Submission, output: Output) -> Exit:
    failure = record.failure
    assert failure is not None
    words = str(record.state) if record.state == failure.code else f"{record.state}: {failure.code}"
    output.say(f"{words}: {failure.message}", style="bold red")
    if failure.hint:
        output.say(failure.hint)
    findings = (*record.verdict.refusals, *record.verdict.warnings) if record.verdict else ()
    for finding in findings:
        if finding.code != failure.code:
            say_finding(finding, output)
    return status_of_code(failure.code)


def outcome_document(record: Submission, place: Place | None) -> dict[str, Any]:
    """The JSON object that ``--json`` prints for a submission."""
    failure, result = record.failure, record.result
    return {
        "submission_id": record.id,
        "state": record.state,
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
        "hint": failure.hint if failure else None,
        "model": record.model.reference if record.model else None,
        "results": place.where if place else None,
        "files": list(place.files) if place else [],
        "summary": dict(result.summary) if result else {},
        "verdict": verdict_document(record.verdict) if record.verdict else None,
        "plan": plan_document(record.plan) if record.plan else None,
    }
