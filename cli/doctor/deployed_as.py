"""Faults that jobs and functions have in common: image, account, and environment variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cli.doctor.check import Fault, Health
from cli.doctor.commands import NOT_IN_JOBS
from shared.ports.survey import FunctionFacts, JobFacts
from shared.settings import Settings

PLACEHOLDER = "us-docker.pkg.dev/cloudrun/container/"
"""Google's sample images, which many deploy first as a placeholder."""


def image_faults(facts: JobFacts | FunctionFacts, look: str) -> Iterator[Fault]:
    """The faults of the image, or of its deployment.

    Args:
        look: The command that shows what is deployed.
    """
    if facts.trouble:
        yield Fault(Health.WRONG, f"not ready: {facts.trouble}", "Check what is deployed.", (look,))
    if facts.image.startswith(PLACEHOLDER):
        yield Fault(Health.WRONG, "the image is Google's sample", "Deploy celldrop's own.", (look,))


def account_faults(facts: JobFacts | FunctionFacts, mend: str, give: str) -> Iterator[Fault]:
    """The fault of having no account of its own; the command ``give`` sets one."""
    if not facts.account:
        words = "it runs as the project's default account, which may have too many permissions or too few"
        yield Fault(Health.WARNING, words, mend, (give,))


def variable_faults(
    settings: Settings, facts: JobFacts | FunctionFacts, what: str, set_variables: Callable[[Mapping[str, str]], str]
) -> Iterator[Fault]:
    """The fault of having other settings than this environment; ``set_variables`` makes the command that sets them."""
    others = _other_values(settings, facts.variables)
    if others:
        words = f"its settings differ from this environment: {', '.join(others)}"
        mend = f"Set the same values in the {what} and in this environment."
        yield Fault(Health.WRONG, words, mend, (set_variables(others),))


def _other_values(settings: Settings, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that differ from this environment, with this environment's values."""
    ours = settings.model_dump(mode="json")
    return {
        variable: str(value)
        for name, value in ours.items()
        if name not in NOT_IN_JOBS and value is not None
        for variable in (f"CELLDROP_{name.upper()}",)
        if variables.get(variable, str(value)) != str(value)
    }
