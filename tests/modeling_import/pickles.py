"""Pickles for tests, built opcode by opcode or with the scikit-learn that is installed."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler

GENES = np.array(["MS4A1", "CD3D", "NKG7", "LYZ", "PPBP"], dtype=object)


def model_parts(classes: list[str], *, sgd: bool = False, seed: int = 0) -> dict[str, Any]:
    """What CellTypist's training makes: a classifier with ``features``, a scaler, a description."""
    random = np.random.default_rng(seed)
    x = random.gamma(1.0, 1.0, (40 * len(classes), len(GENES)))
    y = np.array(classes * 40)
    scaler = StandardScaler().fit(x)
    kind = SGDClassifier(loss="log_loss", random_state=0) if sgd else LogisticRegression()
    classifier = kind.fit(scaler.transform(x), y)
    classifier.features = GENES
    description = {
        "date": "2026-01-02 03:04:05",
        "details": "made for a test",
        "source": "https://doi.org/10.1/x",
        "version": "v7",
        "url": "",
        "number_celltypes": len(classes),
    }
    return {"Model": classifier, "Scaler_": scaler, "description": description}


@functools.cache
def _parts(classes: tuple[str, ...], *, sgd: bool) -> dict[str, Any]:
    return model_parts(list(classes), sgd=sgd)


def model_pickle(classes: list[str], *, sgd: bool = False, protocol: int = 4) -> bytes:
    return pickle.dumps(_parts(tuple(classes), sgd=sgd), protocol=protocol)


class Runs:
    """Pickles as a call of anything."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.reduced = (call, args)

    def __reduce__(self) -> Any:
        return self.reduced
