"""The options of a submission, parsed from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.errors import InvalidOptionError
from shared.domain.plan import Objective

ERROR_RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
"""The error rates that labels can be reliable at."""


MOST_OTHERS = 4
"""The most models of a consensus beside the model itself."""
AUTO, ON, OFF = "auto", "on", "off"
"""Instead of a column's name."""


class Scores(StrEnum):
    """How much of the probability matrix is written."""

    TOP = "top"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one submission, with their defaults; ``UNSET`` says what None means.

    Attributes:
        model: The model, by its name, by name and version, or by the digest of its bundle.
        matrix: The matrix to read. A file can have several: X, raw, and layers.
        scores: ``top`` writes the best labels, ``full`` also the whole probability matrix.
        tasks: How many tasks share the work.
        objective: ``deadline`` is the cheapest plan within the deployment's deadline, or the fastest if none meets it.
        top_k: How many labels to list for each cell.
        min_score: A cell whose best score is lower is left Unassigned.
        composition: Whether scores are corrected to the shares of the labels in this sample, if the model can be.
        max_error: The share of reliable labels that may be wrong, among cells like those held out of the training.
        clusters: The groups of similar cells that vote on a label. ``on`` finds them by expression, ``auto`` likewise
            for at most a million cells and unless the matrix is stored by columns, ``off`` finds none; any other text
            names the obs column to take them from.
        samples: The obs column that names samples: the shares of the labels, and from which score on they are reliable,
            are estimated for each.
        map: Whether the report has a 2-D map of the cells.
        pseudobulk: Whether to sum the counts by label, or by label and an obs column; ``on`` uses that of ``samples``.
        truth: The obs column whose labels the results are compared with; ``off`` compares with none.
        cas: Whether to write scores of Cell Ontology terms too, as Cellarium CAS gives them to its client. The model's
            labels must have such terms.
        consensus: Further models that label the same cells in the same pass, for a consensus of all. The other results
            stay those of the model.
        orthologues: Whether cells of mouse may be annotated by a model of human, or the other way round, by genes that
            are one-to-one orthologues. No label is called reliable then.
    """

    model: str | None = None
    matrix: str | None = None
    scores: Scores = Scores.TOP
    tasks: int | None = None
    top_k: int = 5
    min_score: float | None = None
    composition: bool = True
    max_error: float = 0.05
    clusters: str = AUTO
    samples: str | None = None
    map: bool = True
    objective: Objective = Objective.DEADLINE
    pseudobulk: str = OFF
    truth: str | None = None
    cas: bool = False
    consensus: tuple[str, ...] = ()
    orthologues: bool = False

    @property
    def columns(self) -> dict[str, str]:
        """The obs columns that options name, by option. Each must group the cells, or the file is refused."""
        own = None if self.pseudobulk in {ON, OFF} else self.pseudobulk
        named = {
            "truth": self.truth_column,
            "clusters": self.cluster_column,
            "samples": self.samples,
            "pseudobulk": own,
        }
        return {option: column for option, column in named.items() if column is not None}

    @property
    def pseudobulk_column(self) -> str | None:
        """The obs column that tells samples apart in pseudobulk, if any: its own, or that of ``samples``."""
        return self.samples if self.pseudobulk in {ON, OFF} else self.pseudobulk

    @property
    def truth_column(self) -> str | None:
        """The obs column whose labels the results are compared with, if one is requested."""
        return None if self.truth in {None, OFF} else self.truth

    @property
    def cluster_column(self) -> str | None:
        """The obs column with the clusters, if one is requested."""
        return None if self.clusters in {AUTO, ON, OFF} else self.clusters


UNSET: Mapping[str, str] = {
    "model": "the deployment's default model (`CELLDROP_DEFAULT_MODEL`)",
    "matrix": "chosen by its values",
    "tasks": "decided by the plan",
    "min_score": "the model's own threshold, if it has one",
    "samples": "all cells are one sample",
    "truth": "looked for by its name",
    "consensus": "none: the model alone",
}
"""What happens without an option that has no default value."""


@dataclass(frozen=True, slots=True)
class Parser:
    """How one option is parsed, and its allowed values as text."""

    takes: str
    parse: Callable[[str], object]


def _whole(low: int, high: int) -> Parser:
    return Parser(f"a whole number from {low} to {high}", lambda text: _within(int(text), low, high))


def _within(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError(text)
    return value


def _short(text: str) -> str:
    if not 1 <= len(text) <= 200:
        raise ValueError(text)
    return text


def _models(text: str) -> tuple[str, ...]:
    names = tuple(_short(name.strip()) for name in text.split(",", MOST_OTHERS - 1))
    if any("," in name for name in names) or len(set(names)) < len(names):
        raise ValueError(text)
    return names


_SWITCH = Parser("on or off", lambda text: {"on": True, "off": False}[text])

PARSERS: Mapping[str, Parser] = {
    "model": Parser("NAME, NAME@VERSION or sha256:DIGEST", _short),
    "matrix": Parser("X, raw or layers/NAME", _short),
    "scores": Parser("top or full", Scores),
    "tasks": _whole(1, 10_000),
    "top_k": _whole(1, 100),
    "min_score": Parser("a number from 0 to 1", _fraction),
    "objective": Parser("cheapest, fastest or deadline", Objective),
    "composition": _SWITCH,
    "max_error": Parser("0.01, 0.02, 0.05, 0.1 or 0.2", lambda text: ERROR_RATES[ERROR_RATES.index(float(text))]),
    "clusters": Parser("auto, on, off or the name of an obs column", _short),
    "samples": Parser("the name of an obs column", _short),
    "map": _SWITCH,
    "pseudobulk": Parser("off, on, or the name of an obs column", _short),
    "truth": Parser("the name of an obs column, or off", _short),
    "cas": _SWITCH,
    "consensus": Parser(f"1 to {MOST_OTHERS} other models, each once, with commas between them", _models),
    "orthologues": _SWITCH,
}


def parse_options(requested: Mapping[str, str]) -> Options:
    """Parse and check every option.

    Raises:
        InvalidOptionError: An option's name is unknown, or its value is out of range.
    """
    values: dict[str, object] = {}
    for name, text in requested.items():
        parser = PARSERS.get(name)
        if parser is None:
            known = ", ".join(PARSERS)
            raise InvalidOptionError(f"unknown option {name!r}", expected=f"one of {known}", hint="Check the spelling.")
        try:
            values[name] = parser.parse(text)
        except (ValueError, KeyError) as error:
            raise InvalidOptionError(
                f"option {name}={text!r}", expected=parser.takes, hint=f"Set {name} again."
            ) from error
    return Options(**values)  # type: ignore[arg-type]  # PARSERS gives each field its type, which a test checks
