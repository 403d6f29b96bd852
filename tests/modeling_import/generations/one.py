"""Makes models as CellTypist saves them with the scikit-learn at hand; runs with Python 3.7, without celldrop.

    python one.py FOLDER

Writes FOLDER/VERSION-KIND.pkl and, beside it, .json with cells (log1p expression) and the scores that CellTypist gives.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler

N_GENES = 12


def cells(labels: list[str], n_each: int, seed: int) -> tuple[Any, Any]:
    """log1p expression of cells of some labels, and the label of each."""
    draw = np.random.RandomState(seed)  # the oldest NumPy has no other
    label_n = np.repeat(labels, n_each)
    rate_ln = draw.gamma(1.0, 2.0, (len(labels), N_GENES))
    count_ng = draw.poisson(np.repeat(rate_ln, n_each, axis=0)).astype(np.float32)
    return np.log1p(count_ng / np.maximum(count_ng.sum(axis=1, keepdims=True), 1) * 1e4), label_n


def classifier(kind: str) -> Any:
    """The classifiers of CellTypist: logistic regression, and by stochastic gradient descent."""
    if kind.startswith("logistic"):
        return LogisticRegression(C=1.0, solver="lbfgs", max_iter=200)
    since_1_1 = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 1)
    loss = "log_loss" if since_1_1 else "log"
    return SGDClassifier(loss=loss, alpha=1e-3, max_iter=50, tol=None, random_state=0)


def main() -> None:
    """Write a model of each kind."""
    folder, version = Path(sys.argv[1]), ".".join(sklearn.__version__.split(".")[:3]).replace(".post1", "")
    for kind in ("logistic", "logistic-two", "sgd"):
        labels = ["B cells", "NK cells"] if kind.endswith("two") else ["B cells", "NK cells", "T cells"]
        x_ng, label_n = cells(labels, 40, 0)
        scaler = StandardScaler(with_mean=True)
        z_ng = np.minimum(scaler.fit_transform(x_ng), 10)
        model = classifier(kind).fit(z_ng, label_n)
        ensembl = kind == "sgd"
        model.features = np.array([f"ENSG{n:011d}" if ensembl else f"GENE{n}" for n in range(N_GENES)])
        about = {"date": "2021-03-01", "details": "made for a test", "source": "none", "version": "v1"}
        saved = {"Model": model, "Scaler_": scaler, "description": dict(about, number_celltypes=len(labels))}
        (folder / (f"{version}-{kind}.pkl")).write_bytes(pickle.dumps(saved))
        seen_ng, _ = cells(labels, 4, 1)
        score = model.decision_function(np.minimum(scaler.transform(seen_ng), 10))
        score_nl = score if score.ndim == 2 else np.column_stack([-score, score])
        answer = {"x": seen_ng.astype(float).tolist(), "scores": score_nl.tolist(), "labels": list(model.classes_)}
        (folder / (f"{version}-{kind}.json")).write_text(json.dumps(answer))


main()
