"""Lineages: coarser names that labels from different sources share, so that models and files can be compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from jobs.modeling.plain_text import lines_of, read_text
from shared.domain.errors import InvalidOptionError

BLOOD = "blood"
"""The name of ``BLOOD_LINEAGES`` for ``read_mapping``."""

_BLOOD: dict[str, tuple[str, ...]] = {
    "T cell": (
        # Zheng et al. 2017, populations sorted with magnetic beads.
        "cd4-t-helper",
        "memory-t",
        "naive-cytotoxic",
        "naive-t",
        "regulatory-t",
        # The same populations as labels of the 68k PBMC.
        "CD4+/CD25 T Reg",
        "CD4+/CD45RA+/CD25- Naive T",
        "CD4+/CD45RO+ Memory",
        "CD8+ Cytotoxic T",
        "CD8+/CD45RA+ Naive Cytotoxic",
        # PBMC 3k, by Seurat's and by scanpy's tutorial.
        "CD8 T",
        "Memory CD4 T",
        "Naive CD4 T",
        "CD4 T cells",
        "CD8 T cells",
        # celldrop's own names in the model pbmc.
        "cd8-effector-t",
    ),
    "NK cell": ("cd56-nk", "CD56+ NK", "NK", "NK cells"),
    "B cell": ("b-cells", "CD19+ B", "B", "B cells"),
    "Monocyte": (
        "cd14-monocytes",
        "CD14+ Monocyte",
        "CD14+ Mono",
        "FCGR3A+ Mono",
        "CD14+ Monocytes",
        "FCGR3A+ Monocytes",
        "cd16-monocytes",
    ),
    "Dendritic cell": ("Dendritic", "DC", "Dendritic cells", "dendritic"),
    "Megakaryocyte": ("Platelet", "Megakaryocytes", "platelets"),
    "Progenitor": ("cd34", "CD34+"),
}

BLOOD_LINEAGES: Mapping[str, str] = MappingProxyType(
    {label: lineage for lineage, labels in _BLOOD.items() for label in labels}
)
"""The lineage of each label in four well-known labelled data sets of blood: sorted PBMC, 68k PBMC, and PBMC 3k twice.

Both kinds of monocytes are Monocyte. Dendritic cells are a lineage of their own, and so are platelets with
megakaryocytes, so that a model without them is not judged by them (see ``evaluation``).
"""


def read_mapping(text: str, *, what: str = "lineages") -> Mapping[str, str]:
    """Read a mapping from label to lineage: ``blood``, or a file with two columns (.tsv, .csv) or a JSON object.

    Args:
        what: What labels are mapped to, for messages; only lineages have the mapping ``blood``.

    Raises:
        InvalidOptionError: The file does not exist or has another content.
    """
    if text == BLOOD and what == "lineages":
        return BLOOD_LINEAGES
    path = Path(text)
    try:
        pairs = _from_json(path) if path.suffix.lower() == ".json" else _from_table(path)
    except (OSError, ValueError, csv.Error) as error:
        raise _unusable(text, str(error), what) from error
    if not pairs:
        raise _unusable(text, "it is empty", what)
    return MappingProxyType(pairs)


def _from_json(path: Path) -> dict[str, str]:
    loaded = json.loads(read_text(path))
    if not isinstance(loaded, dict) or not all(isinstance(value, str) for value in loaded.values()):
        msg = "not a JSON object with text values"
        raise ValueError(msg)
    return _stripped(loaded.items())


def _from_table(path: Path) -> dict[str, str]:
    delimiter = "," if ".csv" in map(str.lower, path.suffixes) else "\t"
    rows = [row for row in csv.reader(lines_of(read_text(path)), delimiter=delimiter) if row]
    if any(len(row) != 2 for row in rows):
        msg = "a row without exactly two columns"
        raise ValueError(msg)
    return _stripped((label, lineage) for label, lineage in rows)


def _stripped(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The pairs without blanks around them; a label with an empty lineage has none."""
    return {label.strip(): lineage.strip() for label, lineage in pairs if lineage.strip()}


def _unusable(text: str, problem: str, what: str) -> InvalidOptionError:
    named = f"{BLOOD!r}, or " if what == "lineages" else ""
    return InvalidOptionError(
        f"{what} cannot be read: {problem}",
        expected=f"{named}a .tsv, .csv or .json file that gives each label its {what.removesuffix('s')}",
        where=text,
        hint='One line for each label, such as "naive-t<TAB>T cell", without a header.',
    )
