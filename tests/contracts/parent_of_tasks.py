"""Starts an execution and then only waits, to be killed by a test; run as a program."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from shared.adapters.local.jobs import SubprocessJobRunner
from shared.adapters.local.starting import Command
from shared.domain.plan import Accelerator
from shared.ports.jobs import JobRequest


def main(folder: Path, task: str) -> None:
    runner = SubprocessJobRunner(Command([sys.executable, task]), os.environ, folder, max_parallel=2)
    runner.start(JobRequest("s1", epoch=1, n_tasks=2, accelerator=Accelerator.CPU, timeout_s=600))
    signal.pause()


main(Path(sys.argv[1]), sys.argv[2])
