"""One thing that `celldrop doctor` looked at: how it is, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        mend: What to do about it, in words; empty when all is well.
        run: The commands that do it, ready for a shell, in their order.
    """

    name: str
    health: Health
    found: str
    mend: str = ""
    run: tuple[str, ...] = ()


class CloudCheck(StrEnum):
    """What is looked at of a deployed pipeline; a check's name is one of these, and what it was looked at on."""

    CLIENTS = "google-clients"
    SETTINGS = "settings"
    CREDENTIALS = "credentials"
    PROJECT = "project"
    APART = "apart"
    PUSH_AUTH = "push-auth"
    STATUS_AUTH = "status-auth"
    RUN_ENDPOINT = "run-endpoint"
    BUCKET = "bucket"
    KEY = "key"
    LEFTOVERS = "leftovers"
    DROPS = "drops"
    REGION = "region"
    MODEL = "model"
    TOPIC = "topic"
    PUSH = "push"
    DEAD_LETTER = "dead-letter"
    READERS = "readers"
    FUNCTION = "function"
    DATABASE = "database"
    INDEX = "index"
    JOB = "job"
    ACCOUNT = "account"
    RIGHTS = "rights"

    def of(self, what: str) -> str:
        """A check's name."""
        return f"{self} {what}" if what else str(self)


@dataclass(frozen=True, slots=True)
class Fault:
    """One of several things that may be wrong with what a check looks at."""

    health: Health
    words: str
    mend: str = ""
    run: tuple[str, ...] = ()


def summed(name: str, found: str, faults: Iterable[Fault]) -> Check:
    """A check as healthy as its worst fault, which tells and mends them all; each command once."""
    listed = list(faults)
    ranks = list(Health)
    return Check(
        name,
        max((fault.health for fault in listed), key=ranks.index, default=Health.OK),
        "; ".join([found, *(fault.words for fault in listed)]),
        " ".join(dict.fromkeys(fault.mend for fault in listed if fault.mend)),
        tuple(dict.fromkeys(command for fault in listed for command in fault.run)),
    )
