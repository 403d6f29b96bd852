"""No chunk grows beyond what its dataset declares, whatever compressed it and whoever reads it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from shared.domain.errors import CelldropError, TruncatedFileError, UnsafeFileError
from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixChoice
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.judge.judging import validate
from shared.h5ad.read.inflating import sliced
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import BytesSource
from tests.h5ad.bombs import BOMB_BYTES, COMPRESSIONS, packed_zeros
from tests.h5ad.h5ad_files import Recipe, only_matrix, random_counts, spoiled, write_file

N_CELLS, N_GENES = 4_000, 100
ROWS_A_CHUNK = 500


def grown_bytes(work: Callable[[], object]) -> int:
    """By how much the memory of this process was larger meanwhile than at its beginning."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of a process can be counted anew on Linux only")
    before = _peak_bytes()
    work()
    return _peak_bytes() - before


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def file_of(values: np.ndarray, name: str, chunks: tuple[int, ...]) -> io.BytesIO:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("x", data=values, chunks=chunks, **COMPRESSIONS[name])
    return buffer


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("shape", [(7_000,), (90, 70), (1,)])
@pytest.mark.parametrize("dtype", ["f4", "i8", "S9"])
def test_what_is_as_declared_is_read(name: str, shape: tuple[int, ...], dtype: str) -> None:
    values = (np.arange(np.prod(shape)) % 7).reshape(shape).astype(dtype)
    with h5py.File(file_of(values, name, tuple(max(1, size // 3) for size in shape))) as file:
        assert (sliced(file["x"], 0, shape[0]) == values).all()
        assert (sliced(file["x"], shape[0] // 2) == values[shape[0] // 2 :]).all()


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4", "bzip2"])
def test_strings_of_any_length_are_read(name: str) -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        words = np.array([f"word{number}" for number in range(5_000)], object)
        made = file.create_dataset("x", data=words, dtype=h5py.string_dtype(), chunks=(700,), **COMPRESSIONS[name])
        assert [word.decode() for word in sliced(made, 1, 4_000)] == list(words[1:4_000])


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_chunk_that_grows_beyond_what_is_declared_is_not_inflated(name: str) -> None:
    bomb = packed_zeros(COMPRESSIONS[name])
    buffer = file_of(np.zeros(20_000, "f4"), name, (10_000,))
    with h5py.File(buffer, "r+") as file:
        file["x"].id.write_direct_chunk((10_000,), bomb)
    with h5py.File(buffer) as file:
        assert not sliced(file["x"], 0, 10_000).any()

        def burst() -> None:
            with pytest.raises((UnsafeFileError, TruncatedFileError)):
                sliced(file["x"], 9_999, 10_001)

        assert grown_bytes(burst) < BOMB_BYTES // 4


def test_a_chunk_that_a_filter_left_alone_is_read() -> None:
    buffer = file_of(np.zeros(2_000, "f4"), "zstd", (1_000,))
    with h5py.File(buffer, "r+") as file:
        file["x"].id.write_direct_chunk((1_000,), np.ones(1_000, "f4").tobytes(), filter_mask=1)
    with h5py.File(buffer) as file:
        assert sliced(file["x"]).sum() == 1_000


# --- Where a task reads ----------------------------------------------------------------------------------------------


def with_bomb(kind: str, dataset: str, place: tuple[int, ...], name: str) -> BytesSource:
    """A file of which one chunk, that no sample looks at, is a bomb."""
    how = COMPRESSIONS[name]
    chunks = {"chunks": (ROWS_A_CHUNK, 10)} if kind == "dense" else {"chunks": (ROWS_A_CHUNK,)}
    recipe = Recipe(kind=kind, data_options={**how, **chunks}, index_options={**how, **chunks})
    buffer = io.BytesIO(write_file(random_counts(N_CELLS, N_GENES), recipe))
    with h5py.File(buffer, "r+") as file:
        if dataset == "X/indptr":
            values = file[dataset][()]
            del file[dataset]
            file.create_dataset(dataset, data=values, chunks=(ROWS_A_CHUNK,), **how)
        file[dataset].id.write_direct_chunk(place, packed_zeros(how))
    return BytesSource(buffer.getvalue())


def choice_of(kind: str) -> MatrixChoice:
    return only_matrix(BytesSource(write_file(random_counts(N_CELLS, N_GENES), Recipe(kind=kind))))


BOMBS = [
    ("dense", "X", (1_500, 50), "gzip"),
    ("dense", "X", (1_500, 50), "zstd"),
    ("csr", "X/data", (ROWS_A_CHUNK * 20,), "gzip"),
    ("csr", "X/indices", (ROWS_A_CHUNK * 20,), "gzip"),
    ("csr", "X/data", (ROWS_A_CHUNK * 20,), "lz4"),
    ("csr", "X/indptr", (1_500,), "gzip"),
    ("csc", "X/indices", (ROWS_A_CHUNK * 20,), "zstd"),
]


@pytest.mark.parametrize(("kind", "dataset", "place", "name"), BOMBS)
def test_a_bomb_outside_the_sample_ends_its_reader_in_little_memory(
    kind: str, dataset: str, place: tuple[int, ...], name: str
) -> None:
    source, choice = with_bomb(kind, dataset, place, name), choice_of(kind)

    def read() -> None:
        with pytest.raises((UnsafeFileError, TruncatedFileError)), open_matrix(source, choice) as matrix:
            for _ in matrix.blocks(Rows(0, N_CELLS)):
                pass

    assert grown_bytes(read) < BOMB_BYTES // 4


def test_row_pointers_that_burst_end_the_inspection_of_their_rows() -> None:
    source = with_bomb("csr", "X/indptr", (1_500,), "gzip")
    with pytest.raises(CelldropError) as caught:
        inspect(source, matrix="X", plan=Plan(Rows(0, N_CELLS)))
    assert caught.value.code in {"FILE_UNSAFE", "FILE_DAMAGED"}


# --- What the scan refuses -------------------------------------------------------------------------------------------


def chained(*steps: Callable[[h5py.h5p.PropDCID], object]) -> Callable[[h5py.File], object]:
    def make(file: h5py.File) -> None:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_chunk((10,))
        for step in steps:
            step(how)
        space = h5py.h5s.create_simple((20,))
        h5py.h5d.create(file.id, b"odd", h5py.h5t.NATIVE_FLOAT, space, how)

    return make


def deflated(how: h5py.h5p.PropDCID) -> None:
    how.set_deflate(6)


def shuffled(how: h5py.h5p.PropDCID) -> None:
    how.set_shuffle()


def checked(how: h5py.h5p.PropDCID) -> None:
    how.set_fletcher32()


@pytest.mark.parametrize(
    "steps", [(deflated, deflated), (deflated, shuffled), (shuffled, shuffled), (shuffled, deflated, shuffled)]
)
def test_a_chain_of_filters_is_a_shuffle_and_a_compressor_at_most(
    steps: tuple[Callable[[h5py.h5p.PropDCID], object], ...],
) -> None:
    verdict = validate(spoiled(chained(*steps)))
    assert [finding.code for finding in verdict.refusals] == ["FILE_UNSAFE"]


@pytest.mark.parametrize(
    "steps", [(shuffled, deflated), (shuffled, deflated, checked), (deflated, checked), (checked,)]
)
def test_usual_chains_of_filters_are_let_be(steps: tuple[Callable[[h5py.h5p.PropDCID], object], ...]) -> None:
    assert validate(spoiled(chained(*steps))).accepted


@pytest.mark.parametrize(("n_names", "accepted"), [(100, True), (101, False)])
def test_so_many_names_may_lead_to_one_object(n_names: int, *, accepted: bool) -> None:
    def link(file: h5py.File) -> None:
        for number in range(n_names):
            file[f"obsm/again{number}"] = file["obs/_index"]

    verdict = validate(spoiled(link))
    assert verdict.accepted is accepted
    assert [finding.code for finding in verdict.refusals] == ([] if accepted else ["FILE_UNSAFE"])


@pytest.mark.parametrize(("length", "accepted"), [(2**20, True), (2**20 + 1, False)])
def test_an_id_may_be_so_long(length: int, *, accepted: bool) -> None:
    cells = ["a" * length, *(f"cell{number}" for number in range(19))]
    verdict = validate(BytesSource(write_file(random_counts(20, 30), Recipe(cells=cells))))
    assert verdict.accepted is accepted


@pytest.mark.parametrize(("n_attributes", "accepted"), [(1_000, True), (1_001, False)])
def test_obs_may_have_so_many_attributes(n_attributes: int, *, accepted: bool) -> None:
    def note(file: h5py.File) -> None:
        for number in range(n_attributes - len(file["obs"].attrs)):
            file["obs"].attrs[f"note{number}"] = number

    assert validate(spoiled(note)).accepted is accepted


def test_a_chunk_may_be_as_large_as_the_file_is_likely_to_need() -> None:
    def large(file: h5py.File) -> None:
        width = 2**22
        file.create_dataset(
            "obsm/X_large", (20, 1), "f4", maxshape=(None, None), chunks=(20, width), compression="gzip"
        )

    found = validate(spoiled(large)).refusals
    assert [finding.code for finding in found] == ["FILE_UNSAFE"]
    assert "one chunk of 335,544,320 bytes" in found[0].message
