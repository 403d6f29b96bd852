"""Labels beside those that the file had: counted as pandas counts, and told alike in report and manifest."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from jobs.inference.merge.cross_table import CrossTable, shown
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.own_labels import SWITCHED_OFF, NoOwnLabels, OwnLabels, read_own_labels
from jobs.inference.merge.survey import Survey
from jobs.inference.outputs.own_label_facts import own_label_facts
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.gathering import gather
from jobs.inference.report.mapping import NoMap
from jobs.inference.report.pieces import Comparison
from jobs.inference.report.rendering import render
from jobs.inference.report.truth import comparison, own_labels_fact
from shared.bundles.aligning import Aligner
from shared.bundles.card import UNASSIGNED, Label
from shared.domain.words import percent
from shared.h5ad.facts import GroupingFacts
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.source import BytesSource
from tests.outputs.stand_ins import Draws, merge_of
from tests.outputs.test_outputs_doubt import LABELS, frame_of
from tests.outputs.test_outputs_report import EVIL, Parsed, context_of

N_CELLS = 700
OWN = np.resize(np.array(["B cells", "T cells", "Helpers", "NK", "nan"], object), N_CELLS)
OWN[:50] = "Memory"


def source_of(**columns: object) -> BytesSource:
    obs = pd.DataFrame(columns, index=[f"cell-{row}" for row in range(N_CELLS)])
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        anndata.io.write_elem(file, "/", anndata.AnnData(np.ones((N_CELLS, 3), np.float32), obs=obs))
    return BytesSource(buffer.getvalue())


def own_labels(source: BytesSource, truth: str | None = None, *, lineages: bool = True) -> OwnLabels | NoOwnLabels:
    plan = Plan(merge=True, columns=(truth,) if truth not in {None, "off"} else (), recognise=truth is None)
    return read_own_labels(source, truth, inspect(source, plan=plan).groupings, Aligner(LABELS, lineages=lineages))


def merge(
    n_tasks: int = 3, min_score: float | None = None, silent: bool = False, labels: Sequence[Label] = LABELS
) -> Merge:
    draws = Draws(PartLayout(N_CELLS, n_labels=4, top_k=2, full=True), softmax=True)
    draws = replace(draws, silent=tuple(np.arange(N_CELLS) % 7 == 0) if silent else ())
    made = merge_of(draws, n_tasks, min_score, labels)
    return replace(made, rules=replace(made.rules, lineages=True))


def crossed(made: Merge, own: OwnLabels | NoOwnLabels) -> CrossTable:
    survey = Survey(made, own)
    list(survey.tables())
    found = survey.findings().compared
    assert isinstance(found, CrossTable)
    return found


def usual() -> OwnLabels | NoOwnLabels:
    return own_labels(source_of(cell_type=OWN))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("min_score", [None, 0.6])
def test_the_cross_table_is_what_pandas_counts(min_score: float | None, *, silent: bool) -> None:
    made = merge(min_score=min_score, silent=silent)
    frame, cross = frame_of(made), crossed(made, usual())
    names, labels, lineages = cross.own.names, cross.vocabulary.names, cross.vocabulary.lineages
    assert names == ("B cells", "Helpers", "Memory", "NK", "T cells")
    theirs = pd.crosstab(OWN, frame["label"].to_numpy()).reindex(index=names, columns=labels, fill_value=0)
    np.testing.assert_array_equal(cross.cells_tc[:-1], theirs)
    assert cross.cells_tc[-1].sum() == (OWN == "nan").sum()
    theirs = pd.crosstab(OWN, frame["lineage"].to_numpy()).reindex(index=names, columns=lineages, fill_value=0)
    np.testing.assert_array_equal(cross.cells_tg[:-1], theirs)


@pytest.mark.parametrize("min_score", [None, 0.6])
def test_the_agreement_is_that_of_scikit_learn(min_score: float | None) -> None:
    made = merge(min_score=min_score, silent=True)
    frame, cross = frame_of(made), crossed(made, usual())
    meant = pd.Series(OWN).map({"B cells": "B cell", "Memory": "memory", "Helpers": "helper", "NK": "NK cell"})
    known, label = meant.notna().to_numpy(), frame["label"].astype(str).to_numpy()
    found = cross.labels
    assert found is not None
    assert found.n_cells == known.sum()
    assert found.accuracy == (meant == label)[known].mean()
    theirs = f1_score(meant[known], label[known], labels=meant[known].unique(), average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(theirs, abs=1e-12)
    scored = known & (frame["value_note"].astype(str) != "no model genes").to_numpy()
    right = (frame["top_labels"].str[0].to_numpy() == meant.to_numpy())[scored]
    score = frame["score"].to_numpy()[scored].astype(float)
    bins = np.minimum((score * 15).astype(int), 14)
    gap = sum(abs(right[bins == one].mean() - score[bins == one].mean()) * (bins == one).mean() for one in set(bins))
    assert found.calibration_error == pytest.approx(gap, abs=1e-9)
    lineage = meant.map({"B cell": "B cell", "memory": "T cell", "helper": "T cell", "NK cell": "NK cell"})
    lineage[OWN == "T cells"] = "T cell"
    right = (lineage == frame["lineage"].astype(str))[lineage.notna()]
    assert cross.lineages is not None
    assert (cross.lineages.accuracy, cross.lineages.n_cells) == (right.mean(), len(right))


def test_one_task_or_seven_count_alike() -> None:
    own = own_labels(source_of(louvain=np.arange(N_CELLS) % 9))
    one, seven = crossed(merge(1), own), crossed(merge(7), own)
    np.testing.assert_array_equal(one.cells_tc, seven.cells_tc)
    assert own_label_facts(one) == own_label_facts(seven)
    one, seven = crossed(merge(1), usual()), crossed(merge(7), usual())
    assert own_label_facts(one) == own_label_facts(seven)


def test_clusters_are_not_called_right_or_wrong() -> None:
    cross = crossed(merge(), own_labels(source_of(louvain=np.arange(N_CELLS) % 9)))
    section, facts = comparison(cross), own_label_facts(cross)
    assert isinstance(section, Comparison)
    assert facts is not None
    assert (facts.label_agreement, facts.lineage_agreement, facts.counterparts) == (None, None, {})
    assert [figure.name for figure in section.figures] == ["can be compared", "have their group's most common label"]
    assert (section.figures[0].value, section.figures[0].note, facts.n_comparable) == ("0%", "0 of 700 cells", 0)
    assert section.figures[1].value == percent(cross.cells_tc[:-1].max(axis=1).sum() / N_CELLS)
    assert not any("ccuracy" in sentence for sentence in section.sentences)
    assert any("numbers of clusters" in sentence for sentence in section.sentences)


def test_a_model_that_leaves_all_cells_unassigned_agrees_with_nothing() -> None:
    for min_score, most in ((2.0, 0.0), (0.6, 0.6)):
        cross = crossed(merge(min_score=min_score), own_labels(source_of(louvain=np.arange(N_CELLS) % 9)))
        frame = frame_of(merge(min_score=min_score))
        kept = frame[frame["label"] != UNASSIGNED]
        counts = pd.crosstab(np.arange(N_CELLS)[kept.index] % 9, kept["label"].astype(str)).to_numpy()
        theirs = counts.max(axis=1, initial=0).sum() / N_CELLS
        assert cross.main_share == theirs <= most
        section = comparison(cross)
        assert section is not None
        assert section.figures[1].value == percent(theirs)


@pytest.mark.parametrize("of_the_model", [False, True])
def test_unassigned_cells_do_not_agree_with_an_own_label_of_that_name(*, of_the_model: bool) -> None:
    name = UNASSIGNED if of_the_model else "NK cell"
    labels = [*LABELS[:3], LABELS[3].model_copy(update={"name": name})]
    source = source_of(cell_type=np.resize(np.array([UNASSIGNED, "B cells"], object), N_CELLS))
    looked_at = inspect(source, plan=Plan(recognise=True)).groupings
    own = read_own_labels(source, None, looked_at, Aligner(labels, lineages=True))
    found = crossed(merge(min_score=2.0, labels=labels), own)
    assert found.labels is not None
    assert (found.labels.n_cells, found.labels.accuracy) == (N_CELLS if of_the_model else N_CELLS // 2, 0)
    assert (found.labels.macro_f1, found.main_share) == (0, 0)
    some = crossed(merge(min_score=0.5, labels=labels), own)
    best = np.concatenate([group.calls.top_label_nk[:, 0] for group in merge(labels=labels).groups()])
    frame = frame_of(merge(min_score=0.5, labels=labels))
    kept = frame["score"].to_numpy() >= np.float32(0.5)
    meant = np.resize([3 if of_the_model else -1, 2], N_CELLS)
    assert some.labels is not None
    assert some.labels.accuracy == ((meant == best) & kept)[meant >= 0].mean()


@pytest.mark.parametrize("min_score", [None, 0.6])
def test_report_and_manifest_agree(min_score: float | None) -> None:
    made = merge(min_score=min_score)
    survey = Survey(made, usual())
    list(survey.tables())
    found = survey.findings()
    facts, data = own_label_facts(found.compared), gather(found, context_of(LABELS, min_score), NoMap("None."))
    section = data.comparison
    assert facts is not None
    assert section is not None
    assert facts.label_agreement is not None
    assert facts.lineage_agreement is not None
    figures = {figure.name: (figure.value, figure.note) for figure in section.figures}
    told = facts.label_agreement
    n_comparable = int(np.isin(OWN, ["B cells", "Helpers", "Memory", "NK", "T cells"]).sum())
    assert facts.n_comparable == n_comparable == facts.lineage_agreement.n_cells > told.n_cells
    assert figures["can be compared"] == (percent(n_comparable / N_CELLS), f"{n_comparable} of {N_CELLS} cells")
    assert facts.main_share is not None
    assert figures["have their group's most common label"][0] == percent(facts.main_share)
    assert figures["accuracy by label"] == (percent(told.accuracy), f"of {told.n_cells} cells that can be compared so")
    assert figures["macro F1 by label"][0] == f"{told.macro_f1:.3f}"
    assert figures["calibration error"][0] == f"{told.calibration_error:.3f}"
    assert figures["accuracy by lineage"][0] == percent(facts.lineage_agreement.accuracy)
    assert sum(row.cells for row in section.rows) == facts.n_cells == 560 + 10
    for row in section.rows:
        cells = {
            label: share.title.split(": ")[1].split(" of ")[0]
            for label, share in zip(section.columns, row.fields, strict=True)
            if share.share
        }
        assert {label: int(n) for label, n in cells.items()} == facts.counts[row.name]
        same = [label for label, field in zip(section.columns, row.fields, strict=True) if field.mark == "same"]
        assert same in ([], [facts.counterparts.get(row.name)])
    page = Parsed(render(data).decode())
    text = " ".join("".join(page.text).split())
    assert figures["accuracy by label"][0] in text
    assert 'obs["cell_type"]' in text
    assert UNASSIGNED in section.columns or min_score is None


def test_lineages_are_not_called_compared_if_cells_have_none() -> None:
    own = own_labels(source_of(cell_type=OWN), lineages=False)
    made = merge()
    cross = crossed(replace(made, rules=replace(made.rules, lineages=False)), own)
    section, facts = comparison(cross), own_label_facts(cross)
    assert section is not None
    assert facts is not None
    assert facts.label_agreement is not None
    assert (facts.lineages, facts.lineage_agreement) == ({}, None)
    assert not any("lineage" in sentence for sentence in section.sentences)
    assert any("cannot be told: T cells" in sentence for sentence in section.sentences)


def test_many_names_and_labels_are_summed_up() -> None:
    own = own_labels(source_of(annotation=[f"name {row % 30}" for row in range(N_CELLS)]))
    labels = [
        label.model_copy(update={"name": f"label {place}", "lineage": None}) for place, label in enumerate(LABELS * 8)
    ]
    made = merge_of(Draws(PartLayout(N_CELLS, n_labels=32, top_k=2)), 2, None, labels)
    cross = crossed(made, own)
    section, part = comparison(cross), shown(cross.labelled_tc)
    assert section is not None
    assert (len(section.columns), len(section.rows)) == (16, 21)
    assert (section.columns[-1], section.rows[-1].name) == ("other labels", "10 rarer names")
    assert sum(row.cells for row in section.rows) == N_CELLS
    assert part.cells_tc.sum() + part.rest_t.sum() + part.rest_c.sum() + part.n_rest == N_CELLS
    for row in section.rows:
        assert sum(field.heat for field in row.fields) == pytest.approx(1)


def test_names_of_the_file_cannot_run_in_the_report() -> None:
    survey = Survey(merge(), own_labels(source_of(cell_type=[EVIL] * N_CELLS)))
    list(survey.tables())
    page = Parsed(render(gather(survey.findings(), context_of(LABELS), NoMap("None."))).decode())
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(tag == "img" for tag, _ in page.tags)


def test_ids_beside_the_names_align_them() -> None:
    labels = [label.model_copy(update={"ontology_id": f"CL:000000{place}"}) for place, label in enumerate(LABELS)]
    names = np.resize(["one", "two", "three"], N_CELLS)
    ids = pd.Series(names).map({"one": "CL:0000002", "two": "CL:0000009", "three": "CL:0000001"}).to_numpy(object)
    ids[2] = "unknown"  # The third name has two ids, and so none.
    source = source_of(cell_type=names, cell_type_ontology_term_id=ids)
    looked_at = inspect(source, plan=Plan(recognise=True)).groupings
    found = read_own_labels(source, None, looked_at, Aligner(labels, lineages=True))
    assert isinstance(found, OwnLabels)
    meant = dict(zip(found.names, found.meanings, strict=True))
    assert (meant["one"].label, meant["two"].label, meant["three"].label) == ("B cell", None, None)


def test_the_column_that_is_named_is_read_whatever_else_was_looked_at() -> None:
    source = source_of(batch=["a"] * N_CELLS, cell_type=OWN, donor=np.arange(N_CELLS) % 9)
    looked_at = [GroupingFacts("donor"), GroupingFacts("batch"), GroupingFacts("cell_type", recognised=True)]
    for truth, column in (("donor", "donor"), ("batch", "batch"), (None, "cell_type")):
        found = read_own_labels(source, truth, looked_at, Aligner(LABELS, lineages=True))
        assert isinstance(found, OwnLabels)
        assert (found.column, found.asked, found.are_clusters) == (column, truth is not None, column == "donor")
    reversed_ = read_own_labels(source, "cell_type", looked_at[::-1], Aligner(LABELS, lineages=True))
    assert isinstance(reversed_, OwnLabels)
    assert reversed_.column == "cell_type"
    assert read_own_labels(source, b"off".decode(), looked_at, Aligner(LABELS, lineages=True)) is SWITCHED_OFF


def test_why_nothing_is_compared_is_said() -> None:
    source = source_of(score=np.linspace(0, 1, N_CELLS), cell_type=["nan"] * N_CELLS)
    assert own_labels(source, "off") == SWITCHED_OFF
    assert own_labels(source) == NoOwnLabels("Obs column 'cell_type' has no value in any cell.")
    for truth, words in (("score", "Obs column 'score' holds fractions"), ("x", "Obs has no column 'x'")):
        found = own_labels(source, truth)
        assert isinstance(found, NoOwnLabels)
        assert found.reason.startswith(words)
    found = own_labels(source_of(batch=["a"] * N_CELLS))
    assert isinstance(found, NoOwnLabels)
    assert "recognised by its name" in found.reason
    assert comparison(found) is None
    assert own_label_facts(found) is None
    assert own_labels_fact(found)[0].text == found.reason


def test_a_column_that_turns_out_to_be_damaged_is_told() -> None:
    source = source_of(cell_type=pd.Categorical(OWN))
    with h5py.File(buffer := io.BytesIO(source.data), "r+") as file:
        file["obs/cell_type/codes"][3] = 99
    facts = [GroupingFacts("cell_type", recognised=True)]
    found = read_own_labels(BytesSource(buffer.getvalue()), None, facts, Aligner(LABELS, lineages=True))
    assert isinstance(found, NoOwnLabels)
    assert found.reason == "Obs column 'cell_type' cannot be read: category 99 of 6."
