"""The options a submission can ask for, read from text and kept as requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from shared.domain.errors import InvalidOptionError


class Scores(StrEnum):
    """How much of the probability matrix is written."""

    TOP = "top"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; None and the defaults mean: choose well.

    Attributes:
        model: ``NAME``, ``NAME@VERSION`` or ``sha256:DIGEST``; None takes the deployment's default.
        matrix: ``X``, ``raw`` or ``layers/NAME``; None lets the evidence choose.
        scores: ``top`` writes the best labels, ``full`` also the whole probability matrix.
        tasks: How many tasks share the work.
        top_k: Labels listed for each cell.
        min_score: A cell whose best score is below abstains; None takes the model's own threshold.
        map: Whether the report has a 2-D map of the cells.
    """

    model: str | None = None
    matrix: str | None = None
    scores: Scores = Scores.TOP
    tasks: int | None = None
    top_k: int = 5
    min_score: float | None = None
    map: bool = True


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            msg = f"a whole number from {low} to {high}"
            raise ValueError(msg)
        return value

    parse.__doc__ = f"a whole number from {low} to {high}"
    return parse


def _fraction(text: str) -> float:
    """A number from 0 to 1"""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError(text)
    return value


def _text(text: str) -> str:
    """1 to 200 characters"""
    if not 1 <= len(text) <= 200:
        raise ValueError(text)
    return text


def _scores(text: str) -> Scores:
    """Top or full"""
    return Scores(text)


def _switch(text: str) -> bool:
    """On or off"""
    return {"on": True, "off": False}[text]


PARSERS: Mapping[str, Callable[[str], object]] = {
    "model": _text,
    "matrix": _text,
    "scores": _scores,
    "tasks": _whole(1, 10_000),
    "top_k": _whole(1, 100),
    "min_score": _fraction,
    "map": _switch,
}
"""One parser an option; its docstring says what it takes."""


def parse_options(requested: Mapping[str, str]) -> Options:
    """Check every option and turn it into its type.

    Raises:
        InvalidOptionError: An unknown name or a value out of range.
    """
    values: dict[str, object] = {}
    for name, text in requested.items():
        parser = PARSERS.get(name)
        if parser is None:
            known = ", ".join(field.name for field in fields(Options))
            raise InvalidOptionError(f"unknown option {name!r}", expected=f"one of {known}", hint="Check the spelling.")
        try:
            values[name] = parser(text)
        except (ValueError, KeyError) as error:
            expected = parser.__doc__ or ""
            raise InvalidOptionError(f"option {name}={text!r}", expected=expected, hint=f"Set {name} again.") from error
    return Options(**values)  # type: ignore[arg-type]  # PARSERS has the types of the fields: a test holds them together
