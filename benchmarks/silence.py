"""How long each stage of a task or merge was silent: ``python -m benchmarks.silence HOME...``.

A beat is a write of a task's document or of the finalizer's lease. Tasks log their beats and stages at level DEBUG: run
with ``CELLDROP_LOG_LEVEL=DEBUG CELLDROP_LOG_FORMAT=json``. A silence is the time between two beats; it is told of every
stage that had a part in it. The start is from the dispatcher's claim to the first task's own record.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from shared.adapters.local.status import SqliteStatusStore
from shared.domain.submission import State
from shared.settings import load_settings

NO_STAGE = "between stages"


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest of a stage.

    Attributes:
        of: Whose beats: ``start``, ``task``, ``finalizer``.
        third_s: A third of the lease.
    """

    of: str
    stage: str
    longest_s: float
    third_s: float
    n: int


@dataclass(slots=True)
class Heard:
    """What one process's log tells, in seconds of the clock."""

    beats: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stages: list[tuple[str, float, float]] = field(default_factory=list)


def silences(homes: Iterable[Path]) -> list[Silence]:
    """The longest silence of each stage, over all runs in some homes."""
    limits = load_settings().limits
    leases = {"start": limits.dispatch_lease, "task": limits.heartbeat, "finalizer": limits.finalize_lease}
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for home in homes:
        for log in sorted((home / ".celldrop" / "logs").glob("*/*.log")):
            for of, stage, silent_s in _of_process(heard(log)):
                found[of, stage].append(silent_s)
        found["start", "claim to first record"] += _starts(home)
    return [
        Silence(of, stage, max(silent), leases[of].total_seconds() / 3, len(silent))
        for (of, stage), silent in sorted(found.items())
        if silent
    ]


def heard(log: Path) -> Heard:
    """A task's log; lines that are no events are left out."""
    told, begun = Heard(), {}
    last_s = 0.0
    for entry in _entries(log):
        last_s = datetime.fromisoformat(entry["time"]).timestamp()
        match entry["message"]:
            case "beat":
                told.beats[entry["by"]].append(last_s)
            case "stage begins":
                begun[entry["stage"]] = last_s
            case "stage ends" if entry["stage"] in begun:
                told.stages.append((entry["stage"], begun.pop(entry["stage"]), last_s))
    told.stages += [(stage, began_s, last_s) for stage, began_s in begun.items()]
    return told


def table(found: Iterable[Silence]) -> str:
    """For people; what is longer than a third of its lease is marked."""
    lines = [f"{'of':<11}{'stage':<28}{'longest silence':>16}{'a third':>10}{'silences':>10}"]
    for one in found:
        mark = "  TOO LONG" if one.longest_s > one.third_s else ""
        lines.append(f"{one.of:<11}{one.stage:<28}{one.longest_s:>14.2f} s{one.third_s:>8.1f} s{one.n:>10}{mark}")
    return "\n".join(lines)


def _of_process(told: Heard) -> Iterator[tuple[str, str, float]]:
    for of, beats in told.beats.items():
        for before_s, after_s in pairwise(beats):
            stages = {stage for stage, began_s, ended_s in told.stages if began_s < after_s and ended_s > before_s}
            for stage in stages or {NO_STAGE}:
                yield of, stage, after_s - before_s


def _starts(home: Path) -> list[float]:
    path = home / ".celldrop" / "status.sqlite"
    if not path.is_file():
        return []
    store = SqliteStatusStore(path, lambda: datetime.now(UTC))
    try:
        return [
            (after.at - before.at).total_seconds()
            for stored in store.find(limit=10_000)
            for before, after in pairwise(store.history(stored.value.id))
            if (before.state, after.state) == (State.DISPATCHING, State.RUNNING)
        ]
    finally:
        store.close()


def _entries(log: Path) -> Iterator[Mapping[str, Any]]:
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


if __name__ == "__main__":
    print(table(silences(Path(home) for home in sys.argv[1:])))
