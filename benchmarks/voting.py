"""Majority voting of celldrop and of CellTypist on the same cells and model, by whole processes in turns.

The cells are PBMC 3k, drawn with replacement, each thinned to 80 % of its counts anew. The model is one of CellTypist's
format. Both find their own clusters; how far their votes agree is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.processes import in_turns, table, written
from shared.settings import REPOSITORY

CELLDROP = Path(sys.executable).with_name("celldrop")
PEER = [str(REPOSITORY / ".venv-oracle/bin/python"), "-I", str(Path(__file__).with_name("peers.py"))]
WAY = "celltypist_with_voting"
OURS, PLAIN = "celldrop: run, with report", "celldrop: run, clusters=off"
_KEPT = 0.8


def main() -> None:
    """Measure, print the table and the agreement, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared/data")
    parser.add_argument("--model", default="adams_45_f_0", help="a CellTypist model of the data folder")
    parser.add_argument("--folder", type=Path, default=Path("celldrop-out/bench"), help="for files made and results")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    file = drawn(asked.data / "h5ad/pbmc3k_raw_labelled.h5ad", asked.folder, asked.cells)
    pkl = asked.data / "models" / f"{asked.model}.pkl"
    bundle = _bundle(pkl, asked.folder)
    run = [str(CELLDROP), "run", str(file), "--model", f"{bundle}/", "--rerun", "--out"]
    theirs = asked.folder / f"{WAY}-{asked.cells}.npz"
    commands = {
        OURS: [*run, str(asked.folder / "voting")],
        PLAIN: [*run, str(asked.folder / "plain"), "--set", "clusters=off"],
        WAY: [*PEER, WAY, str(file), str(pkl), str(theirs)],
    }
    found = in_turns(commands, asked.turns)
    print(_agreement(asked.folder / "voting" / file.stem / "annotations.parquet", theirs))
    print(table(found, WAY))
    print(written(asked.folder, f"voting-{asked.cells}", found, cells=asked.cells))


def drawn(source: Path, folder: Path, n_cells: int) -> Path:
    """The file, made in ``folder`` unless it is there."""
    file = folder / f"pbmc-{n_cells}.h5ad"
    if file.exists():
        return file
    generator = np.random.default_rng(5)
    cells = anndata.read_h5ad(source)
    counts = sp.csr_matrix(cells.X)[generator.integers(cells.n_obs, size=n_cells)]
    counts.data = generator.binomial(counts.data.astype(np.int64), _KEPT).astype(np.float32)
    counts.eliminate_zeros()
    names = pd.DataFrame(index=[f"cell-{place}" for place in range(n_cells)])
    anndata.AnnData(counts, obs=names, var=cells.var).write_h5ad(file, compression="gzip")
    return file


def _bundle(pkl: Path, folder: Path) -> Path:
    bundle = folder / "models" / "voting" / "1"
    if not bundle.exists():
        command = [str(CELLDROP), "models", "import", str(pkl), "--name", "voting", "--version", "1"]
        subprocess.run([*command, "--out", str(folder / "models")], check=True, stdout=subprocess.DEVNULL)
    return bundle


def _agreement(ours: Path, theirs: Path) -> str:
    """How many cells have the same label, and the same vote, in both."""
    table_ours = pd.read_parquet(ours, columns=["label", "cluster", "cluster_label"])
    with np.load(theirs) as kept:
        labels, votes, n_clusters = kept["own"], kept["labels"], len(np.unique(kept["clusters"]))
    same = (table_ours["label"].to_numpy().astype(str) == labels).mean()
    voted = (table_ours["cluster_label"].to_numpy().astype(str) == votes).mean()
    return (
        f"{len(labels):,} cells: {same:.4f} have the same label, {voted:.4f} the same vote; clusters: "
        f"{table_ours['cluster'].nunique()} and {n_clusters}"
    )


if __name__ == "__main__":
    main()
