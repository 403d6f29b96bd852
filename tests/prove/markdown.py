"""A report's document as a page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LONGEST_CELL = 300
SHOWN_PROBLEMS = 20


def page(document: Mapping[str, Any]) -> str:
    """The whole page: verdict first, then facts, steps, what is left, programs."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    verdict = "everything passed" if document["proved"] else "not everything passed"
    if n_skipped := document.get("tests_skipped"):
        verdict += f", {n_skipped} tests of the suite skipped"
    yield f"# Proof of a deployment: {document['where']}, {verdict}"
    yield ""
    yield from _table(
        ("fact", "found"),
        [(name, _short(value)) for name, value in document.items() if name not in {"steps", "left_behind", "programs"}],
    )
    yield "## Steps"
    yield ""
    steps = document["steps"]
    rows = [(step["name"], step["result"], f"{step['seconds']:g}", step["purpose"]) for step in steps]
    yield from _table(("step", "result", "seconds", "what it does"), rows)
    for step in steps:
        yield from _step(step)
    yield from _left(document)
    yield "## Programs"
    yield ""
    programs = document["programs"]
    rows = [(f"`{run['argv']}`", str(run["status"]), f"{run['seconds']:g}", run["log"]) for run in programs]
    yield from _table(("program", "status", "seconds", "log"), rows)


def _step(step: Mapping[str, Any]) -> Iterator[str]:
    if not (step["found"] or step["problems"] or step["notes"] or step["checks"]):
        return
    yield f"### {step['name']}: {step['result']}"
    yield ""
    for problem in step["problems"][:SHOWN_PROBLEMS]:
        yield f"- **{' '.join(problem.split())}**"
    for note in step["notes"]:
        yield f"- {' '.join(note.split())}"
    if step["problems"] or step["notes"]:
        yield ""
    if step["checks"]:
        heads = list(step["checks"][0])
        yield from _table(heads, [[_short(check.get(head, "")) for head in heads] for check in step["checks"]])
    if step["found"]:
        yield from _table(("fact", "found"), [(name, _short(value)) for name, value in step["found"].items()])


def _left(document: Mapping[str, Any]) -> Iterator[str]:
    yield "## Left behind"
    yield ""
    if document.get("kept"):
        yield f"The whole deployment, as --keep asked for. Remove it with: {document['kept']}"
        yield ""
        return
    if not document["left_behind"]:
        yield "Nothing that was looked for was found."
        yield ""
        return
    rows = [(left["kind"], left["name"], f"`{left['remove']}`") for left in document["left_behind"]]
    yield from _table(("kind", "name", "remove it with"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(_cell(value) for value in row)} |"
    yield ""


def _cell(value: str) -> str:
    return " ".join(value.replace("|", "\\|").split())


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}… (the whole in report.json)"
