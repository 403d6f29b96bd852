"""The environment variables of a task, set by Cloud Run Jobs and by dispatch."""

from __future__ import annotations

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.inference.task.protocol import TaskIdentity
from shared.domain.errors import SettingsError
from shared.domain.plan import Accelerator
from shared.faults import first_fault


class TaskEnvironment(BaseSettings):
    """The environment variables of one task attempt."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    index: int = Field(ge=0, validation_alias="CLOUD_RUN_TASK_INDEX")
    count: int = Field(ge=1, validation_alias="CLOUD_RUN_TASK_COUNT")
    attempt: int = Field(ge=0, validation_alias="CLOUD_RUN_TASK_ATTEMPT")
    execution: str = Field(min_length=1, validation_alias="CLOUD_RUN_EXECUTION")
    submission_id: str = Field(min_length=1, validation_alias="CELLDROP_SUBMISSION_ID")
    epoch: int = Field(ge=1, validation_alias="CELLDROP_EPOCH")
    finalize_only: bool = Field(default=False, validation_alias="CELLDROP_FINALIZE_ONLY")
    accelerator: Accelerator = Field(default=Accelerator.CPU, validation_alias="CELLDROP_ACCELERATOR")
    log: str = Field(default="", validation_alias="CELLDROP_TASK_LOG")
    die_with_parent: bool = Field(default=False, validation_alias="CELLDROP_DIE_WITH_PARENT")

    @property
    def identity(self) -> TaskIdentity:
        """The identity of this task, for the protocol."""
        return TaskIdentity(
            self.submission_id,
            self.epoch,
            self.index,
            self.count,
            self.attempt,
            self.execution,
            self.finalize_only,
            self.log or f'gcloud logging read \'labels."run.googleapis.com/execution_name"="{self.execution}"\'',
        )


def task_environment() -> TaskEnvironment:
    """Read the environment of this process.

    Raises:
        SettingsError: A variable is missing or malformed, so Cloud Run Jobs or the local runner did not start it.
    """
    try:
        return TaskEnvironment()  # type: ignore[call-arg]  # pydantic-settings reads the fields from the environment
    except ValidationError as error:
        hint = "Dispatch starts this program. To annotate a file yourself, use `celldrop run FILE`."
        raise SettingsError(str(first_fault(error)), hint=hint) from error
