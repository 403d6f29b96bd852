"""What a second of each machine and each request costs, in one dated table; nothing else in the project names a price.

List prices in US dollars, without free tiers, discounts, storage of data or traffic that leaves the region. They were
looked up on 2026-11-28 in dated copies of the pages that are named beside each figure; the live pages could not be
opened from here. To bring the table up to date, change this file alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIB_PER_GIB = 1024
TIB = 2**40


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one tier of regions.

    Attributes:
        tier: The regions that they hold for.
        as_of: The date of the oldest page, ISO 8601.
        vcpu_s: A vCPU-second of a Cloud Run job (instance-based billing).
        gib_s: A GiB-second of its memory.
        l4_s: A second of an NVIDIA L4 without zonal redundancy.
        least_s: The least time that an instance of a job is billed for.
        step_s: What a longer time is rounded up to.
        firestore_read: One document read.
        firestore_write: One document written.
        storage_a: One class A operation of Cloud Storage: a write, a listing.
        storage_b: One class B operation: a read, a look at an object.
        pubsub_tib: A TiB published or delivered.
    """

    tier: str
    as_of: str
    vcpu_s: float
    gib_s: float
    l4_s: float
    least_s: float
    step_s: float
    firestore_read: float
    firestore_write: float
    storage_a: float
    storage_b: float
    pubsub_tib: float

    def billed_s(self, seconds: float) -> float:
        """The seconds that an instance is billed for, which lived for ``seconds``."""
        return max(self.least_s, math.ceil(round(seconds / self.step_s, 6)) * self.step_s)


TIER_1 = Prices(
    tier="Cloud Run tier 1; L4, Firestore and Cloud Storage as in us-central1",
    as_of="2025-08-19",
    # https://cloud.google.com/run/pricing, table "Jobs", us-central1, copy of 2025-08-19. A list of the SKUs of
    # instance-based services of 2026-08 has the same three figures. With zonal redundancy the L4 would be 0.0002909.
    vcpu_s=0.000018,
    gib_s=0.000002,
    l4_s=0.0001867,
    # The same copy, "Billable instance time": a job's instance is billed for its whole life, a minute at least, rounded
    # up to 100 ms.
    least_s=60.0,
    step_s=0.1,
    # https://cloud.google.com/firestore/pricing, Standard edition, as noted on 2026-10-08: $0.03, $0.09 for 100,000.
    firestore_read=0.03 / 100_000,
    firestore_write=0.09 / 100_000,
    # https://cloud.google.com/storage/pricing, Standard, one region, flat namespace, as noted on 2026-09-20.
    storage_a=0.005 / 1_000,
    storage_b=0.0004 / 1_000,
    # https://cloud.google.com/pubsub/pricing, basic message delivery, as noted on 2026-09-20.
    pubsub_tib=40.0,
)
"""The one table. Regions of Cloud Run's tier 2 cost more: for those a forecast is too low."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The machine that one task has.

    Attributes:
        gpus: NVIDIA L4, the one kind that flavors know.
    """

    vcpus: int
    memory_mib: int
    gpus: int = 0

    def usd_per_s(self, prices: Prices) -> float:
        """What a second of it costs."""
        memory = self.memory_mib / MIB_PER_GIB * prices.gib_s
        return self.vcpus * prices.vcpu_s + memory + self.gpus * prices.l4_s


@dataclass(frozen=True, slots=True)
class Operations:
    """Requests that a submission makes of the services beside its machines."""

    firestore_reads: float = 0
    firestore_writes: float = 0
    storage_a: float = 0
    storage_b: float = 0
    pubsub_bytes: float = 0

    def usd(self, prices: Prices) -> float:
        """What they cost together."""
        firestore = self.firestore_reads * prices.firestore_read + self.firestore_writes * prices.firestore_write
        storage = self.storage_a * prices.storage_a + self.storage_b * prices.storage_b
        return firestore + storage + self.pubsub_bytes / TIB * prices.pubsub_tib
