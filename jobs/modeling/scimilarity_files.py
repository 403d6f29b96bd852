"""Reads the folder of a SCimilarity model: the encoder's tensors, the genes, the reference cells and their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.modeling.foreign_files import ENCODER, ZIP
from jobs.modeling.unpickling import MAX_BYTES, Library, open_archive, open_index, read_foreign
from jobs.modeling.unpickling_index import shape_of
from jobs.modeling.unpickling_machine import ForeignPickleError
from shared.domain.errors import UnsupportedModelError

GENES, INDEX, LABELS = "gene_order.tsv", "annotation/labelled_kNN.bin", "annotation/reference_labels.tsv"
_MOST_GENES = 200_000
_LETTERS = 200
_EXPECTED = f"the folder of a SCimilarity model, with {ENCODER}, {GENES}, {INDEX} and {LABELS}"
_ENCODER = Library(
    expected=_EXPECTED,
    ask_for="the encoder as SCimilarity saves it (Encoder.save_state), which holds tensors only",
    hint=f"Check that the download is complete: {ENCODER} is the encoder's weights.",
)
_INDEX = Library(
    expected=_EXPECTED,
    ask_for="the index as hnswlib saves it",
    hint=f"Check that the download is complete: {INDEX} is the index that SCimilarity's CellAnnotation searches.",
)
_LENGTHS = 1e-3
"""By how much the length of a vector may differ from 1: rounding is 1e-7."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SavedEncoder:
    """The checked contents of a model's folder, except for the shapes of the encoder's tensors.

    Attributes:
        title: The name of the folder.
        tensors: Those of the encoder, by their names in SCimilarity.
        vectors_rc: The coordinates of the reference cells, of length 1, float32.
        label_r: The label of each.
        sha256: Of all files that were read, one after the other.
    """

    where: str
    title: str
    tensors: Mapping[str, Array]
    genes: tuple[str, ...]
    vectors_rc: npt.NDArray[np.float32]
    label_r: tuple[str, ...]
    sha256: str


def read_folder(path: Path) -> SavedEncoder:
    """Read a model from its folder, or from the encoder in it.

    Raises:
        UnsafeModelError: A file contains more than data.
        UnsupportedModelError: The folder is something else than such a model, or the reference is too large.
    """
    folder = path if path.is_dir() else path.parent
    where = str(folder)
    _check_complete(folder)
    data = {name: read_foreign(folder / name) for name in (ENCODER, GENES, LABELS)}
    tensors = _encoder(data[ENCODER], str(folder / ENCODER))
    genes = _lines(data[GENES], GENES, where)
    if len(genes) > _MOST_GENES or len(set(genes)) < len(genes) or not all(genes):
        raise unsupported(f"{GENES} of {len(genes):,} lines, some of them empty or the same", where)
    data[INDEX] = _index_bytes(folder)
    vectors_rc, number_r = _vectors(data[INDEX], str(folder / INDEX))
    digest = hashlib.sha256()
    for name in (ENCODER, GENES, INDEX, LABELS):
        digest.update(data[name])
    return SavedEncoder(
        where=where,
        title=folder.resolve().name,
        tensors=tensors,
        genes=genes,
        vectors_rc=vectors_rc,
        label_r=_labels(data[LABELS], number_r, where),
        sha256=digest.hexdigest(),
    )


def unsupported(found: str, where: str, hint: str = "") -> UnsupportedModelError:
    """The error for a folder that holds something else."""
    hint = hint or "Check that the folder is that of a SCimilarity model for annotation, and complete."
    return UnsupportedModelError(found, expected=_EXPECTED, where=where, hint=hint)


def _check_complete(folder: Path) -> None:
    missing = [name for name in (ENCODER, GENES, INDEX, LABELS) if not (folder / name).is_file()]
    if not missing:
        return
    alone = missing == [INDEX, LABELS]
    found = "an encoder of SCimilarity without reference cells, which has no labels" if alone else "a SCimilarity model"
    hint = (
        "Copy the folder annotation of the model beside the encoder, or make an index of labelled cells: "
        "`celldrop models train FILE --kind neighbours`."
    )
    raise unsupported(f"{found}: there is no {', '.join(missing)}", str(folder), hint if alone else "")


def _encoder(data: bytes, where: str) -> dict[str, Array]:
    if not data.startswith(ZIP):
        raise unsupported(f"{ENCODER} that is not an archive of PyTorch", where)
    match open_archive(data, {}, _ENCODER, where=where):
        case {"state_dict": dict() as state}:
            return {name: np.asarray(array) for name, array in state.items() if isinstance(array, np.ndarray)}
        case _:
            raise unsupported(f"{ENCODER} without the weights of an encoder", where)


def _index_bytes(folder: Path) -> bytes:
    path = folder / INDEX
    size_bytes = path.stat().st_size
    if size_bytes <= MAX_BYTES:
        return read_foreign(path)
    with path.open("rb") as file:
        start = file.read(4096)
    try:
        n_cells = f"{shape_of(start).n_cells:,} reference cells"
    except ForeignPickleError as error:
        raise unsupported(f"{INDEX} that {error}", str(path)) from error
    raise unsupported(
        f"an index of {n_cells}, {size_bytes:,} bytes, above the limit of {MAX_BYTES:,}",
        str(path),
        "Copy the folder, and make the index of a sample of the reference cells, with their lines of "
        f"{Path(LABELS).name}: hnswlib.Index(space='cosine', dim=DIM), add_items, save_index.",
    )


def _vectors(data: bytes, where: str) -> tuple[npt.NDArray[np.float32], Array]:
    match open_index(data, _INDEX, where=where):
        case {"vectors": np.ndarray() as vectors_rc, "numbers": np.ndarray() as number_r} if len(number_r):
            pass
        case _:
            raise unsupported("an index without cells", where)
    if not np.isfinite(vectors_rc).all():
        raise unsupported("an index with NaN or infinite values", where)
    length_r = np.sqrt(np.einsum("rc,rc->r", vectors_rc, vectors_rc, dtype=np.float64))
    if (np.abs(length_r - 1) > _LENGTHS).any():
        hint = "Make the index with hnswlib.Index(space='cosine'), as SCimilarity opens it."
        raise unsupported("an index of vectors that are not of length 1, so not for the cosine", where, hint)
    return vectors_rc, number_r


def _labels(data: bytes, number_r: Array, where: str) -> tuple[str, ...]:
    label_of = [line.split("\t")[0] for line in _lines(data, LABELS, where)]
    largest = int(number_r.max())
    if largest >= len(label_of):
        found = f"an index with a cell {largest:,}, and {len(label_of):,} lines in {LABELS}"
        raise unsupported(found, where)
    return tuple(label_of[number] for number in number_r.tolist())


def _lines(data: bytes, name: str, where: str) -> tuple[str, ...]:
    try:
        lines = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise unsupported(f"{name} that is not text", where) from error
    stripped = tuple(line.strip() for line in lines)
    if any(len(line.split("\t")[0]) > _LETTERS for line in stripped):
        raise unsupported(f"{name} with a line of more than {_LETTERS} letters", where)
    return stripped
