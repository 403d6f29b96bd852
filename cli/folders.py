"""Explains paths that are not a readable file: recognises known kinds of folders, and suggests the file to use."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from shared.domain.errors import InputError, InputNotFoundError
from shared.domain.words import listed
from shared.h5ad.foreign import kinds
from shared.h5ad.foreign.kinds import WRITE, Foreign

_MOST = 2000
_LEVELS = ("*", "*/*", "*/*/*")
_ADDRESS = re.compile(r"(gs|s3|https?|ftp|az|abfss?):/+", re.IGNORECASE)

Names = Sequence[str]


def missing(file: Path) -> InputError:
    """The error for a path that is not a file: a folder, a broken link, a URL, or a misspelt name.

    Never raises: a path that cannot be inspected counts as missing.
    """
    where = str(file)
    if _ADDRESS.match(where):
        hint = "Download the file first, then give the path of the download."
        return InputNotFoundError("this is a URL, not a file on this machine", where=where, hint=hint)
    try:
        if file.is_dir():
            return _placed(recognise_folder(file), file).refusal(where)
        if file.is_symlink() and not file.exists():
            hint = "Fix the link, or fetch the file (git annex get or dvc pull, if they made the link)."
            return InputNotFoundError(f"a link to {file.readlink()}, which does not exist", where=where, hint=hint)
        if file.exists():
            return Foreign("neither a file nor a folder (a pipe or a device)", kinds.SAVE).refusal(where)
        beside = [path.name for path in islice(file.parent.glob("*.h5*"), _MOST)]
    except (OSError, ValueError):
        beside = []
    hint = f"Check the path. The folder contains {listed(sorted(beside))}." if beside else "Check the path."
    return InputNotFoundError("no such file", where=where, hint=hint)


def recognise_folder(folder: Path) -> Foreign:
    """Recognise the kind of a folder by the file names in it."""
    names = sorted(path.name for path in islice(folder.iterdir(), _MOST))
    kind = next((kind for fits, kind in _KINDS if fits(names)), None)
    if kind is not None:
        return _prefixed(names) if kind is kinds.TENX_FOLDER else kind
    if folder.name.lower().endswith(".zarr"):
        return kinds.ZARR
    return _holding(folder, names)


def _holding(folder: Path, names: Names) -> Foreign:
    """An unknown kind of folder: suggests the files in it, or in its subfolders, that could be used instead."""
    for pattern, build in ((r"\.(h5ad|h5)$", _with_files), (r"^matrix\.mtx(\.gz)?$", _with_mtx)):
        found = [
            str(path.relative_to(folder)) for path in _below(folder) if re.search(pattern, path.name, re.IGNORECASE)
        ]
        if found:
            return build(folder, found)
    what = f"a folder with {listed(names)}" if names else "an empty folder"
    return Foreign(what, f"Give the .h5ad file itself. {kinds.SAVE}")


def _with_files(folder: Path, found: Names) -> Foreign:
    best = min(
        found, key=lambda name: ("filtered_feature_bc_matrix" not in name, name.endswith(".h5"), len(name), name)
    )
    several = "; each file is annotated separately" if len(found) > 1 else ""
    return Foreign(f"a folder with {listed(sorted(found))}", f"Give the file itself, such as {folder / best}{several}.")


def _with_mtx(folder: Path, found: Names) -> Foreign:
    inner = str(Path(min(found, key=lambda name: ("filtered" not in name, len(name), name))).parent)
    hint = f'Convert it: adata = scanpy.read_10x_mtx("{folder / inner}"), then {WRITE}.'
    return Foreign(f"a folder with 10x .mtx files in {inner}", hint)


def _prefixed(names: Names) -> Foreign:
    """A folder of 10x files, perhaps as GEO stores them: with the sample's name before each file name."""
    found = (re.fullmatch(r"(.*)matrix\.mtx(\.gz)?", name, re.IGNORECASE) for name in names)
    prefix = next(match.group(1) for match in found if match)
    if not prefix:
        return kinds.TENX_FOLDER
    hint = kinds.TENX_FOLDER.hint.replace("(FOLDER)", f'(FOLDER, prefix="{prefix}")')
    return replace(kinds.TENX_FOLDER, what=f"a folder of 10x .mtx files named {prefix}...", hint=hint)


def _placed(kind: Foreign, folder: Path) -> Foreign:
    """Put the folder's path into the hint."""
    return replace(kind, hint=kind.hint.replace("FOLDER", f'"{folder}"'))


def _below(folder: Path) -> list[Path]:
    return [path for level in _LEVELS for path in islice(folder.glob(level), _MOST)]


def _having(*patterns: str) -> Callable[[Names], bool]:
    return lambda names: all(any(re.fullmatch(pattern, name, re.IGNORECASE) for name in names) for pattern in patterns)


_SPATIAL = Foreign(
    "the folder of a SpatialData zarr store",
    'Write its table alone: spatialdata.read_zarr(FOLDER).tables["table"].write_h5ad("NEW.h5ad").',
)
_KINDS: tuple[tuple[Callable[[Names], bool], Foreign], ...] = (
    (_having(r"\.zgroup|\.zattrs|\.zarray|\.zmetadata|zarr\.json", "tables?", "images|shapes|points|labels"), _SPATIAL),
    (
        _having(r"\.zgroup|\.zattrs|\.zmetadata|zarr\.json", "mod"),
        Foreign(
            "the folder of a MuData zarr store",
            'Write the RNA alone: mudata.read_zarr(FOLDER).mod["rna"].write_h5ad("NEW.h5ad").',
        ),
    ),
    (_having(r"\.zgroup|\.zattrs|\.zarray|\.zmetadata|zarr\.json"), kinds.ZARR),
    (_having(r"(.*[_.])?matrix\.mtx(\.gz)?"), kinds.TENX_FOLDER),
    (
        _having(r"quants_mat\.(gz|mtx(\.gz)?)"),
        Foreign("a folder of alevin counts", f"Convert it with pyroe: pyroe.load_fry(FOLDER), then {WRITE}."),
    ),
    (
        _having(r"cells_x_(genes|features)\.mtx(\.gz)?"),
        Foreign("a folder of kallisto bustools counts", "Run kb count again and have it write an .h5ad itself."),
    ),
    (
        _having(r"assays\.h5", r"se\.rds"),
        Foreign(
            "the folder of an R SummarizedExperiment",
            'In R: zellkonverter::writeH5AD(HDF5Array::loadHDF5SummarizedExperiment(FOLDER), "NEW.h5ad").',
        ),
    ),
    (
        _having("idxptr.*|index_idx.*", "row_names", "col_names"),
        Foreign("the folder of a BPCells matrix", 'In R: BPCells::write_matrix_anndata_hdf5(MATRIX, "NEW.h5ad").'),
    ),
    (
        _having(r"__group|__tiledb_group\.tdb|__schema"),
        Foreign("the folder of a TileDB-SOMA experiment", "Convert it: tiledbsoma.io.to_h5ad(EXPERIMENT, FILE, ...)."),
    ),
    (_having(r"model\.(pt|pkl)|model_params\.pt"), replace(kinds.SCVI, what="the folder of a saved scvi-tools model")),
    (
        _having(r"model\.json", r"weights\.safetensors"),
        Foreign("a celldrop model (a bundle)", "Pass it with --model, and give the file with the cells as FILE."),
    ),
    (
        _having(r".*\.parquet"),
        Foreign("a folder of Parquet tables", kinds.PARQUET.hint.replace("FILE", "FOLDER")),
    ),
)
