"""The kinds of files that are sent by mistake: what each is called, and what to do with one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.errors import InputError, NotHdf5Error, TruncatedFileError

WANTED = "an .h5ad file (AnnData) or Cell Ranger's .h5"
WRITE = 'adata.write_h5ad("NEW.h5ad")'
SAVE = f"Save the data with {WRITE} and send that file."
AGAIN = "Send the file again, and compare sizes."
_MTX = f"adata = scanpy.read_10x_mtx(FOLDER), then {WRITE}."
_SEURAT = 'anndataR::write_h5ad(readRDS("FILE"), "NEW.h5ad")'


@dataclass(frozen=True, slots=True)
class Foreign:
    """A kind of file that cannot be annotated as it is.

    Attributes:
        what: With its article: ``an R object (.rds)``.
        hint: How an .h5ad is made of it.
        error: The error that says so.
    """

    what: str
    hint: str = SAVE
    error: type[InputError] = NotHdf5Error

    def packed(self, how: str) -> Foreign:
        """The same, inside a compressed file."""
        article, _, rest = self.what.partition(" ")
        named = f"a {how} {rest}" if article in {"a", "an"} else f"{self.what}, {how}"
        return replace(self, what=named)

    def refusal(self, where: str = "") -> InputError:
        """The error, with everything that is known."""
        return self.error(f"this is {self.what}", expected=WANTED, where=where, hint=self.hint)


def converted(what: str, read: str) -> Foreign:
    """A kind that one call reads into an AnnData."""
    return Foreign(what, f"Convert it: adata = {read}, then {WRITE}.")


EMPTY = Foreign(
    "an empty file (0 bytes)",
    f"The upload or download stopped before it began. {AGAIN} gcsfuse makes an empty object before the whole one: that "
    "one has a submission of its own.",
)
ZEROS = Foreign("a file of zeros: space was set aside for it and never filled", f"The download is not whole. {AGAIN}")
MANGLED = Foreign(
    "an HDF5 file whose bytes were changed on the way, as a transfer in text mode does",
    "Transfer it again in binary mode (ftp: type binary first), and compare checksums.",
    TruncatedFileError,
)

MATRIX_MARKET = Foreign(
    "a Matrix Market file (.mtx): numbers without the names of cells and genes",
    f"Convert the folder that also has barcodes and features (or genes): {_MTX}",
)
TENX_FOLDER = Foreign("a folder of 10x .mtx files", f"Convert it: {_MTX}")
TENX_ARCHIVE = Foreign("an archive of 10x .mtx files", f"Unpack it, then convert the folder: {_MTX}")
FEATURES = Foreign("a list of genes (features.tsv or genes.tsv of a 10x folder)", TENX_FOLDER.hint)
BARCODES = Foreign("a list of cell barcodes (barcodes.tsv of a 10x folder)", TENX_FOLDER.hint)
CSV = converted("a table of comma-separated values (.csv)", "scanpy.read_csv(FILE) (.T if cells are the columns)")
SEMICOLONS = converted(
    "a table of semicolon-separated values",
    "scanpy.read_csv(FILE, delimiter=';') (.T if cells are the columns)",
)
TSV = converted(
    "a table of tab-separated values (.tsv or .txt)",
    "scanpy.read_csv(FILE, delimiter='\\t') (.T if cells are the columns)",
)
EXCEL = converted("an Excel workbook (.xlsx)", "scanpy.read_excel(FILE, sheet=NAME) (.T if cells are the columns)")
OLD_EXCEL = Foreign("an old Office document, such as an Excel .xls", "Save its table as .csv. " + CSV.hint)
PARQUET = converted("a Parquet table", "anndata.AnnData(pandas.read_parquet(FILE)) (cells as rows)")
ARROW = converted("an Arrow or Feather table", "anndata.AnnData(pandas.read_feather(FILE)) (cells as rows)")

RDS = Foreign(
    "an R object (.rds), such as a Seurat or SingleCellExperiment",
    f"In R: {_SEURAT}; or zellkonverter::writeH5AD for a SingleCellExperiment.",
)
RDATA = Foreign(
    "an R workspace (.RData)",
    'In R: load("FILE"), then anndataR::write_h5ad(OBJECT, "NEW.h5ad") of the Seurat or SingleCellExperiment in it.',
)
QS = Foreign(
    "an R object written by the qs package",
    'In R: anndataR::write_h5ad(qs::qread("FILE"), "NEW.h5ad") (qs2::qs_read where qs2 wrote it).',
)

CELLTYPIST = Foreign(
    "a scikit-learn or CellTypist model (a Python pickle): weights, no cells",
    "Import a CellTypist model with `celldrop models import FILE --name NAME --version 1`; send an .h5ad.",
)
PICKLED_ANNDATA = Foreign(
    "a Python pickle of an AnnData",
    f"Load it where you trust where it comes from, since a pickle can run code; then {WRITE}.",
)
PICKLE = Foreign(
    "a Python pickle",
    f"Load it where you trust where it comes from, since a pickle can run code; from its AnnData, {WRITE}.",
)
SCVI = Foreign(
    "a saved scvi-tools model (model.pt): weights, no cells",
    "Send the AnnData that it was trained on, or the one to be annotated.",
)
TORCH = Foreign("a PyTorch file (.pt, .pth): weights, no cells", "Send the AnnData with the cells to be annotated.")
SAFETENSORS = Foreign("a safetensors file: weights, no cells", "Send the AnnData with the cells to be annotated.")
_NUMBERS = f"Put the numbers into anndata.AnnData(X, obs, var) with their cells and genes, then {WRITE}."
NPY = Foreign("a NumPy array (.npy): numbers without the names of cells and genes", _NUMBERS)
NPZ = Foreign("a file of NumPy arrays (.npz): numbers without the names of cells and genes", _NUMBERS)

ZARR_HINT = f"Convert the store: adata = anndata.read_zarr(FOLDER), then {WRITE}."
ZARR = Foreign("the folder of a zarr store", ZARR_HINT)
ZARR_ZIP = Foreign("a zipped zarr store", "Unpack it. " + ZARR_HINT)
ZARR_PIECE = Foreign("a piece of a zarr store", ZARR_HINT)
READS_HINT = (
    "Count the cells' genes first (Cell Ranger, STARsolo, alevin-fry, kb count), and send the filtered matrix: "
    "Cell Ranger's filtered_feature_bc_matrix.h5 is taken as it is."
)
READS = Foreign("raw sequencing reads, not counts", READS_HINT)
IMAGE = Foreign("a picture", "Send the counts themselves. " + SAVE)
PDF = Foreign("a PDF document", SAVE)
MATLAB = Foreign(
    "a MATLAB file (.mat)",
    f"Read it with scipy.io.loadmat(FILE) where its version allows, make an AnnData of it, then {WRITE}.",
)
SQLITE = Foreign("an SQLite database", SAVE)
ENCRYPTED = Foreign("an encrypted file", "Decrypt it with your key first, and send what comes out.")
COMPANION = Foreign(
    "the companion file that macOS writes beside another (._NAME), not the data",
    "Send the file itself, without the ._ before its name.",
)
LFS = Foreign(
    "a Git LFS pointer: three lines that stand for the file",
    "Fetch the file itself: git lfs pull, in the repository that it came from.",
)
ANNEX = Foreign(
    "a pointer of git-annex, DataLad or DVC, which stands for the file",
    "Fetch the file itself first: git annex get FILE, datalad get FILE or dvc pull.",
)
ADDRESS = Foreign("an internet shortcut: an address, not the data", "Download what it points to, and send that.")
WEB_HINT = "Log in where the download asks for it, or use its direct link; then download the file again."
REFUSED_HINT = "The download was refused or its link has expired: get a new link, and download the file again."
