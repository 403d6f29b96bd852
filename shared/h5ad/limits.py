"""How much a file may ask for while it is inspected."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.geometry import Rows


@dataclass(frozen=True, slots=True)
class InspectionLimits:
    """Bounds of one inspection; past any of them the file is refused.

    Attributes:
        cpu_s: Processor seconds of the child. A 5 GB file needs about one.
        silence_s: Longest wait for the child to say anything; only an overloaded machine gets there before ``cpu_s``.
        memory_bytes: Address space of the child beyond what its libraries take.
        read_bytes: Bytes of the file that the child may ask for.
        reads: Ranges that it may ask for.
        objects: Links to groups and datasets in the file, outside uns.
        notes: Those of uns that are looked at; what lies beyond is never read.
        depth: Groups inside groups.
        chunk_bytes: Raw size of one chunk.
        genes: Rows of var.
        ids_bytes: All cell ids together, beyond ``id_bytes`` for each.
        expansion: Declared bytes for each byte stored. Deflate cannot do more than 1,032 to 1.
    """

    cpu_s: int = 30
    silence_s: float = 120.0
    memory_bytes: int = 1536 * 2**20
    read_bytes: int = 1024 * 2**20
    reads: int = 50_000
    objects: int = 100_000
    notes: int = 20_000
    depth: int = 32
    chunk_bytes: int = 256 * 2**20
    genes: int = 1_000_000
    ids_bytes: int = 64 * 2**20
    id_bytes: int = 1024
    expansion: int = 1_100

    def for_rows(self, rows: Rows | None) -> InspectionLimits:
        """With time and reads for the ids of so many cells: a million take about three seconds and 100 MB."""
        n_rows = len(rows) if rows else 0
        return replace(
            self,
            cpu_s=self.cpu_s + n_rows // 50_000,
            read_bytes=self.read_bytes + n_rows * self.id_bytes,
            reads=self.reads + n_rows // 10,
        )

    def most_ids_bytes(self, n_cells: int) -> int:
        """What the ids of so many cells may take."""
        return self.ids_bytes + n_cells * self.id_bytes


DEFAULT_LIMITS = InspectionLimits()
