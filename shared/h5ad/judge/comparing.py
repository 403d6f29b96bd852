"""How a file's gene names differ from a model's, in words that show some of both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.domain.verdict import GeneIds, GeneSpace
from shared.h5ad.foreign.kinds import WRITE
from shared.h5ad.names.matching import FeatureTable, positions_of
from shared.h5ad.names.tidying import ENSEMBL

_SHOWN = ("CD3D", "MS4A1", "LYZ", "NKG7", "Cd3d", "Ms4a1", "Lyz2", "Nkg7")
_SENT = "send all genes, not a selection"


@dataclass(frozen=True, slots=True)
class Difference:
    """What is the matter with a file's names.

    Attributes:
        words: After "the names".
        hint: What to do.
    """

    words: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Change:
    """Something that would turn the file's names into a model's."""

    of_name: Callable[[str], str]
    of_feature: Callable[[str], str]
    difference: Difference


_CHANGES = (
    _Change(
        str.upper,
        str.upper,
        Difference(
            "differ from the model's in capitals",
            "If they are genes of the model's species, write them as it does: "
            "adata.var_names = adata.var_names.str.upper() for human ones, .str.capitalize() for mouse ones.",
        ),
    ),
    _Change(
        lambda name: re.sub(r"[-.]\d{1,2}$", "", name),
        str,
        Difference(
            "end in -1, which var_names_make_unique() puts behind the second copy of a gene",
            "If they are whole all the same, take it off: "
            'adata.var_names = adata.var_names.str.replace(r"-1$", "", regex=True).',
        ),
    ),
)


def shown(names: Sequence[str], n_most: int = 3) -> str:
    """Some names as they stand, with what is invisible in them escaped."""
    examples = list(dict.fromkeys(name for name in names[:2000] if name))[:n_most]
    return ", ".join(ascii(name[:40]) for name in examples) or "nothing"


def some_features(features: FeatureTable, kind: GeneIds) -> str:
    """Some of a model's features, well-known ones first; ids for a file of ids."""
    column = features.ensembl if kind is GeneIds.ENSEMBL and any(features.ensembl) else features.symbol
    present = [name for name in column or features.ensembl if name]
    known = [name for name in _SHOWN if name in present]
    return shown([*known, *present])


def difference(ids: Sequence[str], space: GeneSpace, features: FeatureTable, cells: Sequence[str] = ()) -> Difference:
    """What is the matter with names of which too few are the model's.

    Args:
        cells: Some ids of cells, if they are names of genes.
    """
    changed = next((change for change in _CHANGES if _would_match(ids, features, change)), None)
    if changed is not None:
        return _in_lower_case(ids, changed.difference)
    if space.kind is GeneIds.ENSEMBL:
        return _of_ids(ids)
    if cells:
        words = f"look like ids of cells, while the cells are named like genes ({shown(cells)})"
        return Difference(words, f"The file is transposed. Turn it: adata = adata.T, then {WRITE}.")
    return _of_names(ids, space)


def _of_names(ids: Sequence[str], space: GeneSpace) -> Difference:
    present = [name for name in ids if name]
    if not present:
        return Difference("are missing", "Put Ensembl ids or gene symbols into adata.var_names.")
    if sum(name.replace(".", "", 1).isdecimal() for name in present) > 0.5 * len(present):
        words = "are numbers: row numbers, or ids of another kind (Entrez)"
        return Difference(words, "Put Ensembl ids or gene symbols into adata.var_names.")
    if space.kind is GeneIds.UNKNOWN:
        words = "look like neither gene symbols nor Ensembl ids"
        return Difference(words, f"Put Ensembl ids or gene symbols into adata.var_names, and {_SENT}.")
    hint = f"Choose a model of this species and tissue (`celldrop models search` finds them), and {_SENT}."
    return Difference("look like gene symbols, few of which are the model's", hint)


def _would_match(ids: Sequence[str], features: FeatureTable, change: _Change) -> bool:
    wanted = {change.of_feature(feature) for feature in positions_of(features)}
    return len({change.of_name(name) for name in ids} & wanted) >= max(2, 0.1 * len(wanted))


def _in_lower_case(ids: Sequence[str], found: Difference) -> Difference:
    letters = [name for name in ids if name.upper() != name.lower()]
    if "capitals" in found.words and sum(name.islower() for name in letters) > 0.9 * len(letters):
        return Difference("are in lower case", found.hint)
    return found


def _of_ids(ids: Sequence[str]) -> Difference:
    prefixes = sorted(set(_prefixes(ids)))
    words = f"are Ensembl ids ({', '.join(prefixes[:3])}…), few of which are the model's"
    return Difference(words, f"Choose a model of this species (`celldrop models search` finds them), and {_SENT}.")


def _prefixes(ids: Sequence[str]) -> Iterator[str]:
    for name in ids:
        found = ENSEMBL.search(name)
        if found:
            yield found[0][:-11]
