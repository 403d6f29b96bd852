"""The measured rates that the planner uses, each with its date: throughput, start times, and requests per task."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of a task.

    Attributes:
        platform_start_s: From the call that starts an execution to the container's first instruction; not billed.
        import_s: From there to the first row: interpreter, libraries, the model's card, inspection of the file.
        gpu_start_s: Additional start time of a task with a GPU: larger libraries, the device's context.
        load_bytes_per_s: Speed of loading weights into memory.
        nonzeros_per_vcpu_s: Stored values read, inflated and projected to the model's features, per vCPU and second.
        flops_per_vcpu_s: Operations (as in the card's ``flops_per_cell``) per vCPU and second.
        flops_per_gpu_s: The same for one L4.
        merge_start_s: Time of a merge whatever the number of cells: libraries, the report and its map.
        merge_cells_per_s: Cells merged per second, on two cores or more: one copies, one writes tables.
        beat_s: Time between two heartbeats of a task.
        read_bytes: Typical size of one ranged read.
        submission_reads, submission_writes: Firestore operations per submission, without its tasks.
        task_reads, task_writes: Firestore operations per task, without heartbeats and its final read of all tasks.
        submission_objects, task_objects: Class A operations: objects written, listings.
        submission_looks, task_looks: Class B operations, without reading cells.
        submission_bytes: Bytes sent over Pub/Sub, published and delivered.
    """

    # Not measured: no Cloud Run was available. Its documentation says 5 s for an instance with a GPU; doubled here.
    platform_start_s: float = 10.0
    # 2026-11-28, 2 cores, `celldrop run` of files of 10,000 and 100,000 cells, 22M and 224M stored values, model
    # pbmc-sorted, each twice. By their receipts, tasks took 0.43 s and 2.12 s: 120M stored values a second, plus
    # 0.24 s. From the claim to the results took 1.4 s more than receipts and merge together.
    import_s: float = 1.6
    nonzeros_per_vcpu_s: float = 60e6
    # Measured with all files in memory (an H200's machine, 2026-11-28): loading torch took 1.8 s longer with CUDA than
    # without, and the first kernel 0.4 s. The rest is an estimate for reading libraries that are gigabytes larger.
    gpu_start_s: float = 5.0
    # Not measured: assumes that weights are read once from Cloud Storage, with one request after another.
    load_bytes_per_s: float = 100e6
    # The same day, benchmarks/reading.py: scoring 100,000 cells with 98 labels x 6,639 genes took 0.7 core-seconds. The
    # card counts 130e9 operations for that: a dense product, whereas the linear engine skips zeros. A denser matrix
    # takes longer.
    flops_per_vcpu_s: float = 180e9
    # Not measured: a tenth of the L4's 30e12 fp32 operations a second, as its maker states them. An H200, stated at
    # 67e12, did 10e12 of what the card counts (2026-11-28, benchmarks/gpu.py: 102,400 cells in 13 ms).
    flops_per_gpu_s: float = 3e12
    # 2026-11-28, later, on 2 cores: merging took 3.9 s for 10,000 cells and 7.3 s for 100,000 (`celldrop run`, medians
    # of four), 24.6 s for a million (`celldrop shards gather`, of three): 4 s plus 20 microseconds a cell. For 100,000
    # that gives only 6 s: there, on two cores, the map and the copy compete for the same core. With clusters, embedding
    # and evidence, a million smaller cells took 23.7 s (2026-11-30).
    merge_start_s: float = 4.0
    merge_cells_per_s: float = 49_000.0
    # As set in jobs.inference.services; each heartbeat reads two documents and writes one.
    beat_s: float = 1.5
    # As shared.h5ad.read.arrays coalesces them.
    read_bytes: int = 4 * MIB
    # Counted: tests/domain/test_domain_operations.py runs a submission and checks these four numbers.
    submission_reads: int = 11
    submission_writes: int = 13
    task_reads: int = 7
    task_writes: int = 2
    # Counted in the code: six results, a second manifest, three listings; each task writes its part.
    submission_objects: int = 10
    task_objects: int = 1
    # An inspection of half a gigabyte is 62 reads (benchmarks/ingest.py); ingest, the merge and every task make one.
    # The rest is for cards, weights and parts, and is not measured.
    submission_looks: int = 140
    task_looks: int = 75
    # Two events and a job message are 1.1 kB without labels (the same test), published once and delivered once. An
    # outcome with a hundred labels is estimated at 4 kB more.
    submission_bytes: int = 10_000


RATES = Rates()
