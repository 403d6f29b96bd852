"""Genes are read from a list in whatever text people keep it, and from files of data."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from jobs.modeling.gene_lists import read_gene_list
from shared.domain.errors import InputNotFoundError, InvalidOptionError, NotAnnDataError, NotHdf5Error
from tests.modeling.synthetic import SMALL

GENES = ["MS4A1", "CD3D", "NKG7", "LYZ", "HLA-DRA", "CD14"]
LINES = "\n".join(GENES) + "\n"
IDS = [f"ENSG{number:011d}" for number in range(6)]
TABLE = "\n".join(f"{one}\t{other}\tGene Expression" for one, other in zip(IDS, GENES, strict=True))
COUNTED = "\n".join(f"{number},{gene}" for number, gene in enumerate(GENES))
TEXTS = {
    "a list": LINES.encode(),
    "without a last end of line": LINES.rstrip().encode(),
    "by Windows": LINES.replace("\n", "\r\n").encode(),
    "by an old Macintosh": LINES.replace("\n", "\r").encode(),
    "with a mark": LINES.encode("utf-8-sig"),
    "UTF-16": LINES.encode("utf-16"),
    "UTF-16 without a mark": LINES.encode("utf-16-le"),
    "UTF-16 the other way round": LINES.encode("utf-16-be"),
    "Latin-1": ("# für später\n" + LINES).encode("latin-1"),
    "quoted": "\n".join(f'"{gene}"' for gene in GENES).encode(),
    "with blanks": "\n".join(f"  {gene}\t" for gene in GENES).encode().replace(b"\t", b" "),
    "with a header": b"gene\n" + LINES.encode(),
    "compressed": gzip.compress(LINES.encode()),
    "compressed in parts": gzip.compress(LINES[:12].encode()) + gzip.compress(LINES[12:].encode()),
    "compressed UTF-16": gzip.compress(LINES.encode("utf-16")),
    "Cell Ranger's": TABLE.encode(),
    "Cell Ranger's, compressed": gzip.compress(TABLE.encode()),
    "a table by R": ('"","x"\n' + COUNTED).encode(),
    "a table by semicolon": ("gene;n\n" + "\n".join(f'"{gene}";3' for gene in GENES)).encode(),
    "a short row": (COUNTED + "\n9\n").encode(),
}


@pytest.mark.parametrize("ending", [".txt", ".csv", ".tsv.gz", ""])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_any_kind_is_read(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"genes{ending}"
    path.write_bytes(TEXTS[name])
    genes = read_gene_list(path)
    assert [symbol for symbol in genes.symbol if symbol in GENES] == GENES
    assert len(genes.symbol) <= 13


def test_a_table_gives_its_ids_too(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(TABLE)
    assert set(IDS) <= set(read_gene_list(tmp_path / "a.tsv").ensembl)


def test_ids_lose_their_version(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"{one}.{place}" for place, one in enumerate(IDS)))
    assert list(read_gene_list(tmp_path / "a.txt").ensembl) == IDS


@pytest.mark.parametrize("name", ["a.h5ad", "A.H5AD", "a.H5ad", "renamed.txt"])
def test_a_file_of_data_is_read_by_its_content_or_its_ending(name: str, tmp_path: Path) -> None:
    SMALL.write(tmp_path / "a.h5ad").rename(tmp_path / name)
    assert list(read_gene_list(tmp_path / name).symbol) == SMALL.genes


def test_a_file_whose_values_cannot_be_used_still_has_genes(tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.X = adata.X.toarray() - 1.0
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert list(read_gene_list(tmp_path / "a.h5ad").symbol) == SMALL.genes


def test_cell_ranger_has_genes(data_dir: Path) -> None:
    genes = read_gene_list(data_dir / "awkward" / "10x_v3_filtered_feature_bc_matrix.h5")
    assert len(genes) == 507
    assert genes.ensembl[0]


BAD = {
    "empty": b"",
    "blank": b"\n \n",
    "an archive": b"PK\x03\x04" + bytes(64),
    "half of a compressed text": gzip.compress(np.random.default_rng(0).bytes(2_000))[:1_000],
    "damaged": b"\x1f\x8b" + b"x" * 30,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_list_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(BAD[name])
    with pytest.raises(InvalidOptionError, match="no genes can be read") as caught:
        read_gene_list(tmp_path / "a.txt")
    assert "--features-from" in caught.value.hint


def test_a_text_that_swells_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(2**27)))
    with pytest.raises(InvalidOptionError, match="more than 67,108,864 bytes"):
        read_gene_list(tmp_path / "a.gz")


def test_a_text_that_is_called_h5ad_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.H5AD").write_text(LINES)
    with pytest.raises(NotHdf5Error):
        read_gene_list(tmp_path / "a.H5AD")


@pytest.mark.parametrize("name", ["nowhere.txt", "nowhere.h5ad", "."])
def test_nothing_at_all_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="cannot open"):
        read_gene_list(tmp_path / name)


def test_a_file_without_genes_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["anything"] = 1
    with pytest.raises(NotAnnDataError, match="anything"):
        read_gene_list(tmp_path / "a.h5")
