"""The consensus in parts and tables: columns of further models, the same bytes from any tasks, and who has no vote."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jobs.engine.cell_types import CellTypes
from jobs.engine.consensus import Relation
from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.consensus import Consensus
from jobs.inference.merge.disagreements import Disagreements, OwnCounts
from jobs.inference.merge.groups import Merge, ordered
from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.consensus_csv import consensus_csv
from jobs.inference.outputs.reading_findings import findings_of_other
from jobs.inference.parts.others import KEPT, OtherLayout, OtherScores
from jobs.inference.parts.part import AnnotatedBlock, PartLayout
from jobs.inference.report.consensus import agreement
from jobs.inference.report.data import Assessment
from jobs.inference.report.models_doubt import with_doubts
from shared.bundles.card import Familiarity, Features, Label
from shared.domain.errors import CorruptBlobError
from shared.domain.geometry import Rows, task_rows
from shared.domain.verdict import NOTHING_TO_DO, CellNote, Finding, OtherModel, Verdict
from shared.domain.words import percent, plural
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.findings import warning
from tests.engine.cards import make_card
from tests.outputs.stand_ins import Draws, Shelf, keep_part

N_CELLS, N_LABELS = 1500, 4
NAMES = ("B cell", "=1+1", "NK cell", "T cell")
"""One of them is what a spreadsheet would run."""
LABELS = tuple(Label(name=name) for name in NAMES)
APART = tuple(Label(name=name, lineage=name) for name in NAMES)
"""The same in a lineage each, so that they are known to be different."""
FAMILIARITY = Familiarity(genes=Features(symbol=("G",)), typical_total=1000, spread=0.1, threshold=3, false_alarm=0.01)


def block(rows: Rows, layout: PartLayout, seeds: tuple[int, ...]) -> AnnotatedBlock:
    """A block of several models' draws; every 50th cell is silent to the second, every 70th unfamiliar to it."""
    main, *others = (Draws(PartLayout(N_CELLS, N_LABELS, top_k=2), seed).block(rows) for seed in seeds)
    row_n = np.arange(rows.start, rows.stop)
    note_n = np.where(row_n % 50 == 0, CellNote.SILENT, CellNote.NONE).astype(np.uint8)
    unfamiliarity_n = np.where(row_n % 70 == 0, 9, 0).astype(np.float32)
    made = tuple(OtherScores(one.probability_nl, one.decision_nl, note_n, unfamiliarity_n) for one in others)
    assert len(made) == len(layout.others)
    return replace(main, others=made)


def consensus_of(n_tasks: int, seeds: tuple[int, ...] = (0, 0, 1), *, full: bool = False) -> Consensus:
    others = tuple(OtherLayout(N_LABELS, full) for _ in seeds[1:])
    layout, store = PartLayout(N_CELLS, N_LABELS, top_k=2, others=others), Shelf()
    receipts = []
    for index in range(n_tasks):
        rows = task_rows(N_CELLS, n_tasks, index)
        blocks = (block(one, layout, seeds) for one in rows.blocks())
        receipts.append(keep_part(store, f"part-{index}", blocks, layout, rows))
    main = Merge(store, ordered(receipts, N_CELLS), layout, Vocabulary(LABELS), Rules(min_score=0.6))
    rules = Rules(familiarity=FAMILIARITY)
    merges = tuple(replace(main, other=place, rules=rules) for place in range(len(others)))
    return Consensus(main, merges, CellTypes.of([make_card(N_LABELS, 3, labels=APART)] * len(seeds)))


def written(consensus: Consensus) -> tuple[bytes, Disagreements]:
    found = Disagreements(consensus)
    return b"".join(consensus_csv(found)), found


def table(data: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(gzip.decompress(data)), keep_default_na=False, index_col="cell_id")


@pytest.mark.parametrize("full", [False, True])
def test_one_task_or_six_write_the_same_bytes(full: bool) -> None:
    one, _ = written(consensus_of(1, full=full))
    assert written(consensus_of(6, full=full))[0] == one
    assert written(consensus_of(1))[0] == one, "what else is kept changes nothing"


def test_each_cell_is_counted_by_hand() -> None:
    data, found = written(consensus_of(1))
    cells = table(data)
    assert len(cells) == N_CELLS
    row_n = np.arange(N_CELLS)
    silent_n, unfamiliar_n = row_n % 50 == 0, row_n % 70 == 0
    labels = [cells[name].to_numpy() for name in ("label", "model2_label", "model3_label")]
    assert (labels[1][silent_n] == "Unassigned").all()
    assert (labels[1][unfamiliar_n & ~silent_n] != "Unassigned").all()
    for label in labels[1:]:
        label[unfamiliar_n] = "Unassigned"
    for said, won, share in zip(
        np.stack(labels, axis=1).tolist(), cells["consensus_label"], cells["consensus_agreement"], strict=True
    ):
        votes = {name: said.count(name) for name in said if name != "Unassigned"}
        most = [name for name, n in votes.items() if n >= 2]
        assert [won] == (most or ["Unassigned"])
        assert share == ("" if not most else "1" if votes[won] == 3 else "0.6666667")
    assert set(cells["reliable_label"]) == set(cells["model2_reliable_label"]) == {""}
    counts = cells["consensus_label"].value_counts().to_dict()
    assert {str(name).removeprefix("'"): n for name, n in counts.items()} == found.consensus_counts
    assert found.n_cells == N_CELLS
    said_n = np.stack(labels, axis=1).tolist()
    types_n = [set(said) - {"Unassigned"} for said in said_n]
    assert found.relation_r[Relation.DIFFERENT] == sum(len(types) > 1 for types in types_n)
    n_unsaid = sum("Unassigned" in said and len(set(said)) <= 2 for said in said_n)
    assert found.relation_r[Relation.UNSAID] == n_unsaid > 0
    against = [said[0] for said in said_n if said[0] != "Unassigned" and set(said[1:]) - {said[0], "Unassigned"}]
    assert {str(name).removeprefix("'"): against.count(name) for name in set(against)} == found.disputed
    assert sum(found.disputed.values()) < found.relation_r[Relation.DIFFERENT]


def test_a_label_that_a_spreadsheet_would_run_has_an_apostrophe() -> None:
    cells = table(written(consensus_of(1))[0])
    for column in ("label", "model2_label", "consensus_label"):
        assert "'=1+1" in set(cells[column])
        assert "=1+1" not in set(cells[column])


def test_a_further_model_is_read_as_if_it_were_alone() -> None:
    consensus = consensus_of(2, full=True)
    alone = Draws(PartLayout(N_CELLS, N_LABELS, top_k=2, full=True), seed=1)
    calls = [group.calls for group in consensus.others[1].groups()]
    expected = alone.block(Rows(0, N_CELLS))
    order_nk = np.argsort(-expected.decision_nl, axis=1, kind="stable")[:, :KEPT]
    np.testing.assert_array_equal(np.concatenate([one.top_label_nk for one in calls]), order_nk)
    probability_nl = np.concatenate([one.probability_nl for one in calls if one.probability_nl is not None])
    np.testing.assert_array_equal(probability_nl, expected.probability_nl)


def test_a_part_with_other_models_than_planned_is_refused() -> None:
    consensus = consensus_of(1)
    fewer = replace(consensus.main, layout=replace(consensus.main.layout, others=consensus.main.layout.others[:1]))
    with pytest.raises(CorruptBlobError):
        list(fewer.groups())


# --- What is said of it first ---------------------------------------------------------------------------------------


def counted(seeds: tuple[int, ...] = (0, 1), labels: Sequence[tuple[Label, ...]] = ()) -> Disagreements:
    """The counts of models of these draws, with labels of their own if there are any."""
    consensus = consensus_of(1, seeds)
    if labels:
        cards = [make_card(N_LABELS, 3, labels=own) for own in labels]
        merges = zip((consensus.main, *consensus.others), labels, strict=True)
        main, *others = (replace(merge, vocabulary=Vocabulary(own)) for merge, own in merges)
        consensus = replace(consensus, main=main, others=tuple(others), types=CellTypes.of(cards))
    return written(consensus)[1]


def first_said(found: Disagreements | None, *, findings: tuple[Finding, ...] = (), sure: str = "") -> tuple[str, ...]:
    cards = [make_card(N_LABELS, 3, name=name, labels=LABELS, citation="doi:10.1038/x1") for name in ("one", "two")]
    verdict = Verdict(others=(OtherModel("two@1.0.0", findings=findings),))
    return with_doubts(Assessment((sure,) if sure else (), ("before",), ()), found, cards, verdict).unsure


def share(found: Disagreements, kind: Relation) -> str:
    return percent(int(found.relation_r[kind]) / N_CELLS)


def test_the_shares_of_cells_on_which_models_disagree_come_first() -> None:
    found = counted()
    different, unanswered = share(found, Relation.DIFFERENT), percent(found.consensus_counts["Unassigned"] / N_CELLS)
    assert first_said(found, sure="something") == (
        (
            f"By the two models, {different} of the cells have different types; {unanswered} have no type that both "
            "agree on: see “Do the models agree?” below."
        ),
        "one@1.0.0 and two@1.0.0 are made from the same data: that they agree is no independent evidence.",
        "before",
    )
    assert first_said(found)[0] == "before", "why nothing is sure"
    assert first_said(None) == ("before",)
    assert first_said(counted((0, 0, 1)))[1].startswith("By the models, ")


@pytest.mark.parametrize(
    ("different", "unclear", "unanswered", "said"),
    [
        (1, 0, 0, "0.1% of the cells have different types"),
        (0, 100, 0, "10% of the cells have types that cannot be compared"),
        (997, 3, 0, "99.7% of the cells have different types and 0.3% types that cannot be compared"),
        (0, 0, 5, "0.5% of the cells have no type that both agree on"),
        (0, 2, 5, "0.2% of the cells have types that cannot be compared; 0.5% have no type that both agree on"),
    ],
)
def test_what_models_disagree_on_is_one_sentence(different: int, unclear: int, unanswered: int, said: str) -> None:
    found = counted()
    found.relation_cr[:], found.consensus_t[:] = 0, 0
    found.relation_cr[0, [Relation.DIFFERENT, Relation.NOT_COMPARABLE]] = different, unclear
    found.relation_cr[0, Relation.SAME] = 1000 - different - unclear
    found.consensus_t[found.consensus.names.index("Unassigned")] = unanswered
    assert first_said(found, sure="something")[0] == f"By the two models, {said}: see “Do the models agree?” below."


def test_types_that_no_card_relates_are_no_disagreement() -> None:
    other = tuple(Label(name=f"other {name}") for name in NAMES)
    found = counted(labels=[LABELS, other])
    assert found.relation_r[Relation.DIFFERENT] == 0
    assert found.disputed == {}
    said = first_said(found, sure="something")[0]
    assert f"{share(found, Relation.NOT_COMPARABLE)} of the cells have types that cannot be compared; 100% have" in said


def test_of_many_types_the_most_frequent_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found, cards = counted(), [make_card(N_LABELS, 3, name=name, labels=LABELS) for name in ("one", "two")]
    agreed = [pair for pair in found.consensus_counts.items() if pair[0] != "Unassigned"]
    for n_shown in (len(agreed) - 1, 1):
        monkeypatch.setattr("jobs.inference.report.consensus._AGREED", n_shown)
        section = agreement(found, cards, Verdict())
        assert section is not None
        assert [(row.name, row.cells) for row in section.consensus] == agreed[:n_shown]
        types = "1 further type has" if n_shown == len(agreed) - 1 else f"{len(agreed) - 1} further types have"
        assert section.more.startswith(f"{types} {plural(sum(n for _, n in agreed[n_shown:]), 'cell')}. For ")


def test_what_most_models_agree_on_is_shown_and_where_it_stands_is_said() -> None:
    found, cards = counted(), [make_card(N_LABELS, 3, name=name, labels=LABELS) for name in ("one", "two")]
    section = agreement(found, cards, Verdict())
    assert section is not None
    agreed = {name: n for name, n in found.consensus_counts.items() if name != "Unassigned"}
    assert {row.name: row.cells for row in section.consensus} == agreed
    assert sum(row.share for row in section.consensus) == pytest.approx(sum(agreed.values()) / N_CELLS)
    unanswered = found.consensus_counts["Unassigned"]
    said = f"For {plural(unanswered, 'cell')} ({percent(unanswered / N_CELLS)}), there is no type"
    assert section.more.startswith(said)
    nothing = Assessment((), (), ("before",))
    before, said = with_doubts(nothing, found, cards, Verdict()).to_do
    assert before == "before"
    assert "celldrop_consensus_label (consensus_label in consensus.csv.gz)" in said
    found.consensus_t[:] = 0
    found.consensus_t[found.consensus.names.index("Unassigned")] = N_CELLS
    assert with_doubts(nothing, found, cards, Verdict()).to_do == ("before",)
    empty = agreement(found, cards, Verdict())
    assert empty is not None
    assert empty.consensus == ()


def test_serious_warnings_of_a_further_model_are_said_in_plain_words() -> None:
    low, odd = (warning(code, "found", "do this") for code in (WarningCode.LOW_SCORES, WarningCode.NOT_WHOLE_COUNTS))
    calm = warning(WarningCode.GENES_RENAMED, "found", NOTHING_TO_DO)
    plain = "Of the further model two@1.0.0: for most cells, none of its labels stands out"
    assert f"{plain}." in first_said(counted(), findings=(low, calm))
    assert f"{plain} and 1 warning below." in first_said(counted(), findings=(low, odd))
    assert not any(one.startswith("Of the further") for one in first_said(counted(), findings=(calm,)))


def test_the_scores_of_a_further_model_are_looked_at_over_all_cells() -> None:
    found = counted((0, 0))
    (own,) = found.own_m
    assert own.cells_c.sum() == own.score_b.sum() == N_CELLS
    assert own.n_unfamiliar == len(range(0, N_CELLS, 70))
    tally, card = Tally(Vocabulary(LABELS)), make_card(N_LABELS, 3, labels=LABELS)
    assert not findings_of_other(replace_scores(own, 150), tally, card)
    (low,) = findings_of_other(replace_scores(own, 20), tally, card)
    assert (low.code, low.details["median_score"]) == ("LOW_SCORES", 0.1)


def test_of_labels_that_are_unfamiliar_to_a_further_model_few_are_named() -> None:
    labels = tuple(Label(name=f"label {number}") for number in range(30))
    own = OwnCounts(Vocabulary(labels), 3_000)
    own.cells_c[:30] = own.unfamiliar_c[:30] = 100
    own.score_b[150] = 3_000
    (found,) = findings_of_other(own, Tally(Vocabulary(LABELS)), make_card(30, 3, labels=labels))
    assert (found.code, found.details["n_unfamiliar"]) == ("UNFAMILIAR_CELLS", 3_000)
    assert found.details["labels"] == [f"label {number}" for number in range(5)]
    assert "celldrop_unfamiliar" not in found.hint, "that column is the main model's"


def replace_scores(own: OwnCounts, place: int) -> OwnCounts:
    """The counts as if every cell had a score in one bin, and none were unfamiliar."""
    made = OwnCounts(own.vocabulary, own.n_looked)
    made.score_b[place] = N_CELLS
    return made
