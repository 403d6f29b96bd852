"""Entry point of one task attempt. Exit status 0 means done or nothing to do; any other asks for another attempt."""

from __future__ import annotations

import faulthandler
import logging
import os
from typing import Any

from jobs.inference.process.memory import begin_process, bound_memory, leave
from shared.domain.errors import CelldropError
from shared.telemetry import event

log = logging.getLogger(__name__)


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


if __name__ == "__main__":
    leave(main())
