"""Labels are read from obs columns in every form, and what stands for no label is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from jobs.modeling.evaluation import evaluate
from jobs.modeling.labelled import Sample, read_labelled
from jobs.modeling.training import train
from shared.domain.errors import TrainingDataError
from tests.modeling.synthetic import SMALL, Population, names_of, quick

TWO = Population({"B": 6, "T": 6})
TEXT = TWO.label_n.astype(object)
NUMBER = np.repeat([1, 2], 6)


def with_gap(values: Sequence[object] | np.ndarray[Any, Any], gap: object) -> list[object]:
    return [gap, *list(values)[1:]]


def masked(values: object, dtype: str) -> Any:
    found = pd.array(values, dtype=dtype)  # type: ignore[call-overload]
    found[0] = pd.NA
    return found


FORMS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "text": (lambda: TEXT, ["B", "T"]),
    "text with blanks": (lambda: [f" {text} " for text in TEXT], ["B", "T"]),
    "categories": (lambda: pd.Categorical(TEXT), ["B", "T"]),
    "categories with a gap": (lambda: pd.Categorical(with_gap(TEXT, None)), ["B", "T"]),
    "categories that none has": (lambda: pd.Categorical(TEXT, categories=["B", "NK", "T"]), ["B", "T"]),
    "numbers as categories": (lambda: pd.Categorical(NUMBER), ["1", "2"]),
    "categories of truth": (lambda: pd.Categorical(NUMBER == 1), ["False", "True"]),
    "integers": (lambda: NUMBER, ["1", "2"]),
    "small integers": (lambda: NUMBER.astype("u1"), ["1", "2"]),
    "integers with a gap": (lambda: masked(NUMBER, "Int64"), ["1", "2"]),
    "integers made floats by a gap": (lambda: np.array(with_gap(NUMBER, np.nan), float), ["1", "2"]),
    "fractions": (lambda: NUMBER + 0.5, ["1.5", "2.5"]),
    "truth": (lambda: NUMBER == 1, ["False", "True"]),
    "truth with a gap": (lambda: masked(NUMBER == 1, "boolean"), ["False", "True"]),
    "text with a gap": (lambda: masked(TEXT, "string"), ["B", "T"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_column_of_any_form_is_read(form: str, tmp_path: Path) -> None:
    make, names = FORMS[form]
    adata = TWO.adata()
    adata.obs["label"] = make()
    adata.write_h5ad(tmp_path / "a.h5ad")
    cells = read_labelled(tmp_path / "a.h5ad", "label")
    assert names_of(cells.labels) == names
    assert cells.n_unlabelled == int("gap" in form)
    first, last = set(cells.class_n[:5].tolist()), set(cells.class_n[-6:].tolist())
    assert len(first) == len(last) == 1
    assert first != last


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "<NA>", "None", "N/A", "n/a", "null", "NULL", "NaT", "", " "])
@pytest.mark.parametrize("kind", [object, "category"])
def test_a_text_that_means_nothing_is_no_class(text: str, kind: Any, tmp_path: Path) -> None:
    adata = TWO.adata()
    adata.obs["label"] = pd.Series(with_gap(TEXT, text), index=adata.obs_names, dtype=object).astype(kind)
    adata.write_h5ad(tmp_path / "a.h5ad")
    cells = read_labelled(tmp_path / "a.h5ad", "label")
    assert names_of(cells.labels) == ["B", "T"]
    assert cells.missing == {text.strip(): 1}


@pytest.mark.parametrize("text", ["none", "unknown", "Unassigned", "Na", "0"])
def test_a_word_that_may_mean_something_is_a_class(text: str, tmp_path: Path) -> None:
    adata = TWO.adata()
    adata.obs["label"] = with_gap(TEXT, text)
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert text in names_of(read_labelled(tmp_path / "a.h5ad", "label").labels)


def test_what_a_model_calls_na_is_compared_with_it(tmp_path: Path) -> None:
    model = train(SMALL.cells(), quick(), lambda _: None)
    labels = (model.card.labels[0].model_copy(update={"name": "NA"}), *model.card.labels[1:])
    file = Population({"NA": 30, "T": 30}, seed=5).write(tmp_path / "a.h5ad")
    report = evaluate(model.card.model_copy(update={"labels": labels}), model.tensors, file, "label")
    assert report.n_cells == 60
    assert report.missing == {}


def compound(path: Path) -> Path:
    """As AnnData 0.5 and 0.6 kept obs: records, with codes whose meaning lies in uns."""
    TWO.write(path)
    with h5py.File(path, "r+") as file:
        ids = file["obs/_index"].asstr()[()]
        del file["obs"], file.attrs["encoding-type"], file.attrs["encoding-version"]
        records = np.zeros(
            12, [("index", "S10"), ("label", "i1"), ("plain", "S4"), ("cluster", "i4"), ("two", "f4", 2)]
        )
        records["index"], records["cluster"], records["plain"] = ids, NUMBER, TEXT.astype("S4")
        records["label"] = [-1, *(NUMBER[1:] - 1)]
        file["obs"] = records
        file["uns/label_categories"] = np.array([b"B", b"T"])
    return path


@pytest.mark.parametrize(("column", "names"), [("label", ["B", "T"]), ("plain", ["B", "T"]), ("cluster", ["1", "2"])])
def test_a_column_of_an_old_layout_is_read(column: str, names: list[str], tmp_path: Path) -> None:
    cells = read_labelled(compound(tmp_path / "a.h5ad"), column)
    assert names_of(cells.labels) == names
    assert cells.n_unlabelled == int(column == "label")
    assert next(warning.code for warning in cells.warnings) == "OLD_LAYOUT"


def odd(path: Path) -> Path:
    TWO.write(path)
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        obs["two"], obs["short"], obs["null"] = np.zeros((12, 2)), np.arange(3), h5py.Empty("f4")
        obs["group/inside"] = 1
        obs.create_dataset(b"\xff\xfe", data=np.arange(12))
    return path


@pytest.mark.parametrize("column", ["two", "short", "null", "group"])
def test_a_column_that_is_no_list_is_refused_by_name(column: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=f"obs column '{column}' is not a list"):
        read_labelled(odd(tmp_path / "a.h5ad"), column)


def test_odd_columns_beside_the_labels_do_not_matter(tmp_path: Path) -> None:
    assert read_labelled(odd(tmp_path / "a.h5ad"), "label").n_cells == 12


def test_a_column_in_another_case_is_named_first(tmp_path: Path) -> None:
    adata = TWO.adata()
    for number in range(40):
        adata.obs.insert(0, f"column{number}", 1)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(TrainingDataError, match=r"one of 'label', .* and 22 more"):
        read_labelled(tmp_path / "a.h5ad", "Label")


def test_only_as_many_cells_as_asked_for_are_held(tmp_path: Path) -> None:
    file = Population({"B": 60, "NK": 8, "T": 60}).write(tmp_path / "a.h5ad")
    cells = read_labelled(file, "label", sample=Sample(48))
    assert np.bincount(cells.class_n).tolist() == [20, 8, 20]
    assert (cells.n_cells, cells.n_sampled_away) == (48, 80)
    whole = read_labelled(file, "label")
    rows = {tuple(row) for row in whole.value_ng.toarray()}
    assert {tuple(row) for row in cells.value_ng.toarray()} <= rows
