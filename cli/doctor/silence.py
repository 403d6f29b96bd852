"""The check of a resource that could not be read: it is missing, access is denied, or nothing answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cli.doctor.check import Check, Health
from shared.ports.survey import Silence, Untold


@dataclass(frozen=True, slots=True)
class Remedy:
    """How to make a resource readable.

    Attributes:
        create: Commands that create the resource, if it is missing.
        correct: What to do if it is missing, as text.
        see: A command that grants the caller the right to see it.
        enable: A command that enables its API.
    """

    create: tuple[str, ...]
    correct: str
    see: str
    enable: str


def silent(name: str, untold: Untold, remedy: Remedy) -> Check:
    """The check of a resource that the pipeline needs and that could not be read."""
    words = f" ({untold.words})" if untold.words else ""
    wrong, warning = Health.WRONG, Health.WARNING
    health, found, mend, run = {
        Silence.MISSING: (wrong, "missing", remedy.correct, remedy.create),
        Silence.DENIED: (warning, f"not visible: access is denied{words}", MAY_LOOK, (remedy.see,)),
        Silence.DISABLED: (wrong, "the service's API is disabled in this project", SWITCH_ON, (remedy.enable,)),
        Silence.NOT_OFFERED: (warning, NOT_OFFERED, "", ()),
        Silence.REFUSED: (wrong, f"refused{words}", "Correct the setting that names it.", ()),
        Silence.UNREACHABLE: (wrong, f"no answer{words}", UNREACHABLE, ()),
        Silence.NOT_SET: (wrong, untold.words, "Fix the credentials and the project first.", ()),
    }[untold.why]
    return Check(name, health, found, mend, run)


def unseen(name: str, untold: Untold, remedy: Remedy) -> Check:
    """The check of a resource that the pipeline itself never reads. Unless it is missing, this is only a warning."""
    check = silent(name, untold, remedy)
    return check if untold.why is Silence.MISSING else replace(check, health=Health.WARNING)


NOT_OFFERED = "not available: this service does not support the query (emulators do not)"
MAY_LOOK = "Get the right to see it from the project's owner, then run `celldrop doctor` again."
SWITCH_ON = "Enable it; that takes some minutes."
UNREACHABLE = "Check the network between this machine and Google, then run `celldrop doctor` again."


def is_missing(answer: object) -> bool:
    """Whether the resource certainly does not exist."""
    return isinstance(answer, Untold) and answer.why is Silence.MISSING


def is_out(answer: object) -> bool:
    """Whether the resource is missing or did not answer; checks that depend on it then report nothing."""
    return isinstance(answer, Untold) and answer.why not in {Silence.DENIED, Silence.NOT_OFFERED}
