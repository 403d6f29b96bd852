"""Whole processes, timed in turns: each starts anew, and what is compared ran in the same minutes."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """What one process took, with those that it waited for.

    Attributes:
        rss_mb: Of the largest one.
    """

    wall_s: float
    cpu_s: float
    rss_mb: float


def timed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Taken:
    """Run a command to its end.

    Raises:
        RuntimeError: It failed.
    """
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], list(command), {**os.environ, **(environment or {})}, file_actions=quiet)
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - began
    if status:
        raise RuntimeError(" ".join(command))
    return Taken(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * _rss_unit() / 1e6)


def in_turns(commands: Mapping[str, Sequence[str]], turns: int) -> dict[str, list[Taken]]:
    """Each command once a turn, after a first turn that is not counted where there are several."""
    found: dict[str, list[Taken]] = {name: [] for name in commands}
    for turn in range(turns + (turns > 1)):
        for name, command in commands.items():
            taken = timed(command)
            print(f"turn {turn} {name}: {taken.wall_s:.2f} s, {taken.cpu_s:.2f} s CPU", file=sys.stderr)
            if turn or turns == 1:
                found[name].append(taken)
    return found


def medians(taken: Sequence[Taken]) -> Taken:
    """The median of each."""
    return Taken(*(statistics.median(values) for values in zip(*(vars(one).values() for one in taken), strict=True)))


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    cpu = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), "unknown")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def written(folder: Path, name: str, found: Mapping[str, Sequence[Taken]], **told: object) -> Path:
    """All figures as JSON, for whoever wants more than the table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    document = {
        "machine": machine(),
        **told,
        "taken": {key: [asdict(one) for one in each] for key, each in found.items()},
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def table(found: Mapping[str, Sequence[Taken]], against: str) -> str:
    """Medians, and how many times less than ``against`` each took."""
    still = medians(found[against])
    rows = ["| | wall s | CPU s | RSS MB | wall | CPU |", "|---|---|---|---|---|---|"]
    for name, each in found.items():
        one = medians(each)
        rows.append(
            f"| {name} | {one.wall_s:.2f} | {one.cpu_s:.2f} | {one.rss_mb:,.0f} "
            f"| {still.wall_s / one.wall_s:.1f}x | {still.cpu_s / one.cpu_s:.1f}x |"
        )
    return "\n".join(rows)


def _rss_unit() -> int:
    return 1 if sys.platform == "darwin" else 1024


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
