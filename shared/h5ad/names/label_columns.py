"""Recognises the obs columns that authors keep their own cell types or clusters in, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

IDS_BESIDE = "_ontology_term_id"
"""CELLxGENE's schema keeps the ids of the names in column ``x`` in a column of this ending."""
OURS = "celldrop_"
TYPES = (
    *("celltype", "celltypeontologytermid", "celltypes", "celltypeannotation", "annotation", "annotations"),
    *("cellannotation", "celllabel", "celllabels", "bulklabels"),
)
CLUSTERS = ("leiden", "louvain", "seuratclusters", "clusters", "cluster")
"""Both without case and without signs between words."""
TYPE_STEMS, CLUSTER_STEMS = ("celltype",), ("leiden", "louvain")
"""Columns that begin so follow, such as ``cell_type_seurat`` and ``leiden_0.5``."""
MISSING = frozenset(
    {
        *("", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "<NA>", "#NA", "N/A", "n/a", "#N/A", "#N/A N/A"),
        *("None", "null", "NULL", "NaT", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)
"""Texts that mean no label: those that pandas reads as missing, and those that it writes for missing values."""
_BETWEEN = re.compile(r"[\s_.\-]+")


def recognised(names: Sequence[str]) -> list[str]:
    """The columns that are looked at for labels, in this order.

    Cell types come before clusters, and known names before those that only begin like one. In each group, the order is
    that of the tables above, and then that of the file.
    """
    plain = {name: _plain(name) for name in names if not name.startswith(OURS)}
    found = [name for known in TYPES for name in plain if plain[name] == known]
    found += [name for stem in TYPE_STEMS for name in plain if plain[name].startswith(stem)]
    found += [name for known in CLUSTERS for name in plain if plain[name] == known]
    found += [name for stem in CLUSTER_STEMS for name in plain if plain[name].startswith(stem)]
    return list(dict.fromkeys(found))


def _plain(name: str) -> str:
    return _BETWEEN.sub("", name).casefold()
