"""Reads the labels of a file's cells from an obs column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import h5py
import numpy as np
import numpy.typing as npt

from jobs.modeling.readable import Readable
from shared.bundles.card import Label
from shared.bundles.groups import ONTOLOGY_ID
from shared.domain.errors import TrainingDataError
from shared.h5ad.names.label_columns import MISSING
from shared.h5ad.read.columns import open_frame
from shared.h5ad.read.groupings import Bounds, Grouping, grouping_in
from shared.h5ad.read.layouts import find_layout
from shared.h5ad.read.opening import decoding, open_file
from shared.h5ad.source import RangeSource

Int64s = npt.NDArray[np.int64]
_NO_ID = frozenset({"unknown", "na"})
"""What CELLxGENE's schema uses in place of an id."""
_MOST_NAMED = 20
_ANY = Bounds(names=None, fractions=True, missing=(), empty=True)


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
    readable: Mapping[str, Readable] | None = None,
    known: Collection[str] = (),
) -> Labelling:
    """Read the labels of a file that was already inspected. Holds 24 bytes per cell.

    Args:
        column: The obs column with the labels: text, categories, numbers or booleans.
        ids_from: An obs column with Cell Ontology ids, one for each label.
        lineages: The lineage of each label. Other labels have none.
        readable: The readable name of each label. Other labels keep their own.
        known: Texts that are labels even if they are in ``MISSING``.

    Raises:
        TrainingDataError: The column does not exist or is not a list, or a label has several ids.
        TruncatedFileError: The column cannot be decoded.
    """
    with open_file(source) as opened:
        found = _column(opened.file, column, source.size_bytes)
        ids_found = _column(opened.file, ids_from, source.size_bytes) if ids_from else None
    none = MISSING - set(known)
    text_g = [*(name.strip() for name in found.names), ""]  # The last one is of code -1.
    count_g = np.bincount(found.code_n % len(text_g), minlength=len(text_g)).tolist()
    named = _named({text for text in text_g if text not in none}, readable or {})
    names = sorted(named)
    ids = _ontology_ids(_pairs(found, ids_found)) if ids_found else {}
    place = {named[name]: position for position, name in enumerate(names)}
    missing: Counter[str] = Counter()
    for text, count in zip(text_g, count_g, strict=True):
        missing[text] += count if text in none else 0
    return Labelling(
        class_n=np.array([place.get(text, -1) for text in text_g], np.int64)[found.code_n],
        labels=tuple(_label(named[name], ids, lineages or {}, readable or {}) for name in names),
        missing=dict(+missing),
    )


def _named(texts: Collection[str], readable: Mapping[str, Readable]) -> dict[str, str]:
    """The labels in the file, by their readable names.

    Raises:
        TrainingDataError: Two labels would have one name.
    """
    found: dict[str, str] = {}
    for text in sorted(texts):
        name = readable[text].name if text in readable else text
        if name in found:
            raise TrainingDataError(
                f"the labels {found[name]!r} and {text!r} would both be called {name!r}",
                expected="a readable name of its own for each label",
                hint="Correct the file of --names, or give both cells the same label in the data.",
            )
        found[name] = text
    return found


def _label(text: str, ids: Mapping[str, str], lineages: Mapping[str, str], readable: Mapping[str, Readable]) -> Label:
    known = readable.get(text, Readable(text))
    return Label(
        name=known.name,
        ontology_id=known.ontology_id or ids.get(text),
        lineage=known.lineage or lineages.get(text) or lineages.get(known.name),
        submitted=None if known.name == text else text,
    )


def _pairs(labels: Grouping, ids: Grouping) -> Iterator[tuple[str, str]]:
    """Every label with every text beside it; an empty text for a gap."""
    label_g, id_g = ([*(name.strip() for name in one.names), ""] for one in (labels, ids))
    pair_n = (labels.code_n % len(label_g)).astype(np.int64) * len(id_g) + ids.code_n % len(id_g)
    for pair in np.unique(pair_n).tolist():
        yield label_g[pair // len(id_g)], id_g[pair % len(id_g)]


def _column(file: h5py.File, column: str, size_bytes: int) -> Grouping:
    found = grouping_in(file, column, size_bytes, _ANY)
    if isinstance(found, Grouping):
        return found
    with decoding("obs"):
        layout = find_layout(file)
        names = () if layout.tenx else open_frame(file, layout.obs).names
    if layout.tenx:
        raise TrainingDataError(
            f"{layout.name} files have no obs, and so no labels",
            expected="an .h5ad with the labels in obs",
            hint="Read it with scanpy.read_10x_h5(FILE), put the labels into adata.obs, and write it with "
            "adata.write_h5ad(NEW).",
        )
    if column not in names:
        raise _no_column(column, names)
    raise TrainingDataError(
        found.reason,
        expected="text, categories, numbers or booleans",
        hint="Name another column with --labels, or write the file again with adata.write_h5ad().",
    )


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


def _ontology_ids(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The Cell Ontology id of each label.

    Raises:
        TrainingDataError: A label has several ids, or an invalid one.
    """
    ids: dict[str, str] = {}
    for label, found in pairs:
        if label in MISSING or found in MISSING or found.casefold() in _NO_ID:
            continue
        if not ONTOLOGY_ID.fullmatch(found):
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
