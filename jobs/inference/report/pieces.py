"""Figures and cross tables of the report, and the two sections that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure, as text."""

    value: str
    name: str
    note: str = ""


class CrossMark(StrEnum):
    """How row and column of a cross table agree, as a CSS class."""

    NONE = ""
    SAME = "same"
    """They mean the same."""
    DIFFERS = "differs"
    """They contradict each other."""
    UNCLEAR = "unclear"
    """It is not known."""


@dataclass(frozen=True, slots=True)
class CrossCell:
    """A field of the cross table.

    Attributes:
        share: Share of the row's cells, as text; empty if there are none.
        heat: The same as a number, 0 to 1.
        title: The field in words, with numbers of cells.
    """

    share: str
    heat: float
    title: str
    mark: CrossMark = CrossMark.NONE


@dataclass(frozen=True, slots=True)
class CrossRow:
    """The cells with one own label."""

    name: str
    cells: int
    fields: tuple[CrossCell, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the labels compare with those that the file had already.

    Attributes:
        column: The obs column.
        columns: The labels, in the order of each row's fields.
        note: What the table shows.
    """

    column: str
    figures: tuple[Figure, ...]
    sentences: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[CrossRow, ...]
    note: str


@dataclass(frozen=True, slots=True)
class CrossTable:
    """What the model and another one say of the same cells, rows that contradict each other most first.

    Attributes:
        model: The other model.
        columns: What it says, in the order of each row's fields.
        unknown: Which of the model's labels it does not know; empty if it knows all.
    """

    model: str
    columns: tuple[str, ...]
    rows: tuple[CrossRow, ...]
    unknown: str

    @property
    def unclear(self) -> bool:
        """Whether some rows and columns cannot be compared."""
        return any(field.mark is CrossMark.UNCLEAR for row in self.rows for field in row.fields)


@dataclass(frozen=True, slots=True)
class Disputed:
    """A label that another model contradicts, with its cells and those of which it does; ``share`` is theirs."""

    label: str
    cells: int
    disputed: int
    share: float


@dataclass(frozen=True, slots=True)
class Agreed:
    """A type that most models agree on, with its cells; ``share`` is that of all cells."""

    name: str
    cells: int
    share: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How several models agree.

    Attributes:
        lead: Which models, and how they vote.
        caution: Why their agreement proves less than it seems; empty if nothing is known.
        warnings: What else is to be known of the further models' answers for this file.
        consensus: What most models agree on, the most frequent types first.
        more: What is left out of it, as text.
    """

    lead: str
    caution: str
    warnings: tuple[str, ...]
    figures: tuple[Figure, ...]
    consensus: tuple[Agreed, ...]
    more: str
    disputed: tuple[Disputed, ...]
    tables: tuple[CrossTable, ...]
