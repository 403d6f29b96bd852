"""The dated report of a proof, as JSON for programs and Markdown for people; written anew after every step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.prove.markdown import page
from tests.prove.options import Options
from tests.prove.redaction import Redactor

PLAIN = "plain drop"
"""The fault that is none: its times stand at the top."""


TEAR_DOWN = "tear-down"
"""The last step: without it a proof was killed."""


class Result(StrEnum):
    """How a step came out."""

    PASSED = "passed"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Entry:
    """What the report says of a step.

    Attributes:
        found: Facts by name, as Google, Terraform or the pipeline gave them.
        problems: What failed, and what to do about it.
        notes: What a reader should know beside it.
        checks: Rows of a table: single checks or faults, each with its result.
    """

    name: str
    purpose: str
    result: Result = Result.PASSED
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checks: list[dict[str, str]] = field(default_factory=list)

    def fail(self, problem: str) -> None:
        """Say what is wrong, and go on with the step."""
        self.problems.append(problem)
        self.result = Result.FAILED


class Report:
    """Everything that is known of a proof so far.

    Attributes:
        facts: Of the whole proof: versions, commit, images, bill.
        left: What is left behind, and the command that removes it.
        programs: Every program that was run.
        path: Of the Markdown page; the JSON lies beside it.
    """

    def __init__(self, options: Options, redact: Redactor, name: str = "report") -> None:
        self.options = options
        self.path = options.folder / f"{name}.md"
        self.redact = redact
        self.started = datetime.now(UTC)
        self.facts: dict[str, Any] = {}
        self.entries: list[Entry] = []
        self.left: list[dict[str, str]] = []
        self.programs: list[dict[str, Any]] = []

    @contextmanager
    def entry(self, name: str, purpose: str) -> Iterator[Entry]:
        """One more step; its time is taken, and the report is written when it ends, however it ends."""
        found = Entry(name, purpose)
        self.entries.append(found)
        started = time.monotonic()
        try:
            yield found
        finally:
            found.seconds = round(time.monotonic() - started, 1)
            self.write()

    @property
    def proved(self) -> bool:
        """Every step passed to the last, and nothing is left."""
        ended = any(entry.name == TEAR_DOWN for entry in self.entries)
        return ended and all(entry.result is Result.PASSED for entry in self.entries) and not self.left

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        options = self.options
        return {
            "proved": self.proved,
            "where": "local cloud" if options.local else "Google Cloud",
            "project": options.project,
            "region": options.region,
            "prefix": options.prefix,
            "started": self.started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            **self.facts,
            "tests_skipped": sum(entry.found.get("skipped", 0) for entry in self.entries),
            "differs_from_the_docs": self._faults_that("differs"),
            "not_provoked": self._faults_that("not provoked"),
            "seconds_of_a_plain_drop": next(
                (seconds for seconds in map(_plain_seconds, self.entries) if seconds), None
            ),
            "steps": [asdict(entry) for entry in self.entries],
            "left_behind": self.left,
            "programs": self.programs,
        }

    def _faults_that(self, result: str) -> list[str]:
        checks = [check for entry in self.entries for check in entry.checks if "fault" in check]
        return [check["fault"] for check in checks if check["result"] == result]

    def write(self) -> None:
        """Write both files, without secrets; one that is half written never replaces a whole one."""
        document = self.document
        _replace(self.path.with_suffix(".json"), self.redact(json.dumps(document, indent=1, default=str)) + "\n")
        _replace(self.path, self.redact(page(document)))


def _plain_seconds(entry: Entry) -> Any:
    return entry.found.get(PLAIN, {}).get("seconds")


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(f"{path.suffix}.new")
    beside.write_text(text)
    beside.replace(path)
