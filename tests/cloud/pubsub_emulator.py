"""Google's own Pub/Sub emulator: found, started on a free port, stopped surely."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cloud.local_cloud_programs import Program, free_port, listens

HOST_VARIABLE = "PUBSUB_EMULATOR_HOST"
JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Small and quick to start: a test session has a few messages, not a load."""


class EmulatorMissingError(RuntimeError):
    """The emulator cannot be run here, and why."""


@contextmanager
def pubsub_emulator(folder: Path) -> Iterator[str]:
    """Give ``HOST:PORT`` of an emulator: the one that PUBSUB_EMULATOR_HOST names, or one of our own.

    Raises:
        EmulatorMissingError: None is named, and Java or the SDK's component is missing.
    """
    named = os.environ.get(HOST_VARIABLE)
    if named:
        yield named
        return
    port = free_port()  # It cannot choose one and tell us.
    command = [*_command(), "--host=127.0.0.1", f"--port={port}"]
    with Program("pubsub", command, folder / "pubsub-emulator.log") as program:
        program.wait_until(listens(port))
        yield f"127.0.0.1:{port}"


def _command() -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise EmulatorMissingError("no java on PATH")
    lib = sdk_root() / "platform" / "pubsub-emulator" / "lib"
    jars = sorted(lib.glob("cloud-pubsub-emulator-*-all.jar"))
    if not jars:
        raise EmulatorMissingError(f"no Pub/Sub emulator in {lib}; `gcloud components install pubsub-emulator`")
    return [java, *JAVA_OPTIONS, "-jar", str(jars[-1])]


def sdk_root() -> Path:
    """Where the Cloud SDK is installed.

    Raises:
        EmulatorMissingError: Nobody says where.
    """
    root = os.environ.get("CLOUDSDK_ROOT_DIR")
    if root:
        return Path(root)
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise EmulatorMissingError("no gcloud on PATH, and CLOUDSDK_ROOT_DIR is not set")
    return Path(gcloud).resolve().parent.parent
