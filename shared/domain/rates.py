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
        load_bytes_per_s: The weights' way into memory.
        nonzeros_per_vcpu_s: Stored values read, inflated and brought to the model's features by one vCPU in a second.
        flops_per_vcpu_s: Of the card's ``flops_per_cell``, by one vCPU in a second.
        flops_per_gpu_s: The same, by one L4.
        merge_start_s: What a merge takes however few the cells: libraries, the report and its map.
        merge_cells_per_s: Cells merged in a second, by one thread whatever the machine.
        beat_s: Between two heartbeats of a task; each reads the record and writes the task's document.
        read_bytes: Of one ranged read, most of the time.
        submission_reads, submission_writes: Firestore documents of a submission, beside its tasks.
        task_reads, task_writes: Firestore documents of a task, beside its heartbeats.
        submission_objects, task_objects: Objects written.
        submission_looks, task_looks: Reads of objects beside those of the cells.
        submission_bytes: Sent over Pub/Sub, published and delivered.
    """

    # Not measured: no Cloud Run was at hand. Its documentation names 5 s for an instance with a GPU; taken twice.
    platform_start_s: float = 10.0
    # 2026-11-28, 2 cores: a task of 100,000 cells and 224M stored values took 9.5 s, 2 s of them before its first row.
    import_s: float = 2.0
    nonzeros_per_vcpu_s: float = 224e6 / 7.5 / 2
    # Not measured: read once from Cloud Storage, one request after another.
    load_bytes_per_s: float = 100e6
    # Not measured by itself. ``flops_per_cell`` counts a dense product, and the linear engine skips the zeros: 70e9 a
    # second is a dense fp32 product of torch on one core (2026-11-28); taken to be half of that.
    flops_per_vcpu_s: float = 35e9
    # Not measured: a tenth of the L4's 30e12 fp32 operations a second, as its maker states them.
    flops_per_gpu_s: float = 3e12
    # 2026-11-28, 2 cores, `celldrop shards gather`, whole processes, each once: 8.9 s for 10,000 cells, 13.1 s for
    # 100,000. So 47 microseconds a cell, and 8.4 s for none, of which 2 s are a start that a task has behind it.
    merge_start_s: float = 6.4
    merge_cells_per_s: float = 21_400.0
    beat_s: float = 1.5
    read_bytes: int = 4 * MIB
    submission_reads: int = 25
    submission_writes: int = 20
    task_reads: int = 6
    task_writes: int = 3
    submission_objects: int = 6
    task_objects: int = 1
    submission_looks: int = 200
    task_looks: int = 60
    submission_bytes: int = 20_000


RATES = Rates()
