"""Training and evaluation read a file as `celldrop run` does: they take what it takes, and refuse what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from jobs.modeling.evaluation import evaluate
from jobs.modeling.labelled import read_labelled
from jobs.modeling.training import TrainedModel, train
from shared.domain.errors import InputError, TrainingDataError
from shared.domain.verdict import MatrixState, Species
from shared.h5ad.judge.judging import validate
from shared.h5ad.source import BytesSource
from tests.modeling.synthetic import SMALL, Population, quick

Change = Callable[[h5py.File], object]


def changed(path: Path, change: Change) -> Path:
    SMALL.write(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def unknown_uns(file: h5py.File) -> None:
    group = file.create_group("uns/odd")
    group.attrs.update({"encoding-type": "nobody-knows-it", "encoding-version": "9"})
    group["x"] = 1


def named_types(file: h5py.File) -> None:
    kind = h5py.h5t.py_create(np.dtype("f4")).copy()
    kind.commit(file.create_group("__DATA_TYPES__").id, b"Float_t")


def in_chunks(file: h5py.File) -> None:
    for name in ("data", "indices"):
        values = file["X"][name][()]
        del file["X"][name]
        file["X"].create_dataset(name, data=values, chunks=(500,), shuffle=True, compression="gzip", fletcher32=True)


def wide_numbers(file: h5py.File) -> None:
    for name, kind in (("data", "f8"), ("indices", "i8"), ("indptr", "u8")):
        values = file["X"][name][()].astype(kind)
        del file["X"][name]
        file["X"][name] = values


def before_0_7(file: h5py.File) -> None:
    group = file["obs"]
    for frame in (group, file["var"], file["X"], file):
        for name in ("encoding-type", "encoding-version"):
            frame.attrs.pop(name, None)
    file["X"].attrs["h5sparse_format"], file["X"].attrs["h5sparse_shape"] = "csr", file["X"].attrs.pop("shape")
    records = np.zeros(180, [("index", "S10"), ("label", "S4")])
    records["index"], records["label"] = file["obs/_index"].asstr()[()], SMALL.label_n
    del file["obs"]
    file["obs"] = records


WHOLE: dict[str, Change] = {
    "an unknown encoding in uns": unknown_uns,
    "named types": named_types,
    "chunks with a filter each": in_chunks,
    "wide numbers": wide_numbers,
    "a layout before 0.7": before_0_7,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_a_run_takes_is_read_whole(name: str, tmp_path: Path) -> None:
    cells = read_labelled(changed(tmp_path / "a.h5ad", WHOLE[name]), "label")
    np.testing.assert_array_equal(cells.value_ng.toarray(), SMALL.counts())
    assert [cells.labels[position].name for position in cells.class_n] == SMALL.label_n.tolist()


@pytest.mark.parametrize("kind", [sp.csc_matrix, np.asarray])
def test_a_matrix_of_another_kind_is_read_whole(kind: Callable[[object], object], tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.X = kind(SMALL.counts())
    adata.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(read_labelled(tmp_path / "a.h5ad", "label").value_ng.toarray(), SMALL.counts())


def test_duplicate_entries_are_summed(tmp_path: Path) -> None:
    def split(file: h5py.File) -> None:
        x = sp.csr_matrix(SMALL.counts())
        data = np.repeat(x.data, 2)
        data[::2] = np.floor(x.data / 2)
        data[1::2] = x.data - data[::2]
        for name, values in (("data", data), ("indices", np.repeat(x.indices, 2)), ("indptr", x.indptr * 2)):
            del file["X"][name]
            file["X"][name] = values

    cells = read_labelled(changed(tmp_path / "a.h5ad", split), "label")
    np.testing.assert_array_equal(cells.value_ng.toarray(), SMALL.counts())


def with_value(value: float) -> Change:
    def change(file: h5py.File) -> None:
        file["X/data"][3] = value

    return change


def put_link(file: h5py.File) -> None:
    file["uns/far"] = h5py.ExternalLink("elsewhere.h5", "/")


REFUSED: dict[str, tuple[Change, str]] = {
    "NaN": (with_value(np.nan), "BAD_VALUES"),
    "infinite": (with_value(np.inf), "BAD_VALUES"),
    "no matrix": (lambda file: file.pop("X"), "NO_USABLE_MATRIX"),
    "no obs": (lambda file: file.pop("obs"), "NOT_ANNDATA"),
    "a link elsewhere": (put_link, "FILE_UNSAFE"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_run_refuses_is_refused_with_the_same_code(name: str, tmp_path: Path, model: TrainedModel) -> None:
    change, code = REFUSED[name]
    path = changed(tmp_path / "a.h5ad", change)
    assert validate(BytesSource(path.read_bytes())).refusals[0].code == code
    for act in (
        lambda: read_labelled(path, "label"),
        lambda: evaluate(model.card, model.tensors, path, "label"),
    ):
        with pytest.raises(InputError) as caught:
            act()
        assert caught.value.code == code
        assert ".." not in caught.value.message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_place_of_a_bad_value_is_told(value: float, tmp_path: Path) -> None:
    x = sp.csr_matrix(SMALL.counts())
    with pytest.raises(InputError, match=rf"{value} in cell 0 .*gene column {x.indices[3]}"):
        read_labelled(changed(tmp_path / "a.h5ad", with_value(value)), "label")


def test_ids_that_repeat_are_a_warning_since_nothing_is_joined(tmp_path: Path) -> None:
    def repeat(file: h5py.File) -> None:
        file["obs/_index"][...] = "cell"

    changed(tmp_path / "a.h5ad", repeat)
    cells = read_labelled(tmp_path / "a.h5ad", "label")
    assert cells.n_cells == 180
    assert [warning.code for warning in cells.warnings][:1] == ["DUPLICATE_CELLS"]


def test_cell_ranger_has_no_labels_and_is_told_so(data_dir: Path) -> None:
    with pytest.raises(TrainingDataError, match="10x v3 files have no obs") as caught:
        read_labelled(data_dir / "awkward" / "10x_v3_filtered_feature_bc_matrix.h5", "label")
    assert "read_10x_h5" in caught.value.hint


def test_genes_that_are_only_counted_make_no_model(tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.var_names = [str(number) for number in range(60)]
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(TrainingDataError, match="genes are named '0', '1', '2'"):
        read_labelled(tmp_path / "a.h5ad", "label")


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(SMALL.cells(), quick(), lambda _: None)


def of_species(species: Species, model: TrainedModel) -> TrainedModel:
    return TrainedModel(model.card.model_copy(update={"species": species}), model.tensors, model.report)


def test_a_file_of_another_species_is_refused_and_not_given_a_figure(model: TrainedModel, tmp_path: Path) -> None:
    adata = SMALL.adata()
    mouse = ["Actb", "Gapdh", "B2m", "Malat1", "Eef1a1", "Cd3d", "Cd74", "Lyz2", "Nkg7", "Ptprc"]
    adata.var_names = [*SMALL.genes[:50], *mouse]
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError) as caught:
        evaluate(of_species(Species.HUMAN, model).card, model.tensors, tmp_path / "a.h5ad", "label")
    assert caught.value.code == "WRONG_SPECIES"


def test_too_few_genes_are_refused_and_few_are_told(model: TrainedModel, tmp_path: Path) -> None:
    file = Population({"B": 30, "T": 30}, n_genes=20).write(tmp_path / "a.h5ad")
    report = evaluate(model.card, model.tensors, file, "label")
    assert "LOW_OVERLAP" in [warning.code for warning in report.warnings]
    strict = model.card.model_copy(update={"default_overlap": 0.9})
    with pytest.raises(InputError) as caught:
        evaluate(strict, model.tensors, file, "label")
    assert caught.value.code == "GENES_DO_NOT_MATCH"


def test_log_values_are_evaluated_as_a_run_scores_them(model: TrainedModel, tmp_path: Path) -> None:
    adata = SMALL.adata()
    counts = SMALL.counts()
    adata.X = sp.csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32))
    adata.write_h5ad(tmp_path / "log.h5ad")
    assert read_labelled(tmp_path / "log.h5ad", "label").state is MatrixState.LOG1P_CP10K
    logged = evaluate(model.card, model.tensors, tmp_path / "log.h5ad", "label")
    counted = evaluate(model.card, model.tensors, SMALL.write(tmp_path / "counts.h5ad"), "label")
    assert logged.labels is not None
    assert counted.labels is not None
    assert logged.labels.accuracy == counted.labels.accuracy
    assert "LOG_NORMALISED_INPUT" in [warning.code for warning in logged.warnings]


def test_labels_that_the_model_does_not_have_are_listed(model: TrainedModel, tmp_path: Path) -> None:
    file = Population({"B": 30, "innate": 20, "Mast": 10}, seed=5).write(tmp_path / "a.h5ad")
    report = evaluate(model.card, model.tensors, file, "label")
    assert report.n_unknown == {"innate": 20, "Mast": 10}
    assert report.n_left_out == {"Mast": 10}
