"""What a job and a function may both be wrong in: image, account, and whether they are told what we are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cli.doctor.check import Fault, Health
from cli.doctor.commands import NOT_IN_JOBS
from shared.ports.survey import FunctionFacts, JobFacts
from shared.settings import Settings

PLACEHOLDER = "us-docker.pkg.dev/cloudrun/container/"
"""Google's samples, which many deploy first, to have something there."""


def image_faults(facts: JobFacts | FunctionFacts, look: str) -> Iterator[Fault]:
    """What is wrong with the image, or keeps it from being used.

    Args:
        look: The command that shows what is deployed.
    """
    if facts.trouble:
        yield Fault(Health.WRONG, f"not ready: {facts.trouble}", "Look at what is deployed.", (look,))
    if facts.image.startswith(PLACEHOLDER):
        yield Fault(Health.WRONG, "the image is Google's sample", "Deploy celldrop's own.", (look,))


def account_faults(facts: JobFacts | FunctionFacts, mend: str, give: str) -> Iterator[Fault]:
    """Whether it has an account of its own; ``give`` is the command that gives it one."""
    if not facts.account:
        words = "it runs as the project's default account, which may do more than it needs, or less"
        yield Fault(Health.WARNING, words, mend, (give,))


def variable_faults(
    settings: Settings, facts: JobFacts | FunctionFacts, what: str, tell: Callable[[Mapping[str, str]], str]
) -> Iterator[Fault]:
    """Whether it is told what we are; ``tell`` makes the command that tells it other values."""
    others = _other_values(settings, facts.variables)
    if others:
        words = f"it is told otherwise than we are: {', '.join(others)}"
        yield Fault(Health.WRONG, words, f"Have the {what} and this environment say the same.", (tell(others),))


def _other_values(settings: Settings, variables: Mapping[str, str]) -> dict[str, str]:
    """What its own variables say otherwise, as it would have to be."""
    ours = settings.model_dump(mode="json")
    return {
        variable: str(value)
        for name, value in ours.items()
        if name not in NOT_IN_JOBS and value is not None
        for variable in (f"CELLDROP_{name.upper()}",)
        if variables.get(variable, str(value)) != str(value)
    }
