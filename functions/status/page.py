"""The web pages: views rendered to HTML, with every value escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from functions.status.schemas import Problem, SubmissionItem, SubmissionList, SubmissionView
from shared.domain.outputs import OUTPUTS
from shared.domain.submission import FINAL_STATES, State

ASSETS: Final[Mapping[str, str]] = {"page.css": "text/css", "refresh.js": "text/javascript"}

MOST_LABELS: Final = 15
"""Labels that get their own row on the page; the rest share one row. The report lists them all."""

ACTIVE_REFRESH_S: Final = 2
IDLE_REFRESH_S: Final = 10

STEPS: Final = ("Queued", "Starting", "Annotating", "Writing results")
_STEP_OF: Final[Mapping[State, int]] = {
    State.QUEUED: 0,
    State.DISPATCHING: 1,
    State.WAITING_CAPACITY: 1,
    State.RUNNING: 2,
    State.FINALIZING: 3,
}

_WORDS: Final[Mapping[State, tuple[str, str]]] = {
    State.QUEUED: ("Queued", "open"),
    State.DISPATCHING: ("Starting", "open"),
    State.WAITING_CAPACITY: ("Waiting for capacity", "open"),
    State.RUNNING: ("Annotating", "open"),
    State.FINALIZING: ("Writing results", "open"),
    State.SUCCEEDED: ("Done", "good"),
    State.FAILED: ("Failed", "bad"),
    State.CANCELLED: ("Cancelled", "off"),
    State.REJECTED: ("Refused", "bad"),
}

_FILES: Final[Mapping[str, str]] = {output.name: output.what for output in OUTPUTS}


class Shown(StrEnum):
    """Which submissions the list shows."""

    ALL = "all"
    OPEN = "open"
    DONE = "done"
    WITHOUT = "without results"

    @classmethod
    def parse(cls, text: str | None) -> Shown:
        """The choice with that name; ALL for any other text."""
        return cls(text) if text in tuple(cls) else cls.ALL

    @property
    def states(self) -> tuple[State, ...]:
        """The states to show; empty means all."""
        match self:
            case Shown.ALL:
                return ()
            case Shown.OPEN:
                return tuple(state for state in State if state not in FINAL_STATES)
            case Shown.DONE:
                return (State.SUCCEEDED,)
            case Shown.WITHOUT:
                return (State.FAILED, State.CANCELLED, State.REJECTED)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label and how many cells have it, and have it reliably. ``share`` is the fraction of all cells, 0 to 1."""

    name: str
    n_cells: int
    share: float
    n_reliable: int = 0
    grouped: bool = False


def submissions(listing: SubmissionList, shown: Shown) -> str:
    """Render the list of submissions."""
    active = any(not item.final for item in listing.submissions)
    refresh_s = ACTIVE_REFRESH_S if active else IDLE_REFRESH_S
    return _render("submissions.html.j2", listing=listing, shown=shown, choices=tuple(Shown), refresh_s=refresh_s)


def submission(view: SubmissionView) -> str:
    """Render the page of one submission."""
    step = _STEP_OF.get(view.state)
    refresh_s = None if view.final else ACTIVE_REFRESH_S
    return _render("submission.html.j2", view=view, labels=label_rows(view), step=step, refresh_s=refresh_s)


def problem(found: Problem) -> str:
    """Render an error as a page."""
    return _render("problem.html.j2", problem=found, refresh_s=None)


def asset(name: str) -> str:
    """Read one of the files named in ASSETS."""
    assert name in ASSETS
    return (_HERE / "assets" / name).read_text("utf-8")


def label_rows(view: SubmissionItem) -> tuple[LabelRow, ...]:
    """The labels with the most cells, then one row for all the others."""
    counts, reliable = list(view.label_counts.items()), view.counts_of("reliable_labels")
    total = sum(n_cells for _, n_cells in counts) or 1
    rows = [LabelRow(name, n_cells, n_cells / total, reliable.get(name, 0)) for name, n_cells in counts]
    if len(rows) <= MOST_LABELS + 1:
        return tuple(rows)
    others = rows[MOST_LABELS:]
    n_cells, n_reliable = sum(row.n_cells for row in others), sum(row.n_reliable for row in others)
    rest = LabelRow(f"{len(others)} other labels", n_cells, n_cells / total, n_reliable, grouped=True)
    return (*rows[:MOST_LABELS], rest)


# --- Below: how values are formatted --------------------------------------------------------------------------------

_HERE = Path(__file__).resolve().parent
_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
_CONTROLS = (code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r")
_INVISIBLE: Final = dict.fromkeys((*_DIRECTIONS, *_CONTROLS), "\ufffd")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=_count,
        usd=_usd,
        seconds=_seconds,
        size=_size,
        percent=_percent,
        utc=_utc,
        duration=_duration,
        base=_base,
        words=_words,
        tone=_tone,
    )
    made.globals.update(steps=STEPS, label_rows=label_rows, file_kinds=_FILES, in_order=_in_order)
    return made


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)


def _readable(value: object) -> object:
    """Replace invisible characters by a visible sign: direction marks could make ``gnp.h5ad`` read as ``da5h.png``."""
    return value.translate(_INVISIBLE) if isinstance(value, str) else value


def _words(state: State) -> str:
    return _WORDS[state][0]


def _tone(state: State) -> str:
    return _WORDS[state][1]


def _count(number: int) -> str:
    return f"{number:,}"


def _usd(amount: float) -> str:
    """Three decimals below a dollar: most submissions cost less than a cent."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.3f}"


def _seconds(number: float) -> str:
    return _duration(timedelta(seconds=number))


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _size(n_bytes: int) -> str:
    value, units = float(n_bytes), iter(("kB", "MB", "GB", "TB"))
    unit = "bytes"
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name


def _in_order(names: Iterable[str]) -> list[str]:
    """Sort file names: those that people usually open come first."""
    order = {name: n for n, name in enumerate(_FILES)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))
