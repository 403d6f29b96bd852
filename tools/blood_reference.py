#!/usr/bin/env python3
"""Writes the labelled cells that the model pbmc is trained on, from the real files of ../shared/data.

    tools/blood_reference.py OUT.h5ad

All 9,644 sorted blood cells (Zheng et al. 2017), and, of the types that only PBMC 3k has (CD16 monocytes, dendritic
cells, platelets, effector CD8 T cells), every other cell in the order of the file: the rest is kept out, to measure.
The genes are those of both files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata as ad
import numpy as np

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "h5ad"
ONLY_THERE = {
    "CD8 T": ("cd8-effector-t", "CL:0001050"),
    "DC": ("dendritic", "CL:0000451"),
    "FCGR3A+ Mono": ("cd16-monocytes", "CL:0002396"),
    "Platelet": ("platelets", "CL:0000233"),
}
"""Seurat's labels of PBMC 3k, and the names and Cell Ontology ids here."""


def main(out: str) -> None:
    """Write the file."""
    sorted_cells = ad.read_h5ad(DATA / "zheng_sorted_pbmc_train.h5ad")
    pbmc3k = ad.read_h5ad(DATA / "pbmc3k_raw_labelled.h5ad")
    sorted_cells.obs["label"] = sorted_cells.obs["sorted_population"].astype(str)
    sorted_cells.obs["label_id"] = sorted_cells.obs["cell_type_ontology_term_id"].astype(str)
    theirs = pbmc3k.obs["cell_type_seurat"].astype(str)
    rare = pbmc3k[theirs.isin(list(ONLY_THERE)).to_numpy() & (np.arange(pbmc3k.n_obs) % 2 == 0)].copy()
    names = rare.obs["cell_type_seurat"].astype(str)
    rare.obs["label"] = [ONLY_THERE[name][0] for name in names]
    rare.obs["label_id"] = [ONLY_THERE[name][1] for name in names]
    rare.var_names_make_unique()
    both = ad.concat([sorted_cells, rare], join="inner", label="source", keys=["zheng", "pbmc3k"], index_unique="-")
    both.var["ensembl_gencode44"] = sorted_cells.var.loc[both.var_names, "ensembl_gencode44"]
    both.obs = both.obs[["label", "label_id", "source"]]
    both.write_h5ad(out)


if __name__ == "__main__":
    main(sys.argv[1])
