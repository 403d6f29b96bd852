"""The one place that knows which adapters stand behind the ports."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from shared.domain.errors import SettingsError
from shared.domain.plan import Accelerator
from shared.domain.submission import Topic
from shared.identity import CheckCaller, anyone, callers, google_verifier
from shared.ports.blobs import BlobStore
from shared.ports.events import EventBus
from shared.ports.jobs import JobRunner
from shared.ports.status import StatusStore
from shared.settings import REPOSITORY, Backend, PushAuth, Settings, StatusAuth, listed, load_settings
from shared.telemetry import configure

if TYPE_CHECKING:
    from shared.adapters.local.bus import InProcessBus
    from shared.adapters.local.jobs import SubprocessJobRunner

FILES_BUCKET = "files"
"""Embedded: the bucket that is this machine's own file system, for files annotated where they lie."""

ADHOC_MODELS_BUCKET = "adhoc-models"
"""Embedded: bundles given as a folder, kept by digest."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as the services see it."""

    blobs: BlobStore
    bus: EventBus
    store: StatusStore
    jobs: JobRunner


@dataclass(frozen=True, slots=True)
class LocalPorts:
    """The embedded world: the same ports, and what only an embedding process can do with them."""

    ports: Ports
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


def deployed_settings() -> Settings:
    """The settings of a deployed entry point, whose logs they set up.

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
            return build_gcp(settings)
        case _:
            assert_never(settings.backend)


def build_gcp(settings: Settings) -> Ports:
    """Google Cloud, or the emulators that the environment names; a client is made when it is first needed.

    Raises:
        SettingsError: The project is neither set nor told by the credentials.
    """
    from shared.adapters.gcp.blobs import CloudBlobStore  # noqa: PLC0415  # adapters load only where chosen
    from shared.adapters.gcp.bus import PubSubBus  # noqa: PLC0415
    from shared.adapters.gcp.bus import connect as connect_bus  # noqa: PLC0415
    from shared.adapters.gcp.clients import default_project, firestore_client, storage_client  # noqa: PLC0415
    from shared.adapters.gcp.documents import expiry_after  # noqa: PLC0415
    from shared.adapters.gcp.jobs import CloudRunJobRunner  # noqa: PLC0415
    from shared.adapters.gcp.jobs import connect as connect_run  # noqa: PLC0415
    from shared.adapters.gcp.status import FirestoreStatusStore  # noqa: PLC0415

    project = settings.project or default_project()
    topics = {Topic.JOBS: settings.jobs_topic, Topic.EVENTS: settings.events_topic}
    jobs = {Accelerator.CPU: settings.cpu_job, Accelerator.GPU: settings.gpu_job}
    return Ports(
        CloudBlobStore(storage_client(project)),
        PubSubBus(connect_bus, topics, project),
        FirestoreStatusStore(
            firestore_client(project, settings.firestore_database), expiry=expiry_after(settings.record_days)
        ),
        CloudRunJobRunner(lambda: connect_run(settings.run_endpoint), jobs, project, settings.region),
    )


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
    return _directories({FILES_BUCKET: Path("/"), settings.models_bucket: settings.models_dir.resolve()})


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
    blobs = _directories(roots, settings.work_bucket, settings.results_bucket)
    store = SqliteStatusStore(layout.state / "status.sqlite", lambda: datetime.now(UTC))
    bus = EmbeddedBus(layout.events)
    runner = SubprocessJobRunner(
        [sys.executable, "-m", "jobs.inference.main"],
        task_variables(settings),
        layout.state / "logs",
        settings.local_parallel,
        settings.local_retries,
    )
    return LocalPorts(Ports(blobs, bus, store, runner), bus, runner)


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


def _directories(roots: dict[str, Path], *ours: str) -> BlobStore:
    """Folders as buckets; but for ours, they are other people's files, read where they lie."""
    from shared.adapters.local.blobs import DirectoryBlobStore  # noqa: PLC0415

    return DirectoryBlobStore(roots, frozenset(roots) - set(ours))
