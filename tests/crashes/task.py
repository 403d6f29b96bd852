"""One task attempt as a real process: the protocol over real ports, with the stand-in computation; run as a program."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace

from jobs.inference.dependencies import build_protocol
from jobs.inference.schemas import task_environment
from jobs.inference.services import Task
from shared.domain.errors import CelldropError
from shared.settings import load_settings
from shared.telemetry import configure
from shared.wiring.ports import build_ports, die_with_parent
from tests.crashes.points import hook_from_environment
from tests.crashes.stand_in import Ledger
from tests.crashes.watched import watched_ports

ORPHANS = "CELLDROP_TEST_ORPHANS"
"""Set where tasks outlive their supervisor, as they do on the platform."""
BLOCK_S = "CELLDROP_TEST_BLOCK_S"

log = logging.getLogger(__name__)


def main() -> int:
    environment = task_environment()
    if environment.die_with_parent and ORPHANS not in os.environ:
        die_with_parent()
    settings = load_settings()
    configure(settings.log_format, "INFO")
    ports = watched_ports(build_ports(settings), hook_from_environment("task"))
    me = environment.identity
    block_s = float(os.environ.get(BLOCK_S, "0"))
    ledger = Ledger(ports.blobs, me, settings.work_bucket, settings.results_bucket, block_s)
    try:
        log.info("%s: %s", me, _unpaced(build_protocol(settings, ports, ledger)).run(me))
    except CelldropError as error:
        log.info("%s: %s: %s", me, error.code, error.message)
        return 1
    return 0


def _unpaced(task: Task) -> Task:
    """Every heartbeat is written and every lease renewed: no task lives long enough for their proper pace."""
    return replace(task, beat_interval_s=0.0, finalizer=replace(task.finalizer, renewal_s=0.0))


if __name__ == "__main__":
    sys.exit(main())
