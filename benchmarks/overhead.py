"""From a finalized event to the start of a job, on the emulators: ``python -m benchmarks.overhead [FILE.h5ad]``.

Fifty drops of a real file (by default the demo's 700 cells), one after the other, through the local cloud with the
functions as they are deployed. A drop is timed from the moment its event is sent to ingest until the call that starts
the job reaches Cloud Run. What stands still is the emulator's own delay, of the very same message: from its time of
publication to its arrival at a door before dispatch, which notes the time and passes it on. The tasks that are started
end at once.
"""

from __future__ import annotations

import json
import queue
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types

from cli.demo import demo_file
from tests.cloud.emulators import firestore_emulator, storage_emulator
from tests.cloud.local_cloud import Deployment, Emulators, LocalCloud
from tests.cloud.notifier import FinalizedEvent, Mode
from tests.cloud.pipeline_local import upload_bundle
from tests.cloud.pubsub_emulator import pubsub_emulator

TURNS = 50
WARM_UP = 5
MODEL = "pbmc-sorted-765"
DROPS = "benchmark-drops"
"""A bucket that the local cloud's notifier does not watch: the events are sent from here."""
NEVER_S = 1e6
TIMEOUT_S = 60

Seconds = queue.SimpleQueue[float]


@dataclass(frozen=True)
class Turn:
    """Seconds.

    Attributes:
        whole: From event to job start.
        ingest: From event to ingest's answer.
        push: From the job message's publication to its arrival.
    """

    whole: float
    ingest: float
    push: float


def main(file: Path) -> None:
    """Measure, and print medians and 95th percentiles in milliseconds."""
    started, pushes = Seconds(), Seconds()

    def hook(call: str) -> None:
        if call == "jobs.run":
            started.put(time.time())

    deployment = Deployment(
        task=("true",),
        variables=[("CELLDROP_DEFAULT_MODEL", MODEL), ("CELLDROP_ALLOWED_BUCKETS", DROPS)],
        reconcile_every_s=NEVER_S,
    )
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulators = Emulators(
            stack.enter_context(pubsub_emulator(logs)),
            stack.enter_context(firestore_emulator(logs)),
            stack.enter_context(storage_emulator(logs)),
        )
        cloud = stack.enter_context(LocalCloud(emulators, deployment, logs, hook))
        cloud.subscribe(deployment.jobs_topic, stack.enter_context(_door(cloud.url("dispatch"), pushes)))
        storage = stack.enter_context(Client(project=deployment.project))
        upload_bundle(storage, deployment.models, MODEL)
        storage.create_bucket(DROPS)
        drop = _Drop(cloud, storage, file)
        turns = [drop.timed(n, started, pushes) for n in range(WARM_UP + TURNS)][WARM_UP:]
    _print("event to job start", [turn.whole for turn in turns])
    _print("  of it, ingest's answer", [turn.ingest for turn in turns])
    _print("the emulator's own push", [turn.push for turn in turns])
    _print("beyond it", [turn.whole - turn.push for turn in turns])


@dataclass(frozen=True)
class _Drop:
    cloud: LocalCloud
    storage: Client
    file: Path

    def timed(self, n: int, started: Seconds, pushes: Seconds) -> Turn:
        """Drop it under a name of its own, and tell ingest."""
        blob = self.storage.bucket(DROPS).blob(f"{n}.h5ad")
        blob.upload_from_filename(self.file)
        resource = {"bucket": DROPS, "name": blob.name, "generation": str(blob.generation), "timeCreated": "now"}
        request = FinalizedEvent(resource).request(self.cloud.url("ingest"), Mode.BINARY)
        sent = time.time()
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310  # of the local cloud
        answered = time.time()
        whole = started.get(timeout=TIMEOUT_S) - sent
        return Turn(whole, answered - sent, pushes.get(timeout=TIMEOUT_S))


@contextmanager
def _door(function: str, pushes: Seconds) -> Iterator[str]:
    """A server that notes how long a message was on its way, and passes it on."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived = time.time()
            body = self.rfile.read(int(self.headers["content-length"]))
            published = datetime.fromisoformat(json.loads(body)["message"]["publishTime"])
            pushes.put(arrived - published.timestamp())
            request = urllib.request.Request(function, body, {"content-type": "application/json"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  # of the local cloud
                self.send_response(answer.status)
                self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def _print(name: str, seconds: Sequence[float]) -> None:
    median, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    print(f"{name:<26} median {1000 * median:6.1f} ms   p95 {1000 * p95:6.1f} ms   of {len(seconds)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else demo_file())
