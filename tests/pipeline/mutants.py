"""Small AnnData files of every layout, spoilt by chance: what a seed makes is the same each time."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import hdf5plugin
import numpy as np

from shared.settings import REPOSITORY
from tests.h5ad.h5ad_files import DATA, Recipe, put_matrix, random_counts, write_file
from tests.pipeline.large_files import genes_of

MODEL = "pbmc-sorted-765"
"""That of the files: its few genes make them small, so that a change at random meets structure as often as values."""
N_CELLS = 40
REAL = ("awkward/anndata_v0.7.0.h5ad", "awkward/10x_v3_filtered_feature_bc_matrix.h5", "awkward/scp_dup_cell.h5ad")
_MARKS = (b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"BTHD", b"FADB", b"FAHD", b"EAHD")
"""What HDF5 begins its structures with; around them a change is the library's to notice."""
_NEAR_BYTES = 400
_ODD_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)

Change: TypeAlias = Callable[[bytearray, random.Random], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A spoilt file.

    Attributes:
        name: Of what it was made, and how.
        suffix: What it would be called.
    """

    seed: int
    name: str
    suffix: str
    data: bytes


def mutant(seed: int) -> Mutant:
    """The one of a seed: a file, and one to three changes of it."""
    chance = random.Random(seed)
    base = chance.choice(sorted(bases()))
    spoilt = bytearray(bases()[base])
    changes = chance.choices(sorted(CHANGES), k=chance.choice((1, 1, 2, 3)))
    for change in changes:
        if len(spoilt) > 2 * _NEAR_BYTES:
            CHANGES[change](spoilt, chance)
    return Mutant(seed, f"{base}: {', '.join(changes)}", Path(base).suffix or ".h5ad", bytes(spoilt))


# --- What is spoilt --------------------------------------------------------------------------------------------------


@cache
def bases() -> Mapping[str, bytes]:
    """Sound files: made ones in the layouts that there are, and small real ones where they lie here."""
    genes = genes_of(REPOSITORY / "models" / MODEL / "1.0.0")
    counts = random_counts(N_CELLS, len(genes))
    made = {name: write_file(counts, recipe) for name, recipe in _recipes(genes).items()}
    made["furnished"] = _furnished(made["csr-gzip"], genes)
    made["newest"] = _rewritten(made["furnished"])
    made["compound"] = _compound(genes)
    real = {name: DATA / name for name in REAL}
    return made | {name: path.read_bytes() for name, path in real.items() if path.exists()}


def _recipes(genes: Sequence[str]) -> Mapping[str, Recipe]:
    gzip: Mapping[str, Any] = {"compression": "gzip", "chunks": (500,)}
    square: Mapping[str, Any] = {"compression": "gzip", "shuffle": True, "chunks": (7, 100)}
    return {
        "csr": Recipe(genes=genes),
        "csr-gzip": Recipe(genes=genes, data_options=gzip, index_options=gzip),
        "csr-lzf": Recipe(genes=genes, data_options={"compression": "lzf"}, index_options=gzip),
        "csr-zstd": Recipe(genes=genes, data_options=hdf5plugin.Zstd(), index_options=hdf5plugin.LZ4()),
        "csc-gzip": Recipe(kind="csc", genes=genes, data_options=gzip, index_options=gzip),
        "dense": Recipe(kind="dense", genes=genes, data_options=square),
        "dense-blosc": Recipe(kind="dense", genes=genes, data_options=hdf5plugin.Blosc()),
    }


def _furnished(plain: bytes, genes: Sequence[str]) -> bytes:
    """With columns, categories, maps, a layer, raw and notes."""
    buffer = io.BytesIO(plain)
    with h5py.File(buffer, "r+") as file:
        kinds = file["obs"].create_group("kind")
        kinds.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
        kinds.create_dataset("codes", data=np.arange(N_CELLS, dtype="i1") % 3, chunks=(16,), compression="gzip")
        kinds["categories"] = np.array(["one", "two", "three"], object)
        file["obs"].attrs["column-order"] = np.array(["kind"], object)
        file["var/symbol"] = np.array(genes, object)
        file["obsm/X_umap"] = np.arange(2.0 * N_CELLS).reshape(N_CELLS, 2)
        file["uns/note/deep"] = "a note"
        for name in ("layers/more", "raw/X"):
            holder, _, own = name.partition("/")
            put_matrix(file.require_group(holder), own, random_counts(N_CELLS, len(genes), 1), Recipe(kind="csc"))
        file.copy("var", file["raw"])
    return buffer.getvalue()


def _rewritten(plain: bytes) -> bytes:
    """In the newest form of everything: other headers, trees and indexes, with checksums."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(plain)) as source, h5py.File(buffer, "w", libver="latest") as file:
        file.attrs.update(source.attrs)
        for name in source:
            source.copy(name, file)
    return buffer.getvalue()


def _compound(genes: Sequence[str]) -> bytes:
    """As AnnData wrote before 0.7: tables of records."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(
            "X", data=random_counts(N_CELLS, len(genes)).toarray(), chunks=(10, 734), compression="gzip"
        )
        for name, names in (("obs", [f"cell{number}" for number in range(N_CELLS)]), ("var", genes)):
            table = np.zeros(len(names), [("index", "S24"), ("kind", "i1"), ("size", "f8")])
            table["index"] = [one.encode() for one in names]
            file[name] = table
        file["uns/kind_categories"] = np.array([b"a", b"b"], "S1")
    return buffer.getvalue()


# --- How -------------------------------------------------------------------------------------------------------------


def _place(data: bytearray, chance: random.Random) -> int:
    """Near a structure as often as anywhere."""
    marks = [at for mark in _MARKS for at in _found(bytes(data), mark)]
    if marks and chance.random() < 0.6:
        return min(chance.choice(marks) + chance.randrange(_NEAR_BYTES), len(data) - 1)
    return chance.randrange(len(data))


def _found(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 40))):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random) -> None:
    form = chance.choice(("<B", "<H", "<I", "<Q"))
    size = struct.calcsize(form)
    at = min(_place(data, chance) // size * size, len(data) - size)
    struct.pack_into(form, data, at, chance.choice((*_ODD_NUMBERS, len(data))) & ((1 << 8 * size) - 1))


def _zero(data: bytearray, chance: random.Random) -> None:
    at, length = _place(data, chance), chance.choice((1, 8, 16, 64, 512))
    data[at : at + length] = bytes(len(data[at : at + length]))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) // 2, len(data)) :]


def _swap(data: bytearray, chance: random.Random) -> None:
    length = chance.choice((8, 40, 512))
    one, other = sorted(min(_place(data, chance), len(data) - length) for _ in range(2))
    if other - one >= length:
        data[one : one + length], data[other : other + length] = (
            data[other : other + length],
            data[one : one + length],
        )


def _repeat(data: bytearray, chance: random.Random) -> None:
    length = chance.choice((8, 40, 512, 4096))
    piece = data[_place(data, chance) :][:length]
    at = min(_place(data, chance), len(data) - len(piece))
    data[at : at + len(piece)] = piece


def _insert(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.choice((1, 8, 512)))


def _chunk(data: bytearray, chance: random.Random) -> None:
    """A stored chunk becomes another, of the same dataset or of a stranger, or much more than it was."""
    buffer = io.BytesIO(bytes(data))
    try:
        with h5py.File(buffer, "r+") as file:
            _change_chunk(file, chance)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # Spoilt before: the library may be at a loss.
        return
    data[:] = buffer.getvalue()


def _change_chunk(file: h5py.File, chance: random.Random) -> None:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, node: found.append(node) if isinstance(node, h5py.Dataset) and node.chunks else None)
    if not found:
        return
    one, other = chance.choice(found), chance.choice(found)
    stored = bytes(other.id.read_direct_chunk((0,) * other.ndim)[1])
    bomb = zlib.compress(bytes(chance.choice((2**12, 2**20, 2**26))))
    one.id.write_direct_chunk((0,) * one.ndim, chance.choice((stored, stored[: len(stored) // 2], bomb)))


CHANGES: Mapping[str, Change] = {
    "flip": _flip,
    "number": _number,
    "zero": _zero,
    "cut": _cut,
    "swap": _swap,
    "repeat": _repeat,
    "insert": _insert,
    "chunk": _chunk,
}
