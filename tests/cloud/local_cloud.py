"""celldrop's cloud on this machine: its functions as they are deployed, and a stand-in for every service around them.

The functions run under functions-framework. Pub/Sub and Firestore are Google's emulators, Cloud Storage is an emulator
with a notifier, Cloud Run Jobs the stand-in beside this file, Cloud Scheduler a thread.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from google.api_core.exceptions import AlreadyExists, NotFound
from google.pubsub_v1 import (
    DeadLetterPolicy,
    PublisherClient,
    PushConfig,
    ReceivedMessage,
    RetryPolicy,
    SubscriberClient,
    Subscription,
)

from tests.cloud.cloud_run import CloudRun
from tests.cloud.cloud_run_executions import JobSpec
from tests.cloud.local_cloud_programs import Program, free_port, listens
from tests.cloud.notifier import Mode, Notifier
from tests.fakes.calls import Hook, nothing

ROOT = Path(__file__).resolve().parents[2]
TASK = (sys.executable, "-m", "jobs.inference.main")
TIMEOUT_S = 60.0
MOST_DELIVERIES = 5
"""Before a message is dead: as few as Pub/Sub allows, so that nobody waits long here."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Emulators:
    """Where the bus and the stores answer.

    Attributes:
        pubsub: ``HOST:PORT``.
        firestore: ``HOST:PORT``.
        storage: ``http://HOST:PORT``.
    """

    pubsub: str
    firestore: str
    storage: str

    @property
    def variables(self) -> dict[str, str]:
        """As Google's client libraries know them."""
        return {
            "PUBSUB_EMULATOR_HOST": self.pubsub,
            "FIRESTORE_EMULATOR_HOST": self.firestore,
            "STORAGE_EMULATOR_HOST": self.storage,
        }


@dataclass(frozen=True, slots=True)
class Function:
    """A function to deploy.

    Attributes:
        signature: ``cloudevent`` or ``http``.
    """

    name: str
    source: Path
    signature: str


FUNCTIONS = (
    Function("ingest", ROOT / "functions" / "ingest" / "main.py", "http"),
    Function("dispatch", ROOT / "functions" / "dispatch" / "main.py", "http"),
    Function("reconcile", ROOT / "functions" / "reconcile" / "main.py", "http"),
    Function("status", ROOT / "functions" / "status" / "main.py", "http"),
)


def served(function: Function, port: int) -> Sequence[str]:
    """The command that answers as a function at a port: functions-framework, in this environment."""
    what = ["--target", function.name, "--source", str(function.source), "--signature-type", function.signature]
    return [sys.executable, "-m", "functions_framework", *what, "--host", "127.0.0.1", "--port", str(port)]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed under which names, and how.

    Attributes:
        serve: The command of a function that is to answer at a port.
        task: What a task of the job runs.
        variables: Further settings of functions and tasks.
        reconcile_every_s: A minute in Google's cloud.
        room: Tasks of one execution that this machine has room for at a time.
    """

    project: str = "celldrop-local"
    region: str = "europe-west4"
    database: str = "(default)"
    inbox: str = "celldrop-inbox"
    models: str = "celldrop-models"
    work: str = "celldrop-work"
    results: str = "celldrop-results"
    jobs_topic: str = "celldrop-jobs"
    events_topic: str = "celldrop-events"
    requests_topic: str = "celldrop-requests"
    cpu_job: str = "celldrop-cpu"
    functions: Sequence[Function] = FUNCTIONS
    serve: Callable[[Function, int], Sequence[str]] = served
    task: Sequence[str] = TASK
    variables: Sequence[tuple[str, str]] = ()
    mode: Mode = Mode.BINARY
    reconcile_every_s: float = 5.0
    room: int = 2

    @property
    def buckets(self) -> tuple[str, ...]:
        """Every bucket."""
        return (self.inbox, self.models, self.work, self.results)

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic."""
        return (self.jobs_topic, self.events_topic, self.requests_topic)

    def dead(self, topic: str) -> str:
        """Where the messages of a topic go that were delivered too often."""
        return f"{topic}-dead"

    @property
    def settings(self) -> dict[str, str]:
        """The variables by which functions and tasks find it all."""
        return {
            "CELLDROP_BACKEND": "gcp",
            "CELLDROP_PROJECT": self.project,
            "CELLDROP_REGION": self.region,
            "CELLDROP_FIRESTORE_DATABASE": self.database,
            "CELLDROP_INBOX_BUCKET": self.inbox,
            "CELLDROP_MODELS_BUCKET": self.models,
            "CELLDROP_WORK_BUCKET": self.work,
            "CELLDROP_RESULTS_BUCKET": self.results,
            "CELLDROP_JOBS_TOPIC": self.jobs_topic,
            "CELLDROP_EVENTS_TOPIC": self.events_topic,
            "CELLDROP_REQUESTS_TOPIC": self.requests_topic,
            "CELLDROP_CPU_JOB": self.cpu_job,
            "CELLDROP_PUSH_AUTH": "platform",  # The emulators sign no tokens.
            "GOOGLE_CLOUD_PROJECT": self.project,
            **dict(self.variables),
        }


class LocalCloud:
    """The whole of it, running; a context, at whose end nothing of it is left.

    Args:
        logs: A folder for the output of every function and task.
        hook: Hears of every call of the Cloud Run API, as ``CloudRun`` tells.

    Attributes:
        programs: The running functions, by name.
        run_endpoint: Where the stand-in for Cloud Run Jobs answers.
    """

    def __init__(self, emulators: Emulators, deployment: Deployment, logs: Path, hook: Hook = nothing) -> None:
        self.deployment = deployment
        self._hook = hook
        self._emulators = emulators
        self._logs = logs
        self.programs: dict[str, Program] = {}
        self.run_endpoint = ""
        self._ports: dict[str, int] = {}
        self._stop = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def url(self, function: str) -> str:
        """Where a function answers."""
        return f"http://127.0.0.1:{self._ports[function]}/"

    def outcomes(self) -> list[ReceivedMessage]:
        """Wait for outcome events, and take those that are there."""
        return self._taken(self.deployment.events_topic)

    def dead_letters(self, topic: str) -> list[ReceivedMessage]:
        """Wait for messages that nobody would take, and take those that are there."""
        return self._taken(self.deployment.dead(topic))

    def _taken(self, subscription: str) -> list[ReceivedMessage]:
        name = SubscriberClient.subscription_path(self.deployment.project, subscription)
        found = self._subscriber.pull(subscription=name, max_messages=100, timeout=TIMEOUT_S).received_messages
        if found:
            self._subscriber.acknowledge(subscription=name, ack_ids=[one.ack_id for one in found])
        return list(found)

    # --- Starting, each part after what it needs ---

    def _start(self) -> None:
        for name, value in self._emulators.variables.items():
            self._set(name, value)
        self._make_buckets()
        self._make_topics()
        env = {**os.environ, **self.deployment.settings, "PYTHONPATH": str(ROOT)}
        cloud_run = self._stack.enter_context(self._cloud_run(env))
        self.run_endpoint = cloud_run.endpoint
        self._start_functions({**env, "CELLDROP_RUN_ENDPOINT": self.run_endpoint})
        self.subscribe(self.deployment.jobs_topic, self.url("dispatch"))
        self.subscribe(self.deployment.requests_topic, self.url("ingest"))
        notifier = Notifier(self._emulators.storage, self.deployment.inbox, self.url("ingest"), self.deployment.mode)
        self._in_background("notifier", notifier.run)
        self._in_background("scheduler", self._call_reconcile)

    def _set(self, name: str, value: str) -> None:
        before = os.environ.get(name)
        os.environ[name] = value
        self._stack.callback(_put_back, name, before)

    def _make_buckets(self) -> None:
        url = f"{self._emulators.storage}/storage/v1/b?project={self.deployment.project}"
        for name in self.deployment.buckets:
            body = json.dumps({"name": name}).encode()
            request = urllib.request.Request(url, body, {"content-type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.CONFLICT:  # There already: the emulator is not ours alone.
                    raise

    def _make_topics(self) -> None:
        self._publisher = self._stack.enter_context(PublisherClient())
        self._subscriber = self._stack.enter_context(SubscriberClient())
        for topic in self.deployment.topics:
            for name in (self.deployment.dead(topic), topic):
                with suppress(AlreadyExists):
                    self._publisher.create_topic(name=self._topic(name))
            self._make_subscription(Subscription(topic=self._topic(self.deployment.dead(topic))))
        self.subscribe(self.deployment.events_topic)

    def _topic(self, name: str) -> str:
        return PublisherClient.topic_path(self.deployment.project, name)

    def subscribe(self, topic: str, endpoint: str = "") -> None:
        """Pushed where there is an endpoint."""
        subscription = Subscription(
            topic=self._topic(topic),
            push_config=PushConfig(push_endpoint=endpoint),
            ack_deadline_seconds=60,
            retry_policy=RetryPolicy(minimum_backoff=timedelta(seconds=1), maximum_backoff=timedelta(seconds=10)),
            dead_letter_policy=DeadLetterPolicy(
                dead_letter_topic=self._topic(self.deployment.dead(topic)), max_delivery_attempts=MOST_DELIVERIES
            ),
        )
        self._make_subscription(subscription)

    def _make_subscription(self, subscription: Subscription) -> None:
        """A new one, by the name of its topic."""
        subscription.name = subscription.topic.replace("/topics/", "/subscriptions/")
        with suppress(NotFound):
            self._subscriber.delete_subscription(subscription=subscription.name)
        self._subscriber.create_subscription(subscription)

    def _cloud_run(self, env: dict[str, str]) -> CloudRun:
        room = self.deployment.room
        threads = max(1, (os.cpu_count() or 1) // room)
        task_env = {**env, "CELLDROP_DIE_WITH_PARENT": "1", "OMP_NUM_THREADS": str(threads)}
        job = JobSpec(self.deployment.cpu_job, self.deployment.task, task_env, room=room)
        return CloudRun([job], self._logs / "tasks", self._hook)

    def _start_functions(self, env: dict[str, str]) -> None:
        for function in self.deployment.functions:
            port = self._ports[function.name] = free_port()
            program = Program(
                function.name, self.deployment.serve(function, port), self._logs / f"{function.name}.log", env
            )
            self.programs[function.name] = self._stack.enter_context(program)
        self._stack.callback(self._ask_all_to_end)
        for name, program in self.programs.items():
            program.wait_until(listens(self._ports[name]))

    def _ask_all_to_end(self) -> None:
        for program in self.programs.values():
            program.ask_to_end()

    def _in_background(self, name: str, run: Callable[[threading.Event], None]) -> None:
        thread = threading.Thread(target=run, args=(self._stop,), name=name)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._stop.set)

    def _call_reconcile(self, stop: threading.Event) -> None:
        while not stop.wait(self.deployment.reconcile_every_s):
            try:
                urllib.request.urlopen(self.url("reconcile"), data=b"", timeout=TIMEOUT_S).close()
            except OSError as error:
                _log.warning("reconcile did not answer: %s", error)


def _put_back(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
