"""Takes spoilt files through `celldrop run`, whole: ``python -m tests.pipeline.fuzz_files --n 1700``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings import REPOSITORY
from tests.pipeline.measured import Measured, measured
from tests.pipeline.mutants import MODEL, Mutant, mutant

MOST_S = 20.0
MOST_MB = 600.0
LIMIT_S = 300.0
ENDS = {0, 3}
"""Done, or refused: a spoilt file is no fault of ours."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one.

    Attributes:
        said: What it printed; nothing where that was no JSON.
        logs: Of its tasks.
    """

    mutant: Mutant
    took: Measured
    said: dict[str, Any]
    logs: str

    @property
    def code(self) -> str:
        """Of the refusal, or how it ended else."""
        return str(self.said.get("code") or self.said.get("state") or "nothing said")

    @property
    def line(self) -> str:
        """For people."""
        took = f"{self.took.wall_s:.1f} s, {self.took.cpu_s:.1f} s CPU, {self.took.peak_mb:.0f} MB"
        return f"{self.mutant.seed} ({self.mutant.name}): status {self.took.status} {self.code}, {took}"

    @property
    def faults(self) -> list[str]:
        """What is not as it should be; time is judged by the processor's, which no other load makes longer."""
        found = {
            f"status {self.took.status}": self.took.status not in ENDS,
            "no JSON": not self.said,
            "slow": self.took.cpu_s > MOST_S,
            "large": self.took.peak_mb > MOST_MB,
            "a traceback": "Traceback" in self.took.stderr,
            "a task's traceback": "Traceback" in self.logs,
        }
        return [fault for fault, there in found.items() if there]


def run_mutant(seed: int, folder: Path) -> Ended:
    """Through the command, in a home of its own below ``folder``."""
    made = mutant(seed)
    file = folder / f"mutant-{seed}{made.suffix}"
    file.write_bytes(made.data)
    home = folder / f"home-{seed}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CELLDROP_")}
    environment = {**kept, "CELLDROP_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "cli.main", "run", str(file), "--json", "--set", "map=off", "--model", MODEL]
    took = measured(command, environment, folder, LIMIT_S)
    said: dict[str, Any] = {}
    with suppress(ValueError):
        said = json.loads(took.stdout)
    logs = "\n".join(log.read_text("utf-8", "replace") for log in home.glob(".celldrop/logs/*/*.log"))
    shutil.rmtree(home, ignore_errors=True)
    file.unlink()
    return Ended(made, took, said, logs)


def run_all(seeds: range) -> Iterator[Ended]:
    """One after the other."""
    with tempfile.TemporaryDirectory(prefix="celldrop-mutants-") as folder:
        for seed in seeds:
            yield run_mutant(seed, Path(folder))


def main() -> None:
    """Run them, and tell those that ended otherwise than they should."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--n", type=int, default=1_700, help="how many")
    given.add_argument("--first", type=int, default=0, help="the first seed")
    given.add_argument("--kept", type=Path, default=None, help="a folder for those that ended badly, and their words")
    asked = given.parse_args()
    ended: Counter[str] = Counter()
    most_s = most_wall_s = most_mb = 0.0
    bad = 0
    for one in run_all(range(asked.first, asked.first + asked.n)):
        ended[one.code] += 1
        most_s, most_wall_s = max(most_s, one.took.cpu_s), max(most_wall_s, one.took.wall_s)
        most_mb = max(most_mb, one.took.peak_mb)
        if one.faults or one.took.wall_s > MOST_S:
            bad += bool(one.faults)
            print(f"{', '.join(one.faults) or 'long, by the clock'}: {one.line}", flush=True)
            _keep(asked.kept, one)
    print(f"{ended.total():,} mutants, {bad} badly; {dict(ended.most_common())}")
    print(f"at most {most_s:.1f} s CPU, {most_wall_s:.1f} s, {most_mb:.0f} MB in a process")
    sys.exit(bool(bad))


def _keep(folder: Path | None, one: Ended) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{one.mutant.seed}{one.mutant.suffix}").write_bytes(one.mutant.data)
        words = f"{one.line}\n{one.took.stdout}\n{one.took.stderr}\n{one.logs}"
        (folder / f"{one.mutant.seed}.txt").write_text(words)


if __name__ == "__main__":
    main()
