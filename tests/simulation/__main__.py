"""Plays histories: one seed with its trace, or many with a count of what went wrong and what came of it."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.faults import Fault
from tests.simulation.history import History, play, play_quietly

CHUNK = 50
TELL_EVERY = 2_000
"""Histories between two lines of progress: a run of an hour that is cut off has still told what it found."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play one history and print it")
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    if asked.seed is not None:
        history = play(asked.seed)
        print(history.text)
        return bool(history.violations)
    return _many(range(asked.first, asked.first + asked.histories), asked.workers)


def _many(seeds: range, workers: int) -> int:
    struck: Counter[Fault] = Counter()
    ends: Counter[str] = Counter()
    bad: list[tuple[int, str]] = []
    executions, began_s, virtual_s = 0, time.monotonic(), 0.0
    for n_played, history in enumerate(_played(seeds, workers), start=1):
        struck += history.struck
        ends += history.ends
        executions += history.executions
        virtual_s += history.virtual_s
        if history.violations:
            bad.append((history.seed, history.violations[0]))
            print(f"  seed {history.seed}: {history.violations[0]}", flush=True)
        if n_played % TELL_EVERY == 0 and n_played < len(seeds):
            told = f"{n_played:,} of {len(seeds):,} histories, {len(bad)} with a violation"
            print(f"  {time.monotonic() - began_s:>6,.0f} s: {told}", flush=True)
    took_s = time.monotonic() - began_s
    print(f"{len(seeds):,} histories (seeds {seeds.start:,} to {seeds.stop - 1:,}) in {took_s:,.0f} s,", end=" ")
    print(f"{virtual_s / 86_400:,.0f} days of their own; {executions:,} executions; {len(bad)} with a violation")
    for fault in Fault:
        print(f"  {struck[fault]:>10,}  {fault}")
    for end, n in ends.most_common():
        print(f"  {n:>10,}  {end}")
    for seed, what in bad[:20]:
        print(f"  seed {seed}: {what}")
    return bool(bad)


def _played(seeds: range, workers: int) -> Iterator[History]:
    if workers == 1:
        yield from map(play_quietly, seeds)
        return
    # A history leaves few circles behind: looking for them at every 700 objects costs a tenth of the run.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, gc.set_threshold, (100_000, 50, 50)) as pool:
        yield from pool.map(play_quietly, seeds, chunksize=CHUNK)


if __name__ == "__main__":
    sys.exit(main())
