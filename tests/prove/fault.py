"""One fault: how it is provoked, what the docs promise, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.prove.hands import Hands


@dataclass(frozen=True, slots=True)
class Found:
    """What became of it.

    Attributes:
        facts: Whatever the platform or the pipeline answered, by name.
    """

    agrees: bool
    words: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong, or that the platform does, and needs no privilege to be provoked.

    Attributes:
        expected: In the words of docs/reference/faults.md.
        rows: How the rows of that page begin that it stands for.
        only_at_google: No stand-in has what it needs.
    """

    name: str
    expected: str
    provoke: Callable[[Hands], Found]
    rows: tuple[str, ...] = ()
    only_at_google: bool = False


def ended(outcome: dict[str, Any], state: str, code: str | None = None, **facts: Any) -> Found:
    """Compare an outcome with what it ought to be."""
    words = ended_as(outcome)
    agrees = outcome["state"] == state and code in {None, outcome.get("code")}
    told = {key: outcome[key] for key in ("message", "hint") if outcome.get(key)}
    return Found(agrees, words, {**told, **facts})


def ended_as(outcome: dict[str, Any]) -> str:
    """State and code."""
    return " ".join(str(outcome[key]) for key in ("state", "code") if outcome.get(key))
