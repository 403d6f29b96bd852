"""What a verdict says of a file: bounded, in plain words, and fitting the file's layout."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from shared.domain.errors import InternalError
from shared.domain.verdict import Verdict
from shared.domain.words import cut, listed, shortened
from shared.h5ad.inspect.gathering import MOST_MATRICES
from shared.h5ad.inspect.identifiers import LONGEST_NAME
from shared.h5ad.judge.judging import validate
from shared.h5ad.source import BytesSource
from shared.records.documents import verdict_document
from tests.h5ad.h5ad_files import Recipe, random_counts, spoiled, write_file

PYTHON = re.compile(r"\bb'|\\x[0-9a-f]{2}|\w+Error\b|Traceback|NoneType|Unable to|errno|h5py", re.IGNORECASE)


def one_refusal(verdict: Verdict) -> tuple[str, str, str]:
    (found,) = verdict.refusals
    return found.code, found.message, found.hint


def skipped(verdict: Verdict) -> int:
    return sum(finding.code == "MATRIX_SKIPPED" for finding in verdict.warnings)


def tenx(barcodes: Sequence[str]) -> BytesSource:
    """Cell Ranger's .h5 with these barcodes."""
    counts = random_counts(len(barcodes), 300)
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        group = file.create_group("matrix")
        stored = counts.tocsr()
        group["data"], group["indices"], group["indptr"] = stored.data.astype("i4"), stored.indices, stored.indptr
        group["shape"] = [300, len(barcodes)]
        group["barcodes"] = np.array([name.encode() for name in barcodes])
        group["features/id"] = np.array([f"ENSG{i:011d}".encode() for i in range(300)])
        group["features/feature_type"] = np.array([b"Gene Expression"] * 300)
    return BytesSource(buffer.getvalue())


def many_layers(file: h5py.File) -> None:
    layer = file.create_group("layers/l0")
    layer["data"], layer["indices"], layer["indptr"] = [1.0], [0], [0, 1]
    layer.attrs["encoding-type"], layer.attrs["shape"] = "Z" * 60_000, [20, 30]
    for number in range(1, 100):
        file[f"layers/l{number}"] = layer


def huge_attribute(file: h5py.File) -> None:
    file["X"].attrs["encoding-type"] = "Z" * 60_000


def huge_version(file: h5py.File) -> None:
    file.attrs["encoding-version"] = "Z" * 60_000


def huge_names(file: h5py.File) -> None:
    file.copy("X", f"layers/{'L' * 60_000}")
    file[f"var/{'gene' * 15_000}"] = np.array([f"GENE{i}".encode() for i in range(30)])


def huge_cell_ids(file: h5py.File) -> None:
    del file["obs/_index"]
    file["obs/_index"] = np.array([b"A" * 10_000] * 20)


HUGE = [many_layers, huge_attribute, huge_version, huge_names, huge_cell_ids]


@pytest.mark.parametrize("spoil", HUGE, ids=lambda spoil: spoil.__name__)
def test_a_verdict_is_small_whatever_the_file_says(spoil: Callable[[h5py.File], object]) -> None:
    verdict = validate(spoiled(spoil))
    assert len(json.dumps(verdict_document(verdict))) < 20_000
    assert all(len(finding.message) <= 1000 for finding in verdict.findings)
    assert len(verdict.findings) <= 10


def test_a_matrix_of_an_endless_name_is_skipped_and_one_of_a_long_name_is_not() -> None:
    def named(length: int) -> Verdict:
        return validate(spoiled(lambda file: file.copy("X", f"layers/{'L' * (length - len('layers/'))}")))

    assert skipped(named(LONGEST_NAME)) == 0
    assert skipped(named(LONGEST_NAME + 1)) == 1


@pytest.mark.parametrize(("n_layers", "told"), [(MOST_MATRICES - 1, 0), (MOST_MATRICES, 1)])
def test_so_many_matrices_are_looked_at_and_the_others_told(n_layers: int, told: int) -> None:
    def layered(file: h5py.File) -> None:
        for number in range(n_layers - 1):
            file[f"layers/a{number}"] = file["X"]
        file["layers/z_counts"] = file["X"]

    verdict = validate(spoiled(layered))
    assert skipped(verdict) == told
    assert len(verdict.considered) == MOST_MATRICES
    assert "layers/z_counts" in [path for path, _ in verdict.considered]
    asked = validate(spoiled(layered), matrix="layers/a0")
    assert asked.matrix is not None
    assert asked.matrix.path == "layers/a0"


def test_an_errors_words_are_cut_in_the_middle() -> None:
    error = InternalError("a" * 9_000 + "z", where="/home/" + "b" * 9_000 + "/x.h5ad", expected="c" * 9_000)
    assert len(error.message) < 1_200
    assert "az (" in error.message
    assert "/x.h5ad" in error.message


def test_cut_words_are_printable_and_on_one_line() -> None:
    assert cut("a\n\x1b[0m\tb", 20) == "a [0m b"
    assert cut("x" * 99, 10) == "xxxxxx\u2026xxx"
    assert (shortened("x" * 10, 10), len(shortened("x" * 11, 10))) == ("x" * 10, 10)
    assert (listed(["a", "b"]), listed(["a", "b", "c", "d"])) == ("a, b", "a, b, c and 1 more")


def number_as_index(file: h5py.File) -> None:
    file["obs"].attrs["_index"] = 7.5
    del file["obs/_index"]


def damaged_chunk(file: h5py.File) -> None:
    values = file["X/data"][()]
    del file["X/data"]
    made = file.create_dataset("X/data", data=values, chunks=(len(values),), compression="gzip")
    made.id.write_direct_chunk((0,), b"no deflate")


def scalar_index(file: h5py.File) -> None:
    del file["obs/_index"]
    file["obs/_index"] = h5py.Empty("f4")


def named_type(file: h5py.File) -> None:
    del file["X/indptr"]
    file["X/indptr"] = np.dtype("f8")


@pytest.mark.parametrize(
    "spoil", [number_as_index, damaged_chunk, scalar_index, named_type], ids=lambda spoil: spoil.__name__
)
def test_a_file_that_cannot_be_decoded_is_refused_without_the_librarys_words(
    spoil: Callable[[h5py.File], object],
) -> None:
    code, message, hint = one_refusal(validate(spoiled(spoil)))
    assert code in {"FILE_DAMAGED", "NOT_ANNDATA", "NO_USABLE_MATRIX"}
    assert not PYTHON.search(message)
    assert hint


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_a_matrix_of_zeros_is_said_to_be_all_zero(kind: str) -> None:
    empty = sp.csr_matrix(np.zeros((20, 30), np.float32))
    code, message, hint = one_refusal(validate(BytesSource(write_file(empty, Recipe(kind=kind)))))
    assert code == "NO_USABLE_MATRIX"
    assert "zero" in message
    assert "neither" not in message
    assert "cannot be undone" not in hint


def test_a_transposed_matrix_is_said_to_be_transposed() -> None:
    def transpose(file: h5py.File) -> None:
        del file["X"]
        file["X"] = np.ones((30, 20))

    code, message, hint = one_refusal(validate(spoiled(transpose)))
    assert code == "NO_USABLE_MATRIX"
    assert "genes x cells: transposed" in message
    assert "cells are rows" in hint


def test_a_file_without_any_matrix_says_so() -> None:
    code, message, hint = one_refusal(validate(spoiled(lambda file: [file.pop(name) for name in ("X", "layers")])))
    assert code == "NO_USABLE_MATRIX"
    assert "no X, raw or layers" in message
    assert "adata.X" in hint


def test_a_file_without_genes_says_what_it_may_be() -> None:
    metadata = write_file(sp.csr_matrix(np.zeros((20, 0), np.float32)), Recipe(kind="dense"))
    code, message, hint = one_refusal(validate(BytesSource(metadata)))
    assert (code, message.startswith("20 cells and 0 genes")) == ("EMPTY_MATRIX", True)
    assert "metadata" in hint


def test_duplicated_barcodes_of_cell_ranger_are_told_in_its_words() -> None:
    code, message, hint = one_refusal(validate(tenx(["AAAC-1", "AAAG-1", "AAAC-1"])))
    assert code == "DUPLICATE_CELLS"
    assert "1 cell id occurs more than once, such as AAAC-1 (the barcodes)" in message
    assert hint.startswith("Convert it: adata = scanpy.read_10x_h5(FILE)")


def test_duplicated_ids_of_an_h5ad_are_told_in_its_words() -> None:
    recipe = Recipe(cells=["a", "a", "b", "b", *map(str, range(16))])
    code, message, hint = one_refusal(validate(BytesSource(write_file(random_counts(20, 30), recipe))))
    assert code == "DUPLICATE_CELLS"
    assert "2 cell ids occur more than once, such as a, b (the index of obs)" in message
    assert "read_10x_h5" not in hint
