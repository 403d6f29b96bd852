"""Builds a task from the settings and its environment."""

from __future__ import annotations

import secrets
import time

from jobs.inference.process.memory import loading
from jobs.inference.schemas import TaskEnvironment
from jobs.inference.services import Task
from jobs.inference.task.finalizing import Finalizer
from jobs.inference.task.protocol import Computation
from shared.h5ad.inspect.inspection import prepare
from shared.records.outbox import Outbox
from shared.settings import Settings
from shared.wiring.ports import Ports

MOST_MAP_S = 300.0
"""The upper limit for the report's map, which otherwise gets two of the finalizer's leases."""


def build_task(settings: Settings, ports: Ports, environment: TaskEnvironment) -> Task:
    """Build the task with the real computation."""
    prepare()  # The inspection process starts while libraries load here.
    with loading():
        from jobs.inference.data_manager import InferenceData  # noqa: PLC0415  # likewise
        from jobs.inference.task.computing import Annotation  # noqa: PLC0415  # HDF5 and Arrow load only where they are used

    data = InferenceData(ports.blobs, settings.work_bucket, settings.results_bucket)
    map_budget_s = min(2 * settings.limits.finalize_lease.total_seconds(), MOST_MAP_S)
    computation = Annotation(data, environment.accelerator, map_budget_s)
    return build_protocol(settings, ports, computation)


def build_protocol(settings: Settings, ports: Ports, computation: Computation) -> Task:
    """Build the task with any computation."""
    outbox = Outbox(
        ports.store, ports.bus, ports.blobs, work_bucket=settings.work_bucket, results_bucket=settings.results_bucket
    )
    finalizer = Finalizer(
        ports.store,
        outbox,
        computation,
        settings.limits,
        lambda: secrets.token_hex(6),
        time.monotonic,
        renewal_s=settings.limits.finalize_lease.total_seconds() / 6,
    )
    return Task(ports.store, outbox, computation, finalizer, time.monotonic)
