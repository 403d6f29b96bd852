"""The Firestore and Cloud Storage emulators: found, started on a free port, stopped surely."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cloud.local_cloud_programs import Program, free_port, listens
from tests.cloud.pubsub_emulator import JAVA_OPTIONS, EmulatorMissingError

FIRESTORE_VARIABLE = "FIRESTORE_EMULATOR_HOST"
STORAGE_VARIABLE = "STORAGE_EMULATOR_HOST"


@contextmanager
def firestore_emulator(folder: Path) -> Iterator[str]:
    """Give ``HOST:PORT`` of Google's own emulator: the one that FIRESTORE_EMULATOR_HOST names, or one of our own.

    Raises:
        EmulatorMissingError: None is named, and Java or the SDK's component is missing.
    """
    named = os.environ.get(FIRESTORE_VARIABLE)
    if named:
        yield named
        return
    port = free_port()  # It cannot choose one and tell us.
    with Program("firestore", _firestore_command(port), folder / "firestore-emulator.log") as program:
        program.wait_until(listens(port))
        yield f"127.0.0.1:{port}"


@contextmanager
def storage_emulator(folder: Path) -> Iterator[str]:
    """Give the URL of an emulator: the one that STORAGE_EMULATOR_HOST names, or a gcp-storage-emulator of our own.

    Raises:
        EmulatorMissingError: None is named, and the package is missing.
    """
    named = os.environ.get(STORAGE_VARIABLE)
    if named:
        yield named
        return
    if importlib.util.find_spec("gcp_storage_emulator") is None:
        raise EmulatorMissingError("the package gcp-storage-emulator is not installed")
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={port}", "-M", "-q"]
    with Program("storage", command, folder / "storage-emulator.log") as program:
        program.wait_until(listens(port))
        yield f"http://127.0.0.1:{port}"


def _firestore_command(port: int) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise EmulatorMissingError("no java on PATH")
    jar = _sdk_root() / "platform" / "cloud-firestore-emulator" / "cloud-firestore-emulator.jar"
    if not jar.is_file():
        raise EmulatorMissingError(f"no {jar}; `gcloud components install cloud-firestore-emulator`")
    # As the SDK's own script starts it.
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    options = (*JAVA_OPTIONS, "-Duser.language=en")
    return [java, *options, "-cp", str(jar), main, "start", "--host=127.0.0.1", f"--port={port}"]


def _sdk_root() -> Path:
    root = os.environ.get("CLOUDSDK_ROOT_DIR")
    if root:
        return Path(root)
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise EmulatorMissingError("no gcloud on PATH, and CLOUDSDK_ROOT_DIR is not set")
    return Path(gcloud).resolve().parent.parent
