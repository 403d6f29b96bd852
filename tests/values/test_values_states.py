"""Every form of values, wherever it lies, gives the labels of the counts or is refused; the table is in the docs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from jobs.engine.annotator import Annotator
from jobs.inference.task.models import parse_weights
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.stored import parse_card
from shared.domain.geometry import Rows
from shared.domain.verdict import Transform, Verdict
from shared.h5ad.judge.judging import ModelNeeds, validate
from shared.h5ad.read.rows import features_of_genes, open_matrix
from shared.h5ad.source import BytesSource
from shared.h5ad.values.states import NAMES
from tests.values.forms import FORMS, Matrix, placed
from tests.values.page import section, write_section

pytestmark = pytest.mark.xdist_group("values-states")  # What its tests share is made once.

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "pbmc-sorted" / "1.0.0"
PLACES = ("X", "raw", "layer")
EVERY = 3
"""Of PBMC 3k, every third cell."""
FEWER = 2
SHARE_OF_OTHER_GENES = 4
"""One of so many that the model does not know: enough that each cell has a total of its own, and soon read."""
HEADING = "What values may be, and what is done with them"
HEAD = f"""# {HEADING}

A matrix may hold counts, normalised values or logarithms. Models expect log1p of counts per 10,000 over all genes,
and values in another form are converted to that if possible. The table shows for each form how it is read, what is
done, and the warnings. *Labels* is the share of cells that get the same label as with the clean counts.

The form is recognised by the numbers, not by names. It is proved if cells have the same total, or if values are whole
multiples of one count. Where it cannot be proved, a warning says so (`UNKNOWN_TARGET_SUM`). Every cell is checked
again while the file is read. A cell in another form than the rest is converted by its own values and marked in the
column `value_note`.

The table is generated from real blood cells that were stored in each form (10x PBMC 3k; 900 in X, 450 elsewhere
and in files that are refused; 6,404 genes), by `CELLDROP_WRITE_DOCS=1 make test`. A test fails if it is out of date.

| values | in | read as | done | warnings | labels |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Seen:
    """What became of one file."""

    verdict: Verdict
    labels: np.ndarray[tuple[int], np.dtype[np.int64]] | None


@pytest.fixture(scope="module")
def model() -> ModelCard:
    return parse_card((MODEL / CARD_NAME).read_bytes(), where=str(MODEL))


@pytest.fixture(scope="module")
def cells(data_dir: Path, model: ModelCard) -> anndata.AnnData:
    """Of the genes that occur those of the model, and a share of the others."""
    found = anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")
    occurs = np.asarray(found.X.sum(axis=0)).ravel() > 0
    known = found.var_names.isin([name for name in model.features.symbol if name])
    kept = occurs & known
    kept[np.flatnonzero(occurs & ~known)[::SHARE_OF_OTHER_GENES]] = True
    return found[::EVERY, kept].copy()


@pytest.fixture(scope="module")
def seen(cells: anndata.AnnData, model: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    path = tmp_path_factory.mktemp("values") / "cells.h5ad"
    found = {}
    for name, form in FORMS.items():
        for place in PLACES:
            # Where it lies changes nothing of the arithmetic, and how a file is refused does not depend on its size.
            some = cells if place == "X" and form.same else cells[::FEWER].copy()
            counts: Matrix = some.X.tocsr()
            placed(some, form.make(counts), place).write_h5ad(path)
            found[f"{name} in {place}"] = annotated(path, model)
    return found


def annotated(path: Path, card: ModelCard) -> Seen:
    """The labels of a file's cells, by the reader and the engine that tasks use."""
    source = BytesSource(path.read_bytes())
    needs = ModelNeeds(card.features, card.species, card.default_overlap, reference=card.reference)
    verdict = validate(source, needs)
    if not verdict.accepted:
        return Seen(verdict, None)
    assert verdict.matrix is not None
    features = features_of_genes(source, verdict, card)
    weights = parse_weights((MODEL / WEIGHTS_NAME).read_bytes(), where=card.reference)
    annotator = Annotator(card, weights, features, torch.device("cpu"), as_it_is=verdict.matrix.as_it_is)
    with open_matrix(source, verdict.matrix) as matrix:
        scores = list(matrix.projected(Rows(0, verdict.n_cells), features, annotator.annotate))
    return Seen(verdict, np.concatenate([score.decision_nl.argmax(axis=1) for score in scores]))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_labels_are_those_of_the_counts_or_the_file_is_refused(seen: dict[str, Seen]) -> None:
    for name, form in FORMS.items():
        for place in PLACES:
            labels, right = seen[f"{name} in {place}"].labels, seen[f"counts in {place}"].labels
            assert right is not None
            assert (labels is not None) is form.same, f"{name} in {place}"
            if labels is not None:
                assert (labels == right).mean() >= form.least, f"{name} in {place}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_table_in_the_docs_is_what_happens(seen: dict[str, Seen]) -> None:
    page = HEAD + "".join(_row(name, seen) for name in FORMS)
    if os.environ.get("CELLDROP_WRITE_DOCS"):
        write_section(HEADING, page)
    assert section(HEADING) == page


def _row(name: str, seen: dict[str, Seen]) -> str:
    told = {place: _told(seen[f"{name} in {place}"]) for place in PLACES}
    places = {words: ", ".join(place for place in PLACES if told[place] == words) for words in told.values()}
    return "".join(
        f"| {FORMS[name].what} | {where} | {words} | {_shares(name, where, seen)} |\n"
        for words, where in places.items()
    )


def _shares(name: str, where: str, seen: dict[str, Seen]) -> str:
    shares = []
    for place in where.split(", "):
        labels, right = seen[f"{name} in {place}"].labels, seen[f"counts in {place}"].labels
        if labels is not None:
            shares.append(f"{(labels == right).mean():.1%}")
    return " / ".join(dict.fromkeys(shares))


def _told(found: Seen) -> str:
    verdict = found.verdict
    if found.labels is None or verdict.matrix is None:
        codes = ", ".join(f"`{finding.code}`" for finding in verdict.refusals)
        states = ", ".join(dict.fromkeys(f"`{state}`" for _, state in verdict.considered if state != "unknown"))
        return f"{states} | refused: {codes} | "
    choice = verdict.matrix
    warnings = ", ".join(f"`{finding.code}`" for finding in verdict.warnings)
    undone = "" if choice.undone is Transform.NONE else f"{NAMES[choice.undone]}, "
    done = "used as it is" if choice.as_it_is else f"{undone}scaled by the cell's total"
    return f"`{choice.state}` | {done} | {warnings}"
