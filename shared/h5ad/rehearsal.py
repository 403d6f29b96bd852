"""Reads, in the confined child, what tasks and merges will read outside it: what hangs or bursts does so here."""

from __future__ import annotations

import h5py

from shared.domain.errors import UnsafeFileError
from shared.domain.geometry import Rows
from shared.h5ad.columns import Frame, open_frame
from shared.h5ad.layouts import find_layout
from shared.h5ad.limits import InspectionLimits

_WINDOW_ROWS = 4096


def rehearse(file: h5py.File, rows: Rows | None, limits: InspectionLimits) -> None:
    """Read the attributes of obs and of its columns, and the ids of ``rows``.

    A damaged heap of strings can have the HDF5 library look for one for ever; the child's processor time ends that.

    Raises:
        UnsafeFileError: The ids are far longer than ids are.
    """
    layout = find_layout(file)
    frame = open_frame(file, layout.obs)
    _read_attributes(file[layout.obs])
    if rows is not None:
        _read_ids(frame, rows, limits)


def check_ids(frame: Frame, limits: InspectionLimits) -> None:
    """Check the declared length of ids, before the first is read.

    Raises:
        UnsafeFileError: It is far beyond what ids are.
    """
    node = frame.index_node
    if node.dtype.kind == "S":
        _bound(len(frame) * int(node.dtype.itemsize), len(frame), limits)


def _read_ids(frame: Frame, rows: Rows, limits: InspectionLimits) -> None:
    total = 0
    step = _WINDOW_ROWS if frame.n_categories(frame.index) is None else max(1, len(rows))
    for start in range(rows.start, rows.stop, step):
        total += sum(map(len, frame.strings(frame.index, start, min(start + step, rows.stop))))
        _bound(total, len(frame), limits)


def _bound(found_bytes: int, n_cells: int, limits: InspectionLimits) -> None:
    most = limits.most_ids_bytes(n_cells)
    if found_bytes > most:
        raise UnsafeFileError(
            f"cell ids of {found_bytes:,} bytes or more for {n_cells:,} cells",
            expected=f"at most {most:,} bytes",
            where="obs index",
            hint="Give the cells short ids, and write the file anew with adata.write_h5ad().",
        )


def _read_attributes(obs: h5py.Group | h5py.Dataset) -> None:
    """Those that a merge reads or rewrites."""
    for name in obs.attrs:
        if isinstance(name, str):
            obs.attrs.get_id(name)
    for name in ("_index", "column-order", "encoding-type", "encoding-version"):
        obs.attrs.get(name)
