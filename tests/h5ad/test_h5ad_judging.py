"""Verdicts: everything that speaks for and against a file, for real files and made-up ones."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from shared.bundles.card import Features
from shared.domain.all_errors import all_errors
from shared.domain.errors import InputChangedError, UnavailableError
from shared.domain.verdict import GeneIds, MatrixState, Severity, Species, Verdict
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.judging import ModelNeeds, judge, validate
from shared.h5ad.read.rows import read_genes
from shared.h5ad.source import BytesSource
from shared.ports.blobs import ByteRange
from tests.h5ad.h5ad_files import REAL_FILES, Recipe, put_frame, put_matrix, random_counts, real_file, write_file

REFUSALS = {error.code for error in all_errors()}

EXPECTED = {
    "10x_v3_filtered_feature_bc_matrix.h5": ("matrix", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "anndataR_example.h5ad": ("layers/counts", MatrixState.COUNTS, GeneIds.UNKNOWN, Species.UNKNOWN),
    "anndata_v0.7.0.h5ad": ("raw/X", MatrixState.COUNTS, GeneIds.UNKNOWN, Species.UNKNOWN),
    "cxgschema_invalid_CL.h5ad": ("raw/X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "cxgschema_invalid_raw.h5ad": ("raw/X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "cxgschema_invalid_var.h5ad": ("raw/X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "cxgschema_valid_776728.h5ad": ("raw/X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "scp_bad.h5": "NOT_HDF5",
    "scp_dup_cell.h5ad": "DUPLICATE_CELLS",
    "scp_dup_feature.h5ad": ("X", MatrixState.COUNTS, GeneIds.SYMBOL, Species.UNKNOWN),
    "scp_nan_value.h5ad": "BAD_VALUES",
    "soma_pbmc-small-x-csc.h5ad": "NO_USABLE_MATRIX",
    "soma_x-none.h5ad": "NO_USABLE_MATRIX",
    "cas_test_adata.h5ad": ("X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "mixology_sc_celseq2.h5ad": ("X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "mixology_sc_dropseq.h5ad": ("X", MatrixState.COUNTS, GeneIds.ENSEMBL, Species.HUMAN),
    "pbmc3k_raw_labelled.h5ad": ("X", MatrixState.COUNTS, GeneIds.SYMBOL, Species.HUMAN),
    "pbmc68k_reduced_v050.h5ad": ("raw.X", MatrixState.LOG1P_CP10K, GeneIds.SYMBOL, Species.HUMAN),
    "scimilarity_test.h5ad": ("X", MatrixState.LOG1P_CP10K, GeneIds.SYMBOL, Species.HUMAN),
    "zheng_sorted_pbmc_train.h5ad": ("X", MatrixState.COUNTS, GeneIds.SYMBOL, Species.HUMAN),
}


@cache
def verdict_of(name: str) -> Verdict:
    """That of a real file, without a model."""
    return validate(BytesSource(next(path for path in REAL_FILES if path.name == name).read_bytes()))


def codes(verdict: Verdict, severity: Severity) -> list[str]:
    return [finding.code for finding in verdict.findings if finding.severity is severity]


def warnings(verdict: Verdict) -> list[str]:
    return codes(verdict, Severity.WARNING)


def refusals(verdict: Verdict) -> list[str]:
    return codes(verdict, Severity.REFUSAL)


@pytest.mark.parametrize("name", [path.name for path in REAL_FILES])
def test_every_real_file_ends_in_the_verdict_it_should(name: str) -> None:
    verdict = verdict_of(name)
    print(f"{name}: {_line(verdict)}")  # noqa: T201  # the table is what a reader of the log wants
    expected = EXPECTED[name]
    if isinstance(expected, str):
        assert refusals(verdict) == [expected]
        return
    assert verdict.accepted
    assert verdict.matrix is not None
    assert verdict.genes is not None
    found = (verdict.matrix.path, verdict.matrix.state, verdict.genes.kind, verdict.genes.species)
    assert found == expected


def _line(verdict: Verdict) -> str:
    words = ", ".join(finding.code for finding in verdict.findings)
    if verdict.matrix is None:
        return f"refused; {words}"
    choice = verdict.matrix
    size = f"{choice.n_cells} x {choice.n_genes}"
    return f"{choice.path}, {choice.state}, {size}, {verdict.layout}; {words or 'no findings'}"


@pytest.mark.parametrize("name", [path.name for path in REAL_FILES])
def test_every_finding_of_a_real_file_has_a_known_code_and_a_hint(name: str) -> None:
    for finding in verdict_of(name).findings:
        known = REFUSALS if finding.severity is Severity.REFUSAL else set(WarningCode)
        assert finding.code in known
        assert finding.hint
        assert finding.message.endswith(".")


def needs(**changes: object) -> ModelNeeds:
    features = Features(symbol=("MS4A1", "CD3D", "LYZ", "NKG7"), ensembl=(None,) * 4)
    settings: dict[str, object] = {"features": features, "species": Species.HUMAN, "min_overlap": 0.5}
    return ModelNeeds(**{**settings, **changes})  # type: ignore[arg-type]  # fields by name


def panel(*genes: str) -> BytesSource:
    return BytesSource(write_file(random_counts(50, len(genes), density=0.5), Recipe(genes=genes)))


def test_overlap_is_counted() -> None:
    verdict = validate(real_file("h5ad/pbmc3k_raw_labelled.h5ad"), needs())
    assert verdict.accepted
    assert verdict.overlap is not None
    assert (verdict.overlap.n_matched, verdict.overlap.n_model) == (4, 4)


def test_too_little_overlap_is_refused() -> None:
    verdict = validate(panel("MS4A1", "ACTB", "GAPDH", "B2M"), needs())
    assert refusals(verdict) == ["GENES_DO_NOT_MATCH"]
    assert verdict.overlap is not None
    assert verdict.overlap.fraction == 0.25


def test_little_overlap_is_a_warning() -> None:
    verdict = validate(panel("MS4A1", "ACTB", "GAPDH", "B2M"), needs(min_overlap=0.1))
    assert verdict.accepted
    assert "LOW_OVERLAP" in warnings(verdict)


def test_no_overlap_is_refused_even_where_none_is_asked_for() -> None:
    verdict = validate(panel("ACTB", "GAPDH", "B2M", "CD4"), needs(min_overlap=0.0))
    assert refusals(verdict) == ["GENES_DO_NOT_MATCH"]


def test_the_wrong_species_is_refused() -> None:
    verdict = validate(panel("Ms4a1", "Cd3d", "Lyz", "Nkg7", "Actb", "Gapdh", "B2m"), needs())
    assert set(refusals(verdict)) == {"WRONG_SPECIES", "GENES_DO_NOT_MATCH"}


def test_a_mouse_model_takes_a_mouse_file() -> None:
    features = Features(symbol=("Ms4a1", "Cd3d"))
    source = panel("Ms4a1", "Cd3d", "Lyz2", "Nkg7", "Actb", "Gapdh", "B2m")
    assert validate(source, needs(features=features, species=Species.MOUSE)).accepted


def test_versioned_ids_in_a_var_column_are_found_and_read() -> None:
    ids = [f"ENSG{i:011d}.{i % 9}" for i in range(30)]
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        put_matrix(file, "X", random_counts(20, 30), Recipe())
        put_frame(file, "obs", [f"c{i}" for i in range(20)])
        put_frame(file, "var", [f"g{i}" for i in range(30)], {"gene_ids": ids, "n_cells": [1] * 30})
    source = BytesSource(buffer.getvalue())
    model = needs(features=Features(ensembl=tuple(f"ENSG{i:011d}" for i in range(30))))
    verdict = validate(source, model)
    assert verdict.genes is not None
    assert (verdict.genes.column, verdict.genes.versioned, verdict.genes.species) == ("gene_ids", True, Species.HUMAN)
    assert verdict.overlap is not None
    assert verdict.overlap.fraction == 1.0
    assert read_genes(source, verdict)[29] == "ENSG00000000029"


def test_everything_wrong_is_said_at_once() -> None:
    matrix = random_counts(50, 4, density=0.9).toarray()
    matrix[3, 2] = np.nan
    data = write_file(sp.csr_matrix(matrix), Recipe(genes=("Actb", "Gapdh", "B2m", "Cd4"), cells=["same"] * 50))
    verdict = validate(BytesSource(data), needs())
    assert set(refusals(verdict)) == {"BAD_VALUES", "DUPLICATE_CELLS", "GENES_DO_NOT_MATCH", "WRONG_SPECIES"}


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_an_empty_matrix_is_refused(shape: tuple[int, int], kind: str) -> None:
    verdict = validate(BytesSource(write_file(sp.csr_matrix(np.zeros(shape, np.float32)), Recipe(kind=kind))))
    assert "EMPTY_MATRIX" in refusals(verdict)


def test_a_matrix_of_zeros_is_refused() -> None:
    verdict = validate(BytesSource(write_file(sp.csr_matrix(np.zeros((5, 6), np.float32)))))
    assert refusals(verdict) == ["NO_USABLE_MATRIX"]


def test_an_option_for_a_matrix_that_is_not_there_is_refused_with_the_choices() -> None:
    verdict = validate(panel(*"ABCD"), matrix="layers/counts")
    assert refusals(verdict) == ["NO_USABLE_MATRIX"]
    assert "one of: X" in verdict.refusals[0].message


def test_an_option_for_scaled_values_is_refused_with_what_was_found() -> None:
    scaled = sp.csr_matrix(random_counts(50, 40).toarray() - 1.0)
    data = write_file(scaled, None, counts=random_counts(50, 40))
    assert validate(BytesSource(data)).accepted
    verdict = validate(BytesSource(data), matrix="X")
    assert refusals(verdict) == ["NO_USABLE_MATRIX"]
    assert "negative" in verdict.refusals[0].message


def test_a_layer_of_another_shape_is_left_out_with_a_warning() -> None:
    verdict = validate(BytesSource(write_file(random_counts(50, 40), None, odd=random_counts(50, 30))))
    assert verdict.accepted
    assert "MATRIX_SKIPPED" in warnings(verdict)


def test_a_selection_of_log_values_is_proved_by_the_totals() -> None:
    verdict = validate(real_file("h5ad/pbmc68k_reduced_v050.h5ad"))
    assert {"OLD_LAYOUT", "LOG_NORMALISED_INPUT", "SUBSET_OF_GENES"} <= set(warnings(verdict))
    assert verdict.matrix is not None
    assert "n_counts" in verdict.matrix.why


def test_a_foreign_scale_is_named() -> None:
    counts = random_counts(60, 80, density=0.5)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    data = write_file(sp.diags(1e6 / totals).dot(counts).tocsr().log1p())
    verdict = validate(BytesSource(data))
    (finding,) = [finding for finding in verdict.findings if finding.code == "OTHER_TARGET_SUM"]
    assert finding.details["target_sum"] == pytest.approx(1e6, rel=1e-3)


@pytest.mark.parametrize(
    ("inside", "hint"),
    [({"mod": 1}, ".mod["), ({"row_attrs": 1, "matrix": 1}, "read_loom"), ({"something": 1}, "write_h5ad")],
)
def test_other_formats_are_named_with_the_way_out(inside: dict[str, int], hint: str) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name in inside:
            file.create_group(name)
    verdict = validate(BytesSource(buffer.getvalue()))
    assert refusals(verdict) == ["NOT_ANNDATA"]
    assert hint in verdict.refusals[0].hint


def test_cell_ranger_two_is_read() -> None:
    buffer = io.BytesIO()
    counts = random_counts(30, 20, density=0.5)
    with h5py.File(buffer, "w") as file:
        group = file.create_group("GRCh38")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(counts, name)
        group["shape"] = np.array([20, 30])
        group["barcodes"] = np.array([f"c{i}".encode() for i in range(30)])
        group["genes"] = np.array([f"ENSG{i:011d}".encode() for i in range(20)])
        group["gene_names"] = np.array([f"NAME{i}".encode() for i in range(20)])
    verdict = validate(BytesSource(buffer.getvalue()))
    assert verdict.accepted
    assert (verdict.layout, verdict.n_cells, verdict.n_genes) == ("10x v2", 30, 20)


@dataclass(frozen=True, slots=True)
class Failing:
    """A source that raises."""

    error: Exception
    size_bytes: int = 1000

    def read(self, span: ByteRange) -> bytes:
        del span
        raise self.error

    def read_many(self, spans: object) -> list[bytes]:
        del spans
        raise self.error


def test_a_changed_input_is_in_the_verdict() -> None:
    assert refusals(validate(Failing(InputChangedError("gone")))) == ["INPUT_CHANGED"]


def test_a_store_that_does_not_answer_is_not_the_files_fault() -> None:
    with pytest.raises(UnavailableError):
        validate(Failing(UnavailableError("busy")))


def test_judging_again_with_another_model_needs_no_second_look() -> None:
    facts = inspect(panel("MS4A1", "CD3D", "LYZ", "NKG7"))
    assert judge(facts, needs()).accepted
    assert not judge(facts, needs(features=Features(symbol=("TP53",)))).accepted
