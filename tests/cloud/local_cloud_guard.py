"""Runs a command, and ends it with its whole process group when the one who started us is gone; run as a program.

Whoever started us holds the other end of our standard input and never writes: end of file means that it is gone,
however it ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    if os.getpgrp() != os.getpid():
        sys.exit("the guard leads no process group")
    # The request to stop goes to the whole group: the command answers it, we see it off.
    signal.signal(signal.SIGTERM, lambda *_: None)
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    return command.wait()


def _outlive_nobody() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
