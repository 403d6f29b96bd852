"""evidence.csv: the means and contributions of an independent computation, for any number of tasks."""

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.slopes import Slopes
from jobs.inference.merge.evidence import LEAST_CELLS, Against, Evidence, SpeaksBy, evidence_of
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.survey import Survey
from jobs.inference.outputs.evidence_csv import COLUMNS, evidence_csv
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.apart import closest_genes
from jobs.inference.report.data import LabelRow
from jobs.inference.report.evidence import reasons
from jobs.inference.report.gathering import gather
from jobs.inference.report.mapping import NoMap
from jobs.inference.report.rendering import render
from jobs.inference.report.wording import number
from shared.bundles.card import UNASSIGNED, Label
from tests.outputs.stand_ins import Draws, merge_of
from tests.outputs.test_outputs_report import context_of

N_FEATURES = 12
GENES = (*(f"gene {f}" for f in range(N_FEATURES - 1)), None)
NAMES = tuple(name or "gone" for name in GENES)
LAYOUT = PartLayout(n_cells=3500, n_labels=4, top_k=2, n_features=N_FEATURES)
LABELS = [Label(name=name) for name in ("=B cell", "T cell", "NK cell", "DC")]


def slopes() -> Slopes:
    draw = np.random.default_rng(5)
    ceiling_f = np.full(N_FEATURES, 2.5)
    mean_f, std_f = draw.uniform(0, 2, N_FEATURES), draw.uniform(0.5, 2, N_FEATURES)
    return Slopes(draw.normal(0, 1, (len(LABELS), N_FEATURES)), ceiling_f, mean_f, std_f)


def evidence(merge: Merge, names: tuple[str, ...] = NAMES) -> Evidence:
    survey = Survey(merge, slopes=slopes())
    list(survey.tables())
    findings = survey.findings()
    assert findings.expression is not None
    return evidence_of(findings.expression, names, list(findings.tally.label_counts))


def table(found: Evidence) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(b"".join(evidence_csv(found))))


DRAWS = Draws(LAYOUT, genes=GENES)
"""Every second cell is sampled."""


@pytest.fixture(scope="module")
def merge() -> Merge:
    return merge_of(DRAWS, 3, min_score=0.6, labels=LABELS)


def test_means_shares_and_contributions_are_those_of_a_dense_computation(merge: Merge) -> None:
    frame = table(evidence(merge))
    labels = np.concatenate([one["label"].to_numpy(zero_copy_only=False) for one in merge.tables()])[::2]
    x_nf = DRAWS.expression(np.arange(0, LAYOUT.n_cells, 2)).astype(np.float64)
    assert UNASSIGNED in labels
    assert set(frame["speaks_by"]) == {"expression", "absence", "missing"}
    for row in frame[frame["speaks_by"] != "missing"].to_dict("records"):
        name, f = row["label"].removeprefix("'"), GENES.index(row["gene_in_file"])
        own_n = labels == name
        own, rest = x_nf[own_n, f], x_nf[~own_n, f]
        slope = slopes().slope_lf[[label.name for label in LABELS].index(name), f]
        wanted = slope * (np.minimum(own, 2.5).mean() - np.minimum(rest, 2.5).mean())
        found = [row[column] for column in ("contribution", "mean", "mean_rest", "share", "share_rest")]
        np.testing.assert_allclose(
            found, [wanted, own.mean(), rest.mean(), (own > 0).mean(), (rest > 0).mean()], atol=1e-5
        )
        assert (row["cells"], row["cells_rest"]) == (own_n.sum(), (~own_n).sum())
        assert wanted > 0
        assert (slope > 0) == (row["speaks_by"] == "expression")


def test_the_largest_contributions_come_first(merge: Merge) -> None:
    for _, genes in table(evidence(merge)).groupby(["label", "speaks_by"]):
        assert genes["contribution"].is_monotonic_decreasing or genes["contribution"].isna().all()


def test_a_missing_gene_that_the_model_relies_on_is_named_without_numbers(merge: Merge) -> None:
    missing = table(evidence(merge)).query("speaks_by == 'missing'")
    assert set(missing["gene"]) == {"gone"}
    assert missing[["gene_in_file", "contribution", "mean", "share"]].isna().all(axis=None)
    relied_on = [label.name for label, slope_f in zip(LABELS, slopes().slope_lf, strict=True) if slope_f[-1] > 0]
    assert set(missing["label"].str.removeprefix("'")) <= set(relied_on)


@given(n_cells=st.integers(1, 4000), n_tasks=st.integers(2, 8))
@settings(max_examples=15, deadline=None)
def test_any_number_of_tasks_gives_the_same_bytes(n_cells: int, n_tasks: int) -> None:
    draws = replace(DRAWS, layout=replace(LAYOUT, n_cells=n_cells))
    one, many = (evidence(merge_of(draws, n, 0.6, LABELS)) for n in (1, n_tasks))
    assert b"".join(evidence_csv(one)) == b"".join(evidence_csv(many))


def test_text_that_would_be_a_formula_is_guarded(merge: Merge) -> None:
    frame = table(evidence(merge, ("=1+1", *("@x" for _ in GENES[1:]))))
    assert "'=B cell" in set(frame["label"])
    assert not frame["gene"].str.startswith(("=", "@")).any()


def test_a_label_of_few_cells_has_no_evidence_and_is_named() -> None:
    found = evidence(merge_of(replace(DRAWS, layout=replace(LAYOUT, n_cells=8)), 1, None, LABELS))
    cells = {name: sums.n_cells for name, sums in found.expression.sums.items()}
    assert set(found.too_few) == {name for name, n in cells.items() if n < LEAST_CELLS} != set()
    assert not {label.name for label in found.labels} & set(found.too_few)


def test_cells_of_one_label_are_compared_with_the_training_cells() -> None:
    labels = [Label(name="only"), *LABELS[1:]]
    merge = merge_of(DRAWS, 1, None, labels)
    survey = Survey(merge, slopes=slopes())
    list(survey.tables())
    expression = survey.findings().expression
    assert expression is not None
    expression.sums = {"only": expression.sums["only"]}
    (found,) = evidence_of(expression, [str(name) for name in GENES], ["only"]).labels
    assert found.against is Against.TRAINING
    gene = found.by(SpeaksBy.EXPRESSION)[0]
    assert gene.share_rest is None
    assert gene.mean_rest == slopes().mean_f[gene.feature]
    own = np.minimum(DRAWS.expression(np.arange(0, 3500, 2)), 2.5)
    only_n = np.concatenate([one["label"].to_numpy(zero_copy_only=False) for one in merge.tables()])[::2] == "only"
    wanted = slopes().slope_lf[0, gene.feature] * (own[only_n, gene.feature].mean() - slopes().mean_f[gene.feature])
    assert gene.contribution == pytest.approx(wanted, abs=1e-6)


def test_every_column_is_described_and_written(merge: Merge) -> None:
    assert table(evidence(merge)).columns.tolist() == [column.name for column in COLUMNS]
    assert all(column.meaning.endswith(".") for column in COLUMNS)


def rows_of(found: Evidence) -> list[LabelRow]:
    blank = LabelRow(
        key=0,
        name="",
        colour="c0",
        ontology_id="",
        cells=1,
        share=1,
        bar=1,
        ridge="",
        median_score=1,
        unsure=0,
        reliable=None,
        weak=False,
        unfamiliar=None,
        many_unfamiliar=False,
        median_genes=1,
        median_counts=None,
    )
    names = [*(label.name for label in found.labels), *found.too_few]
    return [replace(blank, key=key, name=name) for key, name in enumerate(names)]


def test_the_report_draws_each_label_s_genes_in_a_row_of_its_own(merge: Merge) -> None:
    found = evidence(merge)
    section = reasons(found, rows_of(found), 20)
    assert section is not None
    assert section.plot is not None
    assert [row.name for row in section.plot.rows] == [label.name for label in found.labels]
    chosen = [gene.text for gene in section.plot.genes]
    assert len(set(chosen)) == len(chosen)
    for dot in section.plot.dots:
        column, row = int(dot.x // 28), int(dot.y // 28)
        label = found.labels[row]
        f = NAMES.index(chosen[column])
        sums = found.expression.sums[label.name]
        assert dot.radius == pytest.approx(11 * sums.share_f[f] ** 0.5, abs=0.01)
        most = max(found.expression.sums[other.name].mean_f[f] for other in found.labels)
        assert dot.level == pytest.approx(sums.mean_f[f] / most, abs=1e-3)
    assert "1,750 cells" in section.note
    assert [label.genes[0].name in label.text for label in section.labels] == [True] * len(found.labels)


def test_names_of_labels_and_genes_are_text_on_the_page() -> None:
    evil = "<script>alert(1)</script>"
    labels = [Label(name=f"{evil} {place}") for place in range(4)]
    merge = merge_of(DRAWS, 1, None, labels)
    survey = Survey(merge, slopes=slopes())
    list(survey.tables())
    findings = survey.findings()
    assert findings.expression is not None
    found = evidence_of(findings.expression, [f"<b>{name}" for name in NAMES], list(findings.tally.label_counts))
    data = gather(findings, replace(context_of(tuple(labels)), evidence=found), NoMap("none"))
    page = render(data).decode()
    section = page[page.index('id="why"') : page.index('id="sure"')]
    assert "<script" not in section
    assert "<b>" not in section
    assert "&lt;b&gt;gene" in section


def test_evidence_that_cannot_be_drawn_is_told_and_the_report_goes_on(merge: Merge) -> None:
    found = evidence(merge)
    section = reasons(found, [], 20)
    assert section is not None
    assert "could not be drawn" in section.undrawn


def test_many_labels_are_shown_as_far_as_the_report_shows_them(merge: Merge) -> None:
    found = evidence(merge)
    section = reasons(found, rows_of(found), 2)
    assert section is not None
    assert [label.name for label in section.labels] == [label.name for label in found.labels[:2]]
    assert "in evidence.csv" in section.note


def test_a_label_without_a_gene_of_its_own_is_called_weak(merge: Merge) -> None:
    found = evidence(merge)
    section = reasons(found, rows_of(found), 20)
    assert section is not None
    shares = {name: sums.share_f for name, sums in found.expression.sums.items()}
    for label, told in zip(found.labels, section.labels, strict=True):
        others = [shares[other.name] for other in found.labels if other.name != label.name]
        features = [gene.feature for gene in label.by(SpeaksBy.EXPRESSION)]
        gaps = {f: shares[label.name][f] - max(share_f[f] for share_f in others) for f in features}
        assert (told.weak != "") == (max(gaps.values()) < 0.2), gaps
        assert NAMES[max(gaps, key=gaps.__getitem__)] in told.weak or not told.weak
        assert (label.name in section.weak) == bool(told.weak)
    assert section.weak.startswith("Weak evidence for ")


@pytest.mark.parametrize(("n_expressed", "is_weak"), [(59, True), (61, False)])
def test_a_gene_of_20_points_more_of_the_cells_sets_them_apart(merge: Merge, n_expressed: int, is_weak: bool) -> None:
    found = deepcopy(evidence(merge))
    label = found.labels[0]
    gene = label.by(SpeaksBy.EXPRESSION)[0]
    for other in found.labels:
        sums = found.expression.sums[other.name]
        sums.n_cells, sums.expressed_f = 100, np.full(N_FEATURES, 40)
    found.expression.sums[label.name].expressed_f[gene.feature] = n_expressed
    closest = closest_genes(found)
    assert (closest[label.name].gene, closest[label.name].is_weak) == (gene.name, is_weak)
    assert all(closest[other.name].is_weak for other in found.labels[1:])
    section = reasons(found, rows_of(found), 20)
    assert section is not None
    told = section.labels[0].weak
    assert told == "" or (f"{gene.name} does best, in 59% of these cells and 40% of those called " in told and is_weak)


def test_a_label_for_which_no_gene_speaks_by_expression_is_called_weak(merge: Merge) -> None:
    found = evidence(merge)
    first, *others = found.labels
    silent = replace(first, genes=tuple(gene for gene in first.genes if gene.speaks_by is not SpeaksBy.EXPRESSION))
    section = reasons(replace(found, labels=(silent, *others)), rows_of(found), 20)
    assert section is not None
    assert section.labels[0].weak.startswith("Weak: no gene that the model relies on is expressed more")
    assert silent.name in section.weak_labels
    assert silent.name in section.weak


def test_one_label_alone_is_not_called_weak() -> None:
    merge = merge_of(DRAWS, 1, None, [Label(name="only")] * 4)
    found = evidence(merge)
    section = reasons(found, rows_of(found), 20)
    assert section is not None
    assert (section.weak, [label.weak for label in section.labels]) == ("", [""])


@given(st.floats(-1e6, 1e6), st.integers(0, 4))
def test_a_negative_number_has_a_minus_sign(value: float, digits: int) -> None:
    text = number(value, digits)
    assert float(text.replace("\u2212", "-")) == round(value, digits)
    assert "-" not in text
    assert text not in {"\u22120", "\u22120.00"}


def test_a_label_that_rests_on_absence_is_said_to(merge: Merge) -> None:
    found = evidence(merge)
    for label in found.labels:  # All twelve genes are listed.
        for how, total in ((SpeaksBy.EXPRESSION, label.by_expression), (SpeaksBy.ABSENCE, label.by_absence)):
            assert total == pytest.approx(sum(gene.contribution or 0 for gene in label.by(how)))
    section = reasons(found, rows_of(found), 20)
    assert section is not None
    told = [label.name for label in section.labels if "genes that these cells express less" in label.text]
    assert told == [label.name for label in found.labels if label.by_absence > label.by_expression]
    assert 0 < len(told) < len(found.labels)
