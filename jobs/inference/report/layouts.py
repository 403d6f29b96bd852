"""Lays out the cells of the map: by the file's own embedding, or else by a computed one, in a separate process."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from jobs.inference.merge.sample import MapSample
from jobs.inference.parts.arrays import F32Array
from jobs.inference.report.embedding import LEAST_CELLS, F64Array, distinct
from jobs.inference.report.mapping import Layout, NoMap
from jobs.inference.report.wording import whole
from shared.domain.errors import CelldropError
from shared.domain.words import plural
from shared.forkserver.client import SERVER
from shared.forkserver.program import ForkedProgram
from shared.forkserver.wire import Program
from shared.h5ad.read.embedding import Coordinates
from shared.telemetry import event

log = logging.getLogger(__name__)

FEW = NoMap(f"A map needs at least {LEAST_CELLS} cells.")
ALIKE = NoMap("All cells are alike, or nearly so: there is nothing to lay out.")
_LEFT_OUT = (
    "The map was left out: {}. Labels, scores and all other files are complete. Run the file again to get a map."
)
_LOOK_S = 0.5
_PROGRAM = "jobs.inference.report.embedding:serve"
_LOAD = "jobs.inference.report.embedding:preload"
_STDERR = 2


def lay_out(
    sample: MapSample,
    read_own: Callable[[], Coordinates | None],
    threads: int = 1,
    budget_s: float = 60.0,
    show: Callable[[], None] = lambda: None,
) -> Layout | NoMap:
    """Find coordinates for the sampled cells. A failure only leaves out the map, and its reason is returned.

    Args:
        read_own: Reads the file's own embedding of all cells.
        threads: As in ``embed``.
        budget_s: Time limit for the layout of our own, in wall-clock seconds.
        show: Called while waiting. If it raises, the separate process is ended.
    """
    if len(sample.row_n) < LEAST_CELLS:
        return FEW
    own = _own(sample, read_own)
    if isinstance(own, Layout):
        return own
    value_nd = sample.decision_nl if sample.place_nd is None else sample.place_nd
    if distinct(value_nd) is None:
        return NoMap(f"{ALIKE.reason} {own}".rstrip())
    placed = _computed(value_nd, threads, budget_s, show)
    if isinstance(placed, str):
        event(log, "map left out", level=logging.WARNING, problem=placed)
        return NoMap(f"{_LEFT_OUT.format(placed)} {own}".rstrip(), fault=True)
    return Layout(placed, remark=own, by_expression=sample.place_nd is not None)


def _own(sample: MapSample, read_own: Callable[[], Coordinates | None]) -> Layout | str:
    """The layout by the file's own embedding; or the reason why it is not used, empty if there is none."""
    try:
        own = read_own()
        if own is None:
            return ""
        xy_m2 = own.xy_n2[sample.row_n].astype(np.float64)
        problem = _problem(xy_m2)
    except Exception as error:  # noqa: BLE001  # an odd embedding is no reason to lose the results
        return f"The file's own embedding was not used: {_message(error)}"
    return f"The file's own {own.name} was not used: {problem}." if problem else Layout(xy_m2, own.name)


def _problem(xy_m2: F64Array) -> str:
    finite_m = np.isfinite(xy_m2).all(axis=1)
    n_finite = int(finite_m.sum())
    if n_finite < max(LEAST_CELLS, len(xy_m2) // 2):
        return f"only {whole(n_finite)} of {plural(len(xy_m2), 'cell')} have finite coordinates"
    if not np.ptp(xy_m2[finite_m], axis=0).any():
        return "all cells have the same coordinates"
    return ""


def _computed(value_nd: F32Array, threads: int, budget_s: float, show: Callable[[], None]) -> F64Array | str:
    """Compute coordinates in a separate process. Returns the reason if there are none."""
    try:
        # Files instead of pipes, which would have to be read and written while waiting.
        with TemporaryFile() as values, TemporaryFile() as answer:
            np.save(values, value_nd)
            values.seek(0)
            with closing(_started(values, answer, threads, budget_s)) as process:
                try:
                    status = _end(process, budget_s, show)
                finally:
                    process.signal(signal.SIGKILL)
            answer.seek(0)
            output = answer.read()
    except (OSError, ValueError) as error:
        return f"the process for its layout could not be started or read ({error})"
    if status is None:
        return f"its layout took longer than the limit of {budget_s:g} s"
    return _places(output, len(value_nd)) if status == 0 else _how(status)


def _started(values: IO[bytes], answer: IO[bytes], threads: int, budget_s: float) -> ForkedProgram:
    """A process in this process's group, so that it is stopped with it."""
    loaded = _LOAD if sys.platform == "linux" else ""  # Elsewhere its libraries may not be forked once they are loaded.
    if loaded:
        SERVER.load(loaded, {})
    cpu_s = max(1, round(budget_s * threads))
    argv = ["celldrop-map", str(threads), str(cpu_s)]
    program = Program(_PROGRAM, argv, os.environ, os.getcwd(), group=os.getpgrp())  # noqa: PTH109  # as Popen does
    return ForkedProgram(SERVER, program, (values.fileno(), answer.fileno(), _STDERR), loaded=loaded)


def _end(process: ForkedProgram, budget_s: float, show: Callable[[], None]) -> int | None:
    """How the process ended; None if it did not end in time."""
    until_s = time.monotonic() + budget_s
    threading.Thread(target=process.begin, daemon=True).start()
    while True:
        try:
            return process.wait(min(_LOOK_S, budget_s))
        except TimeoutError:
            show()
            if time.monotonic() >= until_s:
                return None


def _places(output: bytes, n_cells: int) -> F64Array | str:
    try:
        placed: F64Array = np.load(io.BytesIO(output), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return "the process for its layout gave no answer"
    if placed.shape != (n_cells, 2) or not np.isfinite(placed).any():
        return "its layout gave no coordinates"
    return placed


def _how(status: int) -> str:
    how = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with exit status {status}"
    return f"the process for its layout ended {how}; its output is in the task's log"


def _message(error: Exception) -> str:
    return error.message if isinstance(error, CelldropError) else f"{type(error).__name__}: {error}."
