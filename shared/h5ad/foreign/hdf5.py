"""What an HDF5 file is that is neither AnnData nor Cell Ranger's matrix, by the names at its root."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shared.domain.errors import NotAnnDataError
from shared.domain.words import listed
from shared.h5ad.foreign.kinds import READS_HINT, SAVE, WRITE, Foreign, converted

_RNA = ("rna", "gex", "gene expression", "gene_expression", "gexp", "transcriptome")
_TENX = "Send filtered_feature_bc_matrix.h5 of the same folder instead; it is taken as it is."
_WEIGHTS = "It holds weights, no cells: send the AnnData with the cells to be annotated."
_KINDS: tuple[tuple[frozenset[str], Foreign], ...] = (
    (frozenset({"row_attrs", "col_attrs"}), converted("a loom file", "scanpy.read_loom(FILE)")),
    (frozenset({"row_attrs"}), converted("a loom file", "scanpy.read_loom(FILE)")),
    (
        frozenset({"assays", "cell.names"}),
        Foreign("an h5Seurat file", "Convert it in R: SeuratDisk::Convert(FILE, dest = 'h5ad')."),
    ),
    (
        frozenset({"barcode_idx", "feature_idx"}),
        Foreign("Cell Ranger's molecule_info.h5: single molecules, not the matrix of counts", _TENX),
    ),
    (
        frozenset({"barcode_idx", "umi"}),
        Foreign("Cell Ranger's molecule_info.h5: single molecules, not the matrix of counts", _TENX),
    ),
    (frozenset({"feature_slices"}), Foreign("Space Ranger's feature_slice.h5", _TENX)),
    (
        frozenset({"BD", "FM"}),
        Foreign("a SnapATAC file (.snap): chromatin fragments, not genes", "Send a file of gene expression."),
    ),
    (
        frozenset({"ArchRVersion"}),
        Foreign("an ArchR Arrow file: chromatin fragments, not genes", "Send a file of gene expression."),
    ),
    (frozenset({"model_weights"}), Foreign("a Keras model", _WEIGHTS)),
    (frozenset({"layer_names"}), Foreign("a Keras model", _WEIGHTS)),
    (
        frozenset({"idxptr", "row_names"}),
        Foreign("a BPCells matrix", 'In R: BPCells::write_matrix_anndata_hdf5(MATRIX, "NEW.h5ad").'),
    ),
    (
        frozenset({"assay001"}),
        Foreign(
            "half of an R SummarizedExperiment (assays.h5 beside its se.rds)",
            "In R: zellkonverter::writeH5AD(HDF5Array::loadHDF5SummarizedExperiment(FOLDER), FILE).",
        ),
    ),
    (frozenset({"est_counts"}), Foreign("kallisto's abundance.h5 of bulk RNA", READS_HINT)),
    (frozenset({"geneExp"}), Foreign("a Stereo-seq .gef file", "Convert it with stereopy to AnnData (.h5ad).")),
    (frozenset({"cellBin"}), Foreign("a Stereo-seq .gef file", "Convert it with stereopy to AnnData (.h5ad).")),
    (
        frozenset({"#refs#"}),
        Foreign("a MATLAB file (.mat, version 7.3)", f"Make an AnnData of its matrix, then {WRITE}."),
    ),
    (
        frozenset({"data", "indices", "indptr"}),
        Foreign(
            "a bare sparse matrix, without cells and genes", f"Make an AnnData of it with obs and var, then {WRITE}."
        ),
    ),
    (
        frozenset({"shape"}),
        Foreign(
            "a bare sparse matrix, without cells and genes", f"Make an AnnData of it with obs and var, then {WRITE}."
        ),
    ),
)
_BY_ATTRIBUTE: tuple[tuple[str, Foreign], ...] = (
    ("keras_version", Foreign("a Keras model", _WEIGHTS)),
    ("layer_names", Foreign("a Keras model", _WEIGHTS)),
    (
        "PYTABLES_FORMAT_VERSION",
        converted(
            "a PyTables file, as pandas' to_hdf writes", "anndata.AnnData(pandas.read_hdf(FILE)) (cells as rows)"
        ),
    ),
    ("_NCProperties", Foreign("a NetCDF file")),
)


def recognise_hdf5(names: Collection[str], attributes: Collection[str] = ()) -> Foreign | None:
    """The kind of HDF5 file with these names at its root; None where it is not a known one."""
    found = next((kind for marks, kind in _KINDS if marks <= set(names)), None)
    return found or next((kind for name, kind in _BY_ATTRIBUTE if name in attributes), None)


def mudata(modalities: Sequence[str]) -> NotAnnDataError:
    """The refusal of a MuData file with these modalities, which are told by name."""
    rna = next((name for name in modalities if name.lower() in _RNA), None)
    names = f" of {listed(modalities)}" if modalities else ""
    hint = f'Send one modality alone, the RNA: mudata.read_h5mu(FILE).mod["{rna or "NAME"}"].write_h5ad("NEW.h5ad").'
    return NotAnnDataError(f"this is a MuData file (.h5mu){names}", expected="one AnnData (.h5ad)", hint=hint)


def unknown(names: Sequence[str]) -> Foreign:
    """An HDF5 file of a kind that nobody here knows."""
    inside = f"holds {listed(sorted(names), most=8)}" if names else "is empty"
    return Foreign(f"an HDF5 file that {inside}", SAVE)


def refusal(kind: Foreign) -> NotAnnDataError:
    """The error that says so."""
    return NotAnnDataError(
        f"this is {kind.what}", expected="obs, var and X as AnnData writes them, or Cell Ranger's .h5", hint=kind.hint
    )
