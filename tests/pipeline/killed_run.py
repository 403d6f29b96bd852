"""A run that is killed between two of its acts, chosen by name; run as a program with the act and a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from cli.embedded import drop_of_file, open_embedded
from shared.ports.jobs import JobRequest
from shared.settings import load_settings


def main(act: str, file: Path) -> None:
    """Submit the file and step until just before, or just after, the act; then die as by a kill."""
    embedded = open_embedded(load_settings())
    runner, bus = embedded.local.runner, embedded.local.bus
    start = runner.start

    def die() -> NoReturn:
        os._exit(9)

    def die_instead(request: JobRequest) -> str:
        del request
        die()

    def start_and_die(request: JobRequest) -> str:
        start(request)
        die()

    match act:
        case "delivered":
            bus.deliver_pending = die  # type: ignore[method-assign]
        case "claimed":
            runner.start = die_instead  # type: ignore[method-assign]
        case "started":
            runner.start = start_and_die  # type: ignore[method-assign]
    stored = embedded.submit(drop_of_file(embedded.blobs, file, {}))
    embedded.step(only=stored.value.id)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
