"""Output of the commands: plain lines, tables and progress bars for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from shared.domain.all_errors import all_errors
from shared.domain.errors import CelldropError, InputError
from shared.domain.words import has_effect, spelt_out

_UNFOLDED = 40
"""Characters of a table's first column that are never folded: an id has 32."""

_NARROWEST = 20
"""Characters that a line of prose has at least."""


class Exit(IntEnum):
    """The exit statuses of every command."""

    DONE = 0
    """Done."""
    INTERNAL = 1
    """A fault of ours or of the platform, or a submission that failed or was cancelled."""
    USAGE = 2
    """Wrong usage: options, settings, a model or a submission that does not exist."""
    REFUSED = 3
    """The file cannot be used; the message says why and what to do."""
    DIFFERENT = 4
    """`celldrop reproduce` made other bytes."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


@dataclass(slots=True)
class Output:
    """Where output goes: text to stdout, or with ``as_json`` text to stderr and one JSON object to stdout."""

    as_json: bool = False
    console: Console = field(init=False)

    def __post_init__(self) -> None:
        self.console = Console(stderr=self.as_json, highlight=False, soft_wrap=True)

    def say(self, text: str = "", *, style: str = "") -> None:
        """Print one line literally: markup, emoji codes and control sequences in it have no effect."""
        self.console.print(literal(text), style=style or None)

    def prose(self, text: str, *, style: str = "") -> None:
        """Print a sentence or a list as ``say`` does, in lines that end between words at the terminal's width.

        The width is 80 where it is not known. Further lines are indented by two more than the first.
        """
        indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
        width = max(self.console.width, len(indent) + _NARROWEST)
        lines = textwrap.wrap(
            spelt_out(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for line in lines:
            self.console.print(Text(line), style=style or None)

    def warn(self, text: str) -> None:
        """Print one line to stderr, literally: what a person should know, beside the output that a program reads."""
        _stderr().print(literal(text), style="yellow")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a small table, its cells literally. No cell is cut short: a narrow terminal folds them.

        The first column is not folded either, so that an id in it can be copied.
        """
        table = Table(box=None, pad_edge=False)
        for place, column in enumerate(columns):
            longest = max((len(row[place]) for row in rows), default=0)
            table.add_column(column, overflow="fold", min_width=min(longest, _UNFOLDED) if place == 0 else None)
        for row in rows:
            table.add_row(*map(literal, row))
        self.console.print(table)

    def result(self, value: object) -> None:
        """Print the JSON object, if ``--json`` was given."""
        if self.as_json:
            sys.stdout.write(_as_json(value) + "\n")

    def error(self, error: CelldropError) -> Exit:
        """Print an error and its hint, and return the exit status for it."""
        problem = {"code": error.code, "message": error.message, "hint": error.hint}
        self.result({"error": problem, **problem})
        stderr = _stderr()
        stderr.print(literal(f"{error.code}: {error.message}"), style="bold red")
        if error.hint:
            stderr.print(literal(error.hint))
        return status_of_code(error.code)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Bar]:
        """Show progress: a bar at a terminal, elsewhere a plain line at every 10%."""
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as rich_bar:
                yield _RichBar(rich_bar, what, total)
        else:
            yield _PlainBar(self, what, total)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def literal(text: str) -> Text:
    """Make any text safe for a terminal: characters that move the cursor, colour or reverse text are spelt out."""
    return Text(spelt_out(text))


def _as_json(value: object) -> str:
    """Format as JSON with control characters escaped, and the lone surrogates of paths that are not UTF-8 too."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    return "".join(f"\\u{ord(sign):04x}" if has_effect(sign) and sign != "\n" else sign for sign in text)


class Bar:
    """Progress of one long piece of work."""

    def update(self, done: int, total: int | None = None, what: str | None = None) -> None:
        """Show that ``done`` of ``total`` are done. ``what`` changes the label."""
        raise NotImplementedError


class _RichBar(Bar):
    def __init__(self, progress: Progress, what: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(spelt_out(what), total=total)

    def update(self, done: int, total: int | None = None, what: str | None = None) -> None:
        description = None if what is None else spelt_out(what)
        self._progress.update(self._task, completed=done, total=total, description=description)


class _PlainBar(Bar):
    def __init__(self, output: Output, what: str, total: int | None) -> None:
        self._output = output
        self._what = what
        self._total = total
        self._said: tuple[str, int] | None = None

    def update(self, done: int, total: int | None = None, what: str | None = None) -> None:
        self._what = what or self._what
        self._total = total or self._total
        tenth = 10 * done // self._total if self._total else 0
        if self._said != (self._what, tenth):
            self._said = (self._what, tenth)
            of = f": {done:,} of {self._total:,}" if self._total else ""
            self._output.say(f"{self._what}{of}")


_USAGE_CODES = frozenset(
    {
        "DISK_FULL",
        "INVALID_OPTION",
        "INVALID_SETTING",
        "MODEL_HAS_NO_TERMS",
        "MODEL_NOT_FOUND",
        "MODEL_EXISTS",
        "NOT_A_MANIFEST",
        "SUBMISSION_NOT_FOUND",
    }
)
_REFUSED_CODES = frozenset({kind.code for kind in all_errors() if issubclass(kind, InputError)}) | {
    "MODEL_DOWNLOAD_FAILED",
    "MODEL_UNSAFE",
    "MODEL_UNSUPPORTED",
    "INVALID_BUNDLE",
    "INVALID_NAME",
    "INPUT_DIFFERS",
    "OBJECT_REFUSED",
    "LABELS_NOT_COMPARABLE",
    "TRAINING_DATA_UNUSABLE",
}


def status_of_code(code: str) -> Exit:
    """The exit status of an error code: 2 for wrong usage, 3 for a refused input, 1 for everything else."""
    if code in _USAGE_CODES:
        return Exit.USAGE
    return Exit.REFUSED if code in _REFUSED_CODES else Exit.INTERNAL
