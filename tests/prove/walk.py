"""Walks the steps of a proof in order, and tears down whatever happened."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tests.prove.programs import ProgramError
from tests.prove.report import TEAR_DOWN, Entry, Report, Result
from tests.prove.watch import StepTooLongError, StoppedError, Watch


class StepFailedError(Exception):
    """What a step expects does not hold; the words say what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the proof.

    Attributes:
        needed: Where it fails, the later steps make no sense.
    """

    name: str
    purpose: str
    limit_s: float
    run: Callable[[Entry], None]
    needed: bool = True


class Place(Protocol):
    """What is proved: a project of Google's, or the local cloud."""

    def steps(self) -> Sequence[Step]:
        """From looking around to the last evidence."""
        ...

    def tear_down(self, entry: Entry) -> None:
        """Remove everything that was made, and look for what is left; called once, whatever happened."""
        ...

    @property
    def advice(self) -> str:
        """How to tear it down by hand."""
        ...


def walk(place: Place, report: Report, watch: Watch) -> bool:
    """Run every step that makes sense, then tear down; whether all of it passed."""
    try:
        _steps(place.steps(), report, watch)
    finally:
        tear_down(place, report)
    return report.proved


def tear_down(place: Place, report: Report) -> None:
    """The last step: no signal or limit stops it."""
    say("tear-down …")
    with report.entry(TEAR_DOWN, "removes everything that was made, and looks for what is left") as entry:
        try:
            place.tear_down(entry)
        except Exception as error:  # noqa: BLE001  # the report must say it, whatever it is
            entry.fail(f"{_words(error)}. By hand: {place.advice}")
    say(f"tear-down {entry.result}")


def _steps(steps: Sequence[Step], report: Report, watch: Watch) -> None:
    stopped = ""
    for step in steps:
        if stopped:
            with report.entry(step.name, step.purpose) as entry:
                entry.result = Result.SKIPPED
                entry.notes.append(f"not run: {stopped}")
            continue
        say(f"{step.name} …")
        with report.entry(step.name, step.purpose) as entry:
            stopped = _one(step, entry, watch)
        say(f"{step.name} {entry.result} ({entry.seconds:g} s) {'; '.join(entry.problems)[:400]}".rstrip())


def _one(step: Step, entry: Entry, watch: Watch) -> str:
    """Run a step; why nothing may follow, or nothing."""
    try:
        with watch.limited(step.limit_s):
            step.run(entry)
    except StoppedError as error:
        entry.fail(f"{error}")
        entry.result = Result.STOPPED
        return str(error)
    except StepTooLongError:
        entry.fail(f"took longer than its limit of {step.limit_s:g} s and was stopped")
    except (ProgramError, StepFailedError) as error:
        entry.fail(str(error))
    except Exception as error:  # noqa: BLE001  # a fault of ours must not keep the tear-down from being reported
        entry.fail(_words(error))
        entry.notes.append(traceback.format_exc(limit=-3))
    return f"{step.name} failed" if step.needed and entry.result is not Result.PASSED else ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, ProgramError | StepFailedError) else str(error)


def say(line: str) -> None:
    """A line for who watches."""
    with suppress(OSError):  # A reader that has gone must not keep anything from being torn down.
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
