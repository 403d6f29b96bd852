"""The one place that knows which adapters stand behind the ports."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, assert_never

from shared.access.identity import CheckCaller, anyone, callers, google_verifier
from shared.domain.errors import SettingsError
from shared.domain.plan import Accelerator
from shared.domain.submission import Topic
from shared.ports.blobs import BlobStore
from shared.ports.events import EventBus
from shared.ports.jobs import JobRunner
from shared.ports.status import StatusStore
from shared.ports.survey import Survey
from shared.settings import REPOSITORY, Backend, PushAuth, Settings, StatusAuth, listed, load_settings
from shared.telemetry import configure
from shared.wiring.folders import FILES_BUCKET, directories

if TYPE_CHECKING:
    from shared.adapters.local.bus import InProcessBus
    from shared.adapters.local.jobs import SubprocessJobRunner

ADHOC_MODELS_BUCKET = "adhoc-models"
"""Embedded: bundles given as a folder, kept by digest."""


class Ports(Protocol):
    """The world, as the services see it."""

    @property
    def blobs(self) -> BlobStore:
        """Objects."""
        ...

    @property
    def bus(self) -> EventBus:
        """Messages."""
        ...

    @property
    def store(self) -> StatusStore:
        """Records."""
        ...

    @property
    def jobs(self) -> JobRunner:
        """Executions."""
        ...


@dataclass(frozen=True, slots=True)
class MadePorts:
    """Ports that are there."""

    blobs: BlobStore
    bus: EventBus
    store: StatusStore
    jobs: JobRunner


@dataclass(frozen=True, slots=True)
class LocalPorts:
    """The embedded world: the same ports, and what only an embedding process can do with them."""

    ports: MadePorts
    bus: InProcessBus
    runner: SubprocessJobRunner


@dataclass(frozen=True, slots=True)
class LocalLayout:
    """Where the embedded default keeps things, under the home folder."""

    home: Path

    @property
    def state(self) -> Path:
        """What is not for people: status, parts, logs."""
        return self.home / ".celldrop"

    @property
    def inbox(self) -> Path:
        """Where files are dropped for `celldrop serve`."""
        return self.home / "inbox"

    @property
    def results(self) -> Path:
        """Where results are found."""
        return self.home / "results"

    @property
    def events(self) -> Path:
        """Every outcome event, one JSON line each."""
        return self.state / "events.jsonl"

    @property
    def adhoc_models(self) -> Path:
        """Bundles that were given as a folder."""
        return self.state / "models"


@cache
def deployed_settings() -> Settings:
    """The settings of a deployed entry point, whose logs they set up; read when first asked for, and kept.

    Raises:
        SettingsError: One that is malformed.
    """
    settings = load_settings()
    configure(settings.log_style, settings.log_level)
    return settings


def build_ports(settings: Settings) -> Ports:
    """The ports that the settings ask for; adapters are imported only here, and only those needed."""
    match settings.backend:
        case Backend.LOCAL:
            return build_local(settings).ports
        case Backend.GCP:
            return CloudPorts(settings)
        case _:
            assert_never(settings.backend)


class CloudPorts:
    """Google Cloud, or the emulators that the environment names; what a process does not ask for is not loaded.

    Each port raises SettingsError where there are no credentials, or no project is set or told by them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def blobs(self) -> BlobStore:
        """Cloud Storage."""
        from shared.adapters.gcp.blobs import CloudBlobStore  # noqa: PLC0415  # adapters load only where chosen
        from shared.adapters.gcp.clients import storage_client  # noqa: PLC0415

        return CloudBlobStore(storage_client(self._project))

    @cached_property
    def bus(self) -> EventBus:
        """Pub/Sub."""
        from shared.adapters.gcp.bus import PubSubBus, connect  # noqa: PLC0415

        topics = {Topic.JOBS: self._settings.jobs_topic, Topic.EVENTS: self._settings.events_topic}
        return PubSubBus(connect, topics, self._project)

    @cached_property
    def store(self) -> StatusStore:
        """Firestore."""
        from shared.adapters.gcp.clients import firestore_client  # noqa: PLC0415
        from shared.adapters.gcp.documents import expiry_after  # noqa: PLC0415
        from shared.adapters.gcp.status import FirestoreStatusStore  # noqa: PLC0415

        client = firestore_client(self._project, self._settings.firestore_database)
        return FirestoreStatusStore(client, expiry=expiry_after(self._settings.record_days))

    @cached_property
    def jobs(self) -> JobRunner:
        """Cloud Run Jobs."""
        from shared.adapters.gcp.jobs import CloudRunJobRunner, connect  # noqa: PLC0415

        names = {Accelerator.CPU: self._settings.cpu_job, Accelerator.GPU: self._settings.gpu_job}
        endpoint = self._settings.run_endpoint
        return CloudRunJobRunner(lambda: connect(endpoint), names, self._project, self._settings.region)

    @cached_property
    def _project(self) -> str:
        from shared.adapters.gcp.clients import default_project  # noqa: PLC0415

        return self._settings.project or default_project()


def build_survey(settings: Settings) -> Survey:
    """What looks at a deployment; nobody is asked anything yet."""
    from shared.adapters.gcp.survey import CloudSurvey  # noqa: PLC0415  # adapters load only where chosen

    return CloudSurvey(settings.project, settings.region, settings.firestore_database, settings.run_endpoint)


def build_push_check(settings: Settings) -> CheckCaller:
    """Who may push to a function of this deployment.

    Raises:
        SettingsError: Tokens are to be checked, and it is not said whose.
    """
    if settings.backend is Backend.LOCAL or settings.push_auth is PushAuth.PLATFORM:
        return anyone
    return _token_check(settings.push_audience, settings.push_accounts, "PUSH")


def build_status_check(settings: Settings) -> CheckCaller:
    """Who may look things up over HTTP, beside what the platform or the loopback address sees to.

    Raises:
        SettingsError: Tokens are to be checked, and it is not said whose.
    """
    if settings.status_auth is StatusAuth.PLATFORM:
        return anyone
    return _token_check(settings.status_audience, settings.status_accounts, "STATUS")


def _token_check(audience: str, accounts: str, whose: str) -> CheckCaller:
    if not audience or not listed(accounts):
        raise SettingsError(
            f"tokens are to be checked, but CELLDROP_{whose}_AUDIENCE or CELLDROP_{whose}_ACCOUNTS is empty",
            hint=f"Set both, or CELLDROP_{whose}_AUTH=platform where Cloud Run's IAM is all that is wanted.",
        )
    return callers(google_verifier(audience), listed(accounts)).check


def build_files(settings: Settings) -> BlobStore:
    """This machine's files and bundles, to be read where they lie; nothing is written or made."""
    return directories({FILES_BUCKET: Path("/"), settings.models_bucket: settings.models_dir.resolve()})


def build_local(settings: Settings) -> LocalPorts:
    """The embedded default: a directory, SQLite, an in-process bus and subprocesses."""
    from shared.adapters.local.event_log import EmbeddedBus  # noqa: PLC0415  # adapters load only where chosen
    from shared.adapters.local.jobs import SubprocessJobRunner  # noqa: PLC0415
    from shared.adapters.local.status import SqliteStatusStore  # noqa: PLC0415

    layout = LocalLayout(settings.home.resolve())
    _make_home(layout)
    roots = {
        FILES_BUCKET: Path("/"),
        settings.inbox_bucket: layout.inbox,
        settings.models_bucket: settings.models_dir.resolve(),
        ADHOC_MODELS_BUCKET: layout.adhoc_models,
        settings.work_bucket: layout.state / "work",
        settings.results_bucket: layout.results,
    }
    blobs = directories(roots, settings.work_bucket, settings.results_bucket)
    store = SqliteStatusStore(layout.state / "status.sqlite", lambda: datetime.now(UTC))
    bus = EmbeddedBus(layout.events)
    runner = SubprocessJobRunner(
        [sys.executable, "-m", "jobs.inference.main"],
        task_variables(settings),
        layout.state / "logs",
        settings.local_parallel,
        settings.local_retries,
    )
    return LocalPorts(MadePorts(blobs, bus, store, runner), bus, runner)


def task_variables(settings: Settings) -> dict[str, str]:
    """The environment that hands these very settings on to a task process."""
    values = settings.model_dump(mode="json")
    own = {f"CELLDROP_{name.upper()}": str(value) for name, value in values.items() if value is not None}
    own["CELLDROP_HOME"] = str(settings.home.resolve())
    own["PYTHONPATH"] = str(REPOSITORY)
    # Side by side, each task's torch takes its share of the cores: more threads than cores stall one another.
    own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // settings.local_parallel))
    return {**os.environ, **own}


def die_with_parent() -> None:
    """Embedded: end this task process when the one that supervises it is gone."""
    from shared.adapters.local.jobs import die_with_parent as watch  # noqa: PLC0415

    watch()


def _make_home(layout: LocalLayout) -> None:
    try:
        for folder in (layout.state, layout.adhoc_models):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "Give a folder that you may write to, with --out or CELLDROP_HOME."
        raise SettingsError(f"the home cannot be made: {error.strerror}", where=str(layout.home), hint=hint) from error
