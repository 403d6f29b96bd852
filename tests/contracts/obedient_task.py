"""A task that tells a test who it is, and then does what the test says; run as a program of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


def main() -> None:
    if "CELLDROP_TEST_WATCH" in os.environ:
        from shared.adapters.local.jobs import die_with_parent  # noqa: PLC0415  # only where the tree can be seen

        die_with_parent()
    with socket.socket(socket.AF_UNIX) as desk:
        desk.connect(os.environ["CELLDROP_TEST_DESK"])
        # The child holds the line too, so that the test sees when both are gone.
        child = subprocess.Popen(SLEEPER, pass_fds=[desk.fileno()]) if "CELLDROP_TEST_CHILD" in os.environ else None
        told = {name: value for name, value in os.environ.items() if name.startswith(("CLOUD_RUN_", "CELLDROP_"))}
        desk.sendall(json.dumps({"pid": os.getpid(), "child": child.pid if child else 0, "env": told}).encode() + b"\n")
        if "CELLDROP_TEST_HANG" in os.environ:
            re.match(r"(a+)+$", "a" * 60 + "b")  # As a library may: for ever, and with Python's lock held.
        order = desk.recv(64).decode()
    sys.stdout.write(f"was told {order or 'nothing'}\n")
    sys.stdout.flush()
    if order == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(order or 1))


def nothing() -> None:
    """What a fork server of tests loads."""


if __name__ == "__main__":
    main()
