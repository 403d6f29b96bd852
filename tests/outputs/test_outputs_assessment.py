"""What the report says first, sentence by sentence: known counts give known words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from jobs.engine.levels import Level
from jobs.inference.merge.calls import Vocabulary
from jobs.inference.merge.cross_table import CrossTable
from jobs.inference.merge.own_labels import NoOwnLabels, OwnLabels
from jobs.inference.merge.tally import Tally, log_bins
from jobs.inference.outputs.reading_findings import findings_of
from jobs.inference.report.assessment import assess
from jobs.inference.report.clusters import ClusterTable
from jobs.inference.report.data import Assessment, LabelRow
from shared.bundles.aligning import How, Meaning
from shared.bundles.card import UNASSIGNED, Familiarity, Features, Label, ModelCard, Reliability
from shared.bundles.groups import Group
from shared.h5ad.judge.cautions import WarningCode
from tests.engine.cards import make_card, make_neighbours, make_neural

NAMES = ("helper", "memory", "B cell", "NK cell")
LABELS = tuple(Label(name=name, lineage=name if " " in name else "T cell") for name in NAMES)
TREE = (Group(name="T cell", labels=("helper", "memory")), Group(name="lymphocyte", labels=NAMES[:3]))
FAMILIARITY = Familiarity(
    genes=Features(symbol=("X1", "X2")), typical_total=1000, spread=0.01, threshold=3.0, false_alarm=0.025
)
RELIABILITY = Reliability(error=0.05, label_score=0.7, lineage_score=0.5)
COUNT = (
    "Count and compare cells by celldrop_reliable_label (reliable_label in the tables): it says no more than is "
    "reliable. celldrop_label is the best guess for every cell."
)


def card(*, tree: bool = False, **fields: object) -> ModelCard:
    known = {"activation": "softmax", "labels": LABELS, "familiarity": FAMILIARITY, "reliability": (RELIABILITY,)}
    return make_card(4, 3, **(known | ({"tree": TREE} if tree else {}) | fields))


def tally(n_cells: int = 1_000, *, unfamiliar: int = 0, looked: int | None = None, **levels: int) -> Tally:
    """Counts of cells by level of their reliable label; of the rest, nothing is reliable."""
    found = Tally(Vocabulary(LABELS, TREE), n_cells=n_cells, n_looked=n_cells if looked is None else looked)
    found.unfamiliar_c[0] = unfamiliar
    found.level_counts = Counter({Level[name.upper()]: n for name, n in levels.items()})
    if levels:
        found.level_counts[Level.NONE] = n_cells - sum(levels.values())
    return found


def row(name: str, cells: int, reliable: float | None, *, weak: bool = False) -> LabelRow:
    return LabelRow(
        key=0,
        name=name,
        colour="c0",
        ontology_id="",
        cells=cells,
        share=0.1,
        bar=1.0,
        ridge="",
        median_score=0.9,
        unsure=0.1,
        reliable=reliable,
        weak=weak,
        unfamiliar=None,
        many_unfamiliar=False,
        median_genes=500,
        median_counts=None,
    )


def compared(
    *counts: int, meant: tuple[str | None, ...], reliable: tuple[int, int] = (0, 0), names: tuple[str, ...] = ()
) -> CrossTable:
    """So many cells of each own label, with the model's label of the same meaning."""
    names = names or tuple(f"own {place}" for place in range(len(counts)))
    meanings = tuple(Meaning(one, None, How.NAME if one else None) for one in meant)
    own = OwnLabels("cell_type", asked=False, code_n=np.zeros(0, np.int32), names=names, meanings=meanings)
    found = CrossTable(own, Vocabulary(LABELS))
    found.cells_tc[: len(counts), 0] = counts
    found.n_reliable, found.n_reliable_right = reliable
    return found


def clusters(divided_cells: int) -> ClusterTable:
    return ClusterTable((), (), 0, divided_cells)


def assessed(
    *rows: LabelRow,
    of: Tally | None = None,
    by: ModelCard | None = None,
    divided: int | None = None,
    own: CrossTable | None = None,
    genes_fit: bool = True,
) -> Assessment:
    table = None if divided is None else clusters(divided)
    return assess(rows, of or tally(label=900), by or card(), table, own or NoOwnLabels(), genes_fit=genes_fit)


# --- What is sure -------------------------------------------------------------------------------------------------


def test_the_shares_by_level_come_first() -> None:
    found = assessed(of=tally(label=620, lineage=250))
    assert found.sure[0] == "62% of the cells have a reliable label, 25% only a reliable lineage, and 13% neither."


def test_with_a_tree_wider_types_are_named_most_first_and_lineages_are_not() -> None:
    counts = tally(label=500, group=300, lineage=150)
    counts.reliable_counts = Counter({"helper": 500, "T cell": 150, "lymphocyte": 300})
    assert assessed(of=counts, by=card(tree=True)).sure[0] == (
        "50% of the cells have a reliable label, 30% only a wider type (lymphocyte 30%), 15% only a lineage, and "
        "5.0% none of these."
    )
    counts.reliable_counts = Counter({"helper": 1_000})
    assert "only a wider type, " in assessed(of=counts, by=card(tree=True)).sure[0]


@pytest.mark.parametrize(("cells", "reliable", "named"), [(10, 0.8, True), (9, 0.9, False), (100, 0.79, False)])
def test_labels_that_are_mostly_reliable_are_named_if_they_have_ten_cells(
    cells: int, reliable: float, named: bool
) -> None:
    found = [one for one in assessed(row("helper", cells, reliable)).sure if one.startswith("Labels with at least")]
    assert found == ([f"Labels with at least 80% reliable cells: helper ({cells * reliable:.0f} of {cells})."] * named)


def test_of_many_labels_six_are_named() -> None:
    many = [row(f"label {place}", 20, 1.0) for place in range(8)]
    assert assessed(*many).sure[1].endswith("label 5 (20 of 20) and 2 more.")


@pytest.mark.parametrize(
    ("unfamiliar", "sure", "unsure"),
    [
        (0, "0% of the cells are unlike the model's training cells: as few as expected.", ""),
        (50, "5.0% of the cells are unlike the model's training cells: as few as expected.", ""),
        (51, "", "5.1% of the cells are unlike the model's training cells, more than the 2.5% that are expected: "),
        (300, "", "30% of the cells are unlike the model's training cells, more than the 2.5% that are expected: "),
    ],
)
def test_as_many_unfamiliar_cells_as_usual_are_good_news_and_more_are_not(
    unfamiliar: int, sure: str, unsure: str
) -> None:
    found = assessed(of=tally(label=900, unfamiliar=unfamiliar))
    assert [one for one in found.sure if "unlike" in one] == ([sure] if sure else [])
    more = [f"{unsure}some may be of a type that it does not know."] if unsure else []
    assert [one for one in found.unsure if "unlike" in one] == more


def test_unfamiliar_cells_are_a_share_of_those_that_could_be_judged() -> None:
    assert assessed(of=tally(label=900, unfamiliar=40, looked=400)).unsure[0].startswith("10% of the cells")
    assert "5.0% of the cells are unlike" in assessed(of=tally(label=900, unfamiliar=20, looked=400)).sure[-1]


# --- What is not --------------------------------------------------------------------------------------------------


def test_what_the_model_cannot_know_is_said() -> None:
    blind = assessed(of=tally(looked=0), by=card(familiarity=None, reliability=()))
    assert blind.sure == ()
    assert blind.unsure == (
        "This model has no record of how often its labels are wrong: high scores can be, too.",
        "Whether cells are of a kind that the model does not know: this model cannot tell.",
    )
    assert blind.to_do == (
        "Check each label with marker genes before you use it; a table of the genes that spoke for it is below.",
    )
    lacking = assessed(of=tally(label=900, looked=0))
    assert lacking.unsure == (
        "Whether cells are of a kind that the model does not know: the file lacks the genes that would tell.",
    )


@pytest.mark.parametrize("made", [make_neighbours(4, 3)[0], make_neural(4, 3)[0]], ids=["neighbours", "neural"])
def test_without_evidence_no_table_of_genes_is_promised(made: ModelCard) -> None:
    assert assessed(of=tally(), by=made).to_do == ("Check each label with marker genes before you use it.",)


def test_doubtful_labels_are_named_with_their_cells_and_with_what_to_do() -> None:
    counts = tally(label=900)
    counts.reliable_counts = Counter({"memory": 60, "NK cell": 0, "helper": 700})
    rows = [row("helper", 800, 0.875), row("memory", 150, 0.4), row("NK cell", 20, 0.0), row("B cell", 30, 0.5)]
    found = assessed(*rows, of=counts)
    assert found.unsure == ("Labels with less than 50% reliable cells: memory (60 of 150) and NK cell (0 of 20).",)
    assert found.to_do == (
        COUNT,
        (
            "celldrop_reliable_label still gives 60 cells one of these labels: memory and NK cell. Before you report "
            "them, check by other means, such as surface proteins, or report the wider type."
        ),
    )


def test_weak_labels_are_named_and_asked_about_once() -> None:
    counts = tally(label=900)
    counts.reliable_counts = Counter({"helper": 700, "memory": 1})
    found = assessed(row("helper", 800, 0.9, weak=True), row("memory", 200, 0.005, weak=True), of=counts)
    assert found.unsure[-1] == (
        "No gene sets these labels apart from every other: helper and memory. They rest on many small differences."
    )
    assert "701 cells one of these labels: helper and memory." in found.to_do[1]
    without = assessed(row("helper", 800, None, weak=True), of=tally(), by=card(reliability=()))
    assert without.to_do[-1] == "Before you report helper: check by other means, such as surface proteins."


def test_divided_clusters_are_counted_and_pointed_to() -> None:
    found = assessed(divided=120)
    assert found.unsure == ("12% of the cells are in clusters in which no label has half of the cells.",)
    assert found.to_do[-1] == "Look at the doubtful clusters: they come first in the table of clusters."
    assert assessed(divided=0) == assessed() == Assessment(assessed().sure, (), (COUNT,))


@pytest.mark.parametrize(("cells", "named"), [(50, True), (49, False)])
def test_a_frequent_name_that_the_model_lacks_is_named(cells: int, named: bool) -> None:
    own = compared(1_000 - cells, cells, meant=("helper", None), names=("Helper", "Platelet"))
    found = assessed(own=own).unsure
    words = (
        f"These names of the file could not be matched with the model's: Platelet ({cells} cells). If the model lacks "
        "such a type, its cells got another one's label."
    )
    assert found == ((words,) if named else ())


def test_names_of_clusters_and_of_lineages_lack_nothing() -> None:
    assert assessed(own=compared(500, 500, meant=(None, None), names=("0", "1"))).unsure == ()
    own = compared(1_000, meant=(None,), names=("T",))
    meanings = (Meaning(None, "T cell", How.NAME),)
    by_lineage = CrossTable(replace(own.own, meanings=meanings), Vocabulary(LABELS))
    by_lineage.cells_tc[0, 0] = 1_000
    assert assessed(own=by_lineage).unsure == ()


@pytest.mark.parametrize(
    ("reliable", "sure", "unsure"),
    [
        ((100, 97), "97% of the 100 cells with a reliable label", ""),
        ((50, 45), "90% of the 50 cells with a reliable label", ""),
        ((1_000, 899), "", "Only 90% of the 1,000 cells with a reliable label"),
        ((200, 40), "", "Only 20% of the 200 cells with a reliable label"),
        ((49, 0), "", ""),
    ],
)
def test_whether_reliable_labels_are_those_of_the_file_is_said(
    reliable: tuple[int, int], sure: str, unsure: str
) -> None:
    found = assessed(own=compared(1_000, meant=("helper",), reliable=reliable))
    end = " that can be compared have that label in the file, too (obs['cell_type'])"
    assert [one for one in found.sure if "compared" in one] == ([f"{sure}{end}."] if sure else [])
    expected = [f"{unsure}{end}: the model or the file is wrong about the others."] if unsure else []
    assert [one for one in found.unsure if "compared" in one] == expected


@pytest.mark.parametrize(("right", "said"), [(900, False), (899, True), (250, True)])
def test_lineages_that_are_not_those_of_the_file_are_said_whatever_the_labels(right: int, said: bool) -> None:
    own = compared(1_000, meant=("helper",), reliable=(100, 100))
    meanings = (Meaning("helper", "T cell", How.NAME),)
    by_lineage = CrossTable(replace(own.own, meanings=meanings), Vocabulary(LABELS))
    by_lineage.cells_tg[0, :2] = right, 1_000 - right
    by_lineage.n_reliable, by_lineage.n_reliable_right = 100, 100
    found = assessed(own=by_lineage)
    assert any("100% of the 100 cells" in one for one in found.sure) is not said
    words = "% of the cells whose lineage can be compared have that lineage in the file, too (obs['cell_type'])."
    assert any(one.startswith("Only ") and one.endswith(words) for one in found.unsure) is said


@pytest.mark.parametrize(("counts", "counted", "said"), [(480, 1_000, True), (520, 1_000, False), (100, 400, False)])
def test_cells_with_less_than_half_of_the_usual_counts_are_told(counts: int, counted: int, said: bool) -> None:
    cells = tally(label=900)
    cells.n_counted = counted
    cells.counts_cb[0, log_bins(np.array([counts]))[0]] = counted
    found = [one for one in assessed(of=cells).unsure if "counts or fewer" in one]
    assert len(found) == said
    assert not said or "the model's training cells typically 1,000: more labels are wrong" in found[0]
    codes = [one.code for one in findings_of((), cells, card())]
    assert (WarningCode.SHALLOW_CELLS in codes) is said


@pytest.mark.parametrize(("reliable", "told"), [((50, 24), True), ((50, 25), False), ((49, 0), False)])
def test_labels_that_contradict_the_file_are_a_warning_for_everybody(reliable: tuple[int, int], told: bool) -> None:
    cells = tally(label=900)
    cells.score_cb[0, -1] = 1_000
    found = findings_of((), cells, card(), compared(1_000, meant=("helper",), reliable=reliable))
    assert [one.code for one in found] == [WarningCode.OWN_LABELS_DIFFER] * told
    words = "only 48% of 50 reliable labels that can be compared are those of obs['cell_type']."
    assert not told or found[0].message == words


# --- Where nothing is sure ----------------------------------------------------------------------------------------


def test_where_genes_do_not_fit_nothing_else_is_said() -> None:
    own = compared(1_000, meant=("helper",), reliable=(500, 500))
    found = assessed(row("helper", 800, 0.9), own=own, divided=500, genes_fit=False)
    assert found == Assessment(
        (),
        ("The names of the genes do not fit the values, so labels mean nothing, whatever their scores.",),
        ("Do not use these labels. Correct the genes' names (see the warning), and run the file again.",),
    )


@pytest.mark.parametrize(("unfamiliar", "strange"), [(501, True), (500, False)])
def test_of_mostly_unfamiliar_cells_nothing_is_sure(unfamiliar: int, strange: bool) -> None:
    found = assessed(row("helper", 800, 0.9), of=tally(label=900, unfamiliar=unfamiliar))
    assert (found.sure == ()) is strange
    assert found.to_do[0].startswith("Do not use the labels of unfamiliar cells") is strange
    words = (
        f"50% of the cells express genes that hardly any cell expresses that {card().reference} was trained on. A cell "
        "gets one of the model's labels all the same."
    )
    assert (words in found.unsure) is strange


def test_an_unassigned_row_is_no_label() -> None:
    assert UNASSIGNED not in " ".join(assessed(row(UNASSIGNED, 100, None)).unsure)
