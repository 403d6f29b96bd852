"""The page that tells what becomes of a submission when one thing goes wrong, written from the runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tests.platform.behaviours import section
from tests.simulation.faults import Fault
from tests.simulation.mutant import Mutant
from tests.simulation.single import SEEDS, Cell, Stage, Way

HEAD = f"""# What can go wrong, and what becomes of it

This page shows the outcome of each fault at each stage of a submission. The real code of every service runs in a
simulation (`make simulate SEED=4` runs one simulation and prints it). Each cell of the table stands for {len(SEEDS)}
simulated runs of one file in two tasks. The fault is injected at a random place of the stage, and the run is compared
with the same run without it.

The page is generated from these runs: `CELLDROP_WRITE_DOCS=1 .venv/bin/python -m pytest tests/simulation -k page`.

How to read the table:

- *+11 s*: the result comes a median of 11 s later than without the fault. The worst case is in brackets if it is far
  worse.
- *more runs*: executions beyond the one that was needed.
- A dash: not simulated at this stage, as there is nothing there that this fault could strike, or it is only simulated
  at others. Messages are delayed or repeated at two stages (the event and the first job message). A fault that holds
  for the whole run is shown in the first column. Port calls of reconcile are not struck here.

Clocks that are off change nothing, because no lease or deadline is judged by a machine's own clock; *server-time* below
shows what it would do if one were.

Seconds are simulated time. A cold start takes up to 12 s, dispatch's lease is 4 minutes and the finalizer's is 2.
Reconcile runs every minute, and a message that was not acknowledged is delivered again after 10 s.
"""

SAW = """
## What the user sees

While the fault lasts, the user sees the state and the number of cells done so far. The history and the web page show
one of these notes. No action is needed.
"""

ENDS = """
If there is no result, the record, the event and the page say why:

| end | message | what to do |
|---|---|---|
"""

SHARP = """
## How sharp the simulator is

This table tests the simulator itself. One mechanism of the product is switched off, and random runs (seeds from 0)
must then show a violation, within the number of runs in the last column. `make test` plays the run that shows it;
`make test-exhaustive` plays all runs before it, too.

Some mechanisms are not in the table, because no run without them breaks a promise; they save time or cost:

- The pauses between attempts, which let an outage pass.
- Messages are sent before stops and sweeps of the same record. The others are tried even if one fails.
- A task checks with each heartbeat whether its epoch is over. Without this, it ends up to a minute later, when its
  execution is stopped or another attempt has written its document.
- A task checks whether a write without an answer was done. Without this, only the note on why its attempt failed is
  lost.

| switched off | what is missing | noticed after | as | bound |
|---|---|---|---|---|
"""


def page(cells: Sequence[Cell], sharpness: Iterable[str]) -> str:
    """The whole page; ``sharpness`` has a ``row`` for each mutant."""
    runs = HEAD + _matrix(cells) + SAW + _notes(cells) + ENDS + _ends(cells) + SHARP + "\n".join([*sharpness, ""])
    return runs + section()


def told_rows(text: str) -> list[str]:
    """The mutants' rows of a page."""
    return text.partition(SHARP)[2].partition("\n\n")[0].splitlines()


def row(mutant: Mutant, first: int = 0) -> str:
    """What the page tells of a mutant: how many histories it takes to notice it, where play begins with seed 0.

    Args:
        first: Begin with this seed. The row is the same, unless an earlier one would notice it too.
    """
    found = mutant.caught_at(range(first, mutant.within))
    n, what = (first + found[0], found[1]) if found else (0, "NOT NOTICED")
    seen = _plain(re.sub(r"^at [\d.]+ s: ", "", what))
    return f"| {mutant.name} | {mutant.without} | {n} | {seen} | {mutant.within} |"


def _matrix(cells: Sequence[Cell]) -> str:
    rows = ["", f"| fault | {' | '.join(Stage)} |", "|---" * (len(Stage) + 1) + "|"]
    return "\n".join([*rows, *(row_of_fault(fault, cells) for fault in Fault), ""])


def row_of_fault(fault: Fault, cells: Sequence[Cell]) -> str:
    """What the page says of a fault at each stage."""
    at = {cell.stage: cell for cell in cells if cell.fault is fault}
    return f"| {fault} | {' | '.join(_told(at[stage]) if stage in at else '—' for stage in Stage)} |"


def _told(cell: Cell) -> str:
    ends = cell.ends.most_common()
    words = [_end(end, n, len(cell.ways)) for end, n in ends]
    if any(end == "SUCCEEDED" for end, _ in ends):
        words.append(_later(*cell.later_s))
    if cell.executions > 0:
        words.append(f"up to {cell.executions} more run{'s' * (cell.executions > 1)}")
    return ", ".join(word for word in words if word)


def _end(end: str, n: int, of: int) -> str:
    share = f"{n} of {of} " if n < of else ""
    match end:
        case "SUCCEEDED":
            return f"{share}result" if share else ""
        case "no submission":
            return f"{share}no submission: the file was gone before its event was read"
        case _:
            return f"{share}`{end.rpartition(' ')[2]}`"


def _later(median_s: float, worst_s: float) -> str:
    if worst_s < 2:
        return "no delay"
    worst = f" ({_time(worst_s)})" if worst_s > max(2 * median_s, median_s + 30) else ""
    return f"+{_time(max(median_s, 0.0))}{worst}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _notes(cells: Sequence[Cell]) -> str:
    told: dict[str, set[Fault]] = {}
    for cell in cells:
        for way, _ in cell.ways:
            for note in way.notes if way.record and not way.record.failure else ():
                told.setdefault(_plain(note), set()).add(cell.fault)
    rows = ["", "| note | seen with |", "|---|---|"]
    rows += [f"| {note} | {'; '.join(sorted(faults))} |" for note, faults in sorted(told.items())]
    return "\n".join([*rows, ""])


def _ends(cells: Sequence[Cell]) -> str:
    ways: dict[str, Way] = {}
    for cell in cells:
        for way, _ in cell.ways:
            if way.record is not None and way.record.failure is not None:
                ways.setdefault(way.end, way)
    rows = []
    for end, way in sorted(ways.items()):
        assert way.record is not None
        assert way.record.failure is not None
        failure = way.record.failure
        rows.append(f"| `{end.replace(' ', '` `')}` | {_plain(failure.message)} | {_plain(failure.hint)} |")
    return "\n".join([*rows, ""])


def _plain(text: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"[0-9a-f]{32}\S*|\b[0-9a-f]{6}\b", "…", re.sub(r"(task|line) \d+", r"\1 …", text)).replace("|", "/")
