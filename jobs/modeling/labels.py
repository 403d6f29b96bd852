"""Reads the labels of a file's cells from an obs column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import h5py
import numpy as np
import numpy.typing as npt

from jobs.modeling.obs_columns import column_texts
from shared.bundles.card import Label
from shared.domain.errors import TrainingDataError
from shared.h5ad.read.columns import open_frame
from shared.h5ad.read.layouts import Layout, find_layout
from shared.h5ad.read.opening import decoding, open_file
from shared.h5ad.source import RangeSource

Int64s = npt.NDArray[np.int64]
_ONTOLOGY_ID = re.compile(r"CL:\d{7}")
_NO_ID = frozenset({"unknown", "na"})
"""What CELLxGENE's schema uses in place of an id."""
_MOST_NAMED = 20

MISSING = frozenset(
    {
        *("", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "<NA>", "#NA", "N/A", "n/a", "#N/A", "#N/A N/A"),
        *("None", "null", "NULL", "NaT", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)
"""Texts that mean no label: those that pandas reads as missing, and those that it writes for missing values."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """The labels of a file's cells, some of which may have none.

    Attributes:
        class_n: The position of each cell's label in ``labels``; -1 without a label.
        labels: Every label that occurs, by name.
        missing: Number of cells without a label, by the text in its place; an empty text for a true gap.
    """

    class_n: Int64s
    labels: tuple[Label, ...]
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def labelled_n(self) -> npt.NDArray[np.bool_]:
        """Which cells have a label, bool."""
        return np.asarray(self.class_n >= 0)


def read_labels(
    source: RangeSource,
    column: str,
    *,
    ids_from: str | None = None,
    lineages: Mapping[str, str] | None = None,
    known: Collection[str] = (),
) -> Labelling:
    """Read the labels of a file that was already inspected. Holds about 100 bytes per cell.

    Args:
        column: The obs column with the labels: text, categories, numbers or booleans.
        ids_from: An obs column with Cell Ontology ids, one for each label.
        lineages: The lineage of each label. Other labels have none.
        known: Texts that are labels even if they are in ``MISSING``.

    Raises:
        TrainingDataError: The column does not exist or is not a list, or a label has several ids.
        TruncatedFileError: The column cannot be decoded.
    """
    with open_file(source) as opened:
        layout = find_layout(opened.file)
        text_n = _column(opened.file, layout, column, source.size_bytes)
        id_n = _column(opened.file, layout, ids_from, source.size_bytes) if ids_from else []
    none = MISSING - set(known)
    names = sorted({text for text in text_n if text not in none})
    ids = _ontology_ids(text_n, id_n) if ids_from else {}
    place = {name: position for position, name in enumerate(names)}
    return Labelling(
        class_n=np.array([place.get(text, -1) for text in text_n], np.int64),
        labels=tuple(Label(name=name, ontology_id=ids.get(name), lineage=(lineages or {}).get(name)) for name in names),
        missing=dict(Counter(text for text in text_n if text in none)),
    )


def _column(file: h5py.File, layout: Layout, column: str, size_bytes: int) -> list[str]:
    if layout.tenx:
        raise TrainingDataError(
            f"{layout.name} files have no obs, and so no labels",
            expected="an .h5ad with the labels in obs",
            hint="Read it with scanpy.read_10x_h5(FILE), put the labels into adata.obs, and write it with "
            "adata.write_h5ad(NEW).",
        )
    with decoding("obs"):
        frame = open_frame(file, layout.obs)
        if column not in frame.names:
            raise _no_column(column, frame.names)
        n_cells = len(frame)
    with decoding(f"obs/{column}"):
        found = column_texts(file, frame, column, size_bytes)
    if found is None or len(found) != n_cells:
        raise TrainingDataError(
            f"obs column {column!r} is not a list of one value per cell",
            expected="text, categories, numbers or booleans",
            hint="Name another column with --labels, or write the file again with adata.write_h5ad().",
        )
    return [text.strip() for text in found]


def _no_column(column: str, names: Sequence[str]) -> TrainingDataError:
    alike = [name for name in names if name.casefold() == column.casefold()]
    shown = list(dict.fromkeys([*alike, *names]))[:_MOST_NAMED]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return TrainingDataError(
        f"obs has no column {column!r}",
        expected=f"one of {', '.join(map(repr, shown))}{more}" if names else "a column of labels; obs has none at all",
        hint="Name the column that holds the labels with --labels."
        if names
        else 'Add the labels, adata.obs["cell_type"] = labels, and write the file again.',
    )


def _ontology_ids(text_n: Iterable[str], id_n: Iterable[str]) -> dict[str, str]:
    """The Cell Ontology id of each label.

    Raises:
        TrainingDataError: A label has several ids, or an invalid one.
    """
    ids: dict[str, str] = {}
    for label, found in dict.fromkeys(zip(text_n, id_n, strict=True)):
        if label in MISSING or found in MISSING or found.casefold() in _NO_ID:
            continue
        if not _ONTOLOGY_ID.fullmatch(found):
            raise _bad_ids(f"label {label!r} has the id {found[:80]!r}")
        if ids.setdefault(label, found) != found:
            raise _bad_ids(f"label {label!r} has the ids {ids[label]} and {found}")
    return ids


def _bad_ids(found: str) -> TrainingDataError:
    return TrainingDataError(
        found,
        expected="one Cell Ontology id, such as CL:0000236, for each label",
        hint="Name another column with --ids-from, or correct the file.",
    )
