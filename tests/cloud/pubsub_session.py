"""The Pub/Sub emulator for a test session: skipped where it cannot run, unless the environment insists on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cloud.pubsub_emulator import HOST_VARIABLE, EmulatorMissingError, pubsub_emulator

INSISTING = ("CI", "CELLDROP_REQUIRE_EMULATORS")


@contextmanager
def pubsub_for_tests(folder: Path) -> Iterator[str]:
    """Give ``HOST:PORT`` of an emulator, and have the client libraries of this process use it."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            with pubsub_emulator(folder) as host:
                patch.setenv(HOST_VARIABLE, host)
                yield host
        except EmulatorMissingError as error:
            if any(name in os.environ for name in INSISTING):
                pytest.fail(str(error))
            pytest.skip(str(error))
