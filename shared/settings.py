"""The settings of every part, from CELLDROP_ variables and an .env file."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.domain.errors import SettingsError
from shared.domain.limits import Limits
from shared.domain.plan import Fleet, Pool
from shared.domain.prices import TIER_1, Shape
from shared.domain.rates import RATES
from shared.faults import first_fault

REPOSITORY = Path(__file__).resolve().parent.parent

ENV_FILE = "CELLDROP_ENV_FILE"
"""The variable that names the .env file, where it is not that of the working folder."""


class Backend(StrEnum):
    """Which adapters stand behind the ports."""

    LOCAL = "local"
    GCP = "gcp"


class PushAuth(StrEnum):
    """Who checks those who push: events, messages, the scheduler."""

    OIDC = "oidc"
    """We do, by their Google identity token."""
    PLATFORM = "platform"
    """Cloud Run's IAM alone, or nobody: on emulators."""


class StatusAuth(StrEnum):
    """Who checks those who look things up over HTTP."""

    PLATFORM = "platform"
    """Cloud Run's IAM; embedded, the loopback address."""
    OIDC = "oidc"
    """We do, by their Google identity token."""


class Settings(BaseSettings):
    """Every setting, with its default; docs/reference/settings.md is made from this class."""

    model_config = SettingsConfigDict(env_prefix="CELLDROP_", env_file=".env", extra="ignore", frozen=True)

    backend: Backend = Field(
        Backend.LOCAL, description="`local`: this machine, nothing but Python; `gcp`: Google Cloud."
    )
    home: Path = Field(Path("celldrop-out"), description="Embedded: the folder of results, inbox and state.")
    models_dir: Path = Field(
        REPOSITORY / "models",
        description="Embedded: the folder of model bundles, NAME/VERSION/; otherwise that of the checkout.",
    )
    added_models_dir: Path | None = Field(
        None,
        description="Embedded: the folder of the models that `celldrop models add` gets, which are found beside those "
        "of the models folder; otherwise `celldrop/models` in $XDG_DATA_HOME or in `~/.local/share`.",
    )
    catalogues: str = Field(
        "https://celltypist.cog.sanger.ac.uk/models/models.json",
        description="Where `celldrop models search` and `add` find models, separated by commas: the https address of "
        "an index, CellTypist's or celldrop's own; a folder of bundles; or `gs://BUCKET/PREFIX`.",
    )
    max_model_bytes: int = Field(2 * 10**9, gt=0, description="`celldrop models add` downloads no larger file.")
    default_model: str = Field("pbmc", description="The model used where none is asked for, NAME or NAME@VERSION.")
    inbox_bucket: str = Field("inbox", description="The bucket that users drop files in.")
    models_bucket: str = Field("models", description="The bucket of model bundles.")
    work_bucket: str = Field("work", description="The bucket of parts, with a short lifecycle.")
    results_bucket: str = Field("results", description="The bucket of results.")
    max_input_bytes: int = Field(200 * 2**30, gt=0, description="A larger input is refused.")
    max_cells: int = Field(100_000_000, gt=0, description="An input with more cells is refused.")
    max_attempts: int = Field(3, ge=1, description="Attempts before a submission fails.")
    max_epochs: int = Field(50, ge=1, description="Starts of one submission, interrupted ones too, before it fails.")
    dispatch_lease_s: int = Field(
        0, ge=0, description="Seconds that a start may take before it is repeated; 0: local 60, gcp 120."
    )
    finalize_lease_s: int = Field(
        0, ge=0, description="Seconds without a heartbeat after which a finalizer is replaced; 0: local 60, gcp 300."
    )
    heartbeat_s: int = Field(
        0, ge=0, description="Seconds of silence after which a run that is not running is dead; 0: local 30, gcp 120."
    )
    capacity_deadline_s: int = Field(6 * 3600, gt=0, description="Seconds to wait for the platform to have room.")
    backoff_s: float | None = Field(
        None, ge=0, description="Seconds before a submission's third start; doubles, to 20 times this. Local 2, gcp 30."
    )
    ingest_timeout_s: int = Field(
        120,
        ge=20,
        le=1500,
        description="GCP: seconds that Cloud Run gives one delivery to ingest; it gives up before that.",
    )
    task_timeout_s: int = Field(3600, gt=0, description="Seconds one task may take.")
    reconcile_s: int = Field(
        0,
        ge=0,
        description="Seconds one pass of reconcile may take, below the function's timeout; 0: local 10, gcp 210.",
    )
    rows_per_task: int = Field(
        250_000, gt=0, description="Most cells in one task, where no number of them is asked for."
    )
    max_tasks: int = Field(100, ge=1, description="Most tasks of one execution, where fewer would each take too long.")
    deadline_s: float = Field(600.0, gt=0, description="Seconds that a plan may take where no objective is asked for.")
    cpu_vcpus: int = Field(4, ge=1, description="GCP: vCPUs of a task of the CPU job, for the planner.")
    cpu_memory_mib: int = Field(8192, ge=512, description="GCP: memory of a task of the CPU job, for the planner.")
    cpu_parallel: int = Field(20, ge=1, description="GCP: most tasks of one execution on CPUs, which all run at once.")
    gpu_vcpus: int = Field(4, ge=1, description="GCP: vCPUs of a task of the GPU job, for the planner.")
    gpu_memory_mib: int = Field(16384, ge=512, description="GCP: memory of a task of the GPU job, for the planner.")
    gpu_parallel: int = Field(3, ge=1, description="GCP: most tasks of one execution on GPUs, which all run at once.")
    local_parallel: int = Field(2, ge=1, description="Embedded: task processes at a time.")
    task_memory_mib: int = Field(
        0, ge=0, description="Embedded: memory that a task process may take; 0: its share of most of this machine's."
    )
    local_retries: int = Field(3, ge=0, description="Embedded: retries of a failed task, as Cloud Run's.")
    port: int = Field(8080, ge=0, le=65535, description="Embedded: the port of `celldrop serve`, on loopback only.")
    project: str = Field("", description="GCP: the project; empty: the one that the credentials belong to.")
    region: str = Field("us-central1", description="GCP: the region of the jobs.")
    firestore_database: str = Field("(default)", description="GCP: the Firestore database.")
    record_days: int = Field(
        0, ge=0, description="GCP: days from a submission's last change to the removal of its record; 0: kept."
    )
    allowed_buckets: str = Field(
        "", description="Buckets that requests may name, separated by commas; empty: only the inbox."
    )
    jobs_topic: str = Field("celldrop-jobs", description="GCP: the Pub/Sub topic of job messages.")
    events_topic: str = Field("celldrop-events", description="GCP: the Pub/Sub topic of events.")
    requests_topic: str = Field("celldrop-requests", description="GCP: the Pub/Sub topic of other systems' requests.")
    cpu_job: str = Field("celldrop-cpu", description="GCP: the Cloud Run job that computes on CPUs.")
    gpu_job: str = Field(
        "celldrop-gpu", description="GCP: the Cloud Run job that computes on a GPU; empty: there is none."
    )
    run_endpoint: str = Field("", description="GCP: another address of the Cloud Run API, http://HOST:PORT, for tests.")
    push_auth: PushAuth = Field(
        PushAuth.OIDC, description="GCP: `oidc` checks who pushes; `platform` leaves it to IAM."
    )
    push_audience: str = Field("", description="GCP: the audience that pushed tokens must name.")
    push_accounts: str = Field(
        "", description="GCP: e-mail addresses of the accounts that may push, separated by commas."
    )
    status_auth: StatusAuth = Field(StatusAuth.PLATFORM, description="`oidc`: status checks callers in code as well.")
    status_audience: str = Field("", description="The audience that callers' tokens must name.")
    status_accounts: str = Field(
        "", description="E-mail addresses or @domains that may call status, separated by commas."
    )
    log_format: str = Field(
        "", pattern="^(text|json)?$", description="`json` for Cloud Logging, `text` for people; empty: json on gcp."
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="The least severe log shown.")

    @property
    def limits(self) -> Limits:
        """The state machine's limits; what is not set fits the backend."""
        usual = _USUAL[self.backend]
        return Limits(
            max_attempts=self.max_attempts,
            max_epochs=self.max_epochs,
            dispatch_lease=_seconds(self.dispatch_lease_s) or usual.dispatch_lease,
            finalize_lease=_seconds(self.finalize_lease_s) or usual.finalize_lease,
            heartbeat=_seconds(self.heartbeat_s) or usual.heartbeat,
            capacity=_seconds(self.capacity_deadline_s),
            backoff=usual.backoff if self.backoff_s is None else _seconds(self.backoff_s),
        )

    @property
    def added_models(self) -> Path:
        """The folder of added models, which need not exist."""
        if self.added_models_dir is not None:
            return self.added_models_dir
        data = os.environ.get("XDG_DATA_HOME", "")
        # As the specification says, a relative path there is ignored.
        above = Path(data) if Path(data).is_absolute() else Path("~/.local/share")
        return Path(os.path.expanduser(above / "celldrop" / "models"))  # noqa: PTH111  # Path's own fails without a home

    @property
    def pass_s(self) -> float:
        """Seconds that one pass of reconcile may take. What it then works on takes some seconds more."""
        return self.reconcile_s or (210 if self.backend is Backend.GCP else 10)

    @property
    def log_style(self) -> str:
        """``json`` or ``text``."""
        return self.log_format or ("json" if self.backend is Backend.GCP else "text")

    @property
    def drop_buckets(self) -> frozenset[str]:
        """The buckets that files are taken from."""
        return frozenset({self.inbox_bucket, *listed(self.allowed_buckets)})

    @property
    def fleet(self) -> Fleet:
        """What plans are made for.

        Embedded, nothing is billed, nobody starts a container, and tasks share the machine's cores: two at a time are
        no faster than one after the other.
        """
        embedded = self.backend is Backend.LOCAL
        cpu = Shape(os.cpu_count() or 1, 0) if embedded else Shape(self.cpu_vcpus, self.cpu_memory_mib)
        gpu = Pool(Shape(self.gpu_vcpus, self.gpu_memory_mib, gpus=1), self.gpu_parallel)
        return Fleet(
            cpu=Pool(cpu, 1, waits=True) if embedded else Pool(cpu, self.cpu_parallel),
            gpu=gpu if self.gpu_job and not embedded else None,
            prices=None if embedded else TIER_1,
            rates=replace(RATES, platform_start_s=0.0) if embedded else RATES,
            max_tasks=self.max_tasks,
            rows_per_task=self.rows_per_task,
            task_timeout_s=self.task_timeout_s,
            deadline_s=self.deadline_s,
        )


def listed(text: str) -> list[str]:
    """The values of a setting that holds several, separated by commas."""
    return [value.strip() for value in text.split(",") if value.strip()]


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


_USUAL = {
    # Embedded, a start takes a second and whoever waits sits before the screen.
    Backend.LOCAL: Limits(
        dispatch_lease=_seconds(60), finalize_lease=_seconds(60), heartbeat=_seconds(30), backoff=_seconds(2)
    ),
    # In the cloud an instance may be slow or paused; an execution that is known to run is never given up by its lease.
    Backend.GCP: Limits(
        dispatch_lease=_seconds(120), finalize_lease=_seconds(300), heartbeat=_seconds(120), backoff=_seconds(30)
    ),
}


def load_settings(**overrides: object) -> Settings:
    """Read the settings once, at a composition root.

    Raises:
        SettingsError: One that is malformed, by name, or the .env file that was named is not there.
    """
    try:
        return Settings(**{"_env_file": _env_file(), **overrides})  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        fault = first_fault(error)
        hint = "Correct it in the environment or in the .env file; docs/reference/settings.md lists them all."
        raise SettingsError(f"CELLDROP_{fault.place.upper()}: {fault.reason}", hint=hint) from error


def _env_file() -> str:
    named = os.environ.get(ENV_FILE, "")
    if named and not Path(named).is_file():
        hint = "Mount it, or unset the variable; without it, the .env file of the working folder is read."
        raise SettingsError(f"{ENV_FILE} names a file that is not there", where=named, hint=hint)
    return named or ".env"
