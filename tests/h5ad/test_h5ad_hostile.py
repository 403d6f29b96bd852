"""Files that hang the HDF5 library, or grow in it, where an inspection's sample does not look."""

from __future__ import annotations

import io
import resource
import zlib

import h5py
import numpy as np
import pytest

from shared.domain.errors import CelldropError, TruncatedFileError, UnsafeFileError
from shared.domain.geometry import Rows
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.judge.judging import validate
from shared.h5ad.read.limits import InspectionLimits
from shared.h5ad.read.rows import read_embedding
from shared.h5ad.source import BytesSource
from tests.h5ad.bombs import with_broken_heap
from tests.h5ad.h5ad_files import random_counts, spoiled, write_file

HASTY = InspectionLimits(cpu_s=1)
SPARING = InspectionLimits(memory_bytes=128 * 2**20)
BOMB_BYTES = 2**29


def deflated_zeros(size_bytes: int) -> bytes:
    packer, piece = zlib.compressobj(1), bytes(2**24)
    return b"".join([*(packer.compress(piece) for _ in range(size_bytes // len(piece))), packer.flush()])


def test_a_cell_id_that_hangs_the_library_ends_the_inspection_of_its_rows() -> None:
    cells = [f"cell{i:06}" for i in range(51_000)]
    data = with_broken_heap(_many(cells), b"cell030000")
    assert inspect(data, plan=Plan(Rows(0, 256)), limits=HASTY).cells.n_cells == 51_000
    with pytest.raises(CelldropError) as caught:
        inspect(data, plan=Plan(Rows(29_952, 30_208)), limits=HASTY)
    assert caught.value.code in {"FILE_UNSAFE", "FILE_DAMAGED"}


def _many(cells: list[str]) -> bytes:
    buffer = io.BytesIO(write_file(random_counts(4, 30)))
    with h5py.File(buffer, "r+") as file:
        for name in ("X/indptr", "obs/_index"):
            del file[name]
        file["X"].attrs["shape"] = [len(cells), 30]
        nnz = file["X/data"].shape[0]
        file["X/indptr"] = np.minimum(np.arange(len(cells) + 1), nnz).astype("i4")
        file["obs"].create_dataset("_index", data=np.array(cells, object), dtype=h5py.string_dtype())
    return buffer.getvalue()


def test_an_attribute_that_only_a_merge_reads_is_read_by_the_inspection_too() -> None:
    def named(file: h5py.File) -> None:
        del file["obs"].attrs["column-order"]
        file["obs"].attrs.create("column-order", np.array(["zzcolumn"], object), dtype=h5py.string_dtype())

    verdict = validate(with_broken_heap(spoiled(named).data, b"zzcolumn"), limits=HASTY)
    assert [finding.code for finding in verdict.refusals] in (["FILE_UNSAFE"], ["FILE_DAMAGED"])


def test_ids_of_kilobytes_are_refused_before_they_are_read() -> None:
    def long(file: h5py.File) -> None:
        del file["obs/_index"]
        file["obs"].create_dataset("_index", (20,), "S4000", chunks=(1,), compression="gzip")

    verdict = validate(spoiled(long), limits=InspectionLimits(ids_bytes=1_000, id_bytes=100))
    assert [finding.code for finding in verdict.refusals] == ["FILE_UNSAFE"]
    assert "cell ids of 80,000 bytes" in verdict.refusals[0].message


def test_long_ids_that_lie_beyond_the_first_are_refused_by_who_reads_them() -> None:
    data = BytesSource(_many([f"c{i}" if i < 50_000 else f"{i}".rjust(3_000) for i in range(51_000)]))
    small = InspectionLimits(ids_bytes=100_000, id_bytes=10)
    assert inspect(data, plan=Plan(Rows(0, 256)), limits=small).cells.n_cells == 51_000
    with pytest.raises(UnsafeFileError, match="cell ids of"):
        inspect(data, plan=Plan(Rows(49_920, 51_000)), limits=small)


def test_ids_that_inflate_to_gigabytes_end_in_the_child() -> None:
    def bomb(file: h5py.File) -> None:
        del file["obs/_index"]
        ids = file["obs"].create_dataset("_index", (20,), "S40", chunks=(20,), compression="gzip")
        ids.id.write_direct_chunk((0,), deflated_zeros(BOMB_BYTES))

    found = spoiled(bomb)
    with pytest.raises((UnsafeFileError, TruncatedFileError)):
        inspect(found, limits=SPARING)


def test_an_embedding_that_inflates_to_gigabytes_is_no_embedding() -> None:
    def bomb(file: h5py.File) -> None:
        umap = file.create_dataset("obsm/X_umap", (20, 2), "f4", chunks=(20, 2), compression="gzip")
        umap.id.write_direct_chunk((0, 0), deflated_zeros(BOMB_BYTES))

    found = spoiled(bomb)
    assert validate(found).accepted
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_embedding(found, Rows(0, 20)) is None
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown_bytes < BOMB_BYTES // 4


@pytest.mark.parametrize("extra", [{}, {"shuffle": True}, {"fletcher32": True}, {"shuffle": True, "fletcher32": True}])
def test_a_compressed_embedding_is_read(extra: dict[str, bool]) -> None:
    places = np.arange(40, dtype="f4").reshape(20, 2)

    def embed(file: h5py.File) -> None:
        file.create_dataset("obsm/X_umap", data=places, chunks=(7, 1), compression="gzip", **extra)

    found = read_embedding(spoiled(embed), Rows(0, 20))
    assert found is not None
    np.testing.assert_array_equal(found.xy_n2, places)
