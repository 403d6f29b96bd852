"""A store in memory and labelled draws to annotate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import google_crc32c
import numpy as np
import numpy.typing as npt

from jobs.engine.facts import CellFacts
from jobs.engine.sampling import SampledCells
from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.groups import Merge, ordered
from jobs.inference.parts.part import AnnotatedBlock, PartLayout, iter_part
from shared.bundles.card import Label
from shared.domain.errors import BlobNotFoundError, PreconditionFailedError
from shared.domain.geometry import Rows, task_rows
from shared.domain.submission import ObjectRef, Receipt
from shared.domain.verdict import CellNote
from shared.ports.blobs import BlobInfo, BlobStore, ByteRange


@dataclass
class Shelf(BlobStore):
    """Just enough of a blob store for what outputs do: create, ranged reads of a generation."""

    blobs: dict[ObjectRef, bytes] = field(default_factory=dict)
    largest_chunk: int = 0

    def stat(self, bucket: str, name: str) -> BlobInfo:
        found = [ref for ref in self.blobs if (ref.bucket, ref.name) == (bucket, name)]
        if not found:
            raise BlobNotFoundError(f"{bucket}/{name}")
        return self._info(max(found, key=lambda ref: ref.generation))

    def read(self, ref: ObjectRef, span: ByteRange | None = None) -> bytes:
        if ref not in self.blobs:
            raise BlobNotFoundError(str(ref))
        data = self.blobs[ref]
        return data if span is None else data[span.offset : span.offset + span.length]

    def read_many(self, ref: ObjectRef, spans: Sequence[ByteRange]) -> list[bytes]:
        return [self.read(ref, span) for span in spans]

    def write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        *,
        if_generation: int | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> BlobInfo:
        del content_type, metadata
        data = bytearray()
        for chunk in chunks:
            self.largest_chunk = max(self.largest_chunk, len(chunk))
            data += chunk
        present = [ref.generation for ref in self.blobs if (ref.bucket, ref.name) == (bucket, name)]
        if if_generation is not None and max(present, default=0) != if_generation:
            raise PreconditionFailedError(f"{bucket}/{name} is there")
        ref = ObjectRef(bucket, name, max(present, default=0) + 1)
        self.blobs[ref] = bytes(data)
        return self._info(ref)

    def list(self, bucket: str, prefix: str = "") -> Iterator[BlobInfo]:
        names = sorted({ref.name for ref in self.blobs if ref.bucket == bucket and ref.name.startswith(prefix)})
        return (self.stat(bucket, name) for name in names)

    def delete(self, bucket: str, name: str, *, if_generation: int | None = None) -> None:
        del if_generation
        for ref in [ref for ref in self.blobs if (ref.bucket, ref.name) == (bucket, name)]:
            del self.blobs[ref]

    def _info(self, ref: ObjectRef) -> BlobInfo:
        data = self.blobs[ref]
        checksum = google_crc32c.value(data)
        return BlobInfo(ref, len(data), checksum, datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Draws:
    """Cells with made-up scores, from a seed, that can be cut into any parts; every ``noted``-th one was converted."""

    layout: PartLayout
    seed: int = 0
    counted: bool = True
    prefix: str = "cell-"
    noted: int = 0
    softmax: bool = False
    decisions: npt.NDArray[np.float32] | None = field(default=None, compare=False)
    """Those of each cell, cells x labels, in place of made-up ones."""
    unfamiliar: tuple[bool, ...] = ()
    silent: tuple[bool, ...] = ()
    places: tuple[tuple[int, ...], ...] = ()
    """The coordinates of each cell, if the layout has some."""
    genes: tuple[str | None, ...] = ()
    mito: bool = False
    """Whether the share of mitochondrial counts is known: from 0 to 0.3, but for the first ten cells."""

    def block(self, rows: Rows) -> AnnotatedBlock:
        """The block of these rows: a row's draw depends on its number alone."""
        n_labels = self.layout.n_labels
        row_n = np.arange(rows.start, rows.stop)
        phase_nl = (self.seed + row_n[:, None]) * 12.9898 + np.arange(n_labels) * 78.233
        decision_nl = (np.sin(phase_nl) * 43758.5453 % 1 * 8 - 4).astype(np.float32)
        if self.decisions is not None:
            decision_nl = self.decisions[rows.start : rows.stop]
        return AnnotatedBlock(
            rows=rows,
            cell_ids=[f"{self.prefix}{row}" for row in row_n],
            probability_nl=self._probabilities(decision_nl),
            decision_nl=decision_nl,
            facts=CellFacts(
                total_n=(row_n * 7 % 9000).astype(np.float32) if self.counted else None,
                n_genes_n=(row_n * 3 % 4000).astype(np.int32),
                note_n=self._notes(row_n),
                unfamiliarity_n=self._unfamiliarity(row_n),
                mito_n=np.where(row_n < 10, np.nan, row_n * 11 % 301 / 1000).astype(np.float32) if self.mito else None,
            ),
            embedding_nd=np.array(self.places, np.int16)[row_n] if self.layout.dimensions else None,
            sampled=self._sampled(row_n) if self.layout.n_features else None,
            genes=tuple(self.genes) if self.genes and not rows.start else None,
        )

    def expression(self, row_n: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Log1p expression, cells x features, half of it zero."""
        phase_nf = (self.seed + row_n[:, None]) * 4.1415 + np.arange(self.layout.n_features) * 37.719
        return np.maximum(np.sin(phase_nf) * 24634.634 % 1 * 8 - 4, 0).astype(np.float32)

    def _sampled(self, row_n: npt.NDArray[np.int64]) -> SampledCells:
        place_m = np.flatnonzero(row_n % self.layout.map_stride == 0)
        value_mf = self.expression(row_n[place_m])
        if self.genes:
            value_mf[:, [name is None for name in self.genes]] = 0
        cell_z, feature_z = np.nonzero(value_mf)
        indptr_m = np.searchsorted(cell_z, np.arange(len(place_m) + 1)).astype(np.int32)
        return SampledCells(place_m, indptr_m, feature_z.astype(np.int32), value_mf[cell_z, feature_z])

    def _notes(self, row_n: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        note_n = (row_n % self.noted == 0).astype(np.uint8) if self.noted else np.zeros(len(row_n), np.uint8)
        if self.silent:
            note_n[np.array(self.silent)[row_n]] = CellNote.SILENT
        return note_n

    def _unfamiliarity(self, row_n: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
        """9 for an unfamiliar cell, 0 for another, and not known for a silent one."""
        if not self.unfamiliar:
            return None
        unfamiliarity_n = np.where(np.array(self.unfamiliar)[row_n], np.float32(9), np.float32(0))
        if self.silent:
            unfamiliarity_n[np.array(self.silent)[row_n]] = np.nan
        return unfamiliarity_n

    def _probabilities(self, decision_nl: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not self.softmax:
            return np.asarray(1 / (1 + np.exp(-decision_nl)), np.float32)
        power_nl = np.exp(decision_nl)
        return np.asarray(power_nl / power_nl.sum(axis=1, keepdims=True), np.float32)

    def blocks(self, rows: Rows) -> Iterator[AnnotatedBlock]:
        """Block by block."""
        return (self.block(one) for one in rows.blocks())


def facts_without_counts(n_genes_n: npt.NDArray[np.int32]) -> CellFacts:
    """The facts of cells whose totals are not known."""
    return CellFacts(None, n_genes_n, np.zeros(len(n_genes_n), np.uint8))


def keep_part(store: BlobStore, name: str, blocks: Iterable[AnnotatedBlock], layout: PartLayout, rows: Rows) -> Receipt:
    """Write a part as a task does."""
    info = store.write("work", name, iter_part(blocks, layout), if_generation=0)
    assert info.crc32c is not None
    return Receipt(info.ref, info.size_bytes, info.crc32c, rows)


def merge_of(
    draws: Draws, n_tasks: int, min_score: float | None = None, labels: Sequence[Label] | None = None
) -> Merge:
    """The parts of ``n_tasks`` tasks, ready to be merged."""
    store = Shelf()
    layout = draws.layout
    cuts = [task_rows(layout.n_cells, n_tasks, index) for index in range(n_tasks)]
    receipts = [keep_part(store, f"part-{i}", draws.blocks(rows), layout, rows) for i, rows in enumerate(cuts)]
    names = labels or [
        Label(name=f"label {i}", ontology_id=f"CL:{i:07d}" if i % 3 else None) for i in range(layout.n_labels)
    ]
    return Merge(store, ordered(receipts, layout.n_cells), layout, Vocabulary(tuple(names)), Rules(min_score))
