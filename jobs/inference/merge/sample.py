"""The sampled cells for the report's map: evenly spaced rows with all their decision scores, the same in every plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.levels import Level
from jobs.inference.merge.calls import BoolArray, Calls, I64Array, Vocabulary, name_codes, reliable_codes
from jobs.inference.merge.groups import Group
from jobs.inference.parts.arrays import F32Array, column_of, values_of
from jobs.inference.parts.part import places_of


@dataclass(frozen=True, slots=True)
class MapSample:
    """The sampled cells.

    Attributes:
        row_n: Their rows in the file.
        name_n: The positions of their labels in the vocabulary's names.
        score_n: Their best scores.
        reliable_n: The positions of their reliable labels in the vocabulary's; None if these are not known.
        sure_n: Whether their label is reliable, or that is not known.
        decision_nl: Decision scores, cells x labels.
        place_nd: Their embedding, cells x dimensions; None if cells are not embedded.
    """

    row_n: I64Array
    cell_ids: list[str]
    name_n: I64Array
    score_n: F32Array
    decision_nl: F32Array
    sure_n: BoolArray
    reliable_n: I64Array | None = None
    place_nd: F32Array | None = None


class Sampler:
    """Collects the sampled cells of each group; at most ``MAP_CELLS`` in all."""

    def __init__(self, vocabulary: Vocabulary, *, embedded: bool = False) -> None:
        self._vocabulary = vocabulary
        self._embedded = embedded
        self._pieces: list[MapSample] = []

    def add(self, group: Group) -> None:
        """Add the sampled cells of a group."""
        decision = pa.chunked_array([batch["decision"] for batch in group.batches]).combine_chunks()
        place_n = np.flatnonzero(values_of(decision.is_valid()))
        if not len(place_n):
            return
        calls, vocabulary = group.calls, self._vocabulary
        self._pieces.append(
            MapSample(
                row_n=place_n + group.rows.start,
                cell_ids=calls.cell_ids.take(column_of(place_n)).to_pylist(),
                name_n=name_codes(calls, vocabulary)[place_n],
                score_n=calls.top_score_nk[place_n, 0],
                decision_nl=values_of(pc.list_flatten(decision)).reshape(len(place_n), -1),
                sure_n=_is_sure(calls)[place_n],
                reliable_n=None if calls.level_n is None else reliable_codes(calls, vocabulary)[place_n],
                place_nd=places_of(group.batches)[place_n] if self._embedded else None,
            )
        )

    def sample(self) -> MapSample:
        """All sampled cells, in row order."""
        pieces = self._pieces
        n_labels = len(self._vocabulary.labels)
        return MapSample(
            row_n=np.concatenate([np.zeros(0, np.int64), *(piece.row_n for piece in pieces)]),
            cell_ids=[one for piece in pieces for one in piece.cell_ids],
            name_n=np.concatenate([np.zeros(0, np.int64), *(piece.name_n for piece in pieces)]),
            score_n=np.concatenate([np.zeros(0, np.float32), *(piece.score_n for piece in pieces)]),
            decision_nl=np.concatenate([np.zeros((0, n_labels), np.float32), *(piece.decision_nl for piece in pieces)]),
            sure_n=np.concatenate([np.zeros(0, np.bool_), *(piece.sure_n for piece in pieces)]),
            reliable_n=_joined([piece.reliable_n for piece in pieces]),
            place_nd=np.concatenate([piece.place_nd for piece in pieces]) if self._embedded and pieces else None,
        )


def _is_sure(calls: Calls) -> BoolArray:
    return np.ones(len(calls), np.bool_) if calls.level_n is None else calls.level_n == Level.LABEL


def _joined(pieces: list[I64Array | None]) -> I64Array | None:
    known = [piece for piece in pieces if piece is not None]
    return np.concatenate(known) if known else None
