"""Builds the ports from the settings. This is the only module that chooses adapters."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
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
    from shared.adapters.local.starting import Starter

ADHOC_MODELS_BUCKET = "adhoc-models"
"""The bucket of bundles that were given as a folder, by digest. Local backend only."""


_OF_LIBRARIES = ("OMP_", "GOMP_", "KMP_", "MKL_", "ATEN_", "TORCH_", "PYTORCH_")
"""Environment variables that torch and what it stands on may read when they are loaded."""


class Ports(Protocol):
    """The ports that the services work with."""

    @property
    def blobs(self) -> BlobStore:
        """The blob store."""
        ...

    @property
    def bus(self) -> EventBus:
        """The event bus."""
        ...

    @property
    def store(self) -> StatusStore:
        """The status store."""
        ...

    @property
    def jobs(self) -> JobRunner:
        """The job runner."""
        ...


@dataclass(frozen=True, slots=True)
class MadePorts:
    """Ports that are already built."""

    blobs: BlobStore
    bus: EventBus
    store: StatusStore
    jobs: JobRunner


@dataclass(frozen=True, slots=True)
class LocalPorts:
    """The ports of the local backend, with the bus and the runner as their own types, which can do more."""

    ports: MadePorts
    bus: InProcessBus
    runner: SubprocessJobRunner


@dataclass(frozen=True, slots=True)
class LocalLayout:
    """The folders of the local backend, under its home folder."""

    home: Path

    @property
    def state(self) -> Path:
        """Internal files: status database, parts, logs."""
        return self.home / ".celldrop"

    @property
    def inbox(self) -> Path:
        """The folder that `celldrop serve` watches for files."""
        return self.home / "inbox"

    @property
    def results(self) -> Path:
        """The folder of the results."""
        return self.home / "results"

    @property
    def events(self) -> Path:
        """The file of all outcome events, one JSON line each."""
        return self.state / "events.jsonl"

    @property
    def serve_lock(self) -> Path:
        """The file that a running `celldrop serve` holds a lock on."""
        return self.state / "serve.lock"

    @property
    def adhoc_models(self) -> Path:
        """The folder of bundles that were given as a folder."""
        return self.state / "models"


@cache
def deployed_settings() -> Settings:
    """Load the settings of a deployed entry point once, and configure its logs.

    Raises:
        SettingsError: A setting is malformed.
    """
    settings = load_settings()
    configure(settings.log_style, settings.log_level)
    return settings


def build_ports(settings: Settings) -> Ports:
    """Build the ports of the backend that the settings name. Only its adapters are imported."""
    match settings.backend:
        case Backend.LOCAL:
            return build_local(settings).ports
        case Backend.GCP:
            return CloudPorts(settings)
        case _:
            assert_never(settings.backend)


class CloudPorts:
    """The ports of Google Cloud, or of the emulators that the environment names. Each is loaded when first used.

    Each port raises SettingsError if there are no credentials, or if neither they nor the settings name a project.
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
    """Build the survey of a deployment. No request is made yet."""
    from shared.adapters.gcp.survey import CloudSurvey  # noqa: PLC0415  # adapters load only where chosen

    return CloudSurvey(settings.project, settings.region, settings.firestore_database, settings.run_endpoint)


def build_push_check(settings: Settings) -> CheckCaller:
    """Build the check of callers that push to a function of this deployment.

    Raises:
        SettingsError: Tokens are checked, but the audience or the accounts are not set.
    """
    if settings.backend is Backend.LOCAL or settings.push_auth is PushAuth.PLATFORM:
        return anyone
    return _token_check(settings.push_audience, settings.push_accounts, "PUSH")


def build_status_check(settings: Settings) -> CheckCaller:
    """Build the check of callers of the status API, in addition to the platform's or the loopback address's.

    Raises:
        SettingsError: Tokens are checked, but the audience or the accounts are not set.
    """
    if settings.status_auth is StatusAuth.PLATFORM:
        return anyone
    return _token_check(settings.status_audience, settings.status_accounts, "STATUS")


def _token_check(audience: str, accounts: str, whose: str) -> CheckCaller:
    if not audience or not listed(accounts):
        raise SettingsError(
            f"tokens are checked (CELLDROP_{whose}_AUTH), but CELLDROP_{whose}_AUDIENCE or CELLDROP_{whose}_ACCOUNTS "
            "is empty",
            hint=f"Set both, or set CELLDROP_{whose}_AUTH=platform if Cloud Run's IAM is enough.",
        )
    return callers(google_verifier(audience), listed(accounts)).check


def build_files(settings: Settings) -> BlobStore:
    """A read-only store of this machine's files and bundles, in place. Nothing is created."""
    roots = {FILES_BUCKET: Path("/"), settings.models_bucket: settings.models_dir.resolve()}
    return directories(roots, beside=_added_models(settings))


def _added_models(settings: Settings) -> dict[str, Path]:
    """The second folder of the models bucket, for ``directories``."""
    return {settings.models_bucket: settings.added_models.resolve()}


def build_local(settings: Settings) -> LocalPorts:
    """Build the local backend: a directory, SQLite, an in-process bus and subprocesses."""
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
    blobs = directories(
        roots,
        settings.work_bucket,
        settings.results_bucket,
        inbox=settings.inbox_bucket,
        beside=_added_models(settings),
    )
    store = SqliteStatusStore(layout.state / "status.sqlite", lambda: datetime.now(UTC))
    bus = EmbeddedBus(layout.events)
    variables = task_variables(settings)
    runner = SubprocessJobRunner(
        _starter(variables),
        variables,
        layout.state / "logs",
        settings.local_parallel,
        settings.local_retries,
    )
    return LocalPorts(MadePorts(blobs, bus, store, runner), bus, runner)


def _starter(variables: Mapping[str, str]) -> Starter:
    """Tasks are forked from a process that has torch loaded. Elsewhere than on Linux, libraries do not allow it."""
    from shared.adapters.local.starting import Command, Forked  # noqa: PLC0415  # adapters load only where chosen
    from shared.forkserver.client import SERVER  # noqa: PLC0415  # likewise

    if sys.platform != "linux":
        return Command([sys.executable, "-m", "jobs.inference.main"])
    at_load = {name: value for name, value in variables.items() if name.startswith(_OF_LIBRARIES)}
    return Forked(SERVER, "jobs.inference.main:main", "jobs.inference.main:preload", at_load)


def task_variables(settings: Settings) -> dict[str, str]:
    """The environment variables that pass these settings to a task process."""
    values = settings.model_dump(mode="json")
    own = {f"CELLDROP_{name.upper()}": str(value) for name, value in values.items() if value is not None}
    own["CELLDROP_HOME"] = str(settings.home.resolve())
    own["PYTHONPATH"] = str(REPOSITORY)
    # Parallel tasks share the cores: more torch threads than cores stall one another.
    own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // settings.local_parallel))
    return {**os.environ, **own}


def die_with_parent() -> None:
    """End this task process when its parent process ends. Local backend only."""
    from shared.adapters.local.jobs import die_with_parent as watch  # noqa: PLC0415

    watch()


def _make_home(layout: LocalLayout) -> None:
    try:
        layout.home.mkdir(parents=True, exist_ok=True)
        layout.state.mkdir(exist_ok=True)
        # Its records are for nobody else to read, and whoever can open a lock file can hold the lock.
        if layout.state.stat().st_uid == os.geteuid():
            layout.state.chmod(0o700)
        layout.adhoc_models.mkdir(exist_ok=True)
    except OSError as error:
        hint = "Name a folder that you may write to, with --out or CELLDROP_HOME."
        found = f"the home folder cannot be created: {error.strerror}"
        raise SettingsError(found, where=str(layout.home), hint=hint) from error
