"""Scores a block of cells with a bundle: preprocessing, model, temperature and activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from jobs.engine.activation import activate
from jobs.engine.embedding import PROJECTION_VALUE_BYTES, Projection
from jobs.engine.facts import CellFacts
from jobs.engine.familiarity import Watch
from jobs.engine.kinds.table import weights_of
from jobs.engine.preprocessing import Preprocessing
from jobs.engine.sampling import Int64s, SampledCells, pick
from shared.bundles.card import ModelCard
from shared.domain.errors import CountsNeededError, InternalError, InvalidBundleError, NoGeneOverlapError
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote

Int32s = npt.NDArray[np.int32]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
UInt8s = npt.NDArray[np.uint8]
_TARGET_SUM = 1e4
_DIGITS = 6


class CellBlock(Protocol):
    """A block of n cells, projected onto the model's features by ``shared.h5ad``, in CSR form.

    Attributes:
        rows: The rows of the file, n of them.
        indptr: Where each row starts in ``feature`` and ``value``, and the end; n + 1 values from 0.
        feature: The feature of each stored value, at most once per row.
        value: The stored values, finite and above 0.
        total_n: The divisor of each row's values: their sum over all genes of the file.
        n_genes_n: The number of genes with a non-zero value in each row, over all genes of the file.
        note_n: The ``CellNote`` of each row, passed through.
    """

    @property
    def rows(self) -> Rows: ...  # noqa: D102  # described above
    @property
    def indptr(self) -> Int32s: ...  # noqa: D102  # described above
    @property
    def feature(self) -> Int32s: ...  # noqa: D102  # described above
    @property
    def value(self) -> Float32s: ...  # noqa: D102  # described above
    @property
    def total_n(self) -> Float64s: ...  # noqa: D102  # described above
    @property
    def n_genes_n(self) -> Int32s: ...  # noqa: D102  # described above
    @property
    def note_n(self) -> UInt8s: ...  # noqa: D102  # described above


@dataclass(frozen=True, slots=True)
class BlockScores:
    """The scores of n cells.

    Attributes:
        rows: The rows of the file.
        decision_nl: Decision scores, n x labels, after temperature and before the activation. They rank the labels,
            as probabilities that round to 1 are ties.
        probability_nl: n x labels, from 0 to 1.
        embedding_nd: Coordinates, n x dimensions, int16 (see ``Projection``); None if cells are not embedded.
        facts: The cells' facts. The totals are None if the values were already normalised.

    Raises:
        InvalidBundleError: A decision score is infinite or no number, so that the label would mean nothing.
    """

    rows: Rows
    decision_nl: Float32s
    probability_nl: Float32s
    facts: CellFacts
    embedding_nd: npt.NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        extremes = self.decision_nl.min(initial=0.0), self.decision_nl.max(initial=0.0)
        if not np.isfinite(extremes).all():
            raise InvalidBundleError(
                "weights that make scores beyond the range of float32",
                expected="finite scores",
                hint="Make the bundle again with `celldrop models import` or `celldrop models train`.",
            )


@dataclass(frozen=True, slots=True)
class Cells:
    """The arrays of n cells on the device, as in ``CellBlock``.

    Attributes:
        total_n: float32; None if the values are already normalised.
    """

    value: torch.Tensor
    feature: torch.Tensor
    indptr: torch.Tensor
    total_n: torch.Tensor | None


class Annotator:
    """Scores cells with a bundle that is prepared for the genes of one file.

    Args:
        card: The bundle's card.
        weights: The tensors of its kind (``jobs.engine.kinds``).
        gene_to_feature: The feature's position in the model for each gene of the file, or -1; int32. Genes that share
            a feature are summed. Positions from the number of features on are those of the card's watched genes. The
            blocks must be projected with the same map.
        as_it_is: Whether the blocks hold log1p of counts per 10,000. Otherwise values are in proportion to counts.
        counted: Whether values are counts, so that a cell's total is its depth.
        device: The device to compute on.

    Attributes:
        coverage: The share of the model's features that the file has, by their importance, 0 to 1; None if not known.
        projection: Embeds the cells beside scoring them; None does not. Set it before the first block.

    Raises:
        InvalidBundleError: The weights do not fit the card.
        NoGeneOverlapError: No gene of the file is in the model.
        CountsNeededError: The model computes from counts, and the values are none.
    """

    def __init__(
        self,
        card: ModelCard,
        weights: Mapping[str, torch.Tensor],
        gene_to_feature: Int32s,
        device: torch.device,
        *,
        as_it_is: bool = False,
        counted: bool = True,
    ) -> None:
        checked, watched = weights_of(card, weights, where=card.reference)
        matched_f = _matched(card, gene_to_feature)
        module = checked.module(matched_f)
        self.coverage = _coverage(checked.importance_f(), matched_f)
        self._watch = None
        self._takes_counts = module.target_sum is None
        if self._takes_counts and not counted:
            raise CountsNeededError("values that are not counts", expected=f"counts, for {card.reference}")
        # Of a model of counts, the expression is only embedded and kept, for the map of the report.
        target_sum = _TARGET_SUM if module.target_sum is None else module.target_sum
        if watched is not None:
            self._watch = Watch(watched, len(card.features), gene_to_feature, as_it_is=as_it_is, counted=counted)
            # Of the target sum, the file's genes have what features that it lacks leave to them.
            target_sum *= 1.0 if as_it_is else self._watch.left
        self._model = module.to(device).eval()
        self._preprocessing = Preprocessing(target_sum, as_it_is, exact=self.arithmetic is torch.float64)
        self._temperature = card.temperature
        self._activation = card.activation
        self.n_features = len(card.features)
        self.device = device
        self.projection: Projection | None = None

    @property
    def arithmetic(self) -> torch.dtype:
        """The type that the model computes in: float32 or float64."""
        return self._model.arithmetic

    @property
    def width(self) -> int:
        """The number of columns per cell on the device; see ``ScoringModule``."""
        return self._model.width + (self.projection.dimensions if self.projection else 0)

    @property
    def value_bytes(self) -> int:
        """The model's bytes on the device for each expressed gene; see ``ScoringModule``."""
        return self._model.value_bytes + (PROJECTION_VALUE_BYTES if self.projection else 0)

    def give_signs(self, alive: Callable[[], None]) -> None:
        """Have a sign of life given while a block is scored, in the thread that scores it."""
        self._model.alive = alive

    def prepared(self, block: CellBlock) -> tuple[Int32s, CellFacts]:
        """The features of a block that the model is to see, and the facts of its cells."""
        total_n = None if self._preprocessing.as_it_is else block.total_n.astype(np.float32)
        note_n = block.note_n
        if self._takes_counts:  # A converted cell's values are in proportion to counts, and how many is not known.
            note_n = np.where(note_n == CellNote.CONVERTED, np.uint8(CellNote.UNCLEAR), note_n)
        if self._watch is None:
            return block.feature, CellFacts(total_n, block.n_genes_n, note_n, None)
        look = self._watch.look(block.feature, block.value, block.indptr, block.total_n, note_n)
        return look.feature_z, CellFacts(total_n, block.n_genes_n, look.note_n, look.unfamiliarity_n)

    @torch.inference_mode()
    def sampled(self, block: CellBlock, place_m: Int64s) -> SampledCells:
        """The expression of some of a block's cells, by their positions in it, computed on the CPU."""
        picked = pick(place_m, block.indptr, block.feature, self.n_features)
        total_n = None
        if not self._preprocessing.as_it_is:
            total_n = torch.from_numpy(block.total_n[picked.place_m].astype(np.float32))
        value_z = torch.from_numpy(block.value[picked.place_z])
        value_z = self._preprocessing.expression(value_z, total_n, torch.from_numpy(picked.indptr_m))
        return SampledCells(picked.place_m, picked.indptr_m, block.feature[picked.place_z], value_z.numpy())

    @torch.inference_mode()
    def annotate(self, block: CellBlock) -> BlockScores:
        """Score the cells of a block. The result's bytes do not depend on the number of threads.

        A cell without any count is scored too, with no gene expressed.
        """
        cells, facts = self._cells(block)
        decision_nl, probability_nl, *embedding = (scores.cpu().numpy() for scores in self.score(cells))
        return BlockScores(block.rows, decision_nl, probability_nl, facts, *embedding)

    @torch.inference_mode()
    def coordinates(self, block: CellBlock) -> torch.Tensor:
        """The coordinates in which a model with reference cells searches, cells x components, float64."""
        cells, _ = self._cells(block)
        expression_z = self._preprocessing.expression(cells.value, cells.total_n, cells.indptr)
        return self._model.coordinates(expression_z, cells.feature, cells.indptr)

    def _cells(self, block: CellBlock) -> tuple[Cells, CellFacts]:
        check(block)
        feature_z, facts = self.prepared(block)
        totals_n = None if facts.total_n is None else self._tensor(facts.total_n)
        return Cells(self._tensor(block.value), self._tensor(feature_z), self._tensor(block.indptr), totals_n), facts

    @torch.inference_mode()
    def score(self, cells: Cells) -> tuple[torch.Tensor, ...]:
        """Decision scores and probabilities, n x labels, float32, and coordinates if cells are embedded.

        They are on the device. Does not wait for the device.
        """
        expression_z = self._preprocessing.expression(cells.value, cells.total_n, cells.indptr)
        input_z = cells.value if self._takes_counts else expression_z
        scores_nl: torch.Tensor = self._model(input_z, cells.feature, cells.indptr)
        decision_nl = (scores_nl / self._temperature).float()
        computed = decision_nl, activate(decision_nl, self._activation)
        if self.projection is None:
            return computed
        embedding_nd: torch.Tensor = self.projection(expression_z, cells.feature, cells.indptr)
        return *computed, embedding_nd

    def _tensor(self, array: Int32s | Float32s) -> torch.Tensor:
        # Copied if read-only, as bytes from a store are: torch warns about read-only memory.
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.device)


def _coverage(importance_f: torch.Tensor | None, matched_f: torch.Tensor) -> float | None:
    if importance_f is None or not float(importance_f.sum()):
        return None
    # numpy sums pairwise on one thread.
    found, total = (float(one_f.numpy().sum()) for one_f in (importance_f[matched_f], importance_f))
    return round(min(found / total, 1.0), _DIGITS)


def _matched(card: ModelCard, gene_to_feature: Int32s) -> torch.Tensor:
    n_features = len(card.features)
    assert gene_to_feature.dtype == np.int32
    assert gene_to_feature.ndim == 1
    found = gene_to_feature[(gene_to_feature >= 0) & (gene_to_feature < n_features)]
    if not found.size:
        raise NoGeneOverlapError(
            f"none of the {n_features:,} genes of {card.reference} is in the file",
            expected="gene symbols or Ensembl ids of the model's species",
            hint="Choose a model of the file's species, or check the column that holds the gene ids.",
        )
    if gene_to_feature.max() >= n_features + len(card.watched or ()):
        raise InternalError("a gene map with a feature beyond the last", where=card.reference)
    matched_f = torch.zeros(n_features, dtype=torch.bool)
    matched_f[torch.from_numpy(found.astype(np.int64))] = True
    return matched_f


def check(block: CellBlock) -> None:
    """Assert that the arrays of a block have consistent types and lengths."""
    n_cells = len(block.rows)
    assert block.indptr.dtype == block.feature.dtype == block.n_genes_n.dtype == np.int32
    assert block.value.dtype == np.float32
    assert block.indptr.shape == (n_cells + 1,)
    assert block.total_n.shape == block.n_genes_n.shape == (n_cells,)
    assert block.feature.shape == block.value.shape == (int(block.indptr[-1]),)
