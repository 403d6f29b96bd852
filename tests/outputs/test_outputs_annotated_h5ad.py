"""annotated.h5ad: anndata reads the new columns and finds everything else as it was, whatever wrote the input."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata.io import read_elem, write_elem
from anndata.tests.helpers import assert_equal
from hypothesis import given
from hypothesis import strategies as st

from jobs.inference.annotated.columns import OBS_COLUMNS, ObsColumn
from jobs.inference.annotated.h5ad import NewColumns, NotAnnotated, write_annotated_h5ad
from jobs.inference.annotated.overlay import PAGE_BYTES, Overlay
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.survey import Survey
from jobs.inference.parts.part import PartLayout
from shared.domain.added import ADDED
from shared.domain.errors import InputChangedError, TruncatedFileError
from shared.h5ad.source import BytesSource, RangeSource
from shared.ports.blobs import BlobInfo, ByteRange
from tests.outputs.stand_ins import Draws, Shelf, merge_of

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = [path for folder in ("h5ad", "awkward") for path in sorted((DATA / folder).glob("*.h5ad"))]
ABOUT = {"model": "demo@1", "submission": "ünïcode"}
needs_data = pytest.mark.skipif(not FILES, reason="the folder ../shared/data is not here")
pytestmark = pytest.mark.filterwarnings(
    "ignore::anndata.OldFormatWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning"
)


def in_time(path: Path) -> Any:
    """The two largest take seconds."""
    marks = [pytest.mark.slow] if path.stem in {"pbmc3k_raw_labelled", "zheng_sorted_pbmc_train"} else []
    return pytest.param(path, marks=marks, id=path.stem)


def cells_of(path: Path) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(ad.read_h5ad(path).n_obs)


def demo_merge(n_cells: int) -> Merge:
    return merge_of(Draws(PartLayout(n_cells, n_labels=6, top_k=5)), 1, min_score=0.8)


def new_columns(merge: Merge) -> NewColumns:
    survey = Survey(merge)
    list(survey.tables())
    return NewColumns.of(merge, survey.findings().tally, ABOUT, beat=lambda: None)


def annotate(data: bytes, n_cells: int) -> bytes:
    shelf = Shelf()
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", BytesSource(data), new_columns(demo_merge(n_cells)))
    assert isinstance(outcome, BlobInfo), outcome
    return shelf.read(outcome.ref)


def without_ours(annotated: ad.AnnData) -> ad.AnnData:
    bare = annotated.copy()
    bare.obs = bare.obs[[name for name in bare.obs if not name.startswith("celldrop_")]]
    assert dict(bare.uns.pop("celldrop")) == ABOUT
    return bare


def check_columns(annotated: ad.AnnData) -> None:
    table = pd.concat([one.to_pandas() for one in demo_merge(annotated.n_obs).tables()])
    for name in ("label", "label_id", "second_label", "score", "second_score", "abstained"):
        ours, theirs = annotated.obs[f"celldrop_{name}"], table[name]
        assert ours.isna().tolist() == theirs.isna().tolist()
        assert ours.dropna().tolist() == theirs.dropna().tolist()
    assert isinstance(annotated.obs["celldrop_label"].dtype, pd.CategoricalDtype)
    assert annotated.obs["celldrop_score"].dtype == np.float32
    assert annotated.obs["celldrop_abstained"].dtype == np.bool_


def assert_same(found: ad.AnnData, expected: ad.AnnData) -> None:
    """As anndata compares, which would make a sparse X dense."""
    if sp.issparse(expected.X):
        for part in ("format", "indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(found.X, part), getattr(expected.X, part))
        found, expected = found.copy(), expected.copy()
        found.X = expected.X = None
    assert_equal(found, expected)


def check(path: Path, tmp_path: Path) -> None:
    original = ad.read_h5ad(path)
    data = path.read_bytes()
    result = annotate(data, original.n_obs)
    written = tmp_path / "annotated.h5ad"
    written.write_bytes(result)
    annotated = ad.read_h5ad(written)
    check_columns(annotated)
    assert_same(without_ours(annotated), original)
    assert annotate(data, original.n_obs) == result, "the same input gives the same bytes"
    check_again(result, annotated, tmp_path)


def check_again(result: bytes, annotated: ad.AnnData, tmp_path: Path) -> None:
    again = tmp_path / "again.h5ad"
    again.write_bytes(annotate(result, annotated.n_obs))
    assert_same(ad.read_h5ad(again), annotated)
    backed = ad.read_h5ad(again, backed="r")
    assert backed.obs["celldrop_label"].tolist() == annotated.obs["celldrop_label"].tolist()
    backed.file.close()


@needs_data
@pytest.mark.parametrize("path", [in_time(path) for path in FILES])
def test_a_real_file_takes_the_columns_and_keeps_everything_else(path: Path, tmp_path: Path) -> None:
    check(path, tmp_path)


@pytest.fixture
def cells() -> ad.AnnData:
    rng = np.random.default_rng(3)
    obs = pd.DataFrame({"batch": pd.Categorical(["a", "b"] * 60)}, index=[f"c{i}" for i in range(120)])
    made = ad.AnnData(sp.csr_matrix(rng.poisson(0.4, (120, 50)).astype(np.float32)), obs=obs)
    made.obsm["X_umap"] = rng.normal(size=(120, 2))
    made.uns["nested"] = {"deep": {"numbers": np.arange(5)}}
    return made


CONTAINERS: dict[str, dict[str, Any]] = {
    "earliest": {"libver": "earliest"},
    "v108": {"libver": ("v108", "v108")},
    "v110": {"libver": ("v110", "v110")},
    "latest": {"libver": "latest"},
    "track order": {"libver": "latest", "track_order": True},
    "paged": {"fs_strategy": "page", "fs_page_size": 4096, "fs_persist": True},
    "free space kept": {"fs_strategy": "fsm", "fs_persist": True},
    "aggregate": {"fs_strategy": "aggregate"},
    "user block": {"userblock_size": 1024},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_kind_of_container_takes_the_columns(container: str, cells: ad.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "input.h5ad"
    with h5py.File(path, "w", **CONTAINERS[container]) as file:
        write_elem(file, "/", cells)
    check(path, tmp_path)


def spread(cells: ad.AnnData) -> ad.AnnData:
    modules = {f"gene module {i}": np.arange(120, dtype=np.float32) for i in range(300)}
    cells.obs = pd.concat([cells.obs, pd.DataFrame(modules, index=cells.obs_names)], axis=1)
    return cells


def nullable_index(cells: ad.AnnData) -> ad.AnnData:
    cells.obs.index = pd.Index(cells.obs_names, dtype="string")
    cells.obs["note"] = pd.array(["x", None] * 60, dtype="string")
    return cells


@pytest.mark.parametrize("change", [spread, nullable_index])
def test_unusual_frames_take_the_columns(
    change: Callable[[ad.AnnData], ad.AnnData], cells: ad.AnnData, tmp_path: Path
) -> None:
    path = tmp_path / "input.h5ad"
    with ad.settings.override(allow_write_nullable_strings=True):
        change(cells).write_h5ad(path)
    check(path, tmp_path)


@pytest.mark.parametrize("column", OBS_COLUMNS, ids=lambda column: column.name)
def test_an_index_that_has_a_columns_name_stays_and_the_column_gets_another(
    column: ObsColumn, cells: ad.AnnData, tmp_path: Path
) -> None:
    cells.obs.index.name = column.name
    cells.write_h5ad(tmp_path / "input.h5ad")
    result = annotate((tmp_path / "input.h5ad").read_bytes(), 120)
    written = tmp_path / "annotated.h5ad"
    written.write_bytes(result)
    annotated = ad.read_h5ad(written)
    assert annotated.obs.index.name == column.name
    assert annotated.obs_names.tolist() == cells.obs_names.tolist()
    annotated.obs = annotated.obs.rename(columns={f"{column.name}_2": column.name})
    check_columns(annotated)
    again = tmp_path / "again.h5ad"
    again.write_bytes(annotate(result, 120))
    assert ad.read_h5ad(again).obs.columns.tolist() == ad.read_h5ad(written).obs.columns.tolist()


def test_the_columns_names_are_known_where_files_are_judged() -> None:
    assert tuple(column.name for column in OBS_COLUMNS) == ADDED


def undressed(file: h5py.File) -> None:
    for name in ("encoding-type", "encoding-version", "column-order"):
        del file["obs"].attrs[name]


def unordered(file: h5py.File) -> None:
    file["obs"].attrs["column-order"] = h5py.Empty("f8")


def uns_of_numbers(file: h5py.File) -> None:
    del file["uns"]
    file["uns"] = np.arange(5)


def odd_columns(file: h5py.File) -> None:
    obs = file["obs"]
    obs["null"] = h5py.Empty("f4")
    obs["opaque"] = np.array([b"x"] * 120, "V1")
    obs["type"] = np.dtype("f8")
    obs.create_dataset("references", data=np.array([obs.ref] * 120, dtype=object), dtype=h5py.ref_dtype)
    obs["__categories"] = np.arange(3)


@pytest.mark.parametrize("change", [undressed, unordered, uns_of_numbers, odd_columns])
def test_a_frame_that_is_odd_elsewhere_takes_the_columns(
    change: Callable[[h5py.File], None], cells: ad.AnnData, tmp_path: Path
) -> None:
    path = tmp_path / "input.h5ad"
    cells.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    (tmp_path / "annotated.h5ad").write_bytes(annotate(path.read_bytes(), 120))
    with h5py.File(tmp_path / "annotated.h5ad") as file:
        obs = read_elem(file["obs"])
        listed = {*file["obs"]}
    assert obs.index.tolist() == cells.obs_names.tolist()
    assert obs["celldrop_label"].notna().all()
    with h5py.File(path) as file:
        assert {*file["obs"]} <= listed


def test_a_file_without_uns_gets_one(cells: ad.AnnData, tmp_path: Path) -> None:
    path = tmp_path / "input.h5ad"
    cells.uns = {}
    cells.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["uns"]
    check(path, tmp_path)


@needs_data
def test_the_bytes_of_x_are_where_they_were() -> None:
    path = DATA / "h5ad" / "zheng_sorted_pbmc_train.h5ad"
    data = path.read_bytes()
    result = annotate(data, cells_of(path))
    before, after = np.frombuffer(data, np.uint8), np.frombuffer(result[: len(data)], np.uint8)
    assert np.count_nonzero(before != after) < 1000
    with h5py.File(path) as file:
        chunks = [file["X/data"].id.get_chunk_info(place) for place in range(file["X/data"].id.get_num_chunks())]
    assert all(data[one.byte_offset :][: one.size] == result[one.byte_offset :][: one.size] for one in chunks)


@needs_data
def test_scanpy_groups_by_the_labels(tmp_path: Path) -> None:
    path = DATA / "h5ad" / "scimilarity_test.h5ad"
    written = tmp_path / "annotated.h5ad"
    written.write_bytes(annotate(path.read_bytes(), cells_of(path)))
    cells = sc.read_h5ad(written)
    sc.tl.rank_genes_groups(cells, "celldrop_label", n_genes=3)
    assert set(cells.uns["rank_genes_groups"]["names"].dtype.names) == set(cells.obs["celldrop_label"].cat.categories)


@needs_data
def test_a_10x_file_has_no_obs_and_says_so(shelf: Shelf) -> None:
    source = BytesSource((DATA / "awkward" / "10x_v3_filtered_feature_bc_matrix.h5").read_bytes())
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", source, new_columns(demo_merge(10)))
    assert isinstance(outcome, NotAnnotated)
    assert "10x" in outcome.reason
    assert not shelf.blobs


def test_an_obs_of_another_length_is_left_alone(cells: ad.AnnData, tmp_path: Path, shelf: Shelf) -> None:
    cells.write_h5ad(tmp_path / "input.h5ad")
    source = BytesSource((tmp_path / "input.h5ad").read_bytes())
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", source, new_columns(demo_merge(119)))
    assert isinstance(outcome, NotAnnotated)
    assert "119" in outcome.reason


def test_an_obs_that_is_no_frame_is_left_alone(tmp_path: Path, shelf: Shelf) -> None:
    with h5py.File(tmp_path / "input.h5ad", "w") as file:
        file.create_group("obs")
    source = BytesSource((tmp_path / "input.h5ad").read_bytes())
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", source, new_columns(demo_merge(5)))
    assert isinstance(outcome, NotAnnotated)


def test_a_link_that_leads_out_of_the_file_is_not_followed(tmp_path: Path, shelf: Shelf) -> None:
    with h5py.File(tmp_path / "input.h5ad", "w") as file:
        file["obs"] = h5py.ExternalLink("/etc/passwd", "/")
    source = BytesSource((tmp_path / "input.h5ad").read_bytes())
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", source, new_columns(demo_merge(5)))
    assert isinstance(outcome, NotAnnotated)


class Vanishing(BytesSource):
    """A generation that is replaced after a number of reads."""

    reads_left = 0

    def read(self, span: ByteRange) -> bytes:
        self._count()
        return super().read(span)

    def read_many(self, spans: Any) -> list[bytes]:
        self._count()
        return [BytesSource.read(self, span) for span in spans]

    def _count(self) -> None:
        Vanishing.reads_left -= 1
        if Vanishing.reads_left < 0:
            raise InputChangedError("replaced")


def test_an_input_that_changes_at_any_moment_is_never_mixed(cells: ad.AnnData, tmp_path: Path) -> None:
    cells.obs["filler"] = [f"{i:0999}" for i in range(120)]
    cells.obsm["wide"] = np.random.default_rng(0).normal(size=(120, 30_000))
    cells.write_h5ad(tmp_path / "input.h5ad")
    data = (tmp_path / "input.h5ad").read_bytes()
    columns = new_columns(demo_merge(120))
    failed = 0
    for allowed in range(60):
        Vanishing.reads_left = allowed
        shelf = Shelf()
        again = replace(columns, tables=demo_merge(120).tables())
        try:
            outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", Vanishing(data), again)
        except InputChangedError:
            failed += 1
            assert not shelf.blobs
        else:
            assert isinstance(outcome, BlobInfo)
            break
    assert failed >= 5


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_input_is_refused(kept: float, cells: ad.AnnData, tmp_path: Path, shelf: Shelf) -> None:
    cells.write_h5ad(tmp_path / "input.h5ad")
    data = (tmp_path / "input.h5ad").read_bytes()
    source = BytesSource(data[: int(len(data) * kept)])
    with pytest.raises(TruncatedFileError):
        write_annotated_h5ad(shelf, "results", "a.h5ad", source, new_columns(demo_merge(120)))
    assert not shelf.blobs


@pytest.fixture
def overlay() -> Iterator[Overlay]:
    source: RangeSource = BytesSource(bytes(range(256)) * 100)
    with Overlay(source) as opened:
        yield opened


def test_an_overlay_reads_what_was_written_and_leaves_the_input_alone(overlay: Overlay) -> None:
    overlay.seek(PAGE_BYTES - 2)
    overlay.write(b"abcd")
    overlay.seek(PAGE_BYTES - 4)
    assert overlay.read(8) == bytes([252, 253]) + b"abcd" + bytes([2, 3])
    assert overlay.size_bytes == 25_600
    assert overlay.patched_bytes == 2 * PAGE_BYTES


def test_an_overlay_grows_past_the_input(overlay: Overlay) -> None:
    overlay.seek(30_000)
    overlay.write(b"tail")
    whole = b"".join(overlay.chunks())
    assert whole == bytes(range(256)) * 100 + bytes(4400) + b"tail"


@given(
    size=st.integers(0, 9 * PAGE_BYTES),
    writes=st.lists(
        st.tuples(st.integers(0, 10 * PAGE_BYTES), st.binary(min_size=1, max_size=PAGE_BYTES + 1)), max_size=4
    ),
    pages=st.integers(1, 4),
)
def test_an_overlays_chunks_are_the_file_with_what_was_written(
    size: int, writes: list[tuple[int, bytes]], pages: int
) -> None:
    wanted = bytearray(np.random.default_rng(size).bytes(size))
    with Overlay(BytesSource(bytes(wanted))) as opened:
        for at, data in writes:
            opened.seek(at)
            opened.write(data)
            wanted.extend(bytes(max(0, at + len(data) - len(wanted))))
            wanted[at : at + len(data)] = data
        assert b"".join(opened.chunks(pages * PAGE_BYTES)) == wanted


def test_who_stops_early_leaves_no_read_behind() -> None:
    with Overlay(BytesSource(bytes(20 * PAGE_BYTES))) as opened:
        chunks = opened.chunks(PAGE_BYTES)
        next(chunks)
        chunks.close()
        assert not [one for one in threading.enumerate() if one.name.startswith("celldrop-read")]


def test_an_overlay_can_be_cut_and_grown_again(overlay: Overlay) -> None:
    overlay.truncate(100)
    assert b"".join(overlay.chunks()) == bytes(range(100))
    overlay.seek(98)
    assert overlay.read(10) == bytes([98, 99])
    overlay.truncate(25_600)
    assert len(b"".join(overlay.chunks())) == 25_600
