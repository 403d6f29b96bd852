"""Finds features that a file has under another name: one of the two names is an earlier one, an alias, or a date.

Only what is beyond doubt is used: the name stands for one gene, no other column of the file has a better name of that
gene, and no other feature of the model has. The result depends on no order of columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

from shared.domain.verdict import Species
from shared.h5ad.names.dates import MOST
from shared.h5ad.names.identity import Meant, Rank, date_of, forms_of, is_current, meant_by, names_for, shown_as
from shared.h5ad.names.sides import FeatureTable, GeneNames

Ranked = Mapping[str, Sequence[tuple[Rank, int]]]
"""For each gene, by Ensembl id, the columns or features that mean it alone, and how surely."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A name that may mean several genes, or one gene that several names mean."""

    name: str
    genes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renamed:
    """What was found.

    Attributes:
        feature_of: For a column of the file the position of its feature in the model.
        names: Of each, the file's name and the model's, in alphabetical order.
        ambiguous: Names that may be features not found, in alphabetical order.
    """

    feature_of: Mapping[int, int]
    names: tuple[tuple[str, str], ...] = ()
    ambiguous: tuple[Ambiguous, ...] = ()


NOTHING = Renamed({})


def find_renamed(names: GeneNames, wanted: FeatureTable, species: Species, feature_of_gene: Sequence[int]) -> Renamed:
    """Complete a matching by what genes were called at other times.

    Args:
        species: The model's.
        feature_of_gene: The matching: for each column the position of its feature in the model, or -1.
    """
    found = set(feature_of_gene)
    missing = [place for place in range(len(wanted.symbol or wanted.ensembl)) if place not in found]
    free = [place for place, feature in enumerate(feature_of_gene) if feature < 0 and names.ids[place]]
    if not missing or not free:
        return NOTHING
    symbols = (wanted.symbol[place] for place in missing) if wanted.symbol else ()
    others = chain((names.ids[place] for place in free), (symbol for symbol in symbols if symbol))
    return (
        NOTHING if all(map(is_current, others)) else _Search(names, wanted, species, feature_of_gene).run(missing, free)
    )


def genes_of_features(wanted: FeatureTable, places: Iterable[int], species: Species) -> dict[int, Meant]:
    """The genes of features: those of their Ensembl ids, where a model has them."""
    found = ((place, _of_feature(wanted, place, species)) for place in places)
    return {place: meant for place, meant in found if meant}


def _of_feature(wanted: FeatureTable, place: int, species: Species) -> Meant | None:
    symbol = wanted.symbol[place] if wanted.symbol else None
    ensembl = wanted.ensembl[place] if wanted.ensembl else None
    if ensembl:
        rank = Rank.CURRENT if symbol is None or is_current(symbol) else Rank.PREVIOUS
        return Meant(rank, frozenset({ensembl}))
    return meant_by(symbol, species) if symbol else None


def genes_of_columns(
    names: GeneNames, places: Iterable[int], said: Mapping[str, Meant], species: Species
) -> dict[int, Meant]:
    """The genes of columns, as far as their names are among ``said``; an id beside a name says which gene it is."""
    found: dict[int, Meant] = {}
    for place in places:
        name, identifier = names.ids[place], names.apart[place] if names.apart else ""
        meant = next((said[form] for form in forms_of(identifier or name, species) if form in said), None)
        if meant:
            by_id = identifier and not is_current(name)
            found[place] = Meant(Rank.PREVIOUS, meant.ids) if by_id else meant
    return found


@dataclass(frozen=True, slots=True)
class _Search:
    names: GeneNames
    wanted: FeatureTable
    species: Species
    feature_of_gene: Sequence[int]

    def run(self, missing: Sequence[int], free: Sequence[int]) -> Renamed:
        """The features of ``missing`` among the columns ``free``."""
        features = genes_of_features(self.wanted, missing, self.species)
        dates = self._dates(free)
        genes = {gene for meant in (*features.values(), *dates.values()) for gene in meant.ids}
        said = names_for(genes, self.species)
        taken = self._taken(said)
        columns = _without(taken, genes_of_columns(self.names, free, said, self.species), dates)
        by_feature, by_column = by_gene(features), by_gene(columns)
        feature_of: dict[int, int] = {}
        rivals: list[tuple[str, str]] = []
        for gene in sorted((by_feature.keys() & by_column.keys()) - taken):
            mine, theirs = surest(by_feature[gene]), surest(by_column[gene])
            if len(mine) > 1 or len(theirs) > 1:
                rivals += [(self.names.ids[place], gene) for _, place in theirs]
            elif mine[0][0] is not Rank.CURRENT or theirs[0][0] is not Rank.CURRENT:
                feature_of[theirs[0][1]] = mine[0][1]
        reached = {gene for place in feature_of for gene in columns[place].ids}
        missed = {gene for meant in features.values() for gene in meant.ids} - taken - reached
        names = sorted((self.names.ids[place], self._called(feature)) for place, feature in feature_of.items())
        return Renamed(feature_of, tuple(names), tuple(self._ambiguous(columns, missed, rivals)))

    def _dates(self, places: Sequence[int]) -> dict[int, Meant]:
        """What a spreadsheet made of symbols, unless there is more than it would make."""
        ids = self.names.ids
        dates = {place: meant for place in places if (meant := date_of(ids[place], self.species))}
        return dates if len(dates) <= MOST else {}

    def _taken(self, said: Mapping[str, Meant]) -> frozenset[str]:
        """Genes that have a column and a feature already, by any of their names."""
        used = [place for place, feature in enumerate(self.feature_of_gene) if feature >= 0]
        genes = {
            gene
            for meant in genes_of_columns(self.names, used, said, self.species).values()
            for gene in meant.ids
            if len(meant.ids) == 1
        }
        positions = {self.feature_of_gene[place] for place in used} if self.wanted.ensembl else set()
        return frozenset(genes | {gene for place in positions if (gene := self.wanted.ensembl[place])})

    def _called(self, feature: int) -> str:
        symbol = self.wanted.symbol[feature] if self.wanted.symbol else None
        return symbol or self.wanted.ensembl[feature] or ""

    def _ambiguous(
        self, columns: Mapping[int, Meant], genes: set[str], rivals: Sequence[tuple[str, str]]
    ) -> Iterator[Ambiguous]:
        several = ((self.names.ids[place], meant.ids) for place, meant in columns.items() if len(meant.ids) > 1)
        found: dict[str, set[str]] = defaultdict(set)
        for name, gene in rivals:
            found[name].add(shown_as(gene))
        for name, ids in several:
            if ids & genes:
                found[name] |= set(map(shown_as, ids))
        for name in sorted(found):
            yield Ambiguous(name, tuple(sorted(found[name])))


def _without(taken: AbstractSet[str], columns: Mapping[int, Meant], dates: Mapping[int, Meant]) -> dict[int, Meant]:
    """With dates, less the genes that the file has under a name of their own: 1-Mar beside MARC1 was MARCH1."""
    named = {gene for meant in columns.values() for gene in meant.ids} | taken
    left = {place: meant.ids - named for place, meant in dates.items() if place not in columns}
    return {**columns, **{place: Meant(Rank.DATE, ids) for place, ids in left.items() if ids}}


def by_gene(meant: Mapping[int, Meant]) -> Ranked:
    """By gene, those that mean it alone."""
    found: dict[str, list[tuple[Rank, int]]] = defaultdict(list)
    for place, one in meant.items():
        if len(one.ids) == 1:
            found[next(iter(one.ids))].append((one.rank, place))
    return found


def surest(ranked: Sequence[tuple[Rank, int]]) -> list[tuple[Rank, int]]:
    """Those of the best rank."""
    best = min(rank for rank, _ in ranked)
    return [(rank, place) for rank, place in ranked if rank is best]
