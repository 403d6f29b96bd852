"""From a finalized event to the start of a job, on the emulators: ``python -m benchmarks.overhead [FILE.h5ad]``.

Fifty drops of a real file (by default the demo's 700 cells), one after the other, through the local cloud with the
functions as they are deployed. A drop is timed from the moment its event is sent to ingest until the call that starts
the job reaches Cloud Run. In the same turn a message goes through the same emulator to a server that does nothing: its
way is the emulator's own delay, and what stands still. The tasks that are started end at once.
"""

from __future__ import annotations

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types
from google.pubsub_v1 import PublisherClient, PubsubMessage, PushConfig, SubscriberClient, Subscription

from cli.demo import demo_file
from tests.cloud.emulators import firestore_emulator, storage_emulator
from tests.cloud.local_cloud import ROOT, Deployment, Emulators, LocalCloud
from tests.cloud.notifier import FinalizedEvent, Mode
from tests.cloud.pubsub_emulator import pubsub_emulator

TURNS = 50
WARM_UP = 5
MODEL = "pbmc-sorted-765"
DROPS = "benchmark-drops"
"""A bucket that the local cloud's notifier does not watch: the events are sent from here."""
NEVER_S = 1e6


def main(file: Path) -> None:
    """Measure, and print medians and 95th percentiles in milliseconds."""
    started: queue.SimpleQueue[float] = queue.SimpleQueue()

    def hook(call: str) -> None:
        if call == "jobs.run":
            started.put(time.perf_counter())

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
        storage = stack.enter_context(Client(project=deployment.project))
        _upload_model(storage, deployment.models)
        storage.create_bucket(DROPS)
        push = stack.enter_context(_pushing(deployment.project))
        turns = [_turn(cloud, storage, file, n, started, push) for n in range(WARM_UP + TURNS)][WARM_UP:]
    _print("event to job start", [turn.whole for turn in turns])
    _print("  of it, ingest's answer", [turn.ingest for turn in turns])
    _print("the emulator's own push", [turn.own for turn in turns])
    _print("beyond it", [turn.whole - turn.own for turn in turns])


@dataclass(frozen=True)
class Turn:
    """Seconds.

    Attributes:
        whole: From event to job start.
        ingest: From event to ingest's answer.
        own: Of a push alone.
    """

    whole: float
    ingest: float
    own: float


def _turn(
    cloud: LocalCloud, storage: Client, file: Path, n: int, started: queue.SimpleQueue[float], push: Push
) -> Turn:
    own = push.once()
    blob = storage.bucket(DROPS).blob(f"{n}.h5ad")
    blob.upload_from_filename(file)
    resource = {"bucket": DROPS, "name": blob.name, "generation": str(blob.generation), "timeCreated": "now"}
    request = FinalizedEvent(resource).request(cloud.url("ingest"), Mode.BINARY)
    sent = time.perf_counter()
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310  # of the local cloud
    answered = time.perf_counter()
    return Turn(started.get(timeout=60) - sent, answered - sent, own)


class Push:
    """A topic whose messages are pushed to a server that does nothing but note when."""

    def __init__(self, project: str) -> None:
        self._arrived: queue.SimpleQueue[float] = queue.SimpleQueue()
        arrived = self._arrived

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                arrived.put(time.perf_counter())
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._publisher = PublisherClient()
        self._topic = PublisherClient.topic_path(project, "benchmark-push")
        self._publisher.create_topic(name=self._topic)
        name = SubscriberClient.subscription_path(project, "benchmark-push")
        config = PushConfig(push_endpoint=f"http://127.0.0.1:{self.server.server_port}/")
        with SubscriberClient() as subscriber:
            subscriber.create_subscription(Subscription(name=name, topic=self._topic, push_config=config))

    def once(self) -> float:
        """Seconds from the publication's answer to the push."""
        self._publisher.publish(topic=self._topic, messages=[PubsubMessage(data=b"x")])
        published = time.perf_counter()
        return self._arrived.get(timeout=60) - published


@contextmanager
def _pushing(project: str) -> Iterator[Push]:
    push = Push(project)
    thread = threading.Thread(target=push.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield push
    finally:
        push.server.shutdown()
        push.server.server_close()
        thread.join()


def _upload_model(storage: Client, bucket: str) -> None:
    for path in sorted(path for path in (ROOT / "models" / MODEL).rglob("*") if path.is_file()):
        storage.bucket(bucket).blob(path.relative_to(ROOT / "models").as_posix()).upload_from_filename(path)


def _print(name: str, seconds: Sequence[float]) -> None:
    median, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    print(f"{name:<26} median {1000 * median:6.1f} ms   p95 {1000 * p95:6.1f} ms   of {len(seconds)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else demo_file())
