"""Entry point of one task attempt. Exit status 0 means done or nothing to do; any other asks for another attempt."""

from __future__ import annotations

import faulthandler
import logging
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from jobs.inference.process.memory import begin_process, bound_memory, loading
from shared.domain.errors import CelldropError
from shared.lifeline import leave
from shared.telemetry import event

log = logging.getLogger(__name__)

_LOADED = (
    "jobs.engine.annotator",
    "jobs.inference.annotated.h5ad",
    "jobs.inference.dependencies",
    "jobs.inference.outputs.annotation_files",
    "jobs.inference.report.rendering",
    "jobs.inference.task.computing",
    "jobs.inference.task.models",
    "jobs.inference.task.results",
    "jobs.inference.task.scoring",
    "graspologic_native",
    "numpy.random",
    "pyarrow.csv",
    "pyarrow.parquet",
    "safetensors.torch",
    "threadpoolctl",
)
"""Modules that load, with what they import, what a task of the local backend needs."""


def main() -> int:
    """Run the task that the environment describes. Returns the exit status."""
    begin_process()
    faulthandler.enable()  # A native crash leaves its traceback in the log.
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # HDF5 loads no filter plugins except those that we register.
    from jobs.inference.dependencies import build_task  # noqa: PLC0415  # libraries load after memory is set up
    from jobs.inference.schemas import task_environment  # noqa: PLC0415
    from shared.wiring.ports import build_ports, deployed_settings, die_with_parent  # noqa: PLC0415

    settings = deployed_settings()
    environment = task_environment()
    me = environment.identity
    fields: dict[str, Any] = {
        "submission": me.submission_id,
        "epoch": me.epoch,
        "task": me.index,
        "attempt": me.attempt,
    }
    if environment.die_with_parent:
        die_with_parent()
        bound_memory(settings.task_memory_mib, settings.local_parallel)
    try:
        ended = build_task(settings, build_ports(settings), environment).run(me)
    except CelldropError as error:
        event(log, "attempt failed", level=logging.ERROR, code=error.code, problem=error.message, **fields)
        return 1
    event(log, "task ended", ended=ended.value, **fields)
    return 0


def preload(variables: Mapping[str, str]) -> None:
    """Load what a task needs into the fork server (``shared.forkserver``), which has one thread and must keep one.

    The tables of genes, too: a task looks into them for nearly every file, and reading them takes it 0.2 s.

    Args:
        variables: The environment variables that libraries read when they are loaded.
    """
    os.environ.update(variables)
    begin_process()
    with loading():
        for name in _LOADED:
            import_module(name)
        import_module("shared.h5ad.names.identity").load_tables()


if __name__ == "__main__":
    leave(main())
