"""What users' models carry beside the model neither hinders an import nor changes a number of it."""

from __future__ import annotations

import collections
import datetime as dt
import pathlib
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, SGDClassifier

from jobs.modeling.celltypist import import_celltypist
from shared.bundles.card import ModelCard
from shared.domain.errors import UnsupportedModelError
from tests.modeling_import.pickles import GENES, model_parts

ROOT = Path(__file__).resolve().parents[2]
ORACLE = ROOT / ".venv-oracle" / "bin" / "python"
HARMLESS: dict[str, Callable[[], Any]] = {
    "a RandomState": lambda: np.random.RandomState(3),
    "a RandomState of another generator": lambda: np.random.RandomState(np.random.PCG64(1)),
    "a Generator": lambda: np.random.default_rng(1),
    "a Generator by Philox": lambda: np.random.Generator(np.random.Philox(1)),
    "a SeedSequence": lambda: np.random.SeedSequence(4),
    "an ordered dict": lambda: collections.OrderedDict(a=1),
    "a default dict": lambda: collections.defaultdict(list, a=[1]),
    "a counter": lambda: collections.Counter("aab"),
    "weights by NumPy's text": lambda: {np.str_("a"): 1.0, np.str_("b"): np.float32(2.0)},
    "weights by number": lambda: {1.5: 1.0, None: 2.0},
    "a set": lambda: {"lung", "blood"},
    "a frozen set": lambda: frozenset({1, 2}),
    "bytes": lambda: b"abc",
    "a complex number": lambda: 1j,
    "a date": lambda: dt.date(2026, 1, 2),
    "a time with its zone": lambda: dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    "a Timestamp": lambda: pd.Timestamp("2026-01-02"),
    "a NumPy date": lambda: np.datetime64("2026-01-02"),
    "a NumPy type": lambda: np.float32,
    "a NumPy dtype": lambda: np.dtype("f4"),
    "an Index": lambda: pd.Index(["a", "b"]),
    "an Index of ranges": lambda: pd.RangeIndex(3),
    "an Index of dates": lambda: pd.DatetimeIndex(["2026-01-02"]),
    "an Index of categories": lambda: pd.CategoricalIndex(["a"]),
    "a Categorical": lambda: pd.Categorical(["a", "b"]),
    "a Series": lambda: pd.Series(["a"]),
    "a DataFrame": lambda: pd.DataFrame({"a": [1.0], "b": ["x"]}),
    "a path": lambda: pathlib.Path("/data"),
}


def imported(data: bytes, folder: Path) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    path = folder / "made.pkl"
    path.write_bytes(data)
    return import_celltypist(path, name="made", version="1")


@pytest.mark.parametrize(
    ("names", "protocol"),
    [
        *(pytest.param(list(HARMLESS), protocol, id=f"all together-{protocol}") for protocol in (2, 5)),
        *(pytest.param([name], 4, id=name) for name in HARMLESS),
        *(
            pytest.param([name], protocol, id=f"{name}-{protocol}", marks=pytest.mark.exhaustive)
            for protocol in (2, 5)
            for name in HARMLESS
        ),
    ],
)
def test_what_changes_nothing_is_let_be(names: list[str], protocol: int, tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    for name in names:
        setattr(parts["Model"], f"random_state{'' if name == names[0] else name}", HARMLESS[name]())
    found = [HARMLESS[name]() for name in names]
    parts["description"]["details"] = found[0] if len(found) == 1 else found
    parts["Scaler_"].anything = [HARMLESS[name]() for name in names]
    card, tensors = imported(pickle.dumps(parts, protocol=protocol), tmp_path)
    np.testing.assert_array_equal(tensors["coef"].numpy(), parts["Model"].coef_)
    assert [label.name for label in card.labels] == ["a", "b", "c"]
    assert "PickledObject" not in card.title


@pytest.mark.parametrize("kind", [LogisticRegression, SGDClassifier])
def test_a_classifier_trained_with_a_random_state_keeps_its_numbers(kind: Any, tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    options = {"loss": "log_loss"} if kind is SGDClassifier else {}
    x = np.random.default_rng(0).gamma(1.0, 1.0, (120, len(GENES)))
    classifier = kind(random_state=np.random.RandomState(7), class_weight={"a": 1.0, "b": 2.0, "c": 1.0}, **options)
    classifier.fit(x, ["a", "b", "c"] * 40)
    classifier.features = GENES
    _, tensors = imported(pickle.dumps({**parts, "Model": classifier}), tmp_path)
    np.testing.assert_array_equal(tensors["coef"].numpy(), classifier.coef_)


def test_genes_may_be_an_index(tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    parts["Model"].features = pd.Index(GENES, name="genes")
    card, _ = imported(pickle.dumps(parts), tmp_path)
    assert card.features.symbol == tuple(GENES)


def test_weights_that_an_old_classifier_keeps_twice_are_read_once_each(tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    parts["Model"].standard_coef_ = parts["Model"].coef_
    _, tensors = imported(pickle.dumps(parts), tmp_path)
    np.testing.assert_array_equal(tensors["coef"].numpy(), parts["Model"].coef_)


def test_a_random_state_is_no_classifier(tmp_path: Path) -> None:
    parts = {**model_parts(["a", "b"]), "Model": np.random.RandomState(3)}
    with pytest.raises(UnsupportedModelError):
        imported(pickle.dumps(parts), tmp_path)


_CELLTYPIST = """
import pickle, sys
import numpy as np
import celltypist
random = np.random.default_rng(0)
x = np.log1p(random.poisson(1.0, (120, 20)).astype(float))
x = np.log1p(np.expm1(x) / np.expm1(x).sum(axis=1, keepdims=True) * 1e4)
genes = [f"GENE{i}" for i in range(20)]
for how in sys.argv[1:]:
    model = celltypist.train(
        x, labels=["a", "b", "c"] * 40, genes=genes, use_SGD=how == "sgd", check_expression=False,
        random_state=np.random.RandomState(5), n_jobs=1, max_iter=50, alpha=0.01,
    )
    model.write(how + ".pkl")
    np.save(how + ".npy", model.classifier.coef_)
"""


def test_models_that_celltypist_itself_trained_with_a_random_state_are_imported(tmp_path: Path) -> None:
    if not ORACLE.exists():
        pytest.skip("the oracle environment is not there: `make test` sets it up")
    ways = ("sgd", "logistic")
    command = [str(ORACLE), "-c", _CELLTYPIST, *ways]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for how in ways:
        card, tensors = import_celltypist(tmp_path / f"{how}.pkl", name="made", version="1")
        np.testing.assert_array_equal(tensors["coef"].numpy(), np.load(tmp_path / f"{how}.npy"), err_msg=how)
        assert card.training.trained_at, how
