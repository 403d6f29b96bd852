"""The result of one check of `celldrop doctor`: its health, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        mend: How to fix it, as text; empty if all is well.
        run: The shell commands that fix it, in order.
    """

    name: str
    health: Health
    found: str
    mend: str = ""
    run: tuple[str, ...] = ()


class CloudCheck(StrEnum):
    """What is checked in a deployed pipeline. A check's name is one of these, followed by the resource's name."""

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
        """The name of this check for one resource."""
        return f"{self} {what}" if what else str(self)


@dataclass(frozen=True, slots=True)
class Fault:
    """One problem that a check found; a check may find several."""

    health: Health
    words: str
    mend: str = ""
    run: tuple[str, ...] = ()


def summed(name: str, found: str, faults: Iterable[Fault]) -> Check:
    """Combine faults into one check: the health of the worst, the texts of all, and each command once."""
    listed = list(faults)
    ranks = list(Health)
    return Check(
        name,
        max((fault.health for fault in listed), key=ranks.index, default=Health.OK),
        "; ".join([found, *(fault.words for fault in listed)]),
        " ".join(dict.fromkeys(fault.mend for fault in listed if fault.mend)),
        tuple(dict.fromkeys(command for fault in listed for command in fault.run)),
    )
