"""Files made to do harm, or harmed: each ends in a refusal, and the parent lives on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.errors import TruncatedFileError
from shared.domain.geometry import Rows
from shared.domain.verdict import Verdict
from shared.h5ad.judge.judging import validate
from shared.h5ad.read.limits import InspectionLimits
from shared.h5ad.read.rows import read_embedding
from shared.h5ad.read.safety import check_chunks
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import Recipe, random_counts, spoiled, write_file

SOUND = write_file(random_counts(300, 400), Recipe(data_options={"compression": "gzip", "chunks": (500,)}))


def codes(verdict: Verdict) -> list[str]:
    return [finding.code for finding in verdict.refusals]


def link_to(target: object) -> Callable[[h5py.File], object]:
    def spoil(file: h5py.File) -> None:
        del file["X/data"]
        file["X/data"] = target

    return spoil


def external_storage(file: h5py.File) -> None:
    del file["X/data"]
    file.create_dataset("X/data", shape=(100,), dtype="f4", external=[("/etc/passwd", 0, 400)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(100,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", shape=(100,))
    del file["X/data"]
    file.create_virtual_dataset("X/data", layout)


def unknown_filter(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((10,))
    plist.set_filter(31_999, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    space = h5py.h5s.create_simple((100,))
    h5py.h5d.create(file["obs"].id, b"odd", h5py.h5t.NATIVE_FLOAT, space, plist)


def petabytes(file: h5py.File) -> None:
    file.create_dataset("layers/huge", shape=(2**40, 2**10), dtype="f4", chunks=(2**10, 2**10), compression="gzip")


def overflowing_size(file: h5py.File) -> None:
    file.create_dataset("layers/huge", shape=(2**40, 2**40), dtype="f4", chunks=(2**8, 2**8))


def huge_chunk(file: h5py.File) -> None:
    file.create_dataset("layers/huge", shape=(1,), maxshape=(None,), dtype="f4", chunks=(2**28,))


def deep(file: h5py.File) -> None:
    file.create_group("uns/" + "/".join("abcdefgh" * 8))


def two_compressors(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((10,))
    plist.set_deflate(6)
    plist.set_deflate(6)
    space = h5py.h5s.create_simple((100,))
    h5py.h5d.create(file["obs"].id, b"twice", h5py.h5t.NATIVE_FLOAT, space, plist)


HARM = {
    "external link": link_to(h5py.ExternalLink("/etc/other.h5", "/data")),
    "soft link": link_to(h5py.SoftLink("/obs/_index")),
    "dangling link": link_to(h5py.SoftLink("/nowhere")),
    "external storage": external_storage,
    "virtual dataset": virtual_dataset,
    "unknown filter": unknown_filter,
    "petabytes": petabytes,
    "overflowing size": overflowing_size,
    "huge chunk": huge_chunk,
    "deep groups": deep,
    "two compressors": two_compressors,
}


@pytest.mark.parametrize("spoil", HARM.values(), ids=HARM.keys())
def test_a_harmful_file_is_refused_as_unsafe(spoil: Callable[[h5py.File], object]) -> None:
    verdict = validate(spoiled(spoil))
    assert codes(verdict) == ["FILE_UNSAFE"]
    assert verdict.refusals[0].hint


def references(group: h5py.Group) -> None:
    group.create_dataset("odd", data=np.array([group.ref] * 20, dtype=object), dtype=h5py.ref_dtype)


def ragged(group: h5py.Group) -> None:
    group.create_dataset("odd", shape=(20,), dtype=h5py.vlen_dtype(np.int32))


def null(group: h5py.Group) -> None:
    group["odd"] = h5py.Empty("f4")


def opaque(group: h5py.Group) -> None:
    group["odd"] = np.array([b"x"] * 20, "V1")


def no_numpy_type(group: h5py.Group) -> None:
    h5py.h5d.create(group.id, b"odd", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((20,)))


ODD: dict[str, Callable[[h5py.Group], None]] = {
    "references": references,
    "ragged arrays": ragged,
    "null": null,
    "opaque": opaque,
    "a time": no_numpy_type,
    "complex": lambda group: group.create_dataset("odd", data=np.ones(20, complex)),
    "records": lambda group: group.create_dataset("odd", data=np.zeros(20, [("a", "i4"), ("b", "S3")])),
    "enum": lambda group: group.create_dataset("odd", data=np.zeros(20, "i1"), dtype=h5py.enum_dtype({"N": 0})),
    "a named type": lambda group: group.__setitem__("odd", np.dtype("f8")),
    "two dimensions": lambda group: group.create_dataset("odd", data=np.full((20, 2), b"x")),
    "another length": lambda group: group.create_dataset("odd", data=["x", "y", "z"]),
    "a scalar": lambda group: group.create_dataset("odd", data="x"),
    "an empty group": lambda group: group.create_group("odd"),
}


@pytest.mark.parametrize("place", ["obs", "var", "obsm", "obsp", "varm", "uns"])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_what_nobody_needs_may_be_odd(make: Callable[[h5py.Group], None], place: str) -> None:
    verdict = validate(spoiled(lambda file: make(file.require_group(place))))
    assert verdict.accepted, verdict.refusals


@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_an_odd_embedding_is_none(make: Callable[[h5py.Group], None]) -> None:
    def spoil(file: h5py.File) -> None:
        make(file.require_group("obsm"))
        file["obsm"].move("odd", "X_umap")

    assert read_embedding(spoiled(spoil), Rows(0, 20)) is None


@pytest.mark.parametrize("make", [ODD[name] for name in ("references", "ragged arrays", "null", "records", "a scalar")])
def test_an_index_that_is_no_list_of_names_is_refused(make: Callable[[h5py.Group], None]) -> None:
    def spoil(file: h5py.File) -> None:
        make(file["obs"])
        file["obs"].attrs["_index"] = "odd"

    verdict = validate(spoiled(spoil))
    assert codes(verdict) == ["NOT_ANNDATA"]
    assert "/obs/odd" in verdict.refusals[0].message


def test_uns_is_looked_at_so_far_and_what_lies_beyond_is_left() -> None:
    def many(file: h5py.File) -> None:
        for name in range(3_000):
            file.create_group(f"uns/markers/gene{name}")

    found = spoiled(many)
    assert validate(found, limits=InspectionLimits(objects=100, notes=2_000)).accepted
    assert validate(found, limits=InspectionLimits(objects=100, notes=5_000)).accepted


def test_links_out_of_the_file_are_found_in_uns_too() -> None:
    verdict = validate(spoiled(lambda file: file.__setitem__("uns/a", h5py.ExternalLink("/etc/other.h5", "/data"))))
    assert codes(verdict) == ["FILE_UNSAFE"]


def test_what_uns_shares_with_the_rest_is_looked_at_whatever_else_is_in_uns() -> None:
    def shared(file: h5py.File) -> None:
        external_storage(file)
        for name in range(300):
            file.create_group(f"uns/gene{name}")
        file["uns/kept"] = file["X/data"]

    assert codes(validate(spoiled(shared), limits=InspectionLimits(notes=100))) == ["FILE_UNSAFE"]


def test_hard_links_in_a_circle_do_no_harm() -> None:
    def circle(file: h5py.File) -> None:
        file["uns/self"] = file
        file["uns/again"] = file["uns"]

    assert validate(spoiled(circle)).accepted


def test_too_many_objects_are_refused() -> None:
    source = BytesSource(SOUND)
    assert codes(validate(source, limits=InspectionLimits(objects=5))) == ["FILE_UNSAFE"]


def test_a_file_that_asks_for_too_much_is_refused() -> None:
    source = BytesSource(SOUND)
    assert codes(validate(source, limits=InspectionLimits(read_bytes=1000))) == ["FILE_UNSAFE"]


def test_memory_past_the_bound_is_a_refusal() -> None:
    big = write_file(random_counts(900, 1000, density=0.9), Recipe(kind="dense"))
    verdict = validate(BytesSource(big), limits=InspectionLimits(memory_bytes=2 * 2**20, memory_each=0))
    assert codes(verdict)[0] in {"FILE_UNSAFE", "FILE_DAMAGED"}


@pytest.mark.parametrize("name", ["Zstd", "LZ4", "Blosc", "Blosc2"])
def test_filters_that_we_can_read_are_accepted(name: str) -> None:
    options = {"compression": getattr(hdf5plugin, name)(), "chunks": (100,)}
    recipe = Recipe(data_options=options, index_options=options)
    assert validate(BytesSource(write_file(random_counts(50, 60), recipe))).accepted


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04 and so on", b"\x1f\x8b\x08\x00", b"\x89HDF\r\n\x1a\n"])
def test_what_is_not_hdf5_is_said_to_be_so(data: bytes) -> None:
    assert codes(validate(BytesSource(data))) in (["NOT_HDF5"], ["FILE_DAMAGED"])


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_damaged(share: float) -> None:
    assert codes(validate(BytesSource(SOUND[: int(len(SOUND) * share)]))) == ["FILE_DAMAGED"]


def test_a_file_still_open_for_writing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "open.h5ad"
    path.write_bytes(SOUND)
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        file["X"] = np.eye(3)
        file.flush()
        data = (tmp_path / "new.h5").read_bytes()
    verdict = validate(BytesSource(data))
    assert codes(verdict) == ["FILE_DAMAGED"]
    assert "open for writing" in verdict.refusals[0].message


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
@pytest.mark.parametrize("user_block", [0, 512, 2048])
def test_every_version_of_the_format_is_read(libver: str, user_block: int) -> None:
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(SOUND)) as old, h5py.File(buffer, "w", libver=libver, userblock_size=user_block) as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
    assert validate(BytesSource(buffer.getvalue())).accepted


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(1, 255)), min_size=1, max_size=30))
def test_flipped_bytes_always_end_in_a_verdict(flips: list[tuple[int, int]]) -> None:
    data = bytearray(SOUND)
    for place, change in flips:
        data[place] ^= change
    verdict = validate(BytesSource(bytes(data)))
    assert verdict.accepted or verdict.refusals


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 12_000), st.binary(min_size=1, max_size=16))
def test_overwritten_structure_always_ends_in_a_verdict(place: int, junk: bytes) -> None:
    data = SOUND[:place] + junk + SOUND[place + len(junk) :]
    verdict = validate(BytesSource(data))
    assert verdict.accepted or verdict.refusals


@pytest.mark.parametrize(("offset", "length"), [(10**9, 10), (100, 10**7), (-1, 10), (0, -5)])
def test_a_chunk_that_cannot_be_is_damage(offset: int, length: int) -> None:
    with h5py.File(io.BytesIO(SOUND)) as file:
        check_chunks(file["X/data"], len(SOUND), iter([(2048, 500)]))
        with pytest.raises(TruncatedFileError):
            check_chunks(file["X/data"], len(SOUND), iter([(offset, length)]))


def test_names_that_are_not_utf8_do_no_harm() -> None:
    def odd(file: h5py.File) -> None:
        h5py.h5g.create(file["layers"].id, b"caf\xe9")
        h5py.h5g.create(file["obs"].id, b"caf\xe9")

    assert validate(spoiled(odd)).accepted
