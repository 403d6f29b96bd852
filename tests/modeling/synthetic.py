"""Labelled counts with known markers, made from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from jobs.modeling.labelled import LabelledCells
from jobs.modeling.settings import TrainingSettings
from shared.bundles.card import Features, Label
from shared.domain.verdict import MatrixState, Species

IDS = {"B": "CL:0000236", "NK": "CL:0000623", "T": "CL:0000084"}
LINEAGES = {"B": "lymphoid", "T": "lymphoid", "NK": "innate"}
MARKERS_EACH = 5


@dataclass(frozen=True, slots=True)
class Population:
    """Cells of some labels; each label has ``MARKERS_EACH`` genes of its own, expressed ``fold`` times as much."""

    sizes: Mapping[str, int]
    n_genes: int = 60
    fold: float = 8.0
    seed: int = 7

    @property
    def label_n(self) -> npt.NDArray[np.str_]:
        return np.repeat(np.array(list(self.sizes)), list(self.sizes.values()))

    @property
    def genes(self) -> list[str]:
        return [f"GENE{number}" for number in range(self.n_genes)]

    def counts(self) -> npt.NDArray[np.float32]:
        """Cells x genes; the markers of the k-th label are genes k * MARKERS_EACH and on."""
        generator = np.random.default_rng(self.seed)
        rate_ng = np.full((len(self.label_n), self.n_genes), 0.8)
        for position, label in enumerate(self.sizes):
            markers = slice(position * MARKERS_EACH, (position + 1) * MARKERS_EACH)
            rate_ng[self.label_n == label, markers] *= self.fold
        depth_n = generator.lognormal(0.0, 0.3, (len(self.label_n), 1))
        return generator.poisson(rate_ng * depth_n).astype(np.float32)

    def cells(self) -> LabelledCells:
        names, class_n = np.unique(self.label_n, return_inverse=True)
        return LabelledCells(
            value_ng=sp.csr_matrix(self.counts()),
            state=MatrixState.COUNTS,
            matrix="X",
            genes=Features(symbol=tuple(self.genes)),
            species=Species.HUMAN,
            class_n=class_n.astype(np.int64),
            labels=tuple(
                Label(name=name, ontology_id=IDS.get(name), lineage=LINEAGES.get(name)) for name in names.tolist()
            ),
            source="synthetic.h5ad",
        )

    def adata(self) -> anndata.AnnData:
        obs = pd.DataFrame({"label": self.label_n}, index=[f"cell{n}" for n in range(len(self.label_n))])
        obs["id"] = obs["label"].map(IDS).fillna("").astype("category")
        return anndata.AnnData(sp.csr_matrix(self.counts()), obs=obs, var=pd.DataFrame(index=self.genes))

    def write(self, path: Path) -> Path:
        self.adata().write_h5ad(path)
        return path


SMALL = Population({"B": 60, "NK": 60, "T": 60})


def quick(**changes: object) -> TrainingSettings:
    """Settings that train in a fraction of a second."""
    given: dict[str, object] = {"name": "small", "version": "1.0.0", "max_iterations": 15, "strengths": (0.1,)}
    given |= {"components": (5,), "neighbours": (15,)}
    return TrainingSettings(**{**given, **changes})  # type: ignore[arg-type]


def shuffled(cells: LabelledCells, seed: int = 3) -> LabelledCells:
    """The same cells with their labels dealt anew."""
    permutation = np.random.default_rng(seed).permutation(cells.n_cells)
    return LabelledCells(
        value_ng=cells.value_ng,
        state=cells.state,
        matrix=cells.matrix,
        genes=cells.genes,
        species=cells.species,
        class_n=cells.class_n[permutation],
        labels=cells.labels,
        source=cells.source,
    )


def names_of(labels: Sequence[Label]) -> list[str]:
    return [label.name for label in labels]
