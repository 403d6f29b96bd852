"""What to say of a thing that was not told: it is not there, it may not be seen, or nobody answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cli.doctor.check import Check, Health
from shared.ports.survey import Silence, Untold


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would have it told.

    Attributes:
        create: Commands that make the thing, where it is missing.
        correct: What else may be meant, where it is missing.
        see: A command that lets the caller look, where that is what is wanting.
        enable: A command that switches the service on.
    """

    create: tuple[str, ...]
    correct: str
    see: str
    enable: str


def silent(name: str, untold: Untold, remedy: Remedy) -> Check:
    """A check of what was not told."""
    words = f" ({untold.words})" if untold.words else ""
    wrong, warning = Health.WRONG, Health.WARNING
    health, found, mend, run = {
        Silence.MISSING: (wrong, "not there", remedy.correct, remedy.create),
        Silence.DENIED: (warning, f"not told: you may not look{words}", MAY_LOOK, (remedy.see,)),
        Silence.DISABLED: (wrong, "the service is switched off in this project", SWITCH_ON, (remedy.enable,)),
        Silence.NOT_OFFERED: (warning, NOT_OFFERED, "", ()),
        Silence.REFUSED: (wrong, f"refused{words}", "Correct the setting that names it.", ()),
        Silence.UNREACHABLE: (wrong, f"no answer{words}", UNREACHABLE, ()),
        Silence.NOT_SET: (wrong, untold.words, "Mend the credentials and the project first.", ()),
    }[untold.why]
    return Check(name, health, found, mend, run)


def unseen(name: str, untold: Untold, remedy: Remedy) -> Check:
    """The same of what the pipeline itself never asks: unless it is not there, nothing is wrong but our view of it."""
    check = silent(name, untold, remedy)
    return check if untold.why is Silence.MISSING else replace(check, health=Health.WARNING)


NOT_OFFERED = "not told: what answers here does not know the question, as an emulator does not"
MAY_LOOK = "Ask again with rights to look, which whoever owns the project can give."
SWITCH_ON = "Switch it on; that takes some minutes."
UNREACHABLE = "Look at the network between here and Google, and ask again."


def is_missing(answer: object) -> bool:
    """Whether it is certain that there is no such thing."""
    return isinstance(answer, Untold) and answer.why is Silence.MISSING


def is_out(answer: object) -> bool:
    """Whether there is no such thing, or nobody who would answer: what depends on it need not be told of as well."""
    return isinstance(answer, Untold) and answer.why not in {Silence.DENIED, Silence.NOT_OFFERED}
