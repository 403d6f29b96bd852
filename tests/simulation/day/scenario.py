"""What a day is made of: who drops what and when, and what the platform has room for; all of it drawn from one seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.plan import Accelerator
from shared.domain.rates import RATES

DAY_S = 86_400.0
LEAST_CELLS = 200


@dataclass(frozen=True, slots=True)
class Scenario:
    """Every parameter of a simulated day.

    Attributes:
        hours: In which they come; the day's course is pressed into them.
        swing: How much busier the busiest hour (14:00) is than the average, and the quietest (02:00) quieter.
        median_cells: Of a log-normal distribution of sizes.
        sigma: Of the logarithm of sizes.
        most_cells: A larger file is cut to this.
        values_per_cell: Stored values; with the bytes below, those of the files that the reader was measured on.
        gpu_share: Of files whose model needs a GPU.
        bad_share: Of files that are refused.
        vcpus: What all CPU tasks together may have.
        gpus: What all GPU tasks together may have.
        start_median_s: From a task's turn to its program's first line; log-normal.
        start_sigma: Of the logarithm of that.
        lost_share: Of task attempts whose instance is taken away in their first minute.
        noise_sigma: Of the logarithm of how much longer a task takes than the planner reckons.
    """

    seed: int = 7
    submissions: int = 10_000
    hours: float = 24.0
    swing: float = 0.8
    median_cells: int = 10_000
    sigma: float = 1.8
    most_cells: int = 5_000_000
    values_per_cell: int = 2_240
    bytes_per_cell: int = 5_260
    gpu_share: float = 0.05
    bad_share: float = 0.03
    vcpus: int = 80
    gpus: int = 3
    start_median_s: float = RATES.platform_start_s
    start_sigma: float = 0.4
    lost_share: float = 0.002
    noise_sigma: float = 0.15


@dataclass(frozen=True, slots=True)
class File:
    """One drop of the day."""

    name: str
    at_s: float
    n_cells: int
    accelerator: Accelerator
    good: bool


def files(scenario: Scenario) -> Iterator[File]:
    """The day's drops, in the order in which they come."""
    chance = random.Random(scenario.seed)
    moments = sorted(_moment(chance, scenario) for _ in range(scenario.submissions))
    for number, at_s in enumerate(moments):
        accelerator = Accelerator.GPU if chance.random() < scenario.gpu_share else Accelerator.CPU
        good = chance.random() >= scenario.bad_share
        yield File(f"sample-{number:06}.h5ad", at_s, _cells(chance, scenario), accelerator, good)


def _moment(chance: random.Random, scenario: Scenario) -> float:
    """Under a wave that is highest at 14:00."""
    while True:
        share = chance.random()
        height = 1 + scenario.swing * math.cos(2 * math.pi * (share - 14 / 24))
        if chance.random() * (1 + scenario.swing) < height:
            return share * scenario.hours / 24 * DAY_S


def _cells(chance: random.Random, scenario: Scenario) -> int:
    drawn = chance.lognormvariate(math.log(scenario.median_cells), scenario.sigma)
    return max(LEAST_CELLS, min(round(drawn), scenario.most_cells))
