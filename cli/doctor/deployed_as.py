"""What is deployed, a job or a function: whose image it is, and whether it is told what we are."""

from __future__ import annotations

from collections.abc import Mapping

from cli.doctor.commands import NOT_IN_JOBS
from shared.settings import Settings

PLACEHOLDER = "us-docker.pkg.dev/cloudrun/container/"
"""Google's samples, which many deploy first, to have something there."""


def other_values(settings: Settings, variables: Mapping[str, str]) -> dict[str, str]:
    """What its own variables say otherwise, as it would have to be."""
    ours = settings.model_dump(mode="json")
    return {
        variable: str(value)
        for name, value in ours.items()
        if name not in NOT_IN_JOBS and value is not None
        for variable in (f"CELLDROP_{name.upper()}",)
        if variables.get(variable, str(value)) != str(value)
    }
