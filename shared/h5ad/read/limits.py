"""How much a file may ask for while it is inspected."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.geometry import Rows


@dataclass(frozen=True, slots=True)
class InspectionLimits:
    """Bounds of one inspection; past any of them the file is refused.

    Attributes:
        cpu_s: Processor seconds of the child. A 5 GB file needs about one.
        stuck_cpu_s: Processor seconds between two signs that it gets on: bytes that it asks for, steps that it ends. A
            damaged heap of strings has the HDF5 library look for one for ever. A million genes take four, and are given
            ten more.
        silence_s: Longest wait for the child to say anything; only an overloaded machine gets there before ``cpu_s``.
        memory_bytes: Address space of the child beyond what its libraries take; with ``memory_each`` for each byte of
            the file, ``most_memory_bytes`` at most.
        gene_bytes: Memory for each gene beside that: the names of one in six columns take 580 bytes.
        read_bytes: Bytes of the file that the child may ask for.
        reads: Ranges that it may ask for.
        objects: Links to groups and datasets in the file, outside uns.
        aliases: Links to what another link leads to.
        attributes: Of obs, which a merge adds to.
        notes: Those of uns that are looked at; what lies beyond is never read.
        depth: Groups inside groups.
        chunk_bytes: Raw size of one chunk, at most; ``chunk_least_bytes`` and ``chunk_each`` for each byte of the file.
        genes: Rows of var.
        longest_id: Characters of one.
        ids_bytes: All cell ids together, beyond ``id_bytes`` for each.
        expansion: Declared bytes for each byte stored. Deflate cannot do more than 1,032 to 1.
    """

    cpu_s: int = 30
    stuck_cpu_s: float = 4.0
    silence_s: float = 120.0
    memory_bytes: int = 384 * 2**20
    memory_each: int = 8
    most_memory_bytes: int = 1536 * 2**20
    gene_bytes: int = 800
    read_bytes: int = 1024 * 2**20
    reads: int = 50_000
    objects: int = 100_000
    aliases: int = 100
    attributes: int = 1_000
    notes: int = 20_000
    depth: int = 32
    chunk_bytes: int = 256 * 2**20
    chunk_least_bytes: int = 192 * 2**20
    chunk_each: int = 16
    genes: int = 1_000_000
    longest_id: int = 2**20
    ids_bytes: int = 64 * 2**20
    id_bytes: int = 1024
    expansion: int = 1_100

    def for_file(self, size_bytes: int) -> InspectionLimits:
        """With the memory and the chunks that a file of that size may take."""
        return replace(
            self,
            memory_bytes=min(self.memory_bytes + self.memory_each * size_bytes, self.most_memory_bytes),
            chunk_bytes=min(self.chunk_bytes, self.chunk_least_bytes + self.chunk_each * size_bytes),
        )

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
