"""What a report says, as plain values: the template draws it and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure, as text."""

    value: str
    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the reader should know."""

    message: str
    hint: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label's line.

    Attributes:
        key: Its place in the report, by which the map's points refer to it.
        colour: CSS class: ``c0`` … for the most common, ``other`` for the rest, ``none`` for unassigned cells.
        share: Of all cells, 0 to 1.
        unsure: Share of its cells whose score is below one half.
        ridge: SVG path of the distribution of its scores, in a box of 100 by 20.
        median_counts: None where the matrix holds no counts.
    """

    key: int
    name: str
    colour: str
    ontology_id: str
    cells: int
    share: float
    bar: float
    ridge: str
    median_score: float
    unsure: float
    median_genes: int
    median_counts: int | None


@dataclass(frozen=True, slots=True)
class Tail:
    """The labels that the overview leaves to the full table."""

    labels: int
    cells: int
    share: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A histogram as an SVG path, in a box of ``width`` by ``height``.

    Attributes:
        line_x: Where a vertical line marks a threshold; None for none.
        table: The same in words, for those who do not see it.
        undrawn: Why it could not be drawn; then nothing else is set.
    """

    width: int
    height: int
    path: str
    ticks: tuple[Tick, ...]
    line_x: float | None
    line_text: str
    table: str
    undrawn: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A cell on the map."""

    x: float
    y: float
    score: float
    title: str


@dataclass(frozen=True, slots=True)
class PointGroup:
    """The cells of one label on the map."""

    key: int
    name: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class MapText:
    """A label's name, written where its cells are; ``y`` is the first line's."""

    x: float
    y: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CellMap:
    """The map, in a box of ``width`` by ``height``."""

    width: int
    height: int
    groups: tuple[PointGroup, ...]
    texts: tuple[MapText, ...]
    n_points: int
    caption: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two labels that compete for the same cells.

    Attributes:
        share: Of the cells whose best guess is either.
    """

    first: str
    second: str
    cells: int
    share: float


@dataclass(frozen=True, slots=True)
class Fact:
    """A term and what there is to say of it."""

    term: str
    text: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code to copy."""

    title: str
    code: str


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file beside the report."""

    name: str
    size: str
    what: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """A whole report.

    Attributes:
        labels: Every label that occurs, most cells first, unassigned cells last.
        shown: How many of ``labels`` the overview shows; ``tail`` sums up the rest.
    """

    file_name: str
    headline: str
    lead: tuple[str, ...]
    figures: tuple[Figure, ...]
    notices: tuple[Notice, ...]
    remarks: tuple[Notice, ...]
    labels: tuple[LabelRow, ...]
    shown: tuple[LabelRow, ...]
    tail: Tail | None
    cell_map: CellMap | None
    no_map: str
    scores: Chart
    score_meaning: str
    confusions: tuple[Confusion, ...]
    genes: Chart
    counts: Chart | None
    method: tuple[Fact, ...]
    model: tuple[Fact, ...]
    snippets: tuple[Snippet, ...]
    files: tuple[ResultFile, ...]
    missing: tuple[Notice, ...]
    provenance: tuple[Fact, ...]
    made_at: datetime
