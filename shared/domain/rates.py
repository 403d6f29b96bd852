"""What one task gets through and asks for: every measured figure that the planner uses, with its date, in one place."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Rates:
    """Throughput of a task.

    Attributes:
        platform_start_s: From the call that starts an execution to the container's first instruction; not billed.
        import_s: From there to the first row: interpreter, libraries, the model's card, a look at the file.
        gpu_start_s: What a task with a GPU takes longer to get there: its larger libraries, the device's context.
        load_bytes_per_s: The weights' way into memory.
        nonzeros_per_vcpu_s: Stored values read, inflated and brought to the model's features by one vCPU in a second.
        flops_per_vcpu_s: Of the card's ``flops_per_cell``, by one vCPU in a second.
        flops_per_gpu_s: The same, by one L4.
        merge_start_s: What a merge takes however few the cells: libraries, the report and its map.
        merge_cells_per_s: Cells merged in a second, on two cores or more: one copies, one writes tables.
        beat_s: Between two heartbeats of a task.
        read_bytes: Of one ranged read, most of the time.
        submission_reads, submission_writes: Firestore documents of a submission, beside its tasks.
        task_reads, task_writes: Firestore documents of a task, beside heartbeats and its look at all others in the end.
        submission_objects, task_objects: Class A operations: objects written, listings.
        submission_looks, task_looks: Class B operations beside the reading of cells.
        submission_bytes: Sent over Pub/Sub, published and delivered.
    """

    # Not measured: no Cloud Run was at hand. Its documentation names 5 s for an instance with a GPU; taken twice.
    platform_start_s: float = 10.0
    # 2026-11-28, 2 cores, `celldrop run` of files of 10,000 and 100,000 cells, 22M and 224M stored values, model
    # pbmc-sorted, each twice. Tasks took 0.43 s and 2.12 s by their receipts: 120M stored values a second, and 0.24 s
    # for none. From claim to the results were 1.4 s more than receipts and merge.
    import_s: float = 1.6
    nonzeros_per_vcpu_s: float = 60e6
    # Measured where all files lay in memory already (an H200's machine, 2026-11-28): 1.8 s more to load torch with CUDA
    # than without, 0.4 s to the first kernel's end. The rest is a guess at reading libraries that are gigabytes larger.
    gpu_start_s: float = 5.0
    # Not measured: read once from Cloud Storage, one request after another.
    load_bytes_per_s: float = 100e6
    # The same day, benchmarks/reading.py: scoring 100,000 cells by 98 labels x 6,639 genes took 0.7 core-seconds, for
    # which the card reckons 130e9. It counts a dense product, and the linear engine skips the zeros: a denser matrix
    # takes longer.
    flops_per_vcpu_s: float = 180e9
    # Not measured: a tenth of the L4's 30e12 fp32 operations a second, as its maker states them. An H200, stated at
    # 67e12, did 10e12 of what the card counts (2026-11-28, benchmarks/gpu.py: 102,400 cells in 13 ms).
    flops_per_gpu_s: float = 3e12
    # 2026-11-28, later, on 2 cores: merging took 3.9 s for 10,000 cells and 7.3 s for 100,000 (`celldrop run`, medians
    # of four), 24.6 s for a million (`celldrop shards gather`, of three): 20 microseconds a cell, and 4 s for none. Of
    # 100,000 it makes 6 s: on two cores the map and the copy still want the same one there.
    merge_start_s: float = 4.0
    merge_cells_per_s: float = 49_000.0
    # As the task is built (jobs.inference.services); each reads two documents and writes one.
    beat_s: float = 1.5
    # As shared.h5ad.read.arrays coalesces them.
    read_bytes: int = 4 * MIB
    # Counted: tests/domain/test_domain_operations.py plays a submission and holds these four to what it asks for.
    submission_reads: int = 11
    submission_writes: int = 13
    task_reads: int = 7
    task_writes: int = 2
    # Counted in the code: five results, the manifest once more, three listings; a task writes its part.
    submission_objects: int = 9
    task_objects: int = 1
    # An inspection is 62 reads at half a gigabyte (benchmarks/ingest.py): ingest's, the merge's and every task's own.
    # The rest is for cards, weights and parts, and not measured.
    submission_looks: int = 140
    task_looks: int = 75
    # Two events and a job message are 1.1 kB without labels (the same test), published once and delivered once; an
    # outcome of a hundred labels is taken for 4 kB more.
    submission_bytes: int = 10_000


RATES = Rates()
