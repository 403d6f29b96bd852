"""The neighbours kind: the reference cells that are nearest to a cell vote on its label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn.functional import embedding_bag

from jobs.engine.kinds.kind import ModelKind, ScoringModule
from jobs.engine.kinds.standardised import TENSORS, SparseProduct, Standardisation, value_bytes
from jobs.engine.kinds.tensors import LARGEST, Tensor, TensorTable, checked, invalid
from jobs.engine.neighbours import Nearest, NearestSearch
from jobs.engine.votes import vote_weights
from shared.bundles.card import ModelCard
from shared.bundles.kinds import NeighboursCard

_UNIT_BYTES = 64
"""Least bytes that are reckoned with for a column of a cell; see ``jobs.engine.batches.device_bytes``."""


@dataclass(frozen=True, slots=True)
class NeighbourWeights:
    """The parameters of an index of reference cells, on the CPU.

    Attributes:
        projection_cf: Weights of standardised expression in a cell's coordinates, components x features, float64.
        reference_rc: The coordinates of the reference cells, float32.
        label_r: The position of each reference cell's label, int32.
        n_labels: Number of labels.
        k: Number of neighbours that vote.
        prefactor: See ``jobs.engine.votes.vote_weights``.
    """

    projection_cf: torch.Tensor
    reference_rc: torch.Tensor
    label_r: torch.Tensor
    n_labels: int
    k: int
    prefactor: float
    standardisation: Standardisation

    def module(self, matched_f: torch.Tensor) -> ScoringModule:
        """See ``KindWeights``."""
        return NeighboursModel(self, matched_f)

    def importance_f(self) -> torch.Tensor:
        """See ``KindWeights``; of a cell's coordinates, in which distances are measured."""
        return self.projection_cf.square().sum(dim=0)


class NeighboursModel(ScoringModule):
    """Decision scores ``y_l = ln((k · s_l + 1 / L) / (k + 1))``, where ``s_l`` is the share of label l in the votes.

    The k nearest reference cells vote, with the weights of Cellarium CAS (``jobs.engine.votes``). To the votes is added
    one neighbour that is of all L labels in equal parts (Perks 1947), so that a label without a vote has a score too:
    the softmax of the scores is the share of the votes but for that.

    A cell's coordinates are ``V·z`` of standardised expression ``z``, in float64. A feature that the file lacks is set
    to the reference's mean. A cell with coordinates beyond all sense gets no score, NaN, so the bundle is refused.
    """

    vote_lv: torch.Tensor
    label_r: torch.Tensor

    def __init__(self, weights: NeighbourWeights, matched_f: torch.Tensor) -> None:
        super().__init__()
        n_components = len(weights.projection_cf)
        self.target_sum = weights.standardisation.target_sum
        self.arithmetic = torch.float64
        self.value_bytes = value_bytes(self.arithmetic, weights.standardisation)
        self._product = SparseProduct(
            weights.projection_cf,
            torch.zeros(n_components, dtype=torch.float64),
            weights.standardisation,
            matched_f,
            self.arithmetic,
        )
        self._search = NearestSearch(weights.reference_rc, weights.k)
        self._prefactor = weights.prefactor
        one_ll = torch.eye(weights.n_labels, dtype=torch.float64)
        # The last column adds up all votes.
        self.register_buffer("vote_lv", torch.cat([one_ll, torch.ones_like(one_ll[:, :1])], dim=1))
        self.register_buffer("label_r", weights.label_r)
        cell_bytes = self._search.cell_bytes + _VOTE_BYTES * weights.k
        self.width = 2 * weights.n_labels + n_components + -(-cell_bytes // _UNIT_BYTES)

    def coordinates(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See ``ScoringModule``."""
        place_nc: torch.Tensor = self._product(expression_z, feature_z, indptr)
        return place_nc

    def forward(self, expression_z: torch.Tensor, feature_z: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
        """See ``ScoringModule``."""
        place_nc = self.coordinates(expression_z, feature_z, indptr)
        usable_n = (place_nc.abs() <= LARGEST).all(dim=1)
        self._search.alive = self.alive
        nearest: Nearest = self._search(place_nc.where(usable_n[:, None], 0.0))
        weight_nk = vote_weights(nearest.distance_nk, self._prefactor)
        # As embedding_bag sums each row in the order of its neighbours, on a GPU too.
        vote_nv = embedding_bag(self.label_r[nearest.place_nk], self.vote_lv, mode="sum", per_sample_weights=weight_nk)
        share_nl = vote_nv[:, :-1] / vote_nv[:, -1:]
        n_labels = share_nl.shape[1]
        score_nl = ((share_nl * self._search.k + 1 / n_labels) / (self._search.k + 1)).log()
        return score_nl.where(usable_n[:, None], torch.nan)


_VOTE_BYTES = 100
"""For each neighbour: its label, and the steps from distance to weight in float64."""


class Neighbours(ModelKind):
    """The votes of the nearest cells of a reference, as in Cellarium CAS."""

    tensors: TensorTable = {  # noqa: RUF012  # a Mapping: nobody writes to it
        "projection": Tensor(("components", "features"), "weights of standardised expression in a cell's coordinates"),
        "reference": Tensor(("cells", "components"), "the coordinates of the reference cells", large=True),
        "reference_label": Tensor(
            ("cells",), "the position of each reference cell's label, a whole number", large=True
        ),
        **TENSORS,
    }

    def weights(self, card: ModelCard, tensors: Mapping[str, torch.Tensor], *, where: str = "") -> NeighbourWeights:
        """See ``ModelKind``."""
        own, n_labels = _own(card, where), len(card.labels)
        sizes = {"features": len(card.features), "components": own.n_components, "cells": own.n_reference}
        found = checked(self.tensors, sizes, tensors, where=where)
        return NeighbourWeights(
            projection_cf=found["projection"],
            reference_rc=found["reference"].float(),
            label_r=labels_of(found["reference_label"], n_labels, where),
            n_labels=n_labels,
            k=own.k,
            prefactor=own.prefactor,
            standardisation=Standardisation.of(card, found, where=where),
        )

    def flops_per_cell(self, card: ModelCard) -> float:
        """The projection and the products with the reference."""
        own = _own(card, card.reference)
        return 2.0 * own.n_components * (len(card.features) + own.n_reference)


def labels_of(stored_r: torch.Tensor, n_labels: int, where: str) -> torch.Tensor:
    """The positions of the labels of reference cells, int32.

    Raises:
        InvalidBundleError: A number is no label's position.
    """
    label_r = stored_r.to(torch.int32)
    if not bool((label_r == stored_r).all()) or not 0 <= int(label_r.min()) <= int(label_r.max()) < n_labels:
        raise invalid("a number that is no label's in 'reference_label'", f"whole numbers below {n_labels}", where)
    return label_r


def _own(card: ModelCard, where: str) -> NeighboursCard:
    if not isinstance(card, NeighboursCard):
        raise invalid(f"a card of kind {card.kind}", "a card of kind neighbours", where)
    return card
