"""Takes one file in, in a process of its own, and prints what that took: ``-m tests.pipeline.ingest_once FILE``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from functions.ingest.dependencies import build_ingest
from functions.ingest.schemas import StorageObject
from shared.adapters.local.blobs import DirectoryBlobStore
from shared.domain.errors import BlobNotFoundError
from shared.h5ad.inspect.inspection import warm_up
from shared.settings import load_settings
from shared.wiring.ports import MadePorts
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.counted import CountedBlobStore
from tests.fakes.jobs import RecordedJobRunner
from tests.fakes.status import MemoryStatusStore


def main(file: Path, latency_s: float) -> None:
    """Do it over a directory as the blob store, whose requests take their time."""
    settings = load_settings(inbox_bucket="inbox", default_model="pbmc-sorted")
    roots = {"inbox": file.parent.resolve(), "models": settings.models_dir.resolve()}
    blobs = CountedBlobStore(DirectoryBlobStore(roots, frozenset(roots)), latency_s)
    ports = MadePorts(blobs, MemoryBus(), MemoryStatusStore(SettableClock()), RecordedJobRunner())
    ingest = build_ingest(settings, ports)
    event = StorageObject(
        bucket="inbox", name=file.name, generation=blobs.inner.stat("inbox", file.name).ref.generation
    )
    warm_up()
    started = time.perf_counter()
    stored = ingest.handle(event)
    seconds = time.perf_counter() - started
    if stored is None:
        raise BlobNotFoundError(str(file))
    told = {"state": stored.value.state, "requests": blobs.requests, "bytes_read": blobs.bytes_read, "seconds": seconds}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
