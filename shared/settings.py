"""The settings of every part, from CELLDROP_ variables and an .env file."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.domain.errors import SettingsError
from shared.domain.machine import Limits
from shared.domain.plan import Rates

REPOSITORY = Path(__file__).resolve().parent.parent


class Backend(StrEnum):
    """Which adapters stand behind the ports."""

    LOCAL = "local"


class Settings(BaseSettings):
    """Every setting, with its default; docs/reference/settings.md is made from this class."""

    model_config = SettingsConfigDict(env_prefix="CELLDROP_", env_file=".env", extra="ignore", frozen=True)

    backend: Backend = Field(Backend.LOCAL, description="Which adapters are used: `local` (nothing but Python).")
    home: Path = Field(Path("celldrop-out"), description="Embedded: the folder of results, inbox and state.")
    models_dir: Path = Field(REPOSITORY / "models", description="Embedded: the folder of model bundles, NAME/VERSION/.")
    default_model: str = Field(
        "pbmc-sorted", description="The model used where none is asked for, NAME or NAME@VERSION."
    )
    inbox_bucket: str = Field("inbox", description="The bucket that users drop files in.")
    models_bucket: str = Field("models", description="The bucket of model bundles.")
    work_bucket: str = Field("work", description="The bucket of parts, with a short lifecycle.")
    results_bucket: str = Field("results", description="The bucket of results.")
    max_input_bytes: int = Field(200 * 2**30, gt=0, description="A larger input is refused.")
    max_cells: int = Field(100_000_000, gt=0, description="An input with more cells is refused.")
    max_attempts: int = Field(3, ge=1, description="Dispatches of one submission before it has failed.")
    dispatch_lease_s: int = Field(60, gt=0, description="Seconds from dispatch to the first task's own record.")
    finalize_lease_s: int = Field(60, gt=0, description="Seconds a silent finalizer is waited for.")
    heartbeat_s: int = Field(30, gt=0, description="Seconds of silence after which a run that is not running is dead.")
    capacity_deadline_s: int = Field(6 * 3600, gt=0, description="Seconds to wait for the platform to have room.")
    backoff_s: float = Field(
        2.0, ge=0, description="Seconds before the third start of a submission; doubles with each, up to 20 times this."
    )
    task_timeout_s: int = Field(3600, gt=0, description="Seconds one task may take.")
    rows_per_task: int = Field(250_000, gt=0, description="Cells in one task, where no number of tasks is asked for.")
    max_tasks: int = Field(100, ge=1, description="Most tasks in one execution.")
    local_parallel: int = Field(2, ge=1, description="Embedded: task processes at a time.")
    local_retries: int = Field(3, ge=0, description="Embedded: retries of a failed task, as Cloud Run's.")
    port: int = Field(8080, ge=0, le=65535, description="Embedded: the port of `celldrop serve`, on loopback only.")
    log_format: str = Field("text", pattern="^(text|json)$", description="`json` for Cloud Logging, `text` for people.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="The least severe log shown.")

    @property
    def limits(self) -> Limits:
        """The state machine's limits."""
        return Limits(
            max_attempts=self.max_attempts,
            dispatch_lease=timedelta(seconds=self.dispatch_lease_s),
            finalize_lease=timedelta(seconds=self.finalize_lease_s),
            heartbeat=timedelta(seconds=self.heartbeat_s),
            capacity=timedelta(seconds=self.capacity_deadline_s),
            backoff=timedelta(seconds=self.backoff_s),
        )

    @property
    def rates(self) -> Rates:
        """The planner's numbers."""
        return Rates(max_tasks=self.max_tasks, rows_per_task=self.rows_per_task)


def load_settings(**overrides: object) -> Settings:
    """Read the settings once, at a composition root.

    Raises:
        SettingsError: One that is malformed, by name.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks every value
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "CELLDROP_" + "_".join(str(part) for part in first["loc"]).upper()
        hint = "Correct it in the environment or in the .env file; docs/reference/settings.md lists them all."
        raise SettingsError(f"{name}: {first['msg']}", hint=hint) from error
