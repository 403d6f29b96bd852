"""Writes shared/h5ad/names/gene_table.txt.gz, which gene has which name, from GENCODE as cellxgene's schema lists it.

    tools/gene_table.py 48:genes_homo_sapiens.csv.gz M37:genes_mus_musculus.csv.gz

Each file has lines of Ensembl id, symbol, version, length and biotype, in any order. Of several genes with one name the
one that a count matrix most likely means comes first: coding before not, longer before shorter.
"""

from __future__ import annotations

import csv
import gzip
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).resolve().parent.parent / "shared" / "h5ad" / "names" / "gene_table.txt.gz"
_ID = re.compile(r"(ENS[A-Z]*G)(\d{11})")


class Gene(NamedTuple):
    """A line of such a file."""

    ensembl: str
    symbol: str
    version: str
    length: str
    biotype: str

    @property
    def number(self) -> int:
        """The digits of the id."""
        return int(self.ensembl[-11:])

    @property
    def unlikelihood(self) -> tuple[bool, bool, int, int]:
        """Smaller for the gene that a name means before others."""
        return self.biotype != "protein_coding", "pseudogene" in self.biotype, -int(self.length), self.number


def named(path: Path) -> tuple[list[Gene], list[Gene]]:
    """The first gene of each name, and the others; genes that have no name but their id are left out."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        genes = [gene for gene in map(Gene._make, csv.reader(file)) if not _ID.fullmatch(gene.symbol)]
    first: dict[str, Gene] = {}
    for gene in sorted(genes, key=lambda gene: gene.unlikelihood):
        first.setdefault(gene.symbol, gene)
    chosen = set(first.values())
    return sorted(chosen), sorted(gene for gene in genes if gene not in chosen)


def block(genes: list[Gene]) -> str:
    """Three lines: how the ids begin, by how much each number is larger than the one before, and the names."""
    numbers = [0, *(gene.number for gene in genes)]
    steps = (str(after - before) for before, after in pairwise(numbers))
    return f"{genes[0].ensembl[:-11]}\n{' '.join(steps)}\n{chr(9).join(gene.symbol for gene in genes)}\n"


def main() -> None:
    """Write the file."""
    sources = [word.partition(":") for word in sys.argv[1:]]
    releases = " and ".join(release for release, _, _ in sources)
    text = f"GENCODE {releases}: Ensembl ids and symbols; made by tools/gene_table.py\n"
    text += "".join(block(genes) for _, _, path in sources for genes in named(Path(path)))
    FILE.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(FILE, f"{FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
