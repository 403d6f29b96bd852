"""Reads, in the confined child, what tasks and merges will read outside it: what hangs or bursts does so here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import h5py

from shared.domain.errors import InputError, UnsafeFileError
from shared.domain.geometry import Rows
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.read.arrays import is_read_by_us
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.read.columns import Frame, is_list, old_categories, open_frame
from shared.h5ad.read.embedding import maps_in
from shared.h5ad.read.held import Held
from shared.h5ad.read.inflating import sliced
from shared.h5ad.read.layouts import Layout, describe, find_layout
from shared.h5ad.read.limits import InspectionLimits
from shared.h5ad.read.safety import check_stored

_WINDOW_ROWS = 4096
_WINDOW_VALUES = 65_536


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """An open, scanned file about to be read outside.

    A damaged heap of strings or index of chunks can have the HDF5 library look for one for ever; the child's processor
    time ends that.

    Attributes:
        matrix: The one that a task reads; None where none is known.
        gets_on: Called between steps.
    """

    file: h5py.File
    size_bytes: int
    limits: InspectionLimits
    foresight: Foresight
    matrix: str | None
    gets_on: Callable[[], None]

    def run(self, plan: Plan) -> None:
        """Read the attributes of obs and of its columns, and what the plan says.

        Raises:
            InputError: What cannot be read, or bursts: ids far longer than ids are, say.
        """
        layout = find_layout(self.file)
        frame = open_frame(self.file, layout.obs)
        self._read_attributes(self.file[layout.obs])
        if plan.rows is not None:
            self._read_ids(frame, plan.rows)
            self._read_index_of_matrix(layout, None if plan.elsewhere else plan.rows)
        if plan.merge:
            self._read_what_is_copied(layout)

    def _read_attributes(self, obs: h5py.Group | h5py.Dataset) -> None:
        """Those that a merge reads or rewrites: among thousands, the library takes minutes to rewrite one.

        Raises:
            UnsafeFileError: There are thousands.
        """
        if len(obs.attrs) > self.limits.attributes:
            raise UnsafeFileError(
                f"{len(obs.attrs):,} attributes",
                expected=f"at most {self.limits.attributes:,}",
                where=str(obs.name),
                hint="Keep such notes in adata.uns, and write the file anew with adata.write_h5ad().",
            )
        for name in obs.attrs:
            if isinstance(name, str):
                obs.attrs.get_id(name)
        for name in ("_index", "column-order", "encoding-type", "encoding-version"):
            obs.attrs.get(name)
        self.gets_on()

    def _read_ids(self, frame: Frame, rows: Rows) -> None:
        total = 0
        check_stored(frame.index_node, self.size_bytes)
        ids_of = frame.slices(frame.index)
        for start in range(rows.start, rows.stop, _WINDOW_ROWS):
            ids = ids_of(start, min(start + _WINDOW_ROWS, rows.stop))
            total += check_lengths(ids, self.limits)
            _bound(total, len(frame), self.limits)
            self.gets_on()

    def _read_index_of_matrix(self, layout: Layout, rows: Rows | None) -> None:
        """Pointers, those of ``rows`` or all, and where the chunks lie that the library will look for."""
        if self.matrix is None:
            return
        node = self.file[self.matrix]
        encoding = describe(self.file, self.matrix, tenx=layout.tenx).encoding
        if encoding is MatrixEncoding.DENSE:
            self._walk(node)
            return
        self._walk(node["indptr"])
        pointers = Held.of(node["indptr"])
        whole = rows is None or encoding is not MatrixEncoding.CSR
        wanted = Rows(0, int(pointers.dataset.shape[0]) - 1) if whole else rows
        assert wanted is not None
        for start in range(wanted.start, wanted.stop + 1, _WINDOW_VALUES):
            pointers(start, min(start + _WINDOW_VALUES, wanted.stop + 1))
            self.gets_on()
        for name in ("data", "indices"):
            if not is_read_by_us(node[name], self.foresight):
                self._walk(node[name])

    def _read_what_is_copied(self, layout: Layout) -> None:
        with suppress(InputError):  # An odd map is no reason to lose the results.
            for values in maps_in(self.file.get("obsm")):
                self._walk(values)
        for path in (layout.obs, "var") if layout.old else ():
            for _ in _texts(self.file, self.file.get(path)):
                self.gets_on()

    def _walk(self, dataset: h5py.Dataset) -> None:
        check_stored(dataset, self.size_bytes)
        self.gets_on()


def check_ids(frame: Frame, limits: InspectionLimits) -> None:
    """Check the declared length of ids, before the first is read.

    Raises:
        UnsafeFileError: It is far beyond what ids are.
    """
    node = frame.index_node
    if node.dtype.kind == "S":
        _bound(len(frame) * int(node.dtype.itemsize), len(frame), limits)


def check_lengths(ids: list[str], limits: InspectionLimits) -> int:
    """What some ids take together.

    Raises:
        UnsafeFileError: One is far longer than ids are.
    """
    longest = max(map(len, ids), default=0)
    if longest > limits.longest_id:
        raise UnsafeFileError(
            f"a cell id of {longest:,} characters",
            expected=f"at most {limits.longest_id:,}",
            where="obs index",
            hint="Give the cells short ids, and write the file anew with adata.write_h5ad().",
        )
    return sum(map(len, ids))


def _texts(file: h5py.File, table: object) -> Iterator[None]:
    """Reads the texts of a compound table a window at a time, and those that its numbers stand for."""
    if not isinstance(table, h5py.Dataset) or not table.dtype.names:
        return
    records = Held.of(table)
    for name in records.dataset.dtype.names:
        if records.dataset.dtype[name].kind in "OSU":
            for start in range(0, len(records.dataset), _WINDOW_ROWS):
                records(start, start + _WINDOW_ROWS, name)
                yield
        elif (categories := old_categories(file, name)) is not None:
            sliced(categories) if is_list(categories) else categories[()]
            yield


def _bound(found_bytes: int, n_cells: int, limits: InspectionLimits) -> None:
    most = limits.most_ids_bytes(n_cells)
    if found_bytes > most:
        raise UnsafeFileError(
            f"cell ids of {found_bytes:,} bytes or more for {n_cells:,} cells",
            expected=f"at most {most:,} bytes",
            where="obs index",
            hint="Give the cells short ids, and write the file anew with adata.write_h5ad().",
        )
