"""What a day came to: how long people waited, what it cost, how it ended, and what was short."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import signature

from functions.reconcile.services import Reconcile
from shared.domain.prices import Operations
from shared.domain.submission import State, Submission
from tests.simulation.day.city import City
from tests.simulation.day.ledger import Entry
from tests.simulation.day.platform import Pool

SHARES = (0.5, 0.9, 0.95, 0.99, 1.0)
SIZES = ((0, 10_000), (10_000, 100_000), (100_000, 1_000_000), (1_000_000, math.inf))
RUNNING_EXECUTIONS = 1_000
"""Cloud Run's own limit, of one project in one region."""
SEQUENTIAL_WRITES_PER_S = 500
"""Firestore's own limit (a soft one), to documents found by a time that only grows."""
A_PASS: int = signature(Reconcile).parameters["batch"].default
"""Records that reconcile looks at in one pass, by its own default."""
QUEUEING = (State.QUEUED, State.WAITING_CAPACITY)
DELIVERIES = 2
"""Each message is paid for when it is published and when it is delivered."""


@dataclass(frozen=True, slots=True)
class Short:
    """How near a limit the day came.

    Attributes:
        first_s: When it was reached.
    """

    name: str
    peak: float
    limit: float
    first_s: float | None = None

    @property
    def share(self) -> float:
        return self.peak / self.limit


class Account:
    """The figures of a day that is over."""

    def __init__(self, city: City) -> None:
        self._city = city
        self.entries = list(city.ledger.entries.values())
        self.ends = Counter(_end(entry) for entry in self.entries)
        self.usd = self._usd()

    @property
    def latencies_s(self) -> list[float]:
        """From drop to outcome, of those with results, shortest first."""
        return sorted(_latency_s(entry) for entry in self._succeeded())

    @property
    def queueing_s(self) -> list[float]:
        """Queued or waiting for capacity, likewise."""
        return sorted(sum(entry.spent_s[state] for state in QUEUEING) for entry in self._succeeded())

    @property
    def waited(self) -> int:
        """How many ever waited for capacity."""
        return sum(entry.spent_s[State.WAITING_CAPACITY] > 0 for entry in self.entries)

    @property
    def total_usd(self) -> float:
        return math.fsum(self.usd.values())

    def shortages(self) -> list[Short]:
        """Every limit, the one that was come nearest to first."""
        city, peaks = self._city, self._city.ledger.peaks
        pools = [Short(f"{kind} tasks at once", pool.peak, pool.size, pool.full_s) for kind, pool in city.pools.items()]
        others = [
            Short("executions at once", peaks["executions at once"], RUNNING_EXECUTIONS),
            Short("records written a second", peaks["record writes in a minute"] / 60, SEQUENTIAL_WRITES_PER_S),
            Short("live records, of those that a pass of reconcile takes", peaks["live records"], A_PASS),
            Short("seconds of a pass of reconcile", peaks["seconds of a pass of reconcile"], 60),
        ]
        return sorted([*pools, *others], key=lambda short: (-short.share, short.first_s or math.inf))

    def text(self) -> str:
        """All of it, to be read."""
        return "\n".join([*self._waits(), "", *self._counts(), "", *self._costs(), "", *self._limits()])

    # --- Below: the lines ---

    def _waits(self) -> list[str]:
        named = "".join(f"{'most' if share == 1 else f'{100 * share:g} %':>10}" for share in SHARES)
        rows = [("drop to outcome", self.latencies_s), ("  of it queueing", self.queueing_s)]
        for least, most in SIZES:
            told = [_latency_s(entry) for entry in self._succeeded() if least <= entry.n_cells < most]
            rows.append((f"  {_size(least, most)}", sorted(told)))
        return [f"{'seconds':<28}{'files':>8}{named}", *(_row(name, values) for name, values in rows)]

    def _counts(self) -> list[str]:
        city = self._city
        refused = city.quota.refusals.total()
        tries = sum(entry.record.epoch for entry in self.entries if entry.record is not None)
        return [
            *(f"{n:>10,}  {end}" for end, n in sorted(self.ends.items(), key=lambda end: (-end[1], end[0]))),
            f"{self.waited:>10,}  waited for capacity; {refused:,} starts were refused",
            f"{city.ledger.peaks['starts asked for in a minute']:>10,}  starts were asked for in the busiest minute",
            f"{len(city.quota.executions):>10,}  executions, {city.quota.n_tasks:,} tasks, {tries:,} epochs",
            f"{city.quota.lost:>10,}  instances were taken away",
            f"{city.counted.reads:>10,}  documents read, {city.counted.writes:,} written",
            f"{city.messages.messages.total():>10,}  messages",
        ]

    def _costs(self) -> list[str]:
        lines = [f"${usd:>12,.4f}  {name}" for name, usd in self.usd.items()]
        each = self.total_usd / len(self.entries)
        return [*lines, f"${self.total_usd:>12,.4f}  together, ${each:.6f} a submission"]

    def _limits(self) -> list[str]:
        rooms = [
            f"{len(pool.runs_s):,} {kind} tasks took room for {pool.held_s / 3600:,.1f} hours"
            f", of {self._offered_h(pool):,.0f}"
            for kind, pool in self._city.pools.items()
        ]
        return [*map(_limit, self.shortages()), "", *rooms]

    def _offered_h(self, pool: Pool) -> float:
        return pool.size * self._city.scenario.hours

    # --- Below: the sums ---

    def _usd(self) -> dict[str, float]:
        city = self._city
        prices, counted = city.tempo.prices, city.counted
        machines = {
            f"{kind} tasks": math.fsum(map(prices.billed_s, pool.runs_s))
            * city.tempo.pool(kind).shape.usd_per_s(prices)
            for kind, pool in city.pools.items()
        }
        firestore = Operations(firestore_reads=counted.reads, firestore_writes=counted.writes)
        pubsub = Operations(pubsub_bytes=DELIVERIES * city.messages.bytes_published)
        storage = math.fsum(self._storage_usd(entry.record) for entry in self.entries)
        return {
            **machines,
            "Firestore": firestore.usd(prices),
            "Cloud Storage operations": storage,
            "Pub/Sub": pubsub.usd(prices),
        }

    def _storage_usd(self, record: Submission | None) -> float:
        """As the planner reckons them: the stand-ins of this world are a few bytes, and read no file."""
        if record is None or record.plan is None:
            return 0.0
        asked = self._city.tempo.operations(record, task_s=0.0)
        return Operations(storage_a=asked.storage_a, storage_b=asked.storage_b).usd(self._city.tempo.prices)

    def _succeeded(self) -> Iterable[Entry]:
        return (entry for entry in self.entries if entry.state is State.SUCCEEDED)


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values: the least that at least this share of them do not exceed; 0 of none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def _latency_s(entry: Entry) -> float:
    assert entry.over_s is not None
    return entry.over_s - entry.dropped_s


def _end(entry: Entry) -> str:
    failure = entry.record.failure if entry.record else None
    return f"{entry.state} {failure.code}" if failure else str(entry.state)


def _size(least: float, most: float) -> str:
    return f"{least:,}+ cells" if math.isinf(most) else f"{least:,} to {most:,} cells"


def _row(name: str, values: Sequence[float]) -> str:
    return f"{name:<28}{len(values):>8,}" + "".join(f"{percentile(values, share):>10,.1f}" for share in SHARES)


def _limit(short: Short) -> str:
    when = "" if short.first_s is None else f"  first at {short.first_s / 3600:.1f} h"
    return f"{100 * short.share:>9.1f} %  {short.name}: {short.peak:,.4g} of {short.limit:,}{when}"
