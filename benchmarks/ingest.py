"""How long ingest takes over a store whose every request takes 20 ms: ``python -m benchmarks.ingest [FOLDER]``.

Files of 0.5 and 5 GB are made in FOLDER (a temporary one without it) and kept there for the next time. Each is taken in
five times, in turns, each time in a process of its own; what stands still beside them is a file of 700 cells.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.demo import demo_file
from shared.settings import REPOSITORY
from tests.pipeline.large_files import kept_large

LATENCY_S = 0.02
TURNS = 5
SIZES = {"0.5 GB": 100_000, "5 GB": 1_000_000}


def main(folder: Path) -> None:
    """Measure, and print a line a file."""
    files = {"700 cells": demo_file(), **{name: kept_large(folder, cells) for name, cells in SIZES.items()}}
    turns = [{name: _once(file) for name, file in files.items()} for _ in range(TURNS)]
    told = {name: [turn[name] for turn in turns] for name in files}
    still = statistics.median(one["seconds"] for one in told["700 cells"])
    print(f"{'file':<12}{'requests':>10}{'MB read':>10}{'median s':>10}{'ratio':>8}")
    for name, ones in told.items():
        seconds = statistics.median(one["seconds"] for one in ones)
        megabytes = ones[0]["bytes_read"] / 1e6
        print(f"{name:<12}{ones[0]['requests']:>10}{megabytes:>10.2f}{seconds:>10.2f}{seconds / still:>8.2f}")


def _once(file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.pipeline.ingest_once", str(file), str(LATENCY_S)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
