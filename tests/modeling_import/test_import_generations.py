"""Models of CellTypist that every generation of scikit-learn saved are imported, with the scores of that scikit-learn.

``generations/make`` made them, each with the version of its name: logistic regression of three and of two labels, and
stochastic gradient descent on Ensembl ids.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from jobs.modeling.importing import ImportedAs, import_foreign
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.scoring import score
from shared.domain.verdict import MatrixState

FOLDER = Path(__file__).with_name("generations")
MODELS = sorted(FOLDER.glob("*.pkl"))


def test_there_are_models_of_versions_from_2018_to_2026() -> None:
    versions = {path.name.partition("-")[0] for path in MODELS}
    assert {"0.20.4", "0.22.2", "0.24.2", "1.0.2", "1.5.2", "1.8.0"} <= versions
    assert len(MODELS) == 3 * len(versions)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_scores_are_those_of_the_scikit_learn_that_saved_the_model(path: Path) -> None:
    answer = json.loads(path.with_suffix(".json").read_text())
    card, tensors = import_foreign(path, ImportedAs("old", "1"))
    assert [label.name for label in card.labels] == answer["labels"]
    assert bool(card.features.ensembl) == path.stem.endswith("sgd")
    x_ng = np.array(answer["x"], np.float32)
    cells = LabelledCells(
        value_ng=sp.csr_matrix(x_ng),
        state=MatrixState.LOG1P_CP10K,
        matrix="X",
        genes=card.features,
        species=card.species,
        class_n=np.zeros(len(x_ng), np.int64),
        labels=card.labels,
    )
    np.testing.assert_allclose(score(card, tensors, cells).decision_nl, answer["scores"], rtol=1e-5, atol=1e-5)
