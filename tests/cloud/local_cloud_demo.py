"""Annotates files through the local cloud: ``python -m tests.cloud.local_cloud_demo FILE.h5ad …``.

Everything that Google's cloud would do is done on this machine, by the functions and adapters that are deployed there.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from cli.demo import demo_file
from shared.adapters.gcp.blobs import CloudBlobStore
from shared.adapters.gcp.clients import storage_client
from shared.domain.submission import State
from tests.cloud.emulators import firestore_emulator, storage_emulator
from tests.cloud.local_cloud import ROOT, Deployment, Emulators, LocalCloud
from tests.cloud.pubsub_emulator import EmulatorMissingError, pubsub_emulator

CHUNK_BYTES = 8 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when every file was annotated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="by default the 700 real PBMC that the demo uses")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="a folder of bundles, NAME/VERSION/")
    parser.add_argument("--model", default="pbmc-sorted-765")
    parser.add_argument("--logs", type=Path, help="kept there; a folder that is removed afterwards without it")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        logs = given.logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            emulators = Emulators(
                stack.enter_context(pubsub_emulator(logs)),
                stack.enter_context(firestore_emulator(logs)),
                stack.enter_context(storage_emulator(logs)),
            )
        except EmulatorMissingError as error:
            _say(f"The local cloud cannot be built here: {error}")
            return 1
        cloud = stack.enter_context(LocalCloud(emulators, Deployment(), logs))
        return _annotate(cloud, given.files or [demo_file()], given.models, given.model)


def _annotate(cloud: LocalCloud, files: Sequence[Path], models: Path, model: str) -> int:
    deployment = cloud.deployment
    blobs = CloudBlobStore(storage_client(deployment.project))
    for path in sorted(path for path in models.rglob("*") if path.is_file()):
        blobs.write(deployment.models, path.relative_to(models).as_posix(), _chunks(path), if_generation=0)
    _say(f"The cloud is up; its status page is {cloud.url('status')}")
    for file in files:
        blobs.write(deployment.inbox, file.name, _chunks(file), metadata={"celldrop-model": model})
        _say(f"Dropped {file.name} in gs://{deployment.inbox}")
    waiting = {file.name for file in files}
    failed = False
    while waiting:
        for received in cloud.outcomes():
            event = json.loads(received.message.data)
            outcome = event["data"]
            if State(outcome["state"]).final:
                waiting.discard(outcome["source"]["name"])
                failed = failed or outcome["state"] != State.SUCCEEDED
            _say(f"{event['type']}: {json.dumps(outcome, indent=2)}")
    return int(failed)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
