"""Draws histograms as SVG paths."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from jobs.inference.merge.calls import I64Array
from jobs.inference.merge.tally import LOG_STEP, SCORE_BINS, log_value, median_bin
from jobs.inference.report.data import Chart, Tick
from jobs.inference.report.wording import whole
from shared.domain.words import percent

log = logging.getLogger(__name__)

RIDGE_WIDTH, RIDGE_HEIGHT = 100, 20
_WIDTH, _HEIGHT = 640, 150
_SCORE_BARS = 50
_LOG_GROUP = 5
_DECADES = tuple(step * 10**power for power in range(8) for step in (1, 2, 5))
F64Array = npt.NDArray[np.float64]


def drawn(draw: Callable[[], Chart]) -> Chart:
    """Draw a chart. If this fails, the chart says so instead."""
    try:
        return draw()
    except Exception as error:
        log.exception("chart left out")
        return Chart(0, 0, "", (), None, "", "", undrawn=undrawn("This chart", error))


def undrawn(what: str, error: Exception) -> str:
    """The sentence for a picture that could not be drawn."""
    return f"{what} could not be drawn ({type(error).__name__}: {error}). The numbers and files do not depend on it."


def ridge(score_b: I64Array) -> str:
    """The smoothed distribution of a label's scores, as the SVG path of an area that is as high as the box."""
    density = np.convolve(_coarse(score_b, SCORE_BINS // _SCORE_BARS), (0.25, 0.5, 0.25), mode="same")
    peak = density.max() or 1.0
    step = RIDGE_WIDTH / (len(density) - 1)
    points = [
        f"{i * step:.1f} {RIDGE_HEIGHT - value / peak * (RIDGE_HEIGHT - 1):.1f}" for i, value in enumerate(density)
    ]
    return f"M0 {RIDGE_HEIGHT}L{'L'.join(points)}L{RIDGE_WIDTH} {RIDGE_HEIGHT}Z"


def score_chart(score_b: I64Array, threshold: float | None) -> Chart:
    """A histogram of the best scores of all cells, from 0 to 1."""
    bars = _coarse(score_b, SCORE_BINS // _SCORE_BARS)
    ticks = tuple(Tick(place * _WIDTH, f"{place:g}") for place in (0, 0.25, 0.5, 0.75, 1))
    total = max(1, int(score_b.sum()))
    quarters = score_b.reshape(4, -1).sum(axis=1) / total
    words = ", ".join(f"{percent(share)} between {i / 4:g} and {(i + 1) / 4:g}" for i, share in enumerate(quarters))
    line_x = None if threshold is None else threshold * _WIDTH
    text = "" if threshold is None else f"threshold {threshold:g}"
    return Chart(_WIDTH, _HEIGHT, steps(bars, _WIDTH, _HEIGHT), ticks, line_x, text, f"Scores: {words}.")


def log_chart(value_b: I64Array, what: str, threshold: float | None) -> Chart:
    """A histogram of ``log_bins`` on a logarithmic axis, limited to the bins that occur."""
    occupied = np.flatnonzero(value_b)
    first, last = (int(occupied[0]), int(occupied[-1])) if len(occupied) else (0, 1)
    first = max(1, first - 3 * _LOG_GROUP) // _LOG_GROUP * _LOG_GROUP
    last = (last // _LOG_GROUP + 4) * _LOG_GROUP
    bars = _coarse(np.pad(value_b, (0, _LOG_GROUP * 4))[first:last], _LOG_GROUP)
    scale = _WIDTH / (last - first)

    def place(value: float) -> float:
        return (math.log(value) / LOG_STEP + 1 - first) * scale

    line_x = place(threshold) if threshold and 0 < place(threshold) < _WIDTH else None
    text = f"{whole(threshold)} {what}" if threshold else ""
    middle = whole(float(log_value(median_bin(value_b))))
    return Chart(
        _WIDTH,
        _HEIGHT,
        steps(bars, _WIDTH, _HEIGHT),
        _log_ticks(place),
        line_x,
        text,
        f"Median: {middle} {what} per cell.",
    )


def steps(bars: F64Array, width: float, height: float) -> str:
    """The SVG path of adjacent bars as one area, with two units of space above the tallest bar."""
    top = bars.max() or 1.0
    level = height - bars / top * (height - 2)
    step = width / len(bars)
    parts = [f"V{y:.1f}H{(i + 1) * step:.1f}" for i, y in enumerate(level)]
    return f"M0 {height}{''.join(parts)}V{height}Z"


def _log_ticks(place: Callable[[float], float]) -> tuple[Tick, ...]:
    inside = [(value, place(value)) for value in _DECADES if 0 <= place(value) <= _WIDTH]
    kept: list[tuple[float, float]] = []
    for value, x in inside:
        if not kept or x - kept[-1][1] >= 55:
            kept.append((value, x))
    return tuple(Tick(x, whole(value)) for value, x in kept)


def _coarse(histogram: Sequence[int] | I64Array, group: int) -> F64Array:
    values = np.asarray(histogram, np.float64)
    summed: F64Array = values[: len(values) // group * group].reshape(-1, group).sum(axis=1)
    return summed
