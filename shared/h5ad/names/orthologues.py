"""The one-to-one orthologues of human and mouse, and a model's features found by them among another species' genes."""

from __future__ import annotations

import gzip
from functools import cache
from itertools import accumulate
from pathlib import Path

from shared.domain.verdict import Species
from shared.h5ad.names.identity import Meant, names_for
from shared.h5ad.names.matching import Matching
from shared.h5ad.names.renaming import by_gene, genes_of_columns, genes_of_features, surest
from shared.h5ad.names.sides import FeatureTable, GeneNames

FILE = Path(__file__).with_name("orthologues.txt.gz")


@cache
def orthologues(species: Species) -> dict[str, str]:
    """Of genes of a species, by Ensembl id, the genes of the other; none for a species that is not in the table."""
    steps, others = gzip.decompress(FILE.read_bytes()).decode().splitlines()[1:]
    human = [f"ENSG{number:011d}" for number in accumulate(map(int, steps.split(" ")))]
    mouse = [f"ENSMUSG{int(number):011d}" for number in others.split(" ")]
    match species:
        case Species.HUMAN:
            return dict(zip(human, mouse, strict=True))
        case Species.MOUSE:
            return dict(zip(mouse, human, strict=True))
        case Species.UNKNOWN:
            return {}


def match_orthologues(names: GeneNames, wanted: FeatureTable, species: Species, theirs: Species) -> Matching:
    """Find a model's features by one-to-one orthologues alone; what two columns or two features share is not used.

    Args:
        species: The model's.
        theirs: The file's.
    """
    other = orthologues(species)
    meant = genes_of_features(wanted, range(len(wanted.symbol or wanted.ensembl)), species)
    features = by_gene({place: Meant(one.rank, ids) for place, one in meant.items() if (ids := _through(one, other))})
    said = names_for(features.keys(), theirs)
    columns = by_gene(genes_of_columns(names, range(len(names.ids)), said, theirs))
    feature_of_gene = [-1] * len(names.ids)
    for gene in features.keys() & columns.keys():
        ours, column = surest(features[gene]), surest(columns[gene])
        if len(ours) == len(column) == 1:
            feature_of_gene[column[0][1]] = ours[0][1]
    return Matching(feature_of_gene)


def _through(meant: Meant, other: dict[str, str]) -> frozenset[str]:
    """A gene's orthologue; nothing where the name may be of several genes."""
    return frozenset(other[gene] for gene in meant.ids if gene in other) if len(meant.ids) == 1 else frozenset()
