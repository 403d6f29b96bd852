"""Which feature of a model each gene of a file is: names as they stand first, then tidied, then translated."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.domain.verdict import Species
from shared.h5ad.names.gene_table import is_symbol, names_of, symbol_of
from shared.h5ad.names.identity import PREFIXES
from shared.h5ad.names.renaming import Ambiguous, find_renamed
from shared.h5ad.names.sides import FeatureTable, GeneNames
from shared.h5ad.names.tidying import BETWEEN, COPY, ENSEMBL, LONGEST, bare_id, spelling, tidied, untidy

__all__ = [
    "HELPS",
    "FeatureTable",
    "GeneNames",
    "Matching",
    "helps",
    "map_genes",
    "match_genes",
    "match_untranslated",
    "with_renamed",
]

HELPS = 0.9
"""Names are translated where the file's own find less than this share of what they find translated. Otherwise they are
left alone, so that an imported model sees the genes that the program it comes from would see."""
MANY_AGAIN = 0.1
"""Of the features found so many have a second column only where lists of genes were joined."""
JOINED = 0.02
"""A list in which a larger share of the names is repeated was joined from several; no annotation gives one name to as
many genes (GENCODE 48: 1.2 %)."""
_NUMBERED = re.compile(r"(.+)[-._]\d{1,2}")


@dataclass(frozen=True, slots=True)
class Matching:
    """What was found.

    Attributes:
        feature_of_gene: For each gene of the file the position of its feature in the model, or -1. Genes that share one
            are summed.
        n_translated: Features found by translating symbols and Ensembl ids into each other.
        n_summed: Genes that share the feature of one before them.
        renamed: The file's name and the model's of each gene that is found by an earlier name or an alias.
        ambiguous: Names that may be such, and of which gene is open.
    """

    feature_of_gene: list[int]
    n_translated: int = 0
    n_summed: int = 0
    renamed: tuple[tuple[str, str], ...] = ()
    ambiguous: tuple[Ambiguous, ...] = ()

    @property
    def matched(self) -> frozenset[int]:
        """The features that the file has."""
        return frozenset(position for position in self.feature_of_gene if position >= 0)


def match_genes(
    names: GeneNames,
    wanted: FeatureTable,
    species: Species = Species.UNKNOWN,
    *,
    translate: bool = True,
    imported: bool = False,
) -> Matching:
    """Find a model's features among the genes of a file.

    A pure function of the names: ingest and every task come to the same. Symbols and Ensembl ids are looked for side by
    side, for models that mix them. Names that stand as the model has them have precedence over any that need a change,
    and names of today over earlier ones.

    Args:
        species: The model's; genes that a genome's name marks as another's are left out.
        translate: Whether symbols and Ensembl ids may be translated where that helps.
        imported: As in ``with_renamed``.
    """
    found = match_untranslated(names, wanted, species).matching(translate=translate)
    return with_renamed(found, names, wanted, species, imported=imported)


def with_renamed(
    found: Matching, names: GeneNames, wanted: FeatureTable, species: Species, *, imported: bool = False
) -> Matching:
    """A matching with the features that a file has under another name; see ``renaming``.

    Args:
        imported: Whether another program trained the model, which would not find them: then they are left out, unless
            they are so many that it helps (``HELPS``).
    """
    more = find_renamed(names, wanted, species, found.feature_of_gene)
    features = [more.feature_of.get(place, feature) for place, feature in enumerate(found.feature_of_gene)]
    if imported and not helps(len(found.matched), len({feature for feature in features if feature >= 0})):
        return found
    return replace(found, feature_of_gene=features, renamed=more.names, ambiguous=more.ambiguous)


@dataclass(frozen=True, slots=True)
class Untranslated:
    """What names say without translation; a matching with translation needs all of it, too.

    Attributes:
        features: The position of each name of the model.
        literal: For a gene of the file the feature that the model calls the same.
        own: For a gene of the file the feature of its own name, as it stands or tidied.
        twice: Genes that a second list of names has again; see ``_said_twice``.
        copies: Further columns of a gene that has one.
    """

    names: GeneNames
    wanted: FeatureTable
    species: Species
    features: Mapping[str, int]
    literal: Mapping[int, int]
    own: Mapping[int, int]
    twice: Mapping[int, int]
    copies: Mapping[int, int]

    def matching(self, *, translate: bool) -> Matching:
        """The matching, with names translated where that helps, or not."""
        names, own = self.names, self.own
        more = _translated(names, self.features, own, self.wanted, self.species) if translate else {}
        if not helps(len(set(own.values())), len(set(own.values()) | set(more.values()))):
            more = {}
        more |= self.twice
        grouped = {**own, **more, **self.copies}
        used = _used(grouped, self.copies, names, self.literal)
        return Matching(
            feature_of_gene=[used.get(place, -1) for place in range(len(names.ids))],
            n_translated=len(set(more.values()) & set(used.values())),
            n_summed=len(used) - len(set(used.values())),
        )


def match_untranslated(names: GeneNames, wanted: FeatureTable, species: Species = Species.UNKNOWN) -> Untranslated:
    """Find a model's features by the names as they are, for whoever asks for both matchings."""
    features = positions_of(wanted)
    literal = {place: found for place, name in enumerate(names.ids) if (found := _literal(name, features)) >= 0}
    own = literal | dict(_tidied(names.ids, features, literal, species))
    own |= _orphans(names.ids, features, own)
    return Untranslated(
        *(names, wanted, species, features, literal, own),
        twice=_said_twice(names.ids, features, own, species),
        copies=dict(_copies(names, features, own)) | dict(_respelt(names.ids, features, literal, species)),
    )


def positions_of(wanted: FeatureTable) -> dict[str, int]:
    """The position of each symbol and each Ensembl id of a model; of what it lists twice, the first."""
    found: dict[str, int] = {}
    for column in (wanted.symbol, wanted.ensembl):
        for position, feature in enumerate(column):
            if feature:
                found.setdefault(feature, position)
    return found


def helps(n_before: int, n_after: int) -> bool:
    """Whether so many more features are worth another reading of the names."""
    return n_before < HELPS * n_after


def n_repeated(ids: Sequence[str]) -> int:
    """How many names stand more than once."""
    if len(set(ids)) == len(ids):
        return 0
    count: dict[str, int] = defaultdict(int)
    for name in ids:
        count[name] += 1
    return sum(times > 1 for name, times in count.items() if name)


def map_genes(ids: Sequence[str], features: Sequence[str | None]) -> list[int]:
    """For each gene column of the file, the position of the model's feature, or -1.

    Exact matches only. Of several columns with one identifier the first counts, as it does for users of
    ``var_names_make_unique``, which renames the later ones; a feature that the model lists twice is its first.

    Args:
        ids: Identifiers of the file's genes, bare.
        features: The model's identifiers of the same kind.
    """
    left: dict[str, int] = {}
    for position, feature in enumerate(features):
        if feature:
            left.setdefault(feature, position)
    return [left.pop(identifier, -1) if identifier else -1 for identifier in ids]


# --- Readings of a name -------------------------------------------------------------------------------------------


def _literal(name: str, features: Mapping[str, int]) -> int:
    found = features.get(name) if name else None
    return features.get(bare_id(name), -1) if found is None else found


def _tidied(
    ids: Sequence[str], features: Mapping[str, int], literal: Mapping[int, int], species: Species
) -> Iterator[tuple[int, int]]:
    for place, name in enumerate(ids):
        if place in literal or not untidy(name):
            continue
        said = tidied(name)
        if _foreign(said.species, species):
            continue
        found = next((features[form] for form in said.names if form in features), -1)
        if found >= 0:
            yield place, found


def _respelt(
    ids: Sequence[str], features: Mapping[str, int], literal: Container[int], species: Species
) -> Iterator[tuple[int, int]]:
    """Names that differ from a feature's in the signs between letters alone: R turns each but ``_`` into a dot.

    ``RP11.34P13.7`` is RP11-34P13.7, and ``HLA_A`` HLA-A; of what means two features, neither is.
    """
    spelt: dict[str, int] = {}
    for name, feature in features.items():
        if BETWEEN.search(name) and not _is_second(name, features):
            key = spelling(name)
            spelt[key] = feature if spelt.get(key, feature) == feature else -1
    present = set(ids)
    for place, name in enumerate(ids):
        if place in literal or len(name) > LONGEST or not BETWEEN.search(name) or is_symbol(name):
            continue
        copy = COPY.fullmatch(name)
        if copy and copy[1] in present:
            continue
        said = tidied(name)
        found = spelt.get(spelling(said.names[0]), -1)
        if found >= 0 and not _foreign(said.species, species):
            yield place, found


def _is_second(feature: str, features: Container[str]) -> bool:
    """Whether a model's feature is the second of a name in its own file: which gene that was, no other file tells."""
    numbered = _NUMBERED.fullmatch(feature)
    return numbered is not None and not is_symbol(feature) and (is_symbol(numbered[1]) or numbered[1] in features)


def _foreign(theirs: Species, ours: Species) -> bool:
    return Species.UNKNOWN not in {theirs, ours} and theirs is not ours


def _orphans(ids: Sequence[str], features: Mapping[str, int], own: Mapping[int, int]) -> dict[int, int]:
    """Second copies (``X-1``) of which the first is gone, where they are too many for chance.

    None where most of the model would rest on them, since how much of a gene a second copy has is open.
    """
    present, taken = set(ids), set(own.values())
    found: dict[int, int] = {}
    for place, name in enumerate(ids):
        copy = COPY.fullmatch(name) if place not in own else None
        position = features.get(copy[1], -1) if copy and copy[1] not in present else -1
        if position >= 0 and position not in taken:
            found[place] = position
    n_features = len(set(features.values()))
    return found if 0.01 * n_features < len(set(found.values())) < 0.5 * n_features else {}


def _translated(
    names: GeneNames, features: Mapping[str, int], known: Mapping[int, int], wanted: FeatureTable, species: Species
) -> dict[int, int]:
    """Translate the remaining names by GENCODE. Of several genes with one symbol, it is the current one."""
    taken = set(known.values())
    if HELPS * len(wanted.symbol or wanted.ensembl) <= len(taken):
        return {}
    found: dict[int, int] = {}
    second: dict[int, int] = {}
    for place, name in enumerate(names.ids):
        if place in known or not name:
            continue
        said = tidied(name)
        if _foreign(said.species, species):
            continue
        form = said.names[0]
        other = next((other for other in _others(form, names.apart, place, species) if other in features), None)
        if other is not None and features[other] not in taken:
            (found if _meant(form, other) else second)[place] = features[other]
    reached = set(found.values())
    return found | {place: feature for place, feature in second.items() if feature not in reached}


def _said_twice(
    ids: Sequence[str], features: Mapping[str, int], own: Mapping[int, int], species: Species
) -> dict[int, int]:
    """A list of symbols and one of Ensembl ids that were joined: what is a feature that the other list has, too.

    Nothing where they are few: of an annotation that has both kinds of names, each gene has one.
    """
    n_ids = sum(name.startswith("ENS") for name in ids)
    if not MANY_AGAIN * len(ids) < n_ids < (1 - MANY_AGAIN) * len(ids):
        return {}
    found: dict[int, int] = {}
    for place, name in enumerate(ids):
        said = tidied(name) if name and place not in own else None
        if said is None or _foreign(said.species, species):
            continue
        other = next((other for other in _others(said.names[0], (), place, species) if other in features), None)
        if other is not None:
            found[place] = features[other]
    return found if len(set(found.values())) > max(20, MANY_AGAIN * len(own)) else {}


def _others(name: str, apart: Sequence[str], place: int, species: Species) -> Iterator[str]:
    """What else a gene is called."""
    if ENSEMBL.fullmatch(name):
        symbol = symbol_of(name)
        if symbol is not None:
            yield symbol
        return
    if apart and apart[place]:
        yield tidied(apart[place]).names[0]
    for prefix in PREFIXES[species]:
        table = names_of(prefix)
        found = table.id_of(name) if table else None
        if found is not None:
            yield found


def _meant(name: str, other: str) -> bool:
    """Whether an Ensembl id is the one that its symbol means; any symbol says itself which id it means."""
    found = ENSEMBL.fullmatch(name)
    table = names_of(name[:-11]) if found else None
    return table is None or table.id_of(other) == name


# --- Genes of one name --------------------------------------------------------------------------------------------


def _copies(names: GeneNames, features: Mapping[str, int], own: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Columns that ``var_names_make_unique`` gave a name of their own (``X-1`` beside ``X``) though they are that gene.

    They are where their Ensembl ids agree, or where many names are repeated so.
    """
    first: dict[str, int] = {}
    for place, name in enumerate(names.ids):
        first.setdefault(name, place)
    ended = ((place, COPY.fullmatch(name)) for place, name in enumerate(names.ids) if name not in features)
    copies = {place: first[found[1]] for place, found in ended if found and found[1] in first}
    joined = len(copies) > JOINED * len(first)
    if joined:  # NKX2-1 is a gene of its own.
        copies = {place: before for place, before in copies.items() if not is_symbol(names.ids[place])}
        joined = len(copies) > JOINED * len(first)
    for place, before in copies.items():
        if before in own and place not in own and (joined or _same(names, before, place)):
            yield place, own[before]


def _used(
    grouped: Mapping[int, int], copies: Container[int], names: GeneNames, literal: Container[int]
) -> dict[int, int]:
    """Without genes that share a name with one before them and are others.

    The same Ensembl id is the same gene. So is the same name in a list that was joined from several. Else a repeated
    name is another gene of that name, as in every annotation, and the first is used.
    """
    n_again = len(grouped) - len(set(grouped.values()))
    joined = n_repeated(names.ids) > JOINED * len(set(names.ids)) or n_again > max(20, MANY_AGAIN * len(grouped))
    used: dict[int, int] = {}
    first: dict[int, int] = {}
    for place in sorted(grouped, key=lambda place: (place not in literal, place)):
        before = first.setdefault(grouped[place], place)
        if before == place or joined or place in copies or _same(names, before, place):
            used[place] = grouped[place]
    return used


def _same(names: GeneNames, before: int, place: int) -> bool:
    """Whether two columns have one Ensembl id, as far as the file tells it."""
    return _identity(names, before) == _identity(names, place) != ""


def _identity(names: GeneNames, place: int) -> str:
    said = names.apart[place] if names.apart else names.ids[place]
    return next((name for name in tidied(said).names if ENSEMBL.fullmatch(name)), "") if said else ""
