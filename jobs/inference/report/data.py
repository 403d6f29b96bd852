"""The contents of a report, as plain values. The template only lays them out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.inference.report.clusters import ClusterTable
from jobs.inference.report.pieces import Agreement, Comparison, Figure


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning or remark.

    Attributes:
        calm: Whether it only tells something, and nothing is to be done.
    """

    message: str
    hint: str = ""
    code: str = ""
    calm: bool = False


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is said first: sentences on what is sure, what is not, and what to do."""

    sure: tuple[str, ...]
    unsure: tuple[str, ...]
    to_do: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label's row in the table.

    Attributes:
        key: Its position in the report, which the points of the map refer to.
        colour: CSS class: ``c0`` … for the most frequent labels, ``other`` for the rest, ``none`` for unassigned cells.
        share: Share of all cells, 0 to 1.
        bar: Length of its bar: its cells relative to the most frequent label's, 0 to 1.
        ridge: SVG path of the distribution of its scores, in a box of 100 by 20.
        unsure: Share of its cells with a score below 0.5.
        reliable: Share of its cells of which this label is reliable; None if that is not known.
        weak: Whether no gene sets its cells apart from those of every other label.
        unfamiliar: Share of its cells that are unlike the model's training cells; None if the model cannot tell.
        many_unfamiliar: Whether so many are that the label is doubtful.
        median_counts: None if the matrix has no counts.
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
    reliable: float | None
    weak: bool
    unfamiliar: float | None
    many_unfamiliar: bool
    median_genes: int
    median_counts: int | None


@dataclass(frozen=True, slots=True)
class Tail:
    """The sum of the labels that are only in the full table."""

    labels: int
    cells: int
    share: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick on an axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A histogram as an SVG path, in a box of ``width`` by ``height``.

    Attributes:
        line_x: The position of a vertical line for a threshold; None for no line.
        table: The same in words, for screen readers.
        undrawn: Why it could not be drawn. If set, all else is empty.
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
    """A cell on the map; ``sure`` says whether its label is reliable, or that is not known."""

    x: float
    y: float
    score: float
    title: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class PointGroup:
    """The cells of one label on the map."""

    key: int
    name: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class MapText:
    """A label's name on the map, at the median of its cells; ``y`` is that of the first line."""

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
class Dot:
    """A label's expression of a gene: a circle in the dot plot.

    Attributes:
        radius: Its area is in proportion to the share of the label's cells that express the gene.
        level: Mean expression as a share of the largest mean of the gene, 0 to 1.
    """

    x: float
    y: float
    radius: float
    level: float
    title: str


@dataclass(frozen=True, slots=True)
class DotRow:
    """A label's row in the dot plot.

    Attributes:
        own_x: Where the genes that were chosen for this label begin; ``own_width`` is 0 if there are none.
    """

    key: int
    name: str
    colour: str
    y: float
    own_x: float
    own_width: float


@dataclass(frozen=True, slots=True)
class DotPlot:
    """A dot plot of labels and genes, in a box of ``width`` by ``height`` with the genes' names on top."""

    width: int
    height: int
    row_height: int
    rows: tuple[DotRow, ...]
    genes: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    sizes: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class SpeakingGene:
    """A gene that speaks for a label, as text; ``rest`` is what the label's cells are compared with."""

    name: str
    how: str
    contribution: str
    share: str
    share_rest: str
    mean: str
    mean_rest: str


@dataclass(frozen=True, slots=True)
class Speaking:
    """What speaks for a label.

    Attributes:
        text: The genes in words.
        weak: What makes the evidence weak; empty if it is not.
    """

    key: int
    name: str
    colour: str
    text: str
    genes: tuple[SpeakingGene, ...]
    weak: str = ""


@dataclass(frozen=True, slots=True)
class Reasons:
    """The section on the genes that spoke for the labels.

    Attributes:
        plot: None if there is nothing to draw.
        note: How it was computed, and what is left out.
        weak: Which labels have weak evidence, and why; empty if none has.
        weak_labels: The names of these labels.
        undrawn: Why the section could not be made. If set, all else is empty.
    """

    plot: DotPlot | None
    labels: tuple[Speaking, ...]
    note: str
    weak: str = ""
    weak_labels: tuple[str, ...] = ()
    undrawn: str = ""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two labels that compete for the same cells.

    Attributes:
        cells: Number of cells for which one label is close behind the other.
        share: Their share of the cells with either label as best guess.
    """

    first: str
    second: str
    cells: int
    share: float


@dataclass(frozen=True, slots=True)
class Fact:
    """A term with its description."""

    term: str
    text: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code to copy."""

    title: str
    code: str


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result file listed in the report."""

    name: str
    size: str
    what: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """A whole report.

    Attributes:
        labels: Every label that occurs, most cells first, unassigned cells last.
        shown: How many of ``labels`` the overview shows; ``tail`` sums up the rest.
        agreement: How several models agree; None if there is one only.
    """

    file_name: str
    headline: str
    lead: tuple[str, ...]
    assessment: Assessment
    figures: tuple[Figure, ...]
    notices: tuple[Notice, ...]
    remarks: tuple[Notice, ...]
    labels: tuple[LabelRow, ...]
    shown: tuple[LabelRow, ...]
    tail: Tail | None
    cell_map: CellMap | None
    no_map: str
    reasons: Reasons | None
    comparison: Comparison | None
    agreement: Agreement | None
    scores: Chart
    score_meaning: str
    confusions: tuple[Confusion, ...]
    clusters: ClusterTable | None
    genes: Chart
    counts: Chart | None
    mitochondria: str
    method: tuple[Fact, ...]
    model: tuple[Fact, ...]
    snippets: tuple[Snippet, ...]
    files: tuple[ResultFile, ...]
    missing: tuple[Notice, ...]
    provenance: tuple[Fact, ...]
    made_at: datetime

    @property
    def can_tell_unfamiliar(self) -> bool:
        """Whether it is known which cells are unlike the model's training cells."""
        return any(row.unfamiliar is not None for row in self.labels)

    @property
    def can_tell_reliable(self) -> bool:
        """Whether it is known of which cells the label is reliable."""
        return any(row.reliable is not None for row in self.labels)

    @property
    def any_reliable(self) -> bool:
        """Whether the label of any cell is reliable."""
        return any(row.reliable for row in self.labels)
