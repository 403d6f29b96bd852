"""What a task is told by its environment, as Cloud Run Jobs and our dispatch set it."""

from __future__ import annotations

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs.inference.task.protocol import TaskIdentity
from shared.domain.errors import SettingsError
from shared.domain.plan import Accelerator
from shared.faults import first_fault


class TaskEnvironment(BaseSettings):
    """The variables of one task attempt."""

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
        """Who this task is, for the protocol."""
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
        SettingsError: A variable is missing or malformed: not started by Cloud Run Jobs or its stand-in.
    """
    try:
        return TaskEnvironment()  # type: ignore[call-arg]  # pydantic-settings reads the fields from the environment
    except ValidationError as error:
        hint = "This program is started by dispatch; to annotate a file by hand use `celldrop run FILE`."
        raise SettingsError(str(first_fault(error)), hint=hint) from error
