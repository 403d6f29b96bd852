"""The embedded pipeline as a real process, until everything ordered is over; run as a program.

Usage: python -m tests.crashes.supervisor FILE ORDERS. Each file in the folder ORDERS is a submission of FILE, with its
name as the rerun token; ``that-is-all`` says that no more will come.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from cli import embedded
from cli.embedded import Embedded
from functions.ingest.schemas import Drop
from shared.adapters.local.jobs import SubprocessJobRunner
from shared.adapters.local.starting import Command
from shared.domain.submission import Submission
from shared.ports.status import StatusStore, Stored
from shared.settings import Settings, load_settings
from shared.telemetry import configure
from shared.wiring.ports import LocalLayout, LocalPorts, build_local, task_variables
from tests.crashes.points import hook_from_environment
from tests.crashes.watched import watched_ports

TASK = "tests.crashes.task"
THAT_IS_ALL = "that-is-all"
RECONCILE_EVERY_S = 0.1


def main(file: Path, orders: Path) -> int:
    settings = load_settings()
    configure(settings.log_format, "WARNING")
    # The pipeline wires itself as it always does, over ports that are watched, and looks around more often.
    embedded.build_local = watched_local  # type: ignore[attr-defined]  # imported there, not offered
    embedded.RECONCILE_EVERY_S = RECONCILE_EVERY_S
    pipeline = embedded.open_embedded(settings)
    unwatched = build_local(settings).ports
    drop = embedded.drop_of_file(unwatched.blobs, file, {"map": "off"})
    taken: dict[str, str] = {}
    try:
        while not _is_over(unwatched.store, orders, taken):
            _take(pipeline, drop, orders, taken)
            for fault in pipeline.step():
                sys.stderr.write(f"{fault}\n")
            pipeline.local.bus.wait(0.02)
    finally:
        pipeline.close()
    return 0


def watched_local(settings: Settings) -> LocalPorts:
    """The local ports with every call seen, and tasks that are the stand-in's."""
    local = build_local(settings)
    runner = SubprocessJobRunner(
        Command([sys.executable, "-m", TASK]),
        task_variables(settings),
        LocalLayout(settings.home).state / "logs",
        settings.local_parallel,
        settings.local_retries,
    )
    ports = watched_ports(replace(local.ports, jobs=runner), hook_from_environment("supervisor"))
    return LocalPorts(ports, local.bus, runner)


def _take(pipeline: Embedded, drop: Drop, orders: Path, taken: dict[str, str]) -> None:
    for order in sorted(path.name for path in orders.iterdir()):
        if order not in {*taken, THAT_IS_ALL}:
            taken[order] = pipeline.submit(replace(drop, rerun_token=order)).value.id


def _is_over(store: StatusStore, orders: Path, taken: dict[str, str]) -> bool:
    ordered = {path.name for path in orders.iterdir()}
    if ordered != {*taken, THAT_IS_ALL}:
        return False
    # A task may still be paying what its commit owes: it is not to be cut short.
    return all(_has_ended(store.get(submission_id)) for submission_id in taken.values()) and not _has_tasks()


def _has_ended(stored: Stored[Submission]) -> bool:
    due = [entry for entry in stored.value.outbox if entry.not_before is None or entry.not_before <= stored.read_at]
    return stored.value.state.final and not due


def _has_tasks() -> bool:
    return any(TASK in _command(child) for child in psutil.Process().children())


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
